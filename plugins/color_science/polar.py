"""Chroma, hue angle and angular error with gradients that stay finite where the angle is undefined."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plugins.color_science.components import rgb_to_ycbcr
from plugins.color_science.numeric import full_precision, safe_hypot, safe_sqrt
from plugins.color_science.spaces import rgb_to_lab, rgb_to_oklab

CHROMA_SPACES = ("ycbcr", "lab", "oklab")


@full_precision
def chroma_vector(rgb: Tensor, space: str = "ycbcr") -> Tensor:
    """The two chromatic coordinates of an sRGB image, with grey at the origin.

    Args:
        rgb: (..., 3, H, W), sRGB in [0, 1].
        space: ``ycbcr`` (Cb - 0.5, Cr - 0.5: range [-0.5, 0.5]), ``lab`` (a*, b*) or ``oklab`` (a, b).

    Returns:
        (..., 2, H, W).

    Raises:
        ValueError: If ``space`` is none of these.
    """
    if space == "ycbcr":
        return rgb_to_ycbcr(rgb).narrow(-3, 1, 2) - 0.5
    if space == "lab":
        return rgb_to_lab(rgb).narrow(-3, 1, 2)
    if space == "oklab":
        return rgb_to_oklab(rgb).narrow(-3, 1, 2)
    raise ValueError(f"space must be one of {', '.join(CHROMA_SPACES)}, got '{space}'")


@full_precision
def chroma(vector: Tensor, eps: float = 0.0) -> Tensor:
    """Length of a chroma vector (..., 2, H, W), or ``sqrt(u² + v² + eps²)`` for a smooth one. Returns (..., H, W).

    With ``eps`` 0 the gradient at grey is 0; it is never NaN.
    """
    u, v = _pair(vector)
    return safe_hypot(u, v, eps)


@full_precision
def hue_angle(vector: Tensor, floor: float = 1e-4) -> Tensor:
    """Angle of a chroma vector in radians.

    Args:
        vector: (..., 2, H, W).
        floor: Chroma up to which a colour counts as grey; rounding alone gives white a chroma of 1e-5 in CIELAB.

    Returns:
        (..., H, W) in (-π, π]; 0 with gradient 0 at grey. The gradient grows as 1 / chroma up to 1 / ``floor``: weight
        it by chroma in a loss.
    """
    u, v = _pair(vector)
    defined = (u * u + v * v) > floor * floor
    angle = torch.atan2(torch.where(defined, v, torch.zeros_like(v)), torch.where(defined, u, torch.ones_like(u)))
    return torch.where(defined, angle, torch.zeros_like(angle))


@full_precision
def hue_difference(first: Tensor, second: Tensor) -> Tensor:
    """Signed circular difference ``second - first`` of two angles in radians, wrapped to [-π, π]."""
    difference = second - first
    return difference - 2 * math.pi * torch.round(difference / (2 * math.pi))


@full_precision
def angular_error(first: Tensor, second: Tensor, dim: int = -1) -> Tensor:
    """Angle between vectors in degrees, [0, 180]; any number of components, any scale.

    Uses Kahan's ``2 atan2(|u - v|, |u + v|)`` of the unit vectors, exact for nearly parallel vectors where the arc
    cosine has no correct digit left and an infinite gradient. A zero vector has no direction: the angle is then 90.

    Args:
        first: Vectors along ``dim``.
        second: Vectors along ``dim``, same shape.
        dim: The dimension of the components.

    Returns:
        The shape without ``dim``.
    """
    u, v = _unit(first, dim), _unit(second, dim)
    apart = safe_sqrt(((u - v) ** 2).sum(dim))
    along = safe_sqrt(((u + v) ** 2).sum(dim))
    undefined = (apart == 0) & (along == 0)
    angle = 2 * torch.atan2(apart, torch.where(undefined, torch.ones_like(along), along))
    return torch.rad2deg(torch.where(undefined, torch.full_like(angle, math.pi / 2), angle))


def _unit(vector: Tensor, dim: int) -> Tensor:
    peak = vector.abs().amax(dim, keepdim=True).detach()
    scaled = vector / torch.where(peak > 0, peak, torch.ones_like(peak))
    length = safe_sqrt((scaled * scaled).sum(dim, keepdim=True))
    return scaled / torch.where(length > 0, length, torch.ones_like(length))


def _pair(vector: Tensor) -> tuple[Tensor, Tensor]:
    if vector.dim() < 3 or vector.shape[-3] != 2:
        raise ValueError(f"a chroma vector must have shape (..., 2, H, W), got {tuple(vector.shape)}")
    u, v = vector.unbind(-3)
    return u, v
