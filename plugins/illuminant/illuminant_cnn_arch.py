"""IlluminantCNN: the class of a photo's light."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from basicsr.utils.registry import ARCH_REGISTRY

STRIDE = 4
"""Image pixels between two positions of the last feature map."""
FIRST_CENTER = 32
"""Index of the pixel at the centre of the first position's receptive field, which is 65 x 65."""
STATISTICS = 16
"""Numbers in :func:`light_statistics`."""
CLIPPED, DARK = 0.98, 1e-3
SMALLEST = 65
"""Smallest height and width that leave one feature position."""


class Features(NamedTuple):
    """What the convolutions see.

    Attributes:
        half: (N, 32, ·, ·) before the first pooling.
        quarter: (N, 64, ·, ·) before the second pooling.
        last: (N, 256, h, w); position (i, j) is centred on image pixel 4 i + 32, 4 j + 32.
    """

    half: Tensor
    quarter: Tensor
    last: Tensor


@ARCH_REGISTRY.register()
class IlluminantCNN(nn.Module):
    """Five convolutions without padding, one global pooling, two linear layers.

    Input is (N, 3, H, W) in [0, 1], at least 65 x 65; output is (N, ``num_classes``) logits. Global max pooling looks
    at the strongest position only; weighting by a learnt confidence is the remedy of Hu, Wang and Lin, "FC4: Fully
    convolutional color constancy with confidence-weighted pooling", CVPR 2017.

    Args:
        num_classes: Number of classes of light.
        pool: ``max``, ``avg``, or ``confidence``: the mean weighted by a learnt map.
        dropout: Share of the hidden units dropped in training.
        statistics: Add what a small network makes of the picture's statistics, those of grey-world, shades-of-grey,
            white-patch and grey-edge, to the logits. Convolutions need very many pictures to find them by themselves.

    Raises:
        ValueError: ``pool`` is none of these, or the input is too small.
    """

    def __init__(
        self,
        num_classes: int = 5,
        pool: Literal["max", "avg", "confidence"] = "max",
        dropout: float = 0.25,
        statistics: bool = False,
    ) -> None:
        super().__init__()
        if pool not in ("max", "avg", "confidence"):
            raise ValueError(f"pool must be max, avg or confidence, got '{pool}'")
        self.num_classes, self.pool = num_classes, pool
        self.stage1 = _block(3, 32, 10)
        self.stage2 = _block(32, 64, 7)
        self.stage3 = nn.Sequential(_block(64, 96, 5), _block(96, 128, 5), _block(128, 256, 3))
        self.confidence = nn.Conv2d(256, 1, 1) if pool == "confidence" else None
        self.hidden = nn.Linear(256, 1024)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(1024, num_classes)
        self.statistics = _statistics_head(num_classes) if statistics else None
        if statistics:  # the convolutions begin with nothing to say, and add to the statistics what they find
            nn.init.zeros_(self.classify.weight)
            nn.init.zeros_(self.classify.bias)

    def features(self, image: Tensor) -> Features:
        """The feature maps of an image (N, 3, H, W)."""
        if min(image.shape[-2:]) < SMALLEST:
            height, width = image.shape[-2:]
            raise ValueError(f"IlluminantCNN needs images of at least {SMALLEST} x {SMALLEST}, got {height} x {width}")
        half = self.stage1(image)
        quarter = self.stage2(functional.max_pool2d(half, 2))
        return Features(half, quarter, self.stage3(functional.max_pool2d(quarter, 2)))

    def weights(self, last: Tensor) -> Tensor:
        """Share of each position in the pooled feature, (N, 1, h, w), of sum 1; uniform unless ``pool: confidence``."""
        count, _, height, width = last.shape
        if self.confidence is None:
            return last.new_full((count, 1, height, width), 1 / (height * width))
        return self.confidence(last).flatten(2).softmax(-1).view(count, 1, height, width)

    def head(self, pooled: Tensor) -> Tensor:
        """Logits (..., ``num_classes``) of pooled features (..., 256)."""
        logits: Tensor = self.classify(self.dropout(functional.relu(self.hidden(pooled))))
        return logits

    def pooled(self, last: Tensor) -> Tensor:
        """(N, 256) of the last feature map."""
        if self.pool == "max":
            return last.amax((2, 3))
        return (last * self.weights(last)).sum((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        logits, further = self.convolution_logits(image), self.statistics_logits(image)
        return logits if further is None else logits + further

    def convolution_logits(self, image: Tensor) -> Tensor:
        """The part of the logits that the convolutions find; all of them without ``statistics``."""
        return self.head(self.pooled(self.features(image).last))

    def statistics_logits(self, image: Tensor) -> Tensor | None:
        """The part of the logits that the picture's statistics give, at a small share of the cost; None without."""
        return None if self.statistics is None else self.statistics(light_statistics(image))

    @torch.no_grad()
    def position_logits(self, last: Tensor) -> Tensor:
        """What the head says of each position by itself, (N, ``num_classes``, h, w)."""
        return self.head(last.movedim(1, -1)).movedim(-1, 1)


def _statistics_head(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm1d(STATISTICS),
        nn.Linear(STATISTICS, 128),
        nn.ReLU(inplace=True),
        nn.Linear(128, 128),
        nn.ReLU(inplace=True),
        nn.Linear(128, num_classes),
    )


def light_statistics(image: Tensor) -> Tensor:
    """What the classical methods say of a picture's light, as log R/G and log B/G.

    Grey-world, shades-of-grey (p = 6), white-patch and grey-edge (van de Weijer, Gevers and Gijsenij, TIP 2007), of the
    values as they are and of their power 2.2, which makes sRGB about linear. Clipped pixels do not count.

    Args:
        image: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 16).
    """
    valid = image.amax(1, keepdim=True) < CLIPPED
    found = []
    for power in (1.0, 2.2):
        values = image.clamp(min=0).pow(power) * valid
        across = (values[..., 1:] - values[..., :-1]).abs() * (valid[..., 1:] & valid[..., :-1])
        down = (values[..., 1:, :] - values[..., :-1, :]).abs() * (valid[..., 1:, :] & valid[..., :-1, :])
        count = valid.sum((2, 3)).clamp(min=1)
        found += [
            values.sum((2, 3)) / count,
            (values.pow(6).sum((2, 3)) / count).clamp(min=DARK**6).pow(1 / 6),
            values.amax((2, 3)),
            (across.sum((2, 3)) + down.sum((2, 3))) / (2 * count),
        ]
    logs = (torch.stack(found, 1) + DARK).log()
    return torch.cat([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], 1)


def _block(inside: int, outside: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, kernel), nn.BatchNorm2d(outside), nn.ReLU(inplace=True))
