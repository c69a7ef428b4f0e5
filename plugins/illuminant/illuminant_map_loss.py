"""Losses of illuminant maps: shares of the classes, and the angle of the light."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from basicsr.utils.registry import LOSS_REGISTRY
from plugins.illuminant.illuminant_unet_arch import light_of_output

_TINY = 1e-12


@LOSS_REGISTRY.register()
class ShareCrossEntropyLoss(nn.Module):
    """Cross-entropy of each pixel's class probabilities against the true shares of the classes in its light.

    Pixels without a truth do not count. A pixel of which some light belongs to no class (``other``) counts by the rest:
    its shares sum to less than 1, and so does its weight. The truth's own entropy is subtracted, which changes no
    gradient: 0 is the right answer even where lights mix.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, shares: Tensor, valid: Tensor, **context: Any) -> Tensor:
        """The loss.

        Args:
            pred: (N, C, H, W), the first K channels are logits.
            target: Not used.
            shares: (N, K, H, W), of sum 1 or, with ``other``, less.
            valid: (N, 1, H, W), 1 where the truth is known, else 0.
            **context: Not used.
        """
        classes = shares.shape[1]
        known = shares * valid
        weight = known.sum(1)
        # Per pixel: sum over classes of share times log of (share of the classified light over the answer).
        own = torch.xlogy(known, known / weight.clamp_min(_TINY)[:, None])
        divergence = own - known * functional.log_softmax(pred[:, :classes], 1)
        return self.loss_weight * divergence.sum() / weight.sum().clamp_min(1.0)


@LOSS_REGISTRY.register()
class IlluminantAngleLoss(nn.Module):
    """Mean angle between the answered and the true light of the pixels, in degrees.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor, centroids: Tensor, **context: Any) -> Tensor:
        """The loss.

        Args:
            pred: (N, K, H, W) logits, or (N, K + 2, H, W) with offsets.
            target: (N, 3, H, W), the true light in linear light, of any scale.
            valid: (N, 1, H, W), 1 where the truth is known, else 0.
            centroids: (K, 3) or (N, K, 3).
            **context: Not used.
        """
        degrees = angle_map(light_of_output(pred, centroids), target)
        known = valid[:, 0]
        return self.loss_weight * (degrees * known).sum() / known.sum().clamp_min(1.0)


def angle_map(light: Tensor, other: Tensor) -> Tensor:
    """Angle between two maps of lights (N, 3, H, W), in degrees, (N, H, W).

    Its gradient is bounded everywhere, where that of an arc cosine is infinite at the right answer.
    """
    a, b = functional.normalize(light, dim=1), functional.normalize(other, dim=1)
    sine = (torch.linalg.cross(a, b, dim=1).square().sum(1) + _TINY).sqrt()
    return torch.rad2deg(torch.atan2(sine, (a * b).sum(1)))
