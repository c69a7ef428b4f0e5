"""White balance by a light or by a map of lights: von Kries' diagonal change, in linear light."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from plugins.color_science import apply_to_arrays, linear_to_srgb, srgb_to_linear
from plugins.illuminant.illuminant_map import green_one

Array = np.ndarray[Any, Any]
Keep = Literal["luminance", "mean", "none"]
KEEP = ("luminance", "mean", "none")

MAX_GAIN = 8.0
"""No channel is changed by more than this factor or its inverse: a map that fails must not blow up noise."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Relative luminance of linear sRGB (ITU-R BT.709). In a camera's own RGB it is a stand-in for it."""
_CLIP_FROM = 0.94
"""A channel counts as clipped from here on, fully so at 1."""
_FULL_SPREAD = 0.1
"""Highlights are treated in full from this difference between the largest and smallest gain on."""


def gains(light: Array, max_gain: float = MAX_GAIN) -> Array:
    """The factors that make a light neutral, green 1.

    Args:
        light: (..., 3), linear light, positive, of any scale.
        max_gain: Largest factor; its inverse is the smallest.

    Returns:
        (..., 3) float32.

    Raises:
        ValueError: A light is not positive and finite, or ``max_gain`` is below 1.
    """
    if max_gain < 1:
        raise ValueError(f"max_gain must be at least 1, got {max_gain}")
    return np.clip(1 / green_one(light), 1 / max_gain, max_gain).astype(np.float32)


def balance(image: Array, light: Array, keep: Keep = "luminance", max_gain: float = MAX_GAIN) -> Array:
    """Take the colour of the light out of a picture.

    Every pixel is divided by its light (von Kries, in the RGB that the picture is in). A clipped channel has lost its
    ratio to the others, so it is raised until the pixel is as neutral as its other channels allow: a blown highlight
    becomes white, not pink, while a saturated colour of which one channel is clipped stays that colour. What leaves
    [0, 1] is mixed with the grey of its luminance until it fits, which keeps hue and luminance.

    Args:
        image: (H, W, 3) linear light in [0, 1], RGB.
        light: (H, W, 3) or (3,): the light in linear light, positive, of any scale.
        keep: ``luminance``: each pixel keeps its relative luminance Y; ``mean``: the picture keeps its mean Y, by one
            factor, so that surfaces keep the ratios that the division gives them; ``none``: green is left as it is.
        max_gain: Bound of the gains.

    Returns:
        (H, W, 3) float32 in [0, 1]. Neutral light changes nothing.

    Raises:
        ValueError: Shapes do not fit, values are not finite or outside [0, 1], or a light is not positive.
    """
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"the picture has the shape {pixels.shape}; (H, W, 3) is needed")
    if np.shape(light) not in ((3,), pixels.shape):
        raise ValueError(f"a light of shape {np.shape(light)} does not fit a picture of {pixels.shape}")
    if not np.isfinite(pixels).all() or pixels.size and (pixels.min() < 0 or pixels.max() > 1):
        raise ValueError("the picture's values must be finite and in [0, 1]")
    if keep not in KEEP:
        raise ValueError(f"keep must be one of {', '.join(KEEP)}, got '{keep}'")
    factors = gains(light, max_gain)
    balanced = _raise_clipped(pixels, pixels * factors, factors)
    before, after = pixels @ LUMINANCE, balanced @ LUMINANCE
    if keep == "luminance":
        balanced *= np.where(after > 0, before / np.maximum(after, 1e-12), 1.0)[..., None]
    elif keep == "mean" and after.any():
        balanced *= np.float32(before.mean(dtype=np.float64) / after.mean(dtype=np.float64))
    return _into_gamut(balanced)


def _raise_clipped(pixels: Array, balanced: Array, factors: Array) -> Array:
    """Raise clipped channels to the least balanced channel that is not clipped; to the largest where all are."""
    spread = factors.max(-1) / factors.min(-1) - 1
    strength = np.clip(spread / _FULL_SPREAD, 0, 1)[..., None]
    clipped = _smooth((pixels - _CLIP_FROM) / (1 - _CLIP_FROM)) * strength
    top = balanced.max(-1, keepdims=True)
    level = (balanced + clipped * (top - balanced)).min(-1, keepdims=True)
    return np.maximum(balanced, balanced + clipped * (level - balanced))


def _smooth(x: Array) -> Array:
    t = np.clip(x, 0, 1)
    return t * t * (3 - 2 * t)


def _into_gamut(linear: Array) -> Array:
    """Mix what is above 1 with the grey of its luminance until it fits."""
    top = linear.max(-1, keepdims=True)
    if top.size == 0 or top.max() <= 1:
        return linear
    grey = np.minimum(linear @ LUMINANCE, 1)[..., None]
    share = np.where(top > 1, (1 - grey) / np.maximum(top - grey, 1e-12), 1)
    return np.clip(grey + (linear - grey) * share, 0, 1) * (top > 1) + linear * (top <= 1)


def balance_picture(
    picture: Array, light: Array, encoding: str = "srgb", keep: Keep = "luminance", max_gain: float = MAX_GAIN
) -> Array:
    """:func:`balance` for pictures as they are stored.

    Args:
        picture: (H, W, 3) uint8, uint16, or floats in [0, 1], RGB.
        light: (H, W, 3) or (3,), in linear light.
        encoding: ``srgb``: the picture has the sRGB curve, which is undone and applied again; ``linear``: it has none.
        keep: See :func:`balance`.
        max_gain: The same.

    Returns:
        The picture's shape and type; whole numbers are rounded.

    Raises:
        ValueError: See :func:`balance`; or the encoding is neither.
    """
    if encoding not in ("srgb", "linear"):
        raise ValueError(f"encoding must be srgb or linear, got '{encoding}'")
    whole = picture.dtype.kind == "u"
    top = np.iinfo(picture.dtype).max if whole else 1
    values = picture.astype(np.float32) / np.float32(top)
    linear = np.clip(apply_to_arrays(srgb_to_linear, values), 0, 1) if encoding == "srgb" else values
    result = balance(linear, light, keep, max_gain)
    if encoding == "srgb":
        result = np.clip(apply_to_arrays(linear_to_srgb, result), 0, 1)
    return np.rint(result * top).astype(picture.dtype) if whole else result.astype(picture.dtype)
