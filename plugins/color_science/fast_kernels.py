"""Compiled kernels behind ``fast``: sRGB codes to CIELAB and CIEDE2000 over blocks of pixels, in single precision.

Importing this module imports numba. Every loop is free of calls and of branches, so that LLVM turns it into vector
instructions: powers, the cube root, the exponential and the arc tangent are short polynomials whose errors (below 1e-6)
are smaller than single precision's own. All constants are float32, because one float64 literal doubles the width of
the whole loop. The formulas and their special cases are those of ``difference.delta_e2000``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from plugins.color_science.difference import GREY_CHROMA
from plugins.color_science.fast_reference import BLOCK, CHROMA_EDGES, HISTOGRAM_BINS, HISTOGRAM_WIDTH
from plugins.color_science.spaces import D65_WHITE, LAB_EPSILON, LAB_KAPPA, RGB_TO_XYZ

# Reordering and fused multiply-add are safe here; NaN and infinity keep their meaning.
_FASTMATH = {"contract", "reassoc", "arcp", "nsz"}


def _jit(function: Any) -> Any:
    """Compile, keeping the result in ``__pycache__`` or the user's cache folder where one of them can be written."""
    options: dict[str, Any] = {"nogil": True, "fastmath": _FASTMATH, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(**options)(function)


def _inline(function: Any) -> Any:
    """For what runs per pixel: LLVM leaves long functions as calls, and a loop with a call in it stays scalar."""
    return njit(fastmath=_FASTMATH, error_model="numpy", inline="always")(function)


_F = np.float32
_ZERO, _HALF, _ONE, _TWO, _FOUR = _F(0), _F(0.5), _F(1), _F(2), _F(4)
_XR, _XG, _XB = (_F(value / D65_WHITE[0]) for value in RGB_TO_XYZ[0])
_YR, _YG, _YB = (_F(value / D65_WHITE[1]) for value in RGB_TO_XYZ[1])
_ZR, _ZG, _ZB = (_F(value / D65_WHITE[2]) for value in RGB_TO_XYZ[2])
_EPSILON, _SLOPE, _OFFSET = _F(LAB_EPSILON), _F(LAB_KAPPA / 116), _F(16 / 116)
_C116, _C16, _C500, _C200 = _F(116), _F(16), _F(500), _F(200)
# s^(4/3) on [0.3, 1], where s is the fourth root: relative error 4e-4, which one step of Halley's method cubes
_R0, _R1, _R2, _R3 = _F(-0.02656963), _F(0.60608635), _F(0.54208877), _F(-0.12188214)
# arc tangent on [-1, 1], error 2e-6
_A1, _A3, _A5, _A7, _A9, _A11 = (
    _F(value) for value in (0.99997449, -0.33256827, 0.19323498, -0.11572863, 0.05194963, -0.01146545)
)
_COS30, _SIN30 = _F(math.cos(math.radians(30))), _F(math.sin(math.radians(30)))
_COS6, _SIN6 = _F(math.cos(math.radians(6))), _F(math.sin(math.radians(6)))
_COS63, _SIN63 = _F(math.cos(math.radians(63))), _F(math.sin(math.radians(63)))
_COS275, _SIN275 = _F(math.cos(math.radians(275))), _F(math.sin(math.radians(275)))
_GAUSS = _F(math.degrees(2) / 25 / 4)
_SIXTY = _F(math.radians(60))
_FULL_TURN = _F(math.tan(math.radians(85 / 2)))
_T1, _T2, _T3, _T4 = _F(0.17), _F(0.24), _F(0.32), _F(0.20)
_E2, _E3, _E4, _E5, _E6, _E7 = (_F(1 / math.factorial(n)) for n in range(2, 8))
_S3, _S5, _S7 = _F(1 / 6), _F(1 / 120), _F(1 / 5040)
_TINY, _OPPOSITE, _NARROW, _GREY = _F(1e-20), _F(1e-6), _F(1e-6), _F(GREY_CHROMA)
_P25, _P50, _P20, _P015, _P045, _P15 = _F(1 / 25), _F(50), _F(20), _F(0.015), _F(0.045), _F(1.5)
_EDGE0, _EDGE1, _EDGE2 = (_F(value) for value in CHROMA_EDGES)
_PER_BIN = _F(1 / HISTOGRAM_WIDTH)
_LAST_BIN = HISTOGRAM_BINS - 1


@_inline
def _lab_curve(t: Any) -> Any:
    """CIELAB's f(t), t >= 0."""
    x = max(t, _EPSILON)
    s = np.sqrt(np.sqrt(x))
    y = _R0 + s * (_R1 + s * (_R2 + s * _R3))
    cube = y * y * y
    root = y * (cube + x + x) / (cube + cube + x)
    return root if t > _EPSILON else _SLOPE * t + _OFFSET


@_jit
def _lab_block(linear: Any, lab: Any, count: Any) -> None:
    """Linear RGB planes (3, n) to CIELAB planes (3, n)."""
    for i in range(count):
        red, green, blue = linear[0, i], linear[1, i], linear[2, i]
        fx = _lab_curve(_XR * red + _XG * green + _XB * blue)
        fy = _lab_curve(_YR * red + _YG * green + _YB * blue)
        fz = _lab_curve(_ZR * red + _ZG * green + _ZB * blue)
        lab[0, i] = _C116 * fy - _C16
        lab[1, i] = _C500 * (fx - fy)
        lab[2, i] = _C200 * (fy - fz)


@_inline
def _saturating(c: Any) -> Any:
    """sqrt(C^7 / (C^7 + 25^7))."""
    x = c * _P25
    x2 = x * x
    x7 = x2 * x2 * x2 * x
    return np.sqrt(x7 / (x7 + _ONE))


@_inline
def _hue_weight(s: Any, c: Any) -> Any:
    """T, from the sine and cosine of the mean hue."""
    cos2, sin2 = _TWO * c * c - _ONE, _TWO * s * c
    cos3, sin3 = c * (cos2 + cos2 - _ONE), s * (cos2 + cos2 + _ONE)
    cos4, sin4 = _TWO * cos2 * cos2 - _ONE, _TWO * sin2 * cos2
    weight = _ONE - _T1 * (c * _COS30 + s * _SIN30) + _T2 * cos2
    return weight + _T3 * (cos3 * _COS6 - sin3 * _SIN6) - _T4 * (cos4 * _COS63 + sin4 * _SIN63)


@_inline
def _rotation_sine(s: Any, c: Any) -> Any:
    """sin(2 Δθ). More than 90° below 275°, Δθ is less than 1e-4 degrees and is held there; from 360° on it is 0."""
    off_sine = s * _COS275 - c * _SIN275
    off_cosine = c * _COS275 + s * _SIN275
    t = off_sine / max(_ONE + off_cosine, _NARROW)
    t = min(max(t, -_ONE), _ONE)
    t2 = t * t
    angle = t * (_A1 + t2 * (_A3 + t2 * (_A5 + t2 * (_A7 + t2 * (_A9 + t2 * _A11)))))
    z = angle * _GAUSS
    z = z * z
    e = _ONE - z * (_ONE - z * (_E2 - z * (_E3 - z * (_E4 - z * (_E5 - z * (_E6 - z * _E7))))))
    e2 = e * e
    e4 = e2 * e2
    e8 = e4 * e4
    x = _ZERO if t >= _FULL_TURN else _SIXTY * e8 * e8
    x2 = x * x
    return x * (_ONE - x2 * (_S3 - x2 * (_S5 - x2 * _S7)))


@_inline
def _difference(l1: Any, a1: Any, b1: Any, l2: Any, a2: Any, b2: Any) -> Any:
    """CIEDE2000 of one pixel."""
    stretch = _P15 - _HALF * _saturating(_HALF * (np.sqrt(a1 * a1 + b1 * b1) + np.sqrt(a2 * a2 + b2 * b2)))
    a1 = a1 * stretch
    a2 = a2 * stretch
    c1, c2 = np.sqrt(a1 * a1 + b1 * b1), np.sqrt(a2 * a2 + b2 * b2)
    inverse1 = _ONE / c1 if c1 > _GREY else _ZERO
    inverse2 = _ONE / c2 if c2 > _GREY else _ZERO
    x1, y1 = a1 * inverse1, b1 * inverse1
    x2, y2 = a2 * inverse2, b2 * inverse2
    x, y = x1 + x2, y1 + y2
    length = np.sqrt(x * x + y * y)
    product = c1 * c2 if (c1 > _GREY) & (c2 > _GREY) else _ZERO
    half1 = (y1 > _ZERO) | ((y1 == _ZERO) & (x1 > _ZERO))
    half2 = (y2 > _ZERO) | ((y2 == _ZERO) & (x2 > _ZERO))
    side = _ONE if half1 & (not half2) | (half1 == half2) & ((x1 > _ZERO) == half1) else -_ONE
    opposite = (length < _OPPOSITE) & (product > _ZERO)
    inverse = _ONE / max(length, _TINY)
    cosine = -y1 * side if opposite else x * inverse
    sine = x1 * side if opposite else y * inverse
    cross = x1 * (y2 - y1) - y1 * (x2 - x1)
    sign = side if opposite else (-_ONE if cross < _ZERO else _ONE)
    apart = np.sqrt((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1))
    near = x1 * x2 + y1 * y2 > _ZERO
    hue = np.sqrt(product) * (_TWO * cross * inverse if near else sign * apart)
    c_mean = _HALF * (c1 + c2)
    offset = _HALF * (l1 + l2) - _P50
    offset = offset * offset
    d_l = (l2 - l1) / (_ONE + _P015 * offset / np.sqrt(_P20 + offset))
    d_c = (c2 - c1) / (_ONE + _P045 * c_mean)
    d_h = hue / (_ONE + _P015 * c_mean * _hue_weight(sine, cosine))
    rotation = -_TWO * _saturating(c_mean) * _rotation_sine(sine, cosine)
    return np.sqrt(max(d_l * d_l + d_c * d_c + d_h * d_h + rotation * d_c * d_h, _ZERO))


@_jit
def _difference_block(lab1: Any, lab2: Any, out: Any, count: Any) -> None:
    for i in range(count):
        out[i] = _difference(lab1[0, i], lab1[1, i], lab1[2, i], lab2[0, i], lab2[1, i], lab2[2, i])


@_jit
def _parts_block(lab1: Any, lab2: Any, parts: Any, count: Any) -> None:
    """ΔE76, |ΔL*|, |ΔC*|, ΔH* and the two chromas of each pixel, as planes (6, n)."""
    for i in range(count):
        a1, b1, a2, b2 = lab1[1, i], lab1[2, i], lab2[1, i], lab2[2, i]
        d_l, d_a, d_b = lab2[0, i] - lab1[0, i], a2 - a1, b2 - b1
        c1, c2 = np.sqrt(a1 * a1 + b1 * b1), np.sqrt(a2 * a2 + b2 * b2)
        d_c = c2 - c1
        parts[0, i] = np.sqrt(d_l * d_l + d_a * d_a + d_b * d_b)
        parts[1, i] = abs(d_l)
        parts[2, i] = abs(d_c)
        parts[3, i] = np.sqrt(max(d_a * d_a + d_b * d_b - d_c * d_c, _ZERO))
        parts[4, i] = c1
        parts[5, i] = c2


@_jit
def _sum_block(difference: Any, parts: Any, count: Any, sums: Any, histogram: Any) -> None:
    total = 0.0
    for i in range(count):
        total += difference[i]
    sums[0] = total
    for k in range(4):
        total = 0.0
        for i in range(count):
            total += parts[k, i]
        sums[k + 1] = total
    for i in range(count):
        d, c = difference[i], parts[5, i]
        histogram[min(int(d * _PER_BIN), _LAST_BIN)] += 1
        place = 5 + 4 * (int(c >= _EDGE0) + int(c >= _EDGE1) + int(c >= _EDGE2))
        sums[place] += 1.0
        sums[place + 1] += d
        sums[place + 2] += parts[4, i]
        sums[place + 3] += c


@_jit
def _decode_block(codes: Any, table: Any, start: Any, count: Any, red: Any, linear: Any) -> None:
    """Interleaved codes to linear planes; ``red`` is the place of the red channel, 0 (RGB) or 2 (BGR)."""
    for i in range(count):
        p = 3 * (start + i)
        linear[0, i] = table[codes[p + red]]
        linear[1, i] = table[codes[p + 1]]
        linear[2, i] = table[codes[p + 2 - red]]


@_jit
def compare_blocks(
    codes1: Any, codes2: Any, table: Any, red: Any, blocks: Any, out: Any, sums: Any, histogram: Any, full: Any
) -> None:
    """See ``fast_reference.compare_blocks``, of which this is the fast twin."""
    linear = np.empty((3, BLOCK), np.float32)
    lab1 = np.empty((3, BLOCK), np.float32)
    lab2 = np.empty((3, BLOCK), np.float32)
    parts = np.empty((6, BLOCK), np.float32)
    for block in range(blocks[0], blocks[1]):
        start = block * BLOCK
        count = min(BLOCK, out.shape[0] - start)
        _decode_block(codes1, table, start, count, red, linear)
        _lab_block(linear, lab1, count)
        _decode_block(codes2, table, start, count, red, linear)
        _lab_block(linear, lab2, count)
        target = out[start : start + count]
        _difference_block(lab1, lab2, target, count)
        if full:
            _parts_block(lab1, lab2, parts, count)
            _sum_block(target, parts, count, sums[block], histogram)
