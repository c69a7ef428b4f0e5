"""Compiled twins of figures in ``fidelity``: what is counted pixel by pixel, in one pass, and the arithmetic of SSIM.

Importing this module imports numba. The arithmetic of a pixel is that of the numpy functions in ``fidelity`` (single
precision), sums are kept in double precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_F = np.float32
_ZERO, _ONE, _SIXTY = _F(0), _F(1), _F(60)
_GREEN, _BLUE, _HALF, _FULL = _F(120), _F(240), _F(180), _F(360)
_TWO = _F(2)
_WIDE, _NARROW = _F(60 / 255), _F(100 / 255)


def _jit(function: Any) -> Any:
    """Compile, keeping the result in a cache folder where there is one that can be written."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(nogil=True, error_model="numpy")(function)


def _vector(function: Any) -> Any:
    """:func:`_jit` for loops that may be reordered, so that they become vector instructions."""
    flags = {"contract", "reassoc", "arcp", "nsz"}
    try:
        return njit(cache=True, nogil=True, error_model="numpy", fastmath=flags)(function)
    except RuntimeError:
        return njit(nogil=True, error_model="numpy", fastmath=flags)(function)


def _inline(function: Any) -> Any:
    return njit(error_model="numpy", inline="always")(function)


@_inline
def _hue(red: Any, green: Any, blue: Any, high: Any, spread: Any) -> Any:
    scale = _SIXTY / spread
    if high == red:
        hue = (green - blue) * scale
    elif high == green:
        hue = _GREEN + (blue - red) * scale
    else:
        hue = _BLUE + (red - green) * scale
    return hue + _FULL if hue < _ZERO else hue


@_jit
def pixel_sums(
    pred: Any,
    target: Any,
    full_scale: Any,
    saturated: Any,
    lowest: Any,
    highest: Any,
    mask: Any,
    sums: Any,
    errors: Any,
) -> None:
    """Sums over the pixels of two images of the same depth.

    Args:
        pred: (3 n) uint8 or uint16, interleaved RGB.
        target: The same.
        full_scale: float32, 255 or 65535.
        saturated: float32, least saturation of the mask.
        lowest: float32, least value of the mask.
        highest: float32, largest value of the mask.
        mask: (n) bool, filled with where the target counts as saturated.
        sums: (12) float64, added to: saturation of prediction and target on the mask, at S >= 60/255, at S >= 100/255
            and everywhere (0 to 7), value of both on the mask (8, 9), hue error on the mask and its count (10, 11).
        errors: (3) int64, squared differences of the codes by channel, added to.
    """
    for i in range(mask.shape[0]):
        p = 3 * i
        r1, g1, b1 = _F(pred[p]), _F(pred[p + 1]), _F(pred[p + 2])
        r2, g2, b2 = _F(target[p]), _F(target[p + 1]), _F(target[p + 2])
        for k in range(3):
            difference = np.int64(pred[p + k]) - np.int64(target[p + k])
            errors[k] += difference * difference
        high1, high2 = max(r1, g1, b1), max(r2, g2, b2)
        spread1, spread2 = high1 - min(r1, g1, b1), high2 - min(r2, g2, b2)
        sat1, sat2 = spread1 / max(high1, _ONE), spread2 / max(high2, _ONE)
        value1, value2 = high1 / full_scale, high2 / full_scale
        inside = sat2 >= saturated and value2 >= lowest and value2 <= highest
        mask[i] = inside
        sums[6] += sat1
        sums[7] += sat2
        if sat2 >= _WIDE:
            sums[2] += sat1
            sums[3] += sat2
            if sat2 >= _NARROW:
                sums[4] += sat1
                sums[5] += sat2
        if inside:
            sums[0] += sat1
            sums[1] += sat2
            sums[8] += value1
            sums[9] += value2
            if spread1 > _ZERO:
                turn = abs(_hue(r1, g1, b1, high1, spread1) - _hue(r2, g2, b2, high2, spread2))
                sums[10] += min(turn, _FULL - turn)
                sums[11] += 1.0


@_vector
def moments(pred: Any, target: Any, shifts: Any, first: Any, second: Any, squares: Any, products: Any) -> None:
    """What SSIM blurs: both images around their means, the sum of their squares, and their product.

    Args:
        pred: (n) uint8.
        target: (n) uint8.
        shifts: (2) float32, taken off the two images, so that single precision suffices for the variances.
        first: (n) float32, filled with ``pred`` less its shift.
        second: (n) float32, filled with ``target`` less its shift.
        squares: (n) float32, filled with the sum of their squares.
        products: (n) float32, filled with their product.
    """
    for i in range(first.shape[0]):
        x, y = _F(pred[i]) - shifts[0], _F(target[i]) - shifts[1]
        first[i] = x
        second[i] = y
        squares[i] = x * x + y * y
        products[i] = x * y


@_vector
def similarity_sum(shifts: Any, first: Any, second: Any, squares: Any, products: Any, c1: Any, c2: Any) -> Any:
    """Sum of SSIM over the blurred :func:`moments`, each (rows, n) float32; ``c1`` and ``c2`` are float32."""
    total: Any = 0.0
    for row in range(first.shape[0]):
        line = _ZERO
        for i in range(first.shape[1]):
            x, y = first[row, i], second[row, i]
            covariance = products[row, i] - x * y
            variances = squares[row, i] - (x * x + y * y)
            x, y = x + shifts[0], y + shifts[1]
            top = (_TWO * x * y + c1) * (_TWO * covariance + c2)
            line += top / ((x * x + y * y + c1) * (variances + c2))
        total += line
    return total
