"""The light of a picture from its statistics alone: the methods that anything learnt has to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
Method = Callable[[Array, "Array | None"], Array]

SATURATED = 0.98
"""A pixel with a channel from here on is not used: what the sensor cut off has lost the light's colour."""
EDGE_SIGMA, EDGE_POWER = 1.0, 1.0
_LEAST = 1e-4
"""Smallest channel of an answer, as a share of its largest: a light has some of every channel."""


def grey_world(image: Array, mask: Array | None = None) -> Array:
    """The mean colour: the world is grey on average (Buchsbaum, "A spatial processor model for object colour
    perception", 1980).

    Args:
        image: (H, W, 3) linear RGB in [0, 1].
        mask: (H, W) bool, True where a pixel may be used; None: everywhere. Saturated pixels are never used.

    Returns:
        The light, (3,) float64 of sum 1.

    Raises:
        ValueError: Wrong shapes, values that are not finite, or no pixel that can be used.
    """
    return _minkowski(_usable(image, mask), 1.0)


def white_patch(image: Array, mask: Array | None = None, percentile: float = 100.0) -> Array:
    """The largest value of each channel: something reflects it wholly (Land, "The retinex theory of color vision",
    1977).

    Args:
        image: As :func:`grey_world`.
        mask: As :func:`grey_world`.
        percentile: Of each channel's values; a little less than 100 does not listen to single pixels.

    Returns:
        As :func:`grey_world`.
    """
    return _direction(np.percentile(_usable(image, mask), percentile, axis=0))


def shades_of_grey(image: Array, mask: Array | None = None, power: float = 6.0) -> Array:
    """The Minkowski mean, between grey-world (1) and white-patch (infinity); Finlayson and Trezzi, "Shades of gray and
    colour constancy", 2004.

    Args:
        image: As :func:`grey_world`.
        mask: As :func:`grey_world`.
        power: The exponent, at least 1.

    Returns:
        As :func:`grey_world`.
    """
    return _minkowski(_usable(image, mask), power)


def grey_edge(image: Array, mask: Array | None = None, power: float = EDGE_POWER, sigma: float = EDGE_SIGMA) -> Array:
    """The Minkowski mean of the gradients: differences are grey on average (van de Weijer, Gevers and Gijsenij,
    "Edge-based color constancy", IEEE Transactions on Image Processing, 2007; first order).

    A gradient is used only where every pixel that it is made of is: the outline of a masked or saturated area is none
    of the scene's edges.

    Args:
        image: As :func:`grey_world`.
        mask: As :func:`grey_world`.
        power: The exponent, at least 1.
        sigma: Width of the Gaussian derivative in pixels, positive.

    Returns:
        As :func:`grey_world`; that of :func:`grey_world` where no gradient is left.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    valid = _valid(image, mask)
    radius = math.ceil(3 * sigma)
    inner = cv2.erode(valid.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8), borderValue=1).astype(bool)
    offsets = np.arange(-radius, radius + 1)
    smooth = np.exp(-(offsets**2) / (2 * sigma**2))
    smooth /= smooth.sum()
    slope = -offsets * smooth / sigma**2
    # what is not used must not spoil the sums of what is, were it infinite
    plain = np.where(valid[..., None], image, 0).astype(np.float64)
    across = cv2.sepFilter2D(plain, -1, slope, smooth, borderType=cv2.BORDER_REFLECT_101)
    down = cv2.sepFilter2D(plain, -1, smooth, slope, borderType=cv2.BORDER_REFLECT_101)
    strength = np.hypot(across, down)[inner]
    if strength.size == 0 or strength.max() <= 1e-9:
        return grey_world(image, mask)
    return _minkowski(strength, power)


METHODS: Mapping[str, Method] = MappingProxyType(
    {"grey-world": grey_world, "white-patch": white_patch, "shades-of-grey": shades_of_grey, "grey-edge": grey_edge}
)
"""The four by name, each with its default settings."""


def _valid(image: Array, mask: Array | None) -> Array:
    """(H, W) bool: allowed by the mask and not saturated."""
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must have shape (H, W, 3), got {image.shape}")
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(f"mask must have the image's shape {image.shape[:2]}, got {mask.shape}")
    allowed = np.ones(image.shape[:2], bool) if mask is None else mask.astype(bool)
    if not np.isfinite(image[allowed]).all():
        raise ValueError("the image holds values that are not finite")
    with np.errstate(invalid="ignore"):
        return allowed & (image.max(-1) < SATURATED)


def _usable(image: Array, mask: Array | None) -> Array:
    """(N, 3) float64 pixels."""
    pixels = image[_valid(image, mask)].astype(np.float64)
    if not len(pixels) or pixels.max() <= 0:
        raise ValueError("no pixel can be used: all are masked out, saturated or black")
    return np.maximum(pixels, 0)


def _minkowski(values: Array, power: float) -> Array:
    if not power >= 1:
        raise ValueError(f"power must be at least 1, got {power}")
    scaled = values / values.max()
    return _direction(np.mean(scaled**power, axis=0) ** (1 / power))


def _direction(rgb: Array) -> Array:
    if not rgb.max() > 0:
        raise ValueError("no pixel can be used: all are black")
    floor = np.maximum(rgb, _LEAST * rgb.max())
    return floor / floor.sum()
