"""How faithful a picture's colours are to its target: one measurement, used by training, tools and reports alike.

``measure(prediction, target)`` gives every figure of ``FIGURES`` for one pair. Saturation, brightness and hue are those
of HSV on the encoded values. "Saturated pixels" are those of the *target* with S >= 0.25 and 0.10 <= V <= 0.95; two
more masks, S >= 60/255 and S >= 100/255, are those that earlier work reported. A figure over no pixels is NaN, never 0.

A ratio on the target's saturated pixels alone rewards a network that over-saturates everything: read it beside
``sat_ratio_whole``. Means hide rare failures: read them beside the percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from basicsr.metrics import calculate_ssim
from plugins.color_science import ColorComparison, compare_colors, to_unit_float

NAN = float("nan")
SATURATED = 0.25
VALUE_RANGE = (0.10, 0.95)
SSIM_WINDOW = 11
_SSIM_ROWS = 64


@dataclass(frozen=True)
class Figure:
    """How one figure is shown and judged.

    Attributes:
        label: Short heading.
        unit: Unit, may be empty.
        better: ``higher``, ``lower``, ``one`` (nearer to 1) or ``none`` (says nothing about quality).
        digits: Decimals.
        text: What it is, one sentence.
    """

    label: str
    unit: str
    better: str
    digits: int
    text: str


FIGURES: dict[str, Figure] = {
    "psnr": Figure("PSNR", "dB", "higher", 2, "Peak signal-to-noise ratio over all channels."),
    "ssim": Figure("SSIM", "", "higher", 4, "Structural similarity, mean over the channels."),
    "de00_mean": Figure("ΔE00", "", "lower", 2, "Mean CIEDE2000 colour difference; 1 is just noticeable."),
    "de00_p95": Figure("ΔE00 p95", "", "lower", 2, "95 % of the pixels are closer to the target than this."),
    "de00_p99": Figure("ΔE00 p99", "", "lower", 2, "99 % of the pixels are closer to the target than this."),
    "de00_max": Figure("ΔE00 max", "", "lower", 2, "The worst pixel."),
    "de00_sat": Figure("ΔE00 sat.", "", "lower", 2, "Mean CIEDE2000 on the target's saturated pixels."),
    "de76_mean": Figure("ΔE76", "", "lower", 2, "Mean Euclidean distance in CIELAB."),
    "sat_ratio": Figure("Sat. ratio", "", "one", 3, "Saturation over the target's, on its saturated pixels."),
    "sat_ratio_60": Figure("Sat. ratio S≥60", "", "one", 3, "The same where the target's S is at least 60/255."),
    "sat_ratio_100": Figure("Sat. ratio S≥100", "", "one", 3, "The same where the target's S is at least 100/255."),
    "sat_ratio_whole": Figure("Sat. ratio whole", "", "one", 3, "Saturation over the target's, on the whole image."),
    "hue_abs_deg": Figure("Hue error", "°", "lower", 2, "Mean absolute hue error on the target's saturated pixels."),
    "bright_ratio": Figure("Brightness", "", "one", 3, "HSV value over the target's, on its saturated pixels."),
    "psnr_r": Figure("PSNR red", "dB", "higher", 2, "PSNR of the red channel."),
    "psnr_g": Figure("PSNR green", "dB", "higher", 2, "PSNR of the green channel."),
    "psnr_b": Figure("PSNR blue", "dB", "higher", 2, "PSNR of the blue channel."),
    "above_2": Figure("ΔE00 > 2", "%", "lower", 1, "Share of the pixels more than 2 from the target."),
    "above_5": Figure("ΔE00 > 5", "%", "lower", 1, "Share of the pixels more than 5 from the target."),
    "above_10": Figure("ΔE00 > 10", "%", "lower", 1, "Share of the pixels more than 10 from the target."),
    "dl_mean": Figure("|ΔL*|", "", "lower", 2, "Mean absolute lightness difference."),
    "dc_mean": Figure("|ΔC*|", "", "lower", 2, "Mean absolute chroma difference."),
    "dh_mean": Figure("ΔH*", "", "lower", 2, "Mean hue difference as a distance in CIELAB."),
    "de00_c0": Figure("ΔE00 C*<10", "", "lower", 2, "Mean CIEDE2000 where the target's chroma is below 10."),
    "de00_c10": Figure("ΔE00 C* 10–30", "", "lower", 2, "The same for target chroma 10 to 30."),
    "de00_c30": Figure("ΔE00 C* 30–60", "", "lower", 2, "The same for target chroma 30 to 60."),
    "de00_c60": Figure("ΔE00 C*≥60", "", "lower", 2, "The same for target chroma of 60 and more."),
    "chroma_c10": Figure("C* ratio 10–30", "", "one", 3, "Chroma over the target's where that is 10 to 30."),
    "chroma_c30": Figure("C* ratio 30–60", "", "one", 3, "Chroma over the target's where that is 30 to 60."),
    "chroma_c60": Figure("C* ratio ≥60", "", "one", 3, "Chroma over the target's where that is 60 and more."),
    "sat_share": Figure("Saturated", "%", "none", 1, "Share of the target's pixels that count as saturated."),
}


def measure(
    pred: np.ndarray, target: np.ndarray, lq: np.ndarray | None = None, threads: int | None = None
) -> dict[str, float]:
    """Measure a prediction against its target.

    Args:
        pred: (H, W, 3) RGB; uint8, uint16, or float in [0, 1].
        target: Same height and width; the depth may differ.
        lq: The network's input. With it, ``de00_gain`` is added: how much nearer than the input the prediction is to
            the target in mean ΔE00 (positive is better).
        threads: Threads for ΔE00; all cores by default.

    Returns:
        The keys of ``FIGURES``. PSNR of equal images is infinite; a figure over no pixels is NaN; so is SSIM of images
        smaller than its window of 11 pixels.

    Raises:
        UserError: If the images differ in size or are not RGB.
    """
    figures = measure_with_map(pred, target, threads)[0]
    if lq is not None:
        _check_pair(lq, target)
        figures["de00_gain"] = compare_colors(lq, target, threads=threads).mean - figures["de00_mean"]
    return figures


def measure_with_map(
    pred: np.ndarray, target: np.ndarray, threads: int | None = None
) -> tuple[dict[str, float], np.ndarray]:
    """:func:`measure` and the ΔE00 of every pixel, (H, W) float32."""
    _check_pair(pred, target)
    colors = compare_colors(pred, target, threads=threads)
    mask, pixels = pixel_figures(pred, target)
    figures = {key: NAN for key in FIGURES}
    figures.update(pixels)
    figures.update(_difference_figures(colors, mask))
    if min(target.shape[:2]) >= SSIM_WINDOW:
        figures["ssim"] = 1.0 if pred is target else _ssim(pred, target)
    return figures, colors.de00


def _ssim(pred: np.ndarray, target: np.ndarray) -> float:
    """The engine's SSIM; of 8-bit images in single precision where numba is installed: the same to 1e-5."""
    if _kernel() is None or not (pred.dtype == target.dtype == np.uint8):
        return float(calculate_ssim(_at_255(pred), _at_255(target), crop_border=0))
    from plugins.color_fidelity.fidelity_kernels import moments, similarity_sum

    height, width = target.shape[:2]
    kernel, margin = cv2.getGaussianKernel(SSIM_WINDOW, 1.5, cv2.CV_32F), SSIM_WINDOW // 2
    constants = (np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2))
    rows = height - 2 * margin
    total = 0.0
    for top in range(0, rows, _SSIM_ROWS):  # a strip at a time: its planes stay in the cache
        codes = [np.ascontiguousarray(image[top : top + _SSIM_ROWS + 2 * margin]) for image in (pred, target)]
        planes = [np.empty(codes[0].shape, np.float32) for _ in range(4)]
        shifts = np.array([np.rint(code.mean()) for code in codes], np.float32)
        moments(*(code.reshape(-1) for code in codes), shifts, *(plane.reshape(-1) for plane in planes))
        blurred = [cv2.sepFilter2D(plane, -1, kernel, kernel)[margin:-margin, margin:-margin] for plane in planes]
        inner = [np.ascontiguousarray(plane).reshape(len(plane), -1) for plane in blurred]
        total += similarity_sum(shifts, *inner, *constants)
    return total / (rows * (width - 2 * margin) * 3)


def pixel_figures(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """The mask of saturated pixels (H, W), and the figures that need one pixel at a time: PSNR, ratios, hue error.

    Images of one integer depth are counted by compiled code where numba is installed, others by numpy: the same
    figures to 1e-6.
    """
    kernel = _kernel() if pred.dtype == target.dtype and pred.dtype in (np.uint8, np.uint16) else None
    if kernel is None:
        mask = saturated_mask(target)
        return mask, {**_noise_figures(_channel_errors(pred, target)), **saturation_figures(pred, target, mask)}
    full = np.float32(np.iinfo(pred.dtype).max)
    mask, sums, errors = np.empty(target.shape[:2], np.bool_), np.zeros(12), np.zeros(3, np.int64)
    codes = (np.ascontiguousarray(image).reshape(-1) for image in (pred, target))
    limits = (np.float32(SATURATED), np.float32(VALUE_RANGE[0]), np.float32(VALUE_RANGE[1]))
    kernel(*codes, full, *limits, mask.reshape(-1), sums, errors)
    figures = _noise_figures([float(error) / mask.size / float(full) ** 2 for error in errors])
    for place, key in enumerate(("sat_ratio", "sat_ratio_60", "sat_ratio_100", "sat_ratio_whole", "bright_ratio")):
        figures[key] = float(sums[2 * place] / sums[2 * place + 1]) if sums[2 * place + 1] > 0 else NAN
    figures["hue_abs_deg"] = float(sums[10] / sums[11]) if sums[11] > 0 else NAN
    return mask, figures


@cache
def _kernel() -> Callable[..., None] | None:
    try:
        from plugins.color_fidelity.fidelity_kernels import pixel_sums
    except ImportError:
        return None
    compiled: Callable[..., None] = pixel_sums
    return compiled


def _check_pair(pred: np.ndarray, target: np.ndarray) -> None:
    for name, image in (("prediction", pred), ("target", target)):
        if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise UserError(f"the {name} must be an RGB image (H, W, 3), got the shape {image.shape}")
    if pred.shape != target.shape:
        raise UserError(f"prediction and target differ in size: {_size(pred)} against {_size(target)}")


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def channel_psnr(pred: np.ndarray, target: np.ndarray) -> tuple[float, float, float]:
    """PSNR of the three channels in the order they have, in dB; infinite for equal channels."""
    errors = _channel_errors(pred, target)
    return _decibel(errors[0]), _decibel(errors[1]), _decibel(errors[2])


def _channel_errors(pred: np.ndarray, target: np.ndarray) -> list[float]:
    """Mean squared errors at full scale 1."""
    errors = []
    for channel in range(3):
        first, second = pred[..., channel], target[..., channel]
        if first.dtype == second.dtype == np.uint8:
            counts = np.bincount(cv2.absdiff(np.ascontiguousarray(first), np.ascontiguousarray(second)).ravel())
            errors.append(float(counts @ np.arange(len(counts)) ** 2) / first.size / 255**2)
        else:
            difference = to_unit_float(first).astype(np.float64) - to_unit_float(second)
            errors.append(float(np.mean(difference * difference)))
    return errors


def _decibel(error: float) -> float:
    return math.inf if error == 0 else -10 * math.log10(error)


def _noise_figures(errors: list[float]) -> dict[str, float]:
    figures = {f"psnr_{name}": _decibel(error) for name, error in zip("rgb", errors, strict=True)}
    figures["psnr"] = _decibel(sum(errors) / 3)
    return figures


def _at_255(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else to_unit_float(image).astype(np.float64) * 255


def _difference_figures(colors: ColorComparison, mask: np.ndarray) -> dict[str, float]:
    saturated = colors.de00[mask]
    figures = {
        "de00_mean": colors.mean,
        "de00_p95": colors.p95,
        "de00_p99": colors.p99,
        "de00_max": colors.maximum,
        "de00_sat": float(saturated.mean(dtype=np.float64)) if saturated.size else NAN,
        "de76_mean": colors.de76,
        "dl_mean": colors.lightness,
        "dc_mean": colors.chroma,
        "dh_mean": colors.hue,
        "sat_share": 100 * saturated.size / mask.size,
    }
    for limit in (2, 5, 10):
        figures[f"above_{limit}"] = 100 * float(np.count_nonzero(colors.de00 > limit)) / mask.size
    for part in colors.bins:
        figures[f"de00_c{part.low:.0f}"] = part.de00
        if part.low > 0:
            figures[f"chroma_c{part.low:.0f}"] = part.ratio
    return figures


def saturated_mask(target: np.ndarray) -> np.ndarray:
    """Pixels with HSV S >= 0.25 and 0.10 <= V <= 0.95: colourful, and neither black nor clipped. (H, W) bool."""
    sat, value = _sat_value(target)
    return (sat >= SATURATED) & (value >= VALUE_RANGE[0]) & (value <= VALUE_RANGE[1])


def saturation_figures(pred: np.ndarray, target: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Saturation and brightness ratios and the hue error; see :data:`FIGURES`."""
    (sat, value), (sat_target, value_target) = _sat_value(pred), _sat_value(target)
    return {
        "sat_ratio": _ratio(sat, sat_target, mask),
        "sat_ratio_60": _ratio(sat, sat_target, sat_target >= np.float32(60 / 255)),
        "sat_ratio_100": _ratio(sat, sat_target, sat_target >= np.float32(100 / 255)),
        "sat_ratio_whole": _ratio(sat, sat_target, None),
        "bright_ratio": _ratio(value, value_target, mask),
        "hue_abs_deg": hue_error(pred, target, mask),
    }


def _ratio(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None) -> float:
    """Mean over mean on the mask; NaN where the mask is empty or the target's mean is 0."""
    if mask is not None:
        first, second = first[mask], second[mask]
    total = float(second.sum(dtype=np.float64))
    return float(first.sum(dtype=np.float64)) / total if total > 0 else NAN


def _sat_value(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """HSV saturation and value, (H, W) float32 each; S of black is 0."""
    red, green, blue = cv2.split(_comparable(image))
    high = cv2.max(cv2.max(red, green), blue)
    spread = cv2.subtract(high, cv2.min(cv2.min(red, green), blue)).astype(np.float32)
    value = to_unit_float(high)
    base = high.astype(np.float32)
    return spread / np.where(base > 0, base, np.float32(1)), value


def _comparable(image: np.ndarray) -> np.ndarray:
    if image.dtype.kind != "f":
        return np.ascontiguousarray(image)
    return np.clip(image, 0, 1).astype(np.float32)


def hue_error(pred: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute HSV hue difference on a mask, in degrees, [0, 180].

    Pixels that are exactly grey in the prediction have no hue and are left out (their loss shows in the saturation
    ratio); NaN where no pixel is left.
    """
    hue1, defined1 = _hue_degrees(to_unit_float(pred[mask]))
    hue2, defined2 = _hue_degrees(to_unit_float(target[mask]))
    defined = defined1 & defined2
    if not defined.any():
        return NAN
    difference = np.abs(hue1[defined] - hue2[defined])
    return float(np.minimum(difference, 360 - difference).mean(dtype=np.float64))


def _hue_degrees(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hue in [0, 360) of colours (N, 3), and whether it is defined."""
    red, green, blue = (np.ascontiguousarray(colors[:, k]).astype(np.float32) for k in range(3))
    high = np.maximum(np.maximum(red, green), blue)
    spread = high - np.minimum(np.minimum(red, green), blue)
    defined = spread > 0
    scale = np.float32(60) / np.where(defined, spread, np.float32(1))
    third = np.float32(120) + (blue - red) * scale
    sector = np.where(high == green, third, np.float32(240) + (red - green) * scale)
    hue = np.where(high == red, (green - blue) * scale, sector)
    return np.where(hue < 0, hue + np.float32(360), hue), defined
