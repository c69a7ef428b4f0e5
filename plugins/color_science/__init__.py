"""Colour spaces, differences and angles: pure functions for torch tensors and numpy arrays.

Images are tensors (..., 3, H, W) of sRGB values in [0, 1] unless a function says otherwise; chroma vectors are
(..., 2, H, W). Half precision is computed in float32 with autocast off and the result stays float32. Every gradient is
finite at every finite colour. ``apply_to_arrays`` is the numpy entry; ``fast_delta_e00`` and ``compare_colors``
measure whole photographs.
"""

from plugins.color_science.arrays import apply_to_arrays, to_unit_float
from plugins.color_science.components import hsv_to_rgb, rgb_to_hsv, rgb_to_ycbcr, saturation, ycbcr_to_rgb
from plugins.color_science.difference import delta_e76, delta_e2000, delta_lch
from plugins.color_science.fast import ChromaBin, ColorComparison, compare_colors, fast_delta_e00
from plugins.color_science.numeric import full_precision, safe_hypot, safe_sqrt
from plugins.color_science.polar import angular_error, chroma, chroma_vector, hue_angle, hue_difference
from plugins.color_science.spaces import (
    lab_to_rgb,
    lab_to_xyz,
    linear_to_srgb,
    oklab_to_rgb,
    rgb_to_lab,
    rgb_to_oklab,
    rgb_to_xyz,
    srgb_to_linear,
    xyz_to_lab,
    xyz_to_rgb,
)

__all__ = [
    "ChromaBin",
    "ColorComparison",
    "angular_error",
    "apply_to_arrays",
    "chroma",
    "chroma_vector",
    "compare_colors",
    "delta_e76",
    "delta_e2000",
    "delta_lch",
    "fast_delta_e00",
    "full_precision",
    "hsv_to_rgb",
    "hue_angle",
    "hue_difference",
    "lab_to_rgb",
    "lab_to_xyz",
    "linear_to_srgb",
    "oklab_to_rgb",
    "rgb_to_hsv",
    "rgb_to_lab",
    "rgb_to_oklab",
    "rgb_to_xyz",
    "rgb_to_ycbcr",
    "safe_hypot",
    "safe_sqrt",
    "saturation",
    "srgb_to_linear",
    "to_unit_float",
    "xyz_to_lab",
    "xyz_to_rgb",
    "ycbcr_to_rgb",
]
