"""Other surfaces under the same light: augmentation for training sets of few photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from plugins.illuminant.light_images import from_linear, to_linear

Array = np.ndarray[Any, Any]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Rec. 709 weights of linear sRGB."""
SATURATIONS = (math.log(0.4), math.log(1.6))
"""Least and largest logarithm of the saturation's factor that training draws."""


def vary_reflectances(
    image: Array, light: Sequence[float] | Array, hue_degrees: float, saturation: float, encoding: str
) -> Array:
    """Turn the colours of all surfaces about the grey axis and change their saturation.

    What is grey under the light stays grey under it, so the answer does not change; everything else becomes a scene of
    other colours, which no network can know by heart.

    Args:
        image: (H, W, 3) float RGB in [0, 1] in ``encoding``.
        light: (3,) linear light it was taken under, of any scale.
        hue_degrees: How far all hues turn.
        saturation: Factor on the distance from grey.
        encoding: ``srgb`` or ``linear``.

    Returns:
        (H, W, 3) float32 in the same encoding, clipped to [0, 1].

    Raises:
        ValueError: The light is not positive, or ``saturation`` is negative.
    """
    gains = np.asarray(light, dtype=np.float64)
    if gains.shape != (3,) or not np.isfinite(gains).all() or (gains <= 0).any():
        raise ValueError(f"a light is three positive numbers, got {gains.tolist()}")
    if not saturation >= 0:
        raise ValueError(f"saturation must not be negative, got {saturation}")
    gains = gains / gains.max()
    linear = to_linear(np.asarray(image, dtype=np.float32), encoding)
    mix = np.diag(gains) @ about_grey(math.radians(hue_degrees), saturation) @ np.diag(1 / gains)
    changed = np.clip(linear @ mix.T.astype(np.float32), 0, 1)
    return from_linear(changed, encoding).astype(np.float32, copy=False)


def about_grey(angle: float, saturation: float) -> Array:
    """Matrix (3, 3) for linear RGB: a turn by ``angle`` radians about (1, 1, 1), then the distance from grey times
    ``saturation``."""
    axis = np.full(3, 1 / math.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)  # Rodrigues
    grey = np.tile(_LUMINANCE, (3, 1))
    return (grey + saturation * (np.eye(3) - grey)) @ turn
