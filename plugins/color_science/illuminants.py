"""Colours of natural and artificial lights: the daylight and the Planckian locus, in linear sRGB."""

from __future__ import annotations

from typing import Any

import numpy as np

from plugins.color_science.spaces import XYZ_TO_RGB

Array = np.ndarray[Any, Any]

DAYLIGHT_RANGE = (4000.0, 25000.0)
"""Correlated colour temperatures, in kelvin, for which CIE 15 defines daylight."""
PLANCKIAN_RANGE = (1000.0, 15000.0)
"""Temperatures, in kelvin, for which Krystek's formula is made."""
SMALLEST_CHANNEL = 2e-3
"""Smallest share of a channel: deep orange and tinted lights leave the gamut of sRGB, but a light must be positive."""
DAYLIGHT_SHARE = 0.6
TINT_SPREAD = 0.006
_HALVINGS = 8
_JOIN = (4000.0, 5000.0)


def daylight_xy(cct: Array | float) -> Array:
    """Chromaticity of a phase of daylight (CIE 15:2004, section 3.1).

    Args:
        cct: Correlated colour temperature in kelvin, 4000 to 25000, of any shape (...).

    Returns:
        CIE 1931 (x, y), (..., 2), float64.

    Raises:
        ValueError: A temperature is outside the range.
    """
    t = _checked(cct, DAYLIGHT_RANGE, "daylight")
    low = ((-4.6070e9 / t + 2.9678e6) / t + 0.09911e3) / t + 0.244063
    high = ((-2.0064e9 / t + 1.9018e6) / t + 0.24748e3) / t + 0.237040
    x = np.where(t <= 7000, low, high)
    return np.stack([x, (-3.0 * x + 2.870) * x - 0.275], -1)


def planckian_xy(temperature: Array | float) -> Array:
    """Chromaticity of a black body, such as the filament of an incandescent lamp.

    M. Krystek, "An algorithm to calculate correlated colour temperature", Color Research & Application 10, 1985.

    Args:
        temperature: Kelvin, 1000 to 15000, of any shape (...).

    Returns:
        CIE 1931 (x, y), (..., 2), float64; within 0.0005 of the integral of Planck's law.

    Raises:
        ValueError: A temperature is outside the range.
    """
    t = _checked(temperature, PLANCKIAN_RANGE, "a black body")
    u = (0.860117757 + t * (1.54118254e-4 + t * 1.28641212e-7)) / (1 + t * (8.42420235e-4 + t * 7.08145163e-7))
    v = (0.317398726 + t * (4.22806245e-5 + t * 4.20481691e-8)) / (1 + t * (-2.89741816e-5 + t * 1.61456053e-7))
    return _uv_to_xy(np.stack([u, v], -1))


def _checked(cct: Array | float, limits: tuple[float, float], what: str) -> Array:
    t = np.asarray(cct, dtype=np.float64)
    if not ((t >= limits[0]) & (t <= limits[1])).all():
        raise ValueError(f"{what} has temperatures from {limits[0]:.0f} to {limits[1]:.0f} K, got {cct}")
    return t


def _uv_to_xy(uv: Array) -> Array:
    u, v = uv[..., 0], uv[..., 1]
    return np.stack([3 * u, 2 * v], -1) / (2 * u - 8 * v + 4)[..., None]


def _xy_to_uv(xy: Array) -> Array:
    x, y = xy[..., 0], xy[..., 1]
    return np.stack([4 * x, 6 * y], -1) / (-2 * x + 12 * y + 3)[..., None]


def _locus_uv(cct: Array) -> Array:
    """CIE 1960 (u, v): black body up to 4000 K, daylight from 5000 K, in between a mixture without a step."""
    warm = _xy_to_uv(planckian_xy(np.minimum(cct, _JOIN[1])))
    cool = _xy_to_uv(daylight_xy(np.maximum(cct, _JOIN[0])))
    share = np.clip((cct - _JOIN[0]) / (_JOIN[1] - _JOIN[0]), 0, 1)[..., None]
    return (1 - share) * warm + share * cool


def cct_to_linear_srgb(cct: Array | float, tint: Array | float = 0.0) -> Array:
    """Colour of a light of a given temperature, in linear sRGB.

    Args:
        cct: Kelvin, 1000 to 25000, of any shape: a black body up to 4000 K, daylight from 5000 K.
        tint: Distance from the locus in CIE 1960 (u, v), at right angles to it; positive is greenish, negative is
            pinkish. Broadcast against ``cct``. Lights sold as white lie within 0.006.

    Returns:
        (..., 3), float64, of sum 1. A channel that would be less than ``SMALLEST_CHANNEL`` of the sum, because the
        light lies outside the gamut, has that value.

    Raises:
        ValueError: A temperature is outside the range.
    """
    t, offset = np.broadcast_arrays(
        _checked(cct, (PLANCKIAN_RANGE[0], DAYLIGHT_RANGE[1]), "a light"), np.asarray(tint, dtype=np.float64)
    )
    step = t * 1e-3
    along = _locus_uv(np.minimum(t + step, DAYLIGHT_RANGE[1])) - _locus_uv(np.maximum(t - step, PLANCKIAN_RANGE[0]))
    along /= np.sqrt(np.square(along).sum(-1, keepdims=True))
    # towards higher temperature u falls: turning that direction by -90 degrees points up, to green
    across = np.stack([along[..., 1], -along[..., 0]], -1)
    xy = _uv_to_xy(_locus_uv(t) + offset[..., None] * across)
    xyz = np.stack([xy[..., 0], xy[..., 1], 1 - xy.sum(-1)], -1) / xy[..., 1:]
    rgb = xyz @ np.asarray(XYZ_TO_RGB).T
    share = np.maximum(rgb / rgb.sum(-1, keepdims=True), SMALLEST_CHANNEL)
    return share / share.sum(-1, keepdims=True)


def sample_lights(count: int, rng: np.random.Generator) -> Array:
    """Draw plausible lights, for those who have no measured ones: a guess at the world, not a measurement of it.

    Six in ten are daylight of 4000 to 20000 K, the others incandescent light of 2000 to 3500 K, both uniform in
    reciprocal temperature, which is about uniform in what is seen; the tint is normal with a spread of 0.006. A tint
    that would take a light out of the gamut of sRGB is halved until it does not.

    Args:
        count: How many.
        rng: The source of chance.

    Returns:
        (count, 3) float64, linear sRGB of sum 1.
    """
    day = rng.random(count) < DAYLIGHT_SHARE
    place = rng.random(count)
    limits = np.where(day[:, None], 1 / np.array([20000.0, 4000.0]), 1 / np.array([3500.0, 2000.0]))
    cct = 1 / (limits[:, 0] + place * (limits[:, 1] - limits[:, 0]))
    tint = rng.normal(0.0, TINT_SPREAD, count)
    lights = cct_to_linear_srgb(cct, tint)
    for _ in range(_HALVINGS):
        tint = np.where(lights.min(-1) < 1.5 * SMALLEST_CHANNEL, tint / 2, tint)
        lights = cct_to_linear_srgb(cct, tint)
    return lights
