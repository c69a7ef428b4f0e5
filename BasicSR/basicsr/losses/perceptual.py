"""Perceptual and style loss on VGG features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs.vgg_arch import VGGFeatureExtractor
from basicsr.losses.loss_util import as_float
from basicsr.utils.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class PerceptualLoss(nn.Module):
    """Distance of VGG features and of their Gram matrices (Johnson, Alahi, Fei-Fei, ECCV 2016).

    Args:
        layer_weights: Weight of each VGG layer, such as ``{conv5_4: 1.0}``.
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``, with ``_bn`` for the batch-normalised variant.
        use_input_norm: Normalise the images, in [0, 1], by ImageNet's mean and deviation.
        range_norm: The images are in [-1, 1].
        perceptual_weight: Factor of the feature term; 0 leaves it out.
        style_weight: Factor of the Gram matrix term; 0 leaves it out.
        criterion: ``l1``, ``l2`` or ``fro`` (Frobenius norm of the difference).
        vgg_weights: A weight file in torchvision's format; by default that of ``vgg_type``. ``random`` is for tests
            only.
    """

    def __init__(
        self,
        layer_weights: Mapping[str, float],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        perceptual_weight: float = 1.0,
        style_weight: float = 0.0,
        criterion: str = "l1",
        vgg_weights: str | None = None,
    ) -> None:
        super().__init__()
        if criterion not in ("l1", "l2", "fro"):
            raise NotImplementedError(f"{criterion} criterion has not been supported: use l1, l2 or fro")
        self.perceptual_weight = perceptual_weight
        self.style_weight = style_weight
        self.layer_weights = dict(layer_weights)
        self.criterion_type = criterion
        self.vgg = VGGFeatureExtractor(
            layer_name_list=list(layer_weights),
            vgg_type=vgg_type,
            use_input_norm=use_input_norm,
            range_norm=range_norm,
            weights=vgg_weights,
        )

    def forward(self, x: Tensor, gt: Tensor, **kwargs: Any) -> tuple[Tensor | None, Tensor | None]:
        """Compare two batches.

        Args:
            x: Output ``(N, 3, H, W)``, RGB.
            gt: Target, same shape; no gradient flows into it.
            **kwargs: Ignored.

        Returns:
            The perceptual and the style loss, each a scalar, or none where its weight is 0.
        """
        features = self.vgg(as_float(x))
        with torch.no_grad():
            target = self.vgg(as_float(gt.detach()))
        percep = style = None
        if self.perceptual_weight > 0:
            percep = self.perceptual_weight * self._sum(features, target)
        if self.style_weight > 0:
            grams = {name: self._gram_mat(feature) for name, feature in features.items()}
            target_grams = {name: self._gram_mat(feature) for name, feature in target.items()}
            style = self.style_weight * self._sum(grams, target_grams)
        return percep, style

    def _sum(self, features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        terms = [self._distance(features[name], target[name]) * weight for name, weight in self.layer_weights.items()]
        return torch.stack(terms).sum()

    def _distance(self, first: Tensor, second: Tensor) -> Tensor:
        if self.criterion_type == "l1":
            return (first - second).abs().mean()
        if self.criterion_type == "l2":
            return (first - second).square().mean()
        return torch.linalg.vector_norm(first - second)

    @staticmethod
    def _gram_mat(x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the correlations of the channels ``(N, C, C)``, divided by ``C H W``."""
        number, channels, height, width = x.shape
        features = x.reshape(number, channels, height * width)
        return features.bmm(features.transpose(1, 2)) / (channels * height * width)
