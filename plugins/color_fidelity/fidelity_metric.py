"""The colour figures as validation metrics.

In an option file, for example::

    val:
      metrics:
        de00_p95: {type: calculate_delta_e00, stat: p95, better: lower}
        sat_ratio: {type: calculate_sat_ratio, better: higher}

Every metric takes images as the engine hands them over: uint8 BGR (H, W, 3); also uint16, floats in [0, 255] as the
engine's own metrics have them, and RGB tensors (3, H, W) or (1, 3, H, W) in [0, 1]. A figure over no pixels is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from basicsr.engine.errors import UserError
from basicsr.utils.registry import METRIC_REGISTRY
from plugins.color_fidelity import fidelity
from plugins.color_science import compare_colors

Image = npt.NDArray[Any] | Tensor

_STATS = {"mean": "mean", "p95": "p95", "p99": "p99", "max": "maximum"}
_REGIONS = ("saturated", "saturated60", "saturated100", "whole")
_CHANNELS = ("r", "g", "b")


@METRIC_REGISTRY.register()
def calculate_delta_e00(img: Image, img2: Image, crop_border: int = 0, stat: str = "mean", **kwargs: Any) -> float:
    """CIEDE2000 colour difference (lower is better).

    Args:
        img: The prediction.
        img2: The target, same size.
        crop_border: Pixels to leave out at every side.
        stat: ``mean``, ``p95``, ``p99`` or ``max`` over the pixels.
        **kwargs: Ignored.

    Raises:
        UserError: If the sizes differ, the crop leaves nothing or ``stat`` is unknown.
    """
    if stat not in _STATS:
        raise UserError(f"stat of calculate_delta_e00 must be one of {', '.join(_STATS)}, got '{stat}'")
    return float(getattr(compare_colors(*_pair(img, img2, crop_border)), _STATS[stat]))


@METRIC_REGISTRY.register()
def calculate_delta_e76(img: Image, img2: Image, crop_border: int = 0, **kwargs: Any) -> float:
    """Mean ΔE*ab of 1976, the distance in CIELAB (lower is better). Arguments as :func:`calculate_delta_e00`."""
    return compare_colors(*_pair(img, img2, crop_border)).de76


@METRIC_REGISTRY.register()
def calculate_hue_error(img: Image, img2: Image, crop_border: int = 0, **kwargs: Any) -> float:
    """Mean absolute HSV hue error in degrees on the target's saturated pixels (lower is better).

    Args:
        img: The prediction.
        img2: The target, same size.
        crop_border: Pixels to leave out at every side.
        **kwargs: Ignored.
    """
    return fidelity.pixel_figures(*_pair(img, img2, crop_border))[1]["hue_abs_deg"]


@METRIC_REGISTRY.register()
def calculate_sat_ratio(
    img: Image, img2: Image, crop_border: int = 0, region: str = "saturated", gap: bool = False, **kwargs: Any
) -> float:
    """Mean HSV saturation over the target's (1 is right; below, colours are washed out).

    Args:
        img: The prediction.
        img2: The target, same size.
        crop_border: Pixels to leave out at every side.
        region: ``saturated`` (target S >= 0.25 and 0.10 <= V <= 0.95), ``saturated60`` (S >= 60/255), ``saturated100``
            (S >= 100/255) or ``whole``.
        gap: Return the distance from 1 instead, which is lower where better, as ``val.best_metric`` needs it.
        **kwargs: Ignored.

    Raises:
        UserError: If the sizes differ, the crop leaves nothing or ``region`` is unknown.
    """
    if region not in _REGIONS:
        raise UserError(f"region of calculate_sat_ratio must be one of {', '.join(_REGIONS)}, got '{region}'")
    key = {"saturated": "sat_ratio", "saturated60": "sat_ratio_60", "saturated100": "sat_ratio_100"}
    figures = fidelity.pixel_figures(*_pair(img, img2, crop_border))[1]
    ratio = figures[key.get(region, "sat_ratio_whole")]
    return abs(1 - ratio) if gap else ratio


@METRIC_REGISTRY.register()
def calculate_brightness_ratio(img: Image, img2: Image, crop_border: int = 0, **kwargs: Any) -> float:
    """Mean HSV value over the target's, on the target's saturated pixels (1 is right).

    Args:
        img: The prediction.
        img2: The target, same size.
        crop_border: Pixels to leave out at every side.
        **kwargs: Ignored.
    """
    return fidelity.pixel_figures(*_pair(img, img2, crop_border))[1]["bright_ratio"]


@METRIC_REGISTRY.register()
def calculate_psnr_channel(img: Image, img2: Image, crop_border: int = 0, channel: str = "r", **kwargs: Any) -> float:
    """PSNR of one channel in dB (higher is better; infinite for equal channels).

    Args:
        img: The prediction.
        img2: The target, same size.
        crop_border: Pixels to leave out at every side.
        channel: ``r``, ``g`` or ``b``.
        **kwargs: Ignored.

    Raises:
        UserError: If the sizes differ, the crop leaves nothing or ``channel`` is unknown.
    """
    if channel not in _CHANNELS:
        raise UserError(f"channel of calculate_psnr_channel must be r, g or b, got '{channel}'")
    return fidelity.channel_psnr(*_pair(img, img2, crop_border))[_CHANNELS.index(channel)]


def _pair(img: Image, img2: Image, crop_border: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Both images as RGB (H, W, 3), floats in [0, 1], without their borders."""
    first, second = _rgb(img), _rgb(img2)
    if first.shape != second.shape:
        raise UserError(f"the images to compare have different shapes: {first.shape} and {second.shape}")
    height, width = first.shape[:2]
    if crop_border < 0 or min(height, width) <= 2 * crop_border:
        raise UserError(f"crop_border {crop_border} leaves nothing of an image of {height} x {width} pixels")
    inner = slice(crop_border, -crop_border or None)
    return first[inner, inner], second[inner, inner]


def _rgb(image: Image) -> npt.NDArray[Any]:
    if isinstance(image, Tensor):
        tensor = image.detach().float().cpu()
        tensor = tensor[0] if tensor.dim() == 4 and tensor.shape[0] == 1 else tensor
        if tensor.dim() != 3 or tensor.shape[0] != 3:
            raise UserError(f"colour metrics need an RGB tensor (3, H, W), got the shape {tuple(image.shape)}")
        return tensor.permute(1, 2, 0).numpy()
    if image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"colour metrics need three channels (H, W, 3), got the shape {image.shape}")
    rgb = image[:, :, ::-1]
    return rgb / 255.0 if rgb.dtype.kind == "f" else np.ascontiguousarray(rgb)
