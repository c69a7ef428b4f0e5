"""Augmentation for illuminant estimation: crops, and exact changes of the light."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from plugins.illuminant.light_images import from_linear, to_linear

Array = np.ndarray[Any, Any]

BLOWN_FROM, BLOWN_AT = 0.92, 0.98
"""Linear values of a pixel's darkest channel: it counts as blown out from the first on, wholly at the second."""
_ASPECT = 4 / 3
_TRIES = 10


def augment_image_crop_resize(image: Array, size: int, scale: Sequence[float], rng: random.Random) -> Array:
    """Cut a random part out and bring it to a square.

    Args:
        image: (H, W, 3), any type that OpenCV resizes.
        size: Edge of the result.
        scale: Smallest and largest share of the image's area; the part's aspect is between 3:4 and 4:3.
        rng: The source of chance.

    Returns:
        (size, size, 3) of the same type.

    Raises:
        ValueError: ``scale`` is not two rising numbers in (0, 1], or ``size`` is not positive.
    """
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale must be two rising numbers from above 0 to 1, got {list(scale)}")
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        area = rng.uniform(*scale) * height * width
        aspect = math.exp(rng.uniform(-math.log(_ASPECT), math.log(_ASPECT)))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            break
    else:
        h = w = max(1, min(height, width, round(math.sqrt(scale[1] * height * width))))
    top, left = rng.randint(0, height - h), rng.randint(0, width - w)
    return resize_square(image[top : top + h, left : left + w], size)


def resize_square(image: Array, size: int) -> Array:
    """Squeeze (H, W, 3) into a square: averaging areas where it shrinks, linearly where it grows.

    Raises:
        ValueError: ``size`` is not positive.
    """
    if size < 1:
        raise ValueError(f"size must be positive, got {size}")
    shrinks = min(image.shape[:2]) >= size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=interpolation)


def relight_gains(light: Sequence[float] | Array, new_light: Sequence[float] | Array) -> Array:
    """Factors (3,) that turn one light into another in linear light, the largest of them 1.

    Raises:
        ValueError: A light is not three positive finite numbers.
    """
    old, new = (np.asarray(v, dtype=np.float64) for v in (light, new_light))
    for value in (old, new):
        if value.shape != (3,) or not np.isfinite(value).all() or (value <= 0).any():
            raise ValueError(f"a light is three positive numbers, got {value.tolist()}")
    gains = new / old
    return gains / gains.max()


def create_augmented_image(
    image: Array,
    light: Sequence[float] | Array,
    new_light: Sequence[float] | Array,
    encoding: str,
    exposure: float = 1.0,
) -> tuple[Array, Array]:
    """Show an image under another light: von Kries gains in linear light.

    What the sensor cut off is not known, so two rules hold. The largest gain is 1: at ``exposure`` 1 nothing clips that
    was not clipped. And a blown-out pixel, all three channels of which are at the limit, stays at the limit, as under
    any light that is bright enough to blow it out; scaled, it would show the new light's colour without any noise and
    every photo would carry its answer. From ``BLOWN_FROM`` to ``BLOWN_AT`` one goes over into the other. A pixel with
    one or two clipped channels is scaled like the others.

    Args:
        image: (H, W, 3) float RGB in [0, 1] in ``encoding``.
        light: (3,) linear light it was taken under, of any scale.
        new_light: (3,) linear light to show it under.
        encoding: ``srgb`` or ``linear``.
        exposure: Factor on all gains; above 1 bright pixels clip, as in an overexposed photo.

    Returns:
        The image, (H, W, 3) float32 in the same encoding and [0, 1], and its light, (3,) float64 of sum 1.

    Raises:
        ValueError: A light is not positive, or the exposure is not.
    """
    if not (math.isfinite(exposure) and exposure > 0):
        raise ValueError(f"exposure must be positive, got {exposure}")
    gains = relight_gains(light, new_light) * exposure
    linear = to_linear(np.asarray(image, dtype=np.float32), encoding)
    changed = linear * gains.astype(np.float32)
    darkest = linear.min(axis=-1, keepdims=True)
    blown = np.clip((darkest - BLOWN_FROM) / (BLOWN_AT - BLOWN_FROM), 0, 1)
    if blown.any():
        changed += blown * (1 - changed)
    target = np.asarray(new_light, dtype=np.float64)
    encoded = from_linear(np.clip(changed, 0, 1), encoding)
    return encoded.astype(np.float32, copy=False), target / target.sum()
