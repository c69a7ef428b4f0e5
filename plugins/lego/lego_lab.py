"""What colour the brick is and what colour its background: a few numbers that say more of it than a CNN's features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from plugins.color_science.spaces import linear_to_srgb, rgb_to_lab, srgb_to_linear

LAB_FEATURES = 16
_BORDER = 0.06
_NEAR = 8.0
"""Lab distance within which a pixel is background."""
_CENTER_SIGMA = 0.35
_LEAST_LIGHT = 0.05
_LARGE, _POOL = 96, 4


def lab_statistics(image: Tensor) -> Tensor:
    """Colours of brick and background.

    The background is the border of the picture without what differs from the rest of it; the brick is what differs from
    the background, more so in the middle. Nothing here is learnt.

    Args:
        image: (N, 3, H, W) sRGB in [0, 1].

    Returns:
        (N, 16): Lab of background, of brick, their difference, the brick's spread, Lab of the brick with the background
        made white, and the share of the picture that is brick; all divided by 100.
    """
    if min(image.shape[-2:]) >= _LARGE:
        image = functional.avg_pool2d(image, _POOL)  # the same figures for a sixteenth of the work
    count, _, height, width = image.shape
    linear = srgb_to_linear(image)
    lab = rgb_to_lab(image)
    border = _border_weight(height, width, image)
    background = _mean(lab, border)
    for _ in range(2):
        border_now = border * _closeness(lab, background)
        background = _mean(lab, border_now)
    center = _center_weight(height, width, image)
    inside = (1 - _closeness(lab, background)) * center
    weight = inside + 1e-3 * center
    brick = _mean(lab, weight)
    spread = (_mean((lab - brick) ** 2, weight) + 1e-4).sqrt()
    white = _mean(linear, border * _closeness(lab, background)).clamp(min=_LEAST_LIGHT)
    # Paper of 90 % reflectance under the light of the picture.
    balanced = (_mean(linear, weight) / white * 0.9).clamp(0, 1)
    relative = rgb_to_lab(linear_to_srgb(balanced))
    share = inside.mean((2, 3), keepdim=True) * 100
    parts = (background, brick, brick - background, spread, relative, share)
    return torch.cat([part.reshape(count, -1) for part in parts], 1) / 100


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the picture, (N, C, 1, 1)."""
    return (values * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-6)


def _closeness(lab: Tensor, color: Tensor) -> Tensor:
    """1 where a pixel has the colour, falling to 0 over some Lab units, (N, 1, H, W)."""
    distance = ((lab - color) ** 2).sum(1, keepdim=True)
    return torch.exp(-distance / (2 * _NEAR**2)) + 1e-6


def _border_weight(height: int, width: int, like: Tensor) -> Tensor:
    weight = torch.ones(1, 1, height, width, device=like.device, dtype=like.dtype)
    rows, columns = max(1, round(height * _BORDER)), max(1, round(width * _BORDER))
    weight[:, :, rows : height - rows, columns : width - columns] = 0
    return weight


def _center_weight(height: int, width: int, like: Tensor) -> Tensor:
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)[:, None]
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)[None]
    return torch.exp(-(x**2 + y**2) / (2 * (2 * _CENTER_SIGMA) ** 2))[None, None]
