"""sRGB, linear sRGB, CIE XYZ (D65), CIELAB and OKLab.

Every function takes and returns tensors (..., 3, H, W). RGB has the range [0, 1]; values outside, as an unclamped
prediction has them, are converted by the same formulas and keep a useful gradient. Half precision is computed in
float32 (see ``full_precision``). Nothing here has an infinite or undefined gradient at any finite colour.

Standards: IEC 61966-2-1:1999 (sRGB), CIE 15:2004 with the exact rational constants (CIELAB), B. Ottosson, "A perceptual
color space for image processing", 2020 (OKLab).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from plugins.color_science.numeric import full_precision, mix_channels, safe_pow

Matrix = tuple[tuple[float, ...], ...]

SRGB_PRIMARIES_XY = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
D65_XY = (0.3127, 0.3290)
LAB_EPSILON = 216 / 24389
LAB_KAPPA = 24389 / 27
# The darkest non-zero cone response an 8-bit colour can have is 1.6e-5, so that OKLab is exact for 8-bit images.
OKLAB_TOE = 1e-5

_SRGB_KNEE = 0.04045
_LINEAR_KNEE = 0.0031308


def _as_matrix(array: np.ndarray) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in array)


def _rgb_to_xyz_matrix() -> np.ndarray:
    """Derived from the primaries, so that (1, 1, 1) is the white point to the last digit and greys have a = b = 0."""
    primaries = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in SRGB_PRIMARIES_XY]).T
    white = np.array([D65_XY[0] / D65_XY[1], 1.0, (1 - sum(D65_XY)) / D65_XY[1]])
    return primaries * np.linalg.solve(primaries, white)


_RGB_TO_XYZ = _rgb_to_xyz_matrix()
RGB_TO_XYZ: Matrix = _as_matrix(_RGB_TO_XYZ)
XYZ_TO_RGB: Matrix = _as_matrix(np.linalg.inv(_RGB_TO_XYZ))
D65_WHITE: tuple[float, ...] = tuple(float(value) for value in _RGB_TO_XYZ.sum(axis=1))

_OKLAB_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB_MIX = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LINEAR_TO_LMS: Matrix = _as_matrix(_OKLAB_LMS)
LMS_TO_LINEAR: Matrix = _as_matrix(np.linalg.inv(_OKLAB_LMS))
LMS_TO_OKLAB: Matrix = _as_matrix(_OKLAB_MIX)
OKLAB_TO_LMS: Matrix = _as_matrix(np.linalg.inv(_OKLAB_MIX))


@full_precision
def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Undo the sRGB transfer curve (IEC 61966-2-1). Any shape; negative values follow the curve's linear part.

    Args:
        rgb: sRGB, [0, 1].

    Returns:
        Linear light, [0, 1].
    """
    curve = safe_pow((rgb + 0.055) / 1.055, 2.4, (_SRGB_KNEE + 0.055) / 1.055)
    return torch.where(rgb <= _SRGB_KNEE, rgb / 12.92, curve)


@full_precision
def linear_to_srgb(linear: Tensor) -> Tensor:
    """Apply the sRGB transfer curve (IEC 61966-2-1). Any shape; negative values follow the curve's linear part.

    Args:
        linear: Linear light, [0, 1].

    Returns:
        sRGB, [0, 1].
    """
    curve = 1.055 * safe_pow(linear, 1 / 2.4, _LINEAR_KNEE) - 0.055
    return torch.where(linear <= _LINEAR_KNEE, linear * 12.92, curve)


@full_precision
def rgb_to_xyz(rgb: Tensor) -> Tensor:
    """sRGB to CIE XYZ with the white point D65 at Y = 1.

    Args:
        rgb: (..., 3, H, W), sRGB in [0, 1].

    Returns:
        XYZ of the same shape; white is (0.9505, 1, 1.0891).
    """
    return mix_channels(srgb_to_linear(rgb), RGB_TO_XYZ, "rgb")


@full_precision
def xyz_to_rgb(xyz: Tensor) -> Tensor:
    """Inverse of :func:`rgb_to_xyz`; colours outside sRGB give values outside [0, 1]."""
    return linear_to_srgb(mix_channels(xyz, XYZ_TO_RGB, "xyz"))


@full_precision
def xyz_to_lab(xyz: Tensor) -> Tensor:
    """CIE XYZ to CIELAB (CIE 15:2004, D65). The linear toe below (6/29)³ bounds the gradient, also for negative XYZ.

    Args:
        xyz: (..., 3, H, W), white at Y = 1.

    Returns:
        L* in [0, 100], a* and b* roughly in [-110, 110]; same shape.
    """
    scaled = torch.stack([plane / white for plane, white in zip(xyz.unbind(-3), D65_WHITE, strict=True)], dim=-3)
    root = safe_pow(scaled, 1 / 3, LAB_EPSILON)
    fx, fy, fz = torch.where(scaled > LAB_EPSILON, root, (LAB_KAPPA * scaled + 16) / 116).unbind(-3)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=-3)


@full_precision
def lab_to_xyz(lab: Tensor) -> Tensor:
    """Inverse of :func:`xyz_to_lab`."""
    lightness, a, b = lab.unbind(-3)
    fy = (lightness + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200], dim=-3)
    scaled = torch.where(f > 6 / 29, f**3, (116 * f - 16) / LAB_KAPPA)
    return torch.stack([plane * white for plane, white in zip(scaled.unbind(-3), D65_WHITE, strict=True)], dim=-3)


@full_precision
def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (..., 3, H, W) in [0, 1] to CIELAB under D65: L* in [0, 100], a* and b* in about [-110, 110]."""
    return xyz_to_lab(rgb_to_xyz(rgb))


@full_precision
def lab_to_rgb(lab: Tensor) -> Tensor:
    """Inverse of :func:`rgb_to_lab`."""
    return xyz_to_rgb(lab_to_xyz(lab))


def _cube_root(x: Tensor, toe: float) -> Tensor:
    """Odd cube root, replaced by the chord through the origin where ``|x| < toe``: the slope is at most toe^(-2/3)."""
    magnitude = x.abs()
    root = safe_pow(magnitude, 1 / 3, toe) * torch.sign(x)
    return torch.where(magnitude < toe, x * toe ** (-2 / 3), root)


@full_precision
def rgb_to_oklab(rgb: Tensor, toe: float = OKLAB_TOE) -> Tensor:
    """sRGB to OKLab (Ottosson 2020).

    The cube root's gradient is infinite at black; below ``toe`` it is replaced by a straight line. The default leaves
    every 8-bit colour exact and bounds the slope at 2154; a loss may want a larger toe.

    Args:
        rgb: (..., 3, H, W), sRGB in [0, 1].
        toe: Cone response below which the cube root is a line. Greater than 0.

    Returns:
        L in [0, 1], a and b in about [-0.33, 0.33]; same shape.

    Raises:
        ValueError: If ``toe`` is not positive.
    """
    if toe <= 0:
        raise ValueError(f"toe must be greater than 0, got {toe}")
    lms = mix_channels(srgb_to_linear(rgb), LINEAR_TO_LMS, "rgb")
    return mix_channels(_cube_root(lms, toe), LMS_TO_OKLAB)


@full_precision
def oklab_to_rgb(oklab: Tensor) -> Tensor:
    """OKLab (..., 3, H, W) to sRGB. Inverse of :func:`rgb_to_oklab` outside its toe."""
    lms = mix_channels(oklab, OKLAB_TO_LMS, "oklab") ** 3
    return linear_to_srgb(mix_channels(lms, LMS_TO_LINEAR))
