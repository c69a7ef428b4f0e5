"""Images of validation: conversion for metrics, files, and previews for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from basicsr.utils.img_util import imwrite, tensor2img

_PREVIEW_EDGE = 512

Image = np.ndarray[Any, Any]


def to_image(tensor: Tensor, rgb2bgr: bool = True, exact: bool = False) -> Image:
    """One (C, H, W) tensor in [0, 1] as an (H, W, C) array, BGR.

    Args:
        tensor: Values outside [0, 1] are clamped.
        rgb2bgr: Whether to swap the channels.
        exact: Float32 in [0, 255], not rounded, in place of uint8.
    """
    if not exact:
        image: Image = tensor2img([tensor], rgb2bgr=rgb2bgr)
        return image
    return np.asarray(tensor2img([tensor], rgb2bgr=rgb2bgr, out_type=np.float32), dtype=np.float32) * 255


class ImageWriter:
    """Gives every output its place.

    Training: ``<visualization>/<name>/<name>_<iteration>.png``, with several validation sets
    ``<visualization>/<set>/<name>/...``, so that equal names of two sets are two files. Testing:
    ``<visualization>/<set>/<name>_<suffix or experiment>.png``. A target gets ``_gt`` after its output's name.

    Args:
        opt: The run's options.
        dataset_name: The set.
        current_iter: The iteration.
    """

    def __init__(self, opt: Mapping[str, Any], dataset_name: str, current_iter: int | str) -> None:
        self.folder = Path(opt["path"]["visualization"])
        self.is_train = bool(opt["is_train"])
        self.ending = str(current_iter) if self.is_train else str((opt.get("val") or {}).get("suffix") or opt["name"])
        sets = [key for key in opt.get("datasets") or {} if key.split("_")[0] == "val"]
        if not self.is_train or len(sets) > 1:
            self.folder = self.folder / dataset_name

    def path(self, name: str, target: bool = False) -> Path:
        """The file of one image.

        Args:
            name: The image's name.
            target: Whether it is the target's.
        """
        file = f"{name}_{self.ending}{'_gt' if target else ''}.png"
        return self.folder / name / file if self.is_train else self.folder / file

    def write(self, name: str, output: Image, target: Image | None) -> None:
        """Write an output and, if given, its target."""
        imwrite(output, str(self.path(name)))
        if target is not None:
            imwrite(target, str(self.path(name, target=True)))


def thumbnail(visuals: Mapping[str, Tensor]) -> Image:
    """Input, output and target side by side, RGB uint8, each with edges of at most 512 pixels.

    Args:
        visuals: ``result`` and perhaps ``lq`` and ``gt``, (C, H, W).
    """
    height, width = visuals["result"].shape[-2:]
    scale = min(1.0, _PREVIEW_EDGE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    panels = [_panel(visuals[key], size) for key in ("lq", "result", "gt") if key in visuals]
    return np.concatenate(panels, axis=1)


def _panel(tensor: Tensor, size: tuple[int, int]) -> Image:
    image: Image = tensor2img([tensor[:3]], rgb2bgr=False)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    shrinks = image.shape[1] > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
