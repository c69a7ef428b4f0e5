"""Angular errors of estimated lights, and the statistics that colour constancy reports of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class AngleStatistics:
    """Statistics of angular errors, in degrees.

    Attributes:
        mean: Arithmetic mean.
        median: Second quartile.
        trimean: (Q1 + 2 Q2 + Q3) / 4, with quartiles interpolated linearly.
        best25: Mean of the smallest quarter (at least one value, rounded up).
        worst25: Mean of the largest quarter (at least one value, rounded up).
        p95: 95th percentile, interpolated linearly.
        maximum: Largest value.
        count: Number of values.
    """

    mean: float
    median: float
    trimean: float
    best25: float
    worst25: float
    p95: float
    maximum: float
    count: int


def angle_statistics(degrees: Array) -> AngleStatistics:
    """Summarise angular errors (S. Hordley and G. Finlayson, "Reevaluation of color constancy algorithm performance",
    Journal of the Optical Society of America A, 2006).

    Args:
        degrees: Errors of any shape, finite and not negative.

    Returns:
        The statistics.

    Raises:
        ValueError: There is no value, or one is negative or not finite.
    """
    values = np.sort(np.asarray(degrees, dtype=np.float64), axis=None)
    if values.size == 0:
        raise ValueError("no angles to summarise")
    if not np.isfinite(values).all() or values[0] < 0:
        raise ValueError("an angle must be finite and not negative")
    first, second, third, high = np.quantile(values, (0.25, 0.5, 0.75, 0.95))
    quarter = math.ceil(values.size / 4)
    return AngleStatistics(
        mean=float(values.mean()),
        median=float(second),
        trimean=float((first + 2 * second + third) / 4),
        best25=float(values[:quarter].mean()),
        worst25=float(values[-quarter:].mean()),
        p95=float(high),
        maximum=float(values[-1]),
        count=values.size,
    )


def recovery_error(estimate: Array, truth: Array) -> Array:
    """Angle between the estimated and the true light.

    Args:
        estimate: (..., 3), of any positive scale.
        truth: (..., 3), broadcast against ``estimate``.

    Returns:
        Degrees in [0, 180], float64, (...). Exact for small angles too.

    Raises:
        ValueError: A light is zero or not finite, or has not three channels.
    """
    first, second = _unit(estimate, "estimate"), _unit(truth, "truth")
    # Kahan's form: the arc cosine of a dot product cannot tell angles under a microradian from 0.
    return np.degrees(2 * np.arctan2(_length(first - second), _length(first + second)))


def reproduction_error(estimate: Array, truth: Array) -> Array:
    """Angle between white and a white surface after the correction by the estimate.

    Finlayson and Zakizadeh, "Reproduction angular error", BMVC 2014: unlike the recovery error it does not change with
    the colour of the light for one and the same correction.

    Args:
        estimate: (..., 3), positive.
        truth: (..., 3), broadcast against ``estimate``.

    Returns:
        Degrees in [0, 180], float64, (...).

    Raises:
        ValueError: A light is not finite, an estimate is not positive, or there are not three channels.
    """
    divisor = _unit(estimate, "estimate")
    if (divisor <= 0).any():
        raise ValueError("estimate: every channel must be positive")
    return recovery_error(_unit(truth, "truth") / divisor, np.ones(3))


def _length(vector: Array) -> Array:
    return np.sqrt(np.square(vector).sum(-1))


def _unit(vector: Array, name: str) -> Array:
    values = np.asarray(vector, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] != 3:
        raise ValueError(f"{name} must have shape (..., 3), got {values.shape}")
    largest = np.abs(values).max(-1, keepdims=True, initial=0)
    if not np.isfinite(values).all() or (largest <= 0).any():
        raise ValueError(f"{name}: a light needs finite numbers that are not all zero")
    scaled = values / largest  # so that squares neither overflow nor vanish
    return scaled / _length(scaled)[..., None]
