"""The corrected photo, at any size: the one inversion of :func:`plugins.diagnostic.degradation.correct`, made fast.

The inversion mixes the channels once, linearly (saturation), and then treats each channel by itself (light). The second
half is therefore a table, which ``correct`` itself fills; a photo of 12 megapixels takes a fraction of a second and
never exists as floats, but for a strip of rows.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from plugins.color_science import oklab_to_rgb, rgb_to_oklab
from plugins.diagnostic.advice import CorrectionAdvice
from plugins.diagnostic.degradation import correct
from plugins.diagnostic.estimate import LUMINANCE, Estimate
from plugins.diagnostic.image_check import check_rgb
from plugins.diagnostic.parameters import check_parameters, clamped, estimate_of

_STRIP_PIXELS = 1 << 18
_FINENESS = 16
"""Entries of the table to a grey level, so that its steps stay below the rounding to 8 bits."""
_MARGIN = 256
"""Levels below black and above white that the table reaches: strong saturation leaves the range on the way."""


def generate_preview(
    img_rgb: np.ndarray, advice: CorrectionAdvice, device: torch.device | str | None = None
) -> np.ndarray:
    """Apply the advice to a photo.

    Args:
        img_rgb: (H, W, 3) RGB, 0 to 255, of any size: the advice may come from a smaller copy.
        advice: Of :func:`plugins.diagnostic.optimize_corrections`; its ``final_params`` are applied, within ``CLAMPS``.
        device: Taken for compatibility: the tables make this fastest on the CPU.

    Returns:
        (H, W, 3) RGB uint8, within one level of ``correct``. Parameters that change nothing give the same pixels.

    Raises:
        ValueError: The image has another shape or range, or a parameter is missing or not finite.
    """
    del device
    image = check_rgb(img_rgb)
    check_parameters(advice.final_params)
    parameters = clamped(advice.final_params)
    estimate = estimate_of(parameters)
    lit = _apply(image, estimate) if _changes(estimate) else image.copy()
    return turn_hue(lit, parameters["hue"]) if parameters["hue"] else lit


def _changes(estimate: Estimate) -> bool:
    values = (estimate.ev, estimate.log_rg, estimate.log_bg, estimate.log_saturation)
    return any(abs(value) > 1e-9 for value in values)


def _apply(image: np.ndarray, estimate: Estimate) -> np.ndarray:
    light = Estimate(estimate.ev, estimate.log_rg, estimate.log_bg, 0.0)
    if abs(estimate.log_saturation) <= 1e-9:
        table = _light_table(light, np.arange(256, dtype=np.float32) / 255.0)
        return np.asarray(cv2.LUT(image, np.ascontiguousarray(table[None])))
    reach = 255 + 2 * _MARGIN
    table = _light_table(light, (np.arange(reach * _FINENESS + 1) / _FINENESS - _MARGIN).astype(np.float32) / 255.0)
    columns = [np.ascontiguousarray(table[:, channel]) for channel in range(3)]
    matrix = _saturation_matrix(math.exp(-estimate.log_saturation))
    result = np.empty_like(image)
    rows = max(1, _STRIP_PIXELS // image.shape[1])
    for top in range(0, len(image), rows):
        strip = cv2.transform(image[top : top + rows].astype(np.float32), matrix)
        places = strip.reshape(-1, 3).astype(np.int32)  # positive: cutting off rounds, with the half in the matrix
        for channel, column in enumerate(columns):
            chosen = np.take(column, places[:, channel], mode="clip")
            result[top : top + rows, :, channel] = chosen.reshape(strip.shape[:2])
    return result


def _saturation_matrix(factor: float) -> np.ndarray:
    """(3, 4): RGB levels to places in the table, after the change of saturation."""
    grey = np.tile(np.asarray(LUMINANCE, dtype=np.float64), (3, 1))
    mixed = factor * np.eye(3) + (1 - factor) * grey
    offset = np.full((3, 1), _MARGIN * _FINENESS + 0.5)
    return np.ascontiguousarray(np.hstack([mixed * _FINENESS, offset]).astype(np.float32))


def _light_table(light: Estimate, values: np.ndarray) -> np.ndarray:
    """(entries, 3) uint8: what exposure and gains make of encoded values, by the inversion itself."""
    ramp = torch.from_numpy(values).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    with torch.inference_mode():
        made = correct(ramp, light.batch(), check=False)[0, :, 0]
    return np.rint(made.numpy().T * 255.0).astype(np.uint8)


def turn_hue(image: np.ndarray, turns: float) -> np.ndarray:
    """Turn the hue of (H, W, 3) uint8 RGB in OKLab, in full turns (0.1 is 36 degrees); lightness and chroma stay.

    B. Ottosson, "A perceptual color space for image processing", 2020.
    """
    angle = 2 * math.pi * turns
    matrix = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    result = np.empty_like(image)
    rows = max(1, _STRIP_PIXELS // image.shape[1])
    for top in range(0, len(image), rows):
        strip = torch.from_numpy(image[top : top + rows].transpose(2, 0, 1).astype(np.float32) / 255.0)
        with torch.inference_mode():
            lab = rgb_to_oklab(strip)
            lab[1:] = torch.einsum("ij,jhw->ihw", matrix, lab[1:])
            turned = oklab_to_rgb(lab).clamp(0, 1)
        result[top : top + rows] = np.rint(turned.numpy().transpose(1, 2, 0) * 255.0).astype(np.uint8)
    return result
