"""Bricks off their plain background, and other backgrounds for them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from plugins.lego.lego_resize import border_color

Array = np.ndarray[Any, Any]

_TOLERANCE = 14
_SMALLEST, _LARGEST = 0.2, 0.98
_PLAIN_BORDER = 0.9


def background_mask(pixels: Array) -> Array | None:
    """Where the plain background is: near the colour of the border and connected with it.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) float32 from 0 (brick) to 1, with a soft edge; None where the border is not plain, or what is left of
        the picture is next to nothing or nearly all of it.
    """
    edge = border_color(pixels).astype(np.int16)
    near = cv2.inRange(pixels, (edge - _TOLERANCE).astype(np.float64), (edge + _TOLERANCE).astype(np.float64))
    border = np.concatenate([near[0], near[-1], near[:, 0], near[:, -1]])
    if (border > 0).mean() < _PLAIN_BORDER:
        return None
    # A frame of background joins what touches the picture's edge; one fill finds all of it.
    framed = cv2.copyMakeBorder(near, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=255)
    cv2.floodFill(framed, None, (0, 0), 128)
    mask = (framed[1:-1, 1:-1] == 128).astype(np.float32)
    if not _SMALLEST <= mask.mean() <= _LARGEST:
        return None
    return np.asarray(cv2.blur(mask, (3, 3)))


def replace_background(pixels: Array, background: Array) -> Array | None:
    """The brick on another background, its shadow kept as far as it belongs to the brick's mask.

    Args:
        pixels: (S, S, 3) uint8 RGB.
        background: (S, S, 3) uint8 RGB.

    Returns:
        A new picture, or None where there is no plain background (see :func:`background_mask`).
    """
    mask = background_mask(pixels)
    if mask is None:
        return None
    return np.asarray(cv2.blendLinear(background, np.ascontiguousarray(pixels), mask, 1 - mask))


def new_background(rng: np.random.Generator, size: int) -> Array:
    """A background that a table may be: one colour, a slope of light, or blotches of a few scales.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    bright = rng.uniform(30, 250)
    color = np.clip(bright + rng.normal(0, 18, 3), 0, 255)
    kind = rng.integers(0, 3)
    if kind == 0:
        return np.full((size, size, 3), color.round(), np.uint8)
    coarse = np.zeros((4, 4, 3), np.float32) + color.astype(np.float32)
    if kind == 1:
        slope = np.linspace(-1, 1, 4, dtype=np.float32)
        along, across = rng.uniform(-45, 45, 2)
        coarse += (along * slope[:, None] + across * slope[None])[..., None].astype(np.float32)
        return _enlarged(coarse, size)
    result = np.zeros((size, size, 3), np.float32)
    result += color.astype(np.float32)
    for cells, amount in ((4, rng.uniform(5, 40)), (16, rng.uniform(2, 20)), (56, rng.uniform(0, 14))):
        grain = rng.normal(0, amount, (cells, cells, 1)).astype(np.float32)
        result += cv2.resize(grain, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    return result.clip(0, 255).astype(np.uint8)


def _enlarged(coarse: Array, size: int) -> Array:
    large = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large.clip(0, 255).astype(np.uint8))
