"""What colour the brick has beside its background: a few numbers that say more of it than a CNN's features.

The brick's Lab values are taken with the background made white (von Kries in linear sRGB), so most of the light's own
colour is gone from them; absolute values are left out, because they name the light as much as the brick.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from plugins.color_science.spaces import linear_to_srgb, rgb_to_lab, srgb_to_linear

LAB_FEATURES = 16
_BORDER = 0.06
_NEAR = 14.0
"""Lab distance within which a pixel is background."""
_BRIGHTER = 10.0
"""The background is sought among the brighter pixels of the border: shadows and the brick itself are darker."""
_SAME = 15.0
_HALVES = 15.0
_CENTER_SIGMA = 0.7
_PAPER = 0.9
_LEAST_LIGHT = 0.05
_LARGE, _POOL = 96, 4


def lab_statistics(image: Tensor) -> Tensor:
    """Colours of the brick relative to its background.

    The background is the brighter part of the picture's border; the brick is what differs from it, more so in the
    middle. Nothing here is learnt.

    Args:
        image: (N, 3, H, W) sRGB in [0, 1].

    Returns:
        (N, 16), divided by 100. Lab with the background made white: (0-2) the commonest colour of the brick, (3-5) its
        lighter half, (6-8) its darker half, (9-11) its mean, (12-14) its spread; (15) the share of the picture.
    """
    if min(image.shape[-2:]) >= _LARGE:
        image = functional.avg_pool2d(image, _POOL)  # the same figures for a sixteenth of the work
    count, _, height, width = image.shape
    lab, linear = rgb_to_lab(image), srgb_to_linear(image)
    lightness = lab[:, :1]
    border = _border_weight(height, width, image)
    bright = border * torch.exp((lightness - lightness.amax((2, 3), keepdim=True)) / _BRIGHTER)
    background = _mean(lab, bright)
    for _ in range(2):
        background = _mean(lab, bright * _closeness(lab, background, _NEAR))
    near = _closeness(lab, background, _NEAR)
    white = _mean(linear, bright * near).clamp(min=_LEAST_LIGHT)
    relative = rgb_to_lab(linear_to_srgb((linear / white * _PAPER).clamp(0, 1)))
    center = _center_weight(height, width, image)
    inside = (1 - near) * center
    weight = inside + 1e-3 * center  # a white brick on white paper still has a colour
    mean = _mean(relative, weight)
    spread = (_mean((relative - mean) ** 2, weight) + 1e-4).sqrt()
    commonest = mean
    for _ in range(3):
        commonest = _mean(relative, weight * _closeness(relative, commonest, _SAME))
    rise = ((relative[:, :1] - mean[:, :1]) / _HALVES).clamp(-6, 6)
    lighter, darker = _mean(relative, weight * torch.exp(rise)), _mean(relative, weight * torch.exp(-rise))
    share = inside.mean((2, 3), keepdim=True) * 100
    parts = (commonest, lighter, darker, mean, spread, share)
    return torch.cat([part.reshape(count, -1) for part in parts], 1) / 100


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the picture, (N, C, 1, 1)."""
    return (values * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-6)


def _closeness(lab: Tensor, color: Tensor, width: float) -> Tensor:
    """1 where a pixel has the colour, falling to nearly 0 over some Lab units, (N, 1, H, W)."""
    distance = ((lab - color) ** 2).sum(1, keepdim=True)
    return torch.exp(-distance / (2 * width**2)) + 1e-6


def _border_weight(height: int, width: int, like: Tensor) -> Tensor:
    weight = torch.ones(1, 1, height, width, device=like.device, dtype=like.dtype)
    rows, columns = max(1, round(height * _BORDER)), max(1, round(width * _BORDER))
    weight[:, :, rows : height - rows, columns : width - columns] = 0
    return weight


def _center_weight(height: int, width: int, like: Tensor) -> Tensor:
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)[:, None]
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)[None]
    return torch.exp(-(x**2 + y**2) / (2 * _CENTER_SIGMA**2))[None, None]
