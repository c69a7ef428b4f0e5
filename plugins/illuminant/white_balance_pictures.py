"""Pictures to look at: linear photos, illuminant maps, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from plugins.color_science import apply_to_arrays, linear_to_srgb
from plugins.illuminant.illuminant_map import green_one

Array = np.ndarray[Any, Any]

_BRIGHT, _PERCENTILE = 0.9, 99.0
_GAP = 8


def shown(linear: Array, exposure: float = 1.0) -> Array:
    """A linear picture (H, W, 3) with the sRGB curve, uint8.

    Args:
        linear: In [0, 1]; what ``exposure`` lifts above 1 is clipped.
        exposure: Factor on it.
    """
    lit = np.clip(np.asarray(linear, dtype=np.float32) * np.float32(exposure), 0, 1)
    return np.rint(np.clip(apply_to_arrays(linear_to_srgb, lit), 0, 1) * 255).astype(np.uint8)


def exposure_of(linear: Array) -> float:
    """The factor that brings a raw picture's bright parts (99th percentile of green) to 0.9; at least 1."""
    bright = float(np.percentile(linear[..., 1], _PERCENTILE)) if linear.size else 1.0
    return max(1.0, _BRIGHT / max(bright, 1e-3))


def light_picture(light: Array, valid: Array | None = None) -> Array:
    """An illuminant map as colours, uint8 (H, W, 3): the light that a white paper would show.

    Args:
        light: (H, W, 3), positive; scaled so that the largest channel of each pixel is 1.
        valid: (H, W); other pixels are black.
    """
    known: Array = np.asarray(np.isfinite(light).all(2) if valid is None else valid, dtype=bool)
    safe = np.where(known[..., None], light, 1.0)
    colors = green_one(safe)
    colors = colors / colors.max(2, keepdims=True)
    return shown(np.where(known[..., None], colors, 0.0))


def side_by_side(pictures: Sequence[Array]) -> Array:
    """Pictures (H, W, 3) uint8 of one height in a row, with a white gap."""
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    row: list[Array] = []
    for picture in pictures:
        row += [gap, picture] if row else [picture]
    return np.concatenate(row, axis=1)
