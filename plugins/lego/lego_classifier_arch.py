"""LegoClassifier: which part a picture shows and which colour it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from basicsr.engine.distributed import get_world_size
from basicsr.engine.errors import UserError
from basicsr.utils.registry import ARCH_REGISTRY
from plugins.lego.lego_backbones import build_backbone
from plugins.lego.lego_lab import LAB_FEATURES, lab_statistics

PART, COLOR = "part", "color"
_LAB_HIDDEN = 64


class SafeBatchNorm1d(nn.BatchNorm1d):
    """Batch norm that uses its running statistics for a batch of one, whose variance means nothing."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


class CosineHead(nn.Module):
    """Logits that are scaled cosines between the embedding and one learnt direction a class.

    Args:
        features: Of the embedding.
        classes: Of the head.
        scale: Logit of a cosine of 1.
    """

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.xavier_uniform_(self.weight)
        self.scale = scale

    def forward(self, embedding: Tensor) -> Tensor:
        return self.scale * functional.linear(functional.normalize(embedding), functional.normalize(self.weight))


@ARCH_REGISTRY.register()
class LegoClassifier(nn.Module):
    """A backbone, shared features, and a head for the part and one for the colour.

    Input is (N, 3, H, W), sRGB in [0, 1]: the normalisation is inside. Output is ``{"part": (N, num_parts),
    "color": (N, num_colors)}`` logits; a head of 0 classes is left out. :meth:`embed` gives the unit vectors by which
    parts that were never trained can be told apart (nearest prototype).

    Args:
        num_parts: Classes of parts; 0 for a network that names colours only.
        num_colors: Classes of colours; 0 for a network that names parts only.
        backbone: A classification network of torchvision, ``efficientnet_lite0``, ``small_resnet`` (quick, without
            pretrained weights), or ``timm:<name>``.
        pretrained: ``imagenet``, or a file of the backbone's weights. Omitted: random weights.
        freeze_backbone_ratio: Share of the backbone's blocks, from the first on, that is never trained.
        freeze_backbone_epochs: Epochs in which none of the backbone is trained; counted by the model.
        hidden: Shared features.
        dropout: Share of them that is dropped in training.
        embedding: ``cosine``: logits of parts are scaled cosines. ``arcface``: the same, trained with the margin of
            ``LegoLoss`` (Deng et al., "ArcFace", CVPR 2019). Omitted: a linear head.
        embedding_scale: Logit of a cosine of 1.
        color_input: What the colour head sees: the shared ``features``; ``lab``: the brick's colours beside its
            background; or ``both``.

    Raises:
        UserError: A value is wrong, or the backbone or its weights are not there.
    """

    def __init__(
        self,
        num_parts: int = 200,
        num_colors: int = 50,
        backbone: str = "efficientnet_b0",
        pretrained: str | None = None,
        freeze_backbone_ratio: float = 0.5,
        freeze_backbone_epochs: float = 0,
        hidden: int = 512,
        dropout: float = 0.3,
        embedding: Literal["cosine", "arcface"] | None = None,
        embedding_scale: float = 30.0,
        color_input: Literal["features", "lab", "both"] = "features",
    ) -> None:
        super().__init__()
        _check(num_parts, num_colors, freeze_backbone_ratio, embedding, color_input, embedding_scale)
        self.num_parts, self.num_colors, self.embedding = num_parts, num_colors, embedding
        self.freeze_backbone_epochs, self.color_input = freeze_backbone_epochs, color_input
        self.embedding_scale = embedding_scale
        self.backbone = build_backbone(backbone, pretrained)
        self.shared = nn.Sequential(
            nn.Linear(self.backbone.out_features, hidden), SafeBatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout)
        )
        self.part_head: nn.Module | None = None
        if num_parts:
            cosine = embedding is not None
            self.part_head = CosineHead(hidden, num_parts, embedding_scale) if cosine else nn.Linear(hidden, num_parts)
        self.color_head: nn.Module | None = None
        self.lab_features: nn.Module | None = None
        if num_colors:
            seen = 0
            if color_input != "features":
                self.lab_features = nn.Sequential(
                    nn.Linear(LAB_FEATURES, _LAB_HIDDEN), SafeBatchNorm1d(_LAB_HIDDEN), nn.ReLU()
                )
                seen = _LAB_HIDDEN
            self.color_head = nn.Linear(seen + (hidden if color_input != "lab" else 0), num_colors)
        self.backbone_paused = False
        count = round(freeze_backbone_ratio * len(self.backbone.blocks))
        self.frozen_blocks: tuple[nn.Module, ...] = tuple(self.backbone.blocks)[:count]
        for block in self.frozen_blocks:
            block.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> LegoClassifier:
        """Switch modes; what is frozen stays in evaluation, or its batch norms would go on drifting."""
        super().train(mode)
        for block in self.backbone.blocks if self.backbone_paused else self.frozen_blocks:
            block.eval()
        return self

    def pause_backbone(self, paused: bool) -> None:
        """Take the whole backbone out of training, or put back what is not frozen for good."""
        if paused != self.backbone_paused:
            self.backbone_paused = paused
            self.train(self.training)

    def features(self, image: Tensor) -> Tensor:
        """Shared features (N, ``hidden``)."""
        if self.backbone_paused and get_world_size() == 1:
            with torch.no_grad():  # the slow half of a step; under several processes every weight needs a gradient
                pooled = self.backbone(image)
        else:
            pooled = self.backbone(image)
        shared: Tensor = self.shared(pooled)
        return shared

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        lab_only = self.part_head is None and self.color_input == "lab"  # the slow half of the network has no say
        shared = None if lab_only else self.features(image)
        output: dict[str, Tensor] = {}
        if self.part_head is not None:
            output[PART] = self.part_head(shared)
        if self.color_head is not None:
            seen = [shared] if shared is not None and self.color_input != "lab" else []
            if self.lab_features is not None:
                seen.append(self.lab_features(lab_statistics(image)))
            output[COLOR] = self.color_head(torch.cat(seen, 1))
        return output

    def embed(self, image: Tensor) -> Tensor:
        """Unit vectors (N, ``hidden``): pictures of one part lie near each other."""
        return functional.normalize(self.features(image))

    def depth_groups(self) -> Iterable[tuple[int, list[nn.Parameter]]]:
        """Trained weights by their distance from the heads: 0 for all that is not backbone, then block by block."""
        inner = {id(parameter) for parameter in self.backbone.parameters()}
        yield 0, [one for one in self.parameters() if one.requires_grad and id(one) not in inner]
        for distance, block in enumerate(reversed(list(self.backbone.blocks)), start=1):
            weights = [one for one in block.parameters() if one.requires_grad]
            if weights:
                yield distance, weights


def _check(parts: int, colors: int, ratio: float, embedding: str | None, color_input: str, scale: float) -> None:
    problems = []
    if parts < 0 or colors < 0 or parts + colors == 0:
        problems.append(f"num_parts {parts} and num_colors {colors}: at least one head needs classes")
    if not 0 <= ratio <= 1:
        problems.append(f"freeze_backbone_ratio {ratio}: give a share from 0 to 1")
    if embedding not in (None, "cosine", "arcface"):
        problems.append(f"embedding '{embedding}': use cosine, arcface, or leave it out")
    if color_input not in ("features", "lab", "both"):
        problems.append(f"color_input '{color_input}': use features, lab or both")
    if not scale > 0:
        problems.append(f"embedding_scale {scale}: give a number above 0")
    if problems:
        raise UserError(f"LegoClassifier: {'; '.join(problems)}")
