"""Paired photographs for colour fidelity: jitter of the input, colourful crops, whole photos, the photo as context.

Everything is off by default; then it is the engine's ``PairedImageDataset``, sample for sample.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from basicsr.data.image_source import SourceImage
from basicsr.data.paired_image_dataset import PairedImageDataset, PairedImageOptions
from basicsr.data.transforms import to_tensor
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import to_float
from basicsr.utils.registry import DATASET_REGISTRY
from plugins.color_science import apply_to_arrays, linear_to_srgb, srgb_to_linear

MIDDLE_GREY = 0.18
"""Linear value that a change of contrast leaves alone."""

Jitter = tuple[float, float, float, float]
"""Exposure, contrast, and the gains of red and blue; see ``jitter``."""

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
        whole_photo_prob: Share of the training samples that are no crop but the whole photo, shrunk to the crop's size
            (its proportions are not kept), in [0, 1]. A crop of a white wall does not tell how bright the photo is to
            be; the whole photo does.
        context_size: Edge in pixels of a square thumbnail of the whole input that goes with every training sample as
            ``context``, for networks that choose colours by the whole photo (``NAFNetContext``); 0 for none.
    """

    jitter_prob: float = 0.0
    jitter_exposure: tuple[float, float] = (-0.3, 0.3)
    jitter_contrast: tuple[float, float] = (0.9, 1.1)
    jitter_white_balance: tuple[float, float] = (-0.1, 0.1)
    chroma_crop_prob: float = 0.0
    whole_photo_prob: float = 0.0
    context_size: int = 0


def check_color_options(options: ColorPairedImageOptions, where: str) -> None:
    """Raise ``UserError`` with every value that is out of its range."""
    problems = []
    for key in ("jitter_prob", "chroma_crop_prob", "whole_photo_prob"):
        if not 0 <= getattr(options, key) <= 1:
            problems.append(f"{key} must lie in [0, 1], got {getattr(options, key)}")
    if options.context_size < 0 or options.context_size % 2:
        problems.append(f"context_size must be even and not negative, got {options.context_size}")
    if options.context_size and options.color == "y":
        problems.append("context_size needs three channels: remove color: y")
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
    """``PairedImageDataset`` with jitter of the input alone, crops where the target is colourful, and whole photos.

    The jitter happens in linear light and leaves the target as it is, so the network learns to undo it. For colourful
    crops a coarse map of the target's chroma is made when the image is first used and kept: a cell is drawn with a
    probability proportional to its squared chroma, and the crop lies at random around it. Random choices come from
    Python's ``random``, so the training stream makes them a function of seed and position. Training samples with
    ``context_size`` have ``context``, ``(3, context_size, context_size)``: the whole input, with the crop's jitter.

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
        self._thumbnails: dict[str, np.ndarray] = {}
        self._last_jitter: Jitter | None = None

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        if self.options.context_size > 0 and self.options.phase == "train":
            sample["context"] = self._context(self.paths[index]["lq_path"])
        return sample

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
        self._last_jitter = None
        if options.jitter_prob <= 0 or random.random() >= options.jitter_prob:
            return lq, gt
        exposure = random.uniform(*options.jitter_exposure)
        contrast = random.uniform(*options.jitter_contrast)
        red, blue = random.uniform(*options.jitter_white_balance), random.uniform(*options.jitter_white_balance)
        # The context of this sample, made right after, is the same photo and must have changed alike.
        self._last_jitter = (exposure, contrast, red, blue)
        return jitter(lq, *self._last_jitter), gt

    def training_pair(self, index: int, lq_image: SourceImage, gt_image: SourceImage) -> tuple[np.ndarray, np.ndarray]:
        """Cut a crop, or shrink the whole photo to the crop's size."""
        prob = self.options.whole_photo_prob
        if prob <= 0 or random.random() >= prob:
            return super().training_pair(index, lq_image, gt_image)
        edge = self.options.gt_size or 0
        lq, gt = shrink(lq_image.read(), edge // self.options.scale), shrink(gt_image.read(), edge)
        return self.augmented(*self.alter_crop(to_float(lq), to_float(gt)))

    def _context(self, path: str) -> Tensor:
        """The thumbnail of a whole input, kept from its first use on, with the jitter of the sample just made."""
        size = self.options.context_size
        if path not in self._thumbnails:
            image = self.sources["lq"].open(path)
            # Some sixteen pixels for each of the thumbnail's: enough for an average, and cheap from a store.
            step = max(1, min(image.height, image.width) // (4 * size))
            self._thumbnails[path] = shrink(image.points(step), size)
        thumbnail = to_float(self._thumbnails[path])
        if self._last_jitter is not None:
            thumbnail = jitter(thumbnail, *self._last_jitter)
        return to_tensor(thumbnail, self.mean, self.std)

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


def shrink(pixels: np.ndarray, edge: int) -> np.ndarray:
    """Resize ``(h, w, 3)`` pixels to a square by averaging areas; proportions are not kept."""
    return cv2.resize(pixels, (edge, edge), interpolation=cv2.INTER_AREA)


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
