"""Global statistics of a picture's tones and colours, as numbers that a network or a regression can use."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

GRID = 48
"""Pictures are averaged to this many pixels a side first, so that noise and size matter little."""
QUANTILES = 17
BINS = 12
"""Bins a side of the histogram of log-chromaticities."""
_REACH = 1.2
_FLOOR = 0.02
_PLANES = 7
COUNT = _PLANES * QUANTILES + BINS * BINS
"""How many numbers :func:`color_statistics` gives."""


def color_statistics(image: Tensor) -> Tensor:
    """Quantiles of R, G, B, luma, chroma and the two log-chromaticities, and a histogram of the latter.

    The histogram of log-chromaticities is what makes a cast a shift (J. Barron, "Convolutional color constancy", ICCV
    2015); each pixel counts by its luma, because the colour of a dark one is uncertain.

    Args:
        image: (N, 3, H, W), sRGB in [0, 1].

    Returns:
        (N, ``COUNT``), float32, of the order of 1.
    """
    small = functional.interpolate(image.float(), size=(GRID, GRID), mode="bilinear", antialias=False)
    red, green, blue = small.flatten(2).unbind(1)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    chroma = torch.maximum(torch.maximum(red, green), blue) - torch.minimum(torch.minimum(red, green), blue)
    logs = (small.flatten(2) + _FLOOR).log()
    warm, cool = logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1]
    planes = torch.stack([red, green, blue, luma, 2 * chroma, 2 * warm, 2 * cool], 1)
    ordered = planes.sort(-1).values
    places = torch.linspace(0, GRID * GRID - 1, QUANTILES, device=image.device).round().long()
    quantiles = ordered[..., places].flatten(1)
    return torch.cat([quantiles - 0.4, 10 * _histogram(warm, cool, luma)], 1)


def _histogram(warm: Tensor, cool: Tensor, weight: Tensor) -> Tensor:
    """Shares of a smooth histogram, (N, BINS²): triangles as wide as two bins."""
    centers = torch.linspace(-_REACH, _REACH, BINS, device=warm.device)
    step = 2 * _REACH / (BINS - 1)
    rows = (1 - (warm[:, None].clamp(-_REACH, _REACH) - centers[:, None]).abs() / step).clamp(min=0)
    columns = (1 - (cool[:, None].clamp(-_REACH, _REACH) - centers[:, None]).abs() / step).clamp(min=0)
    counts = torch.matmul(rows * weight[:, None], columns.transpose(1, 2))
    return (counts / weight.sum(1).clamp(min=1e-3)[:, None, None]).flatten(1)
