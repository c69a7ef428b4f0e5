"""Paired photographs for colour fidelity: jitter of the input's exposure, contrast and white balance, colourful crops.

Everything is off by default; then it is the engine's ``PairedImageDataset``, sample for sample.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from basicsr.data.paired_image_dataset import PairedImageDataset, PairedImageOptions
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import to_float
from basicsr.utils.registry import DATASET_REGISTRY
from plugins.color_science import apply_to_arrays, linear_to_srgb, srgb_to_linear

MIDDLE_GREY = 0.18
"""Linear value that a change of contrast leaves alone."""

MAP_STEP = 16
"""The chroma map looks at every so many-th pixel of the target."""


@dataclass(frozen=True)
class ColorPairedImageOptions(PairedImageOptions):
    """Options of ``ColorPairedImageDataset`` beside those of ``PairedImageDataset``.

    Attributes:
        jitter_prob: Share of the training crops whose input is changed, in [0, 1].
        jitter_exposure: Lowest and highest change of exposure, in stops.
        jitter_contrast: Lowest and highest contrast, a factor on the distance from middle grey in stops (1 = none).
        jitter_white_balance: Lowest and highest gain of red and of blue against green, in stops.
        chroma_crop_prob: Share of the training crops that are drawn where the target is colourful, in [0, 1].
    """

    jitter_prob: float = 0.0
    jitter_exposure: tuple[float, float] = (-0.3, 0.3)
    jitter_contrast: tuple[float, float] = (0.9, 1.1)
    jitter_white_balance: tuple[float, float] = (-0.1, 0.1)
    chroma_crop_prob: float = 0.0


def check_color_options(options: ColorPairedImageOptions, where: str) -> None:
    """Raise ``UserError`` with every value that is out of its range."""
    problems = []
    for key in ("jitter_prob", "chroma_crop_prob"):
        if not 0 <= getattr(options, key) <= 1:
            problems.append(f"{key} must lie in [0, 1], got {getattr(options, key)}")
    for key in ("jitter_exposure", "jitter_contrast", "jitter_white_balance"):
        limits = getattr(options, key)
        if not isinstance(limits, (list, tuple)) or len(limits) != 2 or limits[0] > limits[1]:
            problems.append(f"{key} must be [lowest, highest], got {limits}")
        elif key == "jitter_contrast" and limits[0] <= 0:
            problems.append(f"{key} must be positive, got {limits}")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}.")


@DATASET_REGISTRY.register()
class ColorPairedImageDataset(PairedImageDataset):
    """``PairedImageDataset`` with jitter of the input alone and crops where the target is colourful.

    The jitter happens in linear light and leaves the target as it is, so the network learns to undo it. For colourful
    crops a coarse map of the target's chroma is made when the image is first used and kept: a cell is drawn with a
    probability proportional to its squared chroma, and the crop lies at random around it. Random choices come from
    Python's ``random``, so the training stream makes them a function of seed and position.

    Args:
        opt: Options.

    Raises:
        UserError: As ``PairedImageDataset``, or a probability or range is wrong.
    """

    options_class = ColorPairedImageOptions
    options: ColorPairedImageOptions

    def __init__(self, opt: ColorPairedImageOptions | Mapping[str, Any]) -> None:
        super().__init__(opt)
        check_color_options(self.options, self.where)
        self._chroma_maps: dict[str, np.ndarray] = {}

    def choose_corner(self, index: int, lq_size: tuple[int, int], lq_patch: int) -> tuple[int, int]:
        """Draw the crop's corner: anywhere, or around a colourful place of the target."""
        prob = self.options.chroma_crop_prob
        if prob > 0 and random.random() < prob:
            place = self._colourful_place(self.paths[index]["gt_path"])
            if place is not None:
                fits = lq_size[0] >= lq_patch and lq_size[1] >= lq_patch
                if fits:
                    row, column = (v // self.options.scale for v in place)
                    return _around(row, lq_size[0], lq_patch), _around(column, lq_size[1], lq_patch)
        return super().choose_corner(index, lq_size, lq_patch)

    def alter_crop(self, lq: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Change the input's exposure, contrast and white balance by chance; the target is returned as it is."""
        options = self.options
        if options.jitter_prob <= 0 or random.random() >= options.jitter_prob:
            return lq, gt
        exposure = random.uniform(*options.jitter_exposure)
        contrast = random.uniform(*options.jitter_contrast)
        red, blue = random.uniform(*options.jitter_white_balance), random.uniform(*options.jitter_white_balance)
        return jitter(lq, exposure, contrast, red, blue), gt

    def _colourful_place(self, path: str) -> tuple[int, int] | None:
        """A pixel (row, column) of the target, drawn by squared chroma; None in a grey image."""
        if path not in self._chroma_maps:
            self._chroma_maps[path] = _cumulated_chroma(self.sources["gt"].open(path).points(MAP_STEP))
        cumulated = self._chroma_maps[path]
        total = float(cumulated[-1, -1])
        if total <= 0:
            return None
        draw = random.random() * total
        row = min(int(np.searchsorted(cumulated[:, -1], draw, side="right")), cumulated.shape[0] - 1)
        column = min(int(np.searchsorted(cumulated[row], draw, side="right")), cumulated.shape[1] - 1)
        return row * MAP_STEP, column * MAP_STEP


def _around(place: int, size: int, patch: int) -> int:
    """First pixel of a patch that holds ``place``, at random among those inside the image."""
    return random.randint(max(0, place - patch + 1), min(place, size - patch))


def _cumulated_chroma(points: np.ndarray) -> np.ndarray:
    """Running sum, in reading order, of squared CbCr chroma (full range, BT.601) of ``(h, w, 3)`` points."""
    red, green, blue = np.moveaxis(to_float(points), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    u, v = (blue - luma) / 1.772, (red - luma) / 1.402
    # Camera noise on grey walls is no colour: chroma below about two 8-bit steps does not count.
    squared = np.maximum(u * u + v * v - 0.008**2, 0.0).astype(np.float64)
    return np.cumsum(squared.ravel()).reshape(squared.shape)


def jitter(rgb: np.ndarray, exposure: float, contrast: float, red: float, blue: float) -> np.ndarray:
    """Change exposure, contrast and white balance in linear light.

    Args:
        rgb: ``(h, w, 3)`` float sRGB in [0, 1].
        exposure: Stops.
        contrast: Factor on every pixel's distance from middle grey in stops; hue and saturation of linear light stay.
        red: Gain of red, in stops.
        blue: Gain of blue, in stops.

    Returns:
        Changed image, clipped to [0, 1], float32.
    """
    linear = apply_to_arrays(srgb_to_linear, rgb.astype(np.float32, copy=False))
    linear = linear * np.array([2.0**red, 1.0, 2.0**blue], np.float32) * np.float32(2.0**exposure)
    if not math.isclose(contrast, 1.0):
        luminance = linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        gain = (np.maximum(luminance, 1e-5) / MIDDLE_GREY) ** (contrast - 1.0)
        linear = linear * gain[..., None].astype(np.float32)
    return apply_to_arrays(linear_to_srgb, np.clip(linear, 0.0, 1.0)).astype(np.float32, copy=False)
