"""Scenes under several lights, with the class and the light of every pixel."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from basicsr.data.dataset_options import label, read_options
from basicsr.data.image_source import DecodedCache
from basicsr.engine.errors import UserError
from basicsr.utils.registry import DATASET_REGISTRY
from plugins.illuminant.centroids import read_centroids
from plugins.illuminant.illuminant_scene import Scene, read_scene, usable_lights
from plugins.illuminant.light_images import check_encoding, from_linear
from plugins.illuminant.lsmi_mask_files import ManifestRow, read_manifest
from plugins.illuminant.reflectance import SATURATIONS

Array = np.ndarray[Any, Any]

CENTROIDS = "centroids.json"
_JITTER = 0.03
"""Standard deviation of the logarithms of R/G and B/G of a drawn light about the one it is drawn after."""


@dataclass(frozen=True)
class IlluminantMaskOptions:
    """Options of ``IlluminantMaskDataset``.

    Attributes:
        dataroot: Folder of the pictures, as LSMI publishes it.
        dataroot_masks: Folder that ``tools/prepare_lsmi_masks.py`` wrote: manifest, masks, centroids.
        split: Which of its pictures: ``train``, ``val`` or ``test``.
        camera: Only those of this camera. Omitted: all in the manifest.
        encoding: ``linear``: raw RGB. ``srgb``: the same with the sRGB curve, for features that learnt from pictures.
        hard: ``drop`` leaves out pictures with a light that is in no class.
        hide_unknown: Show pixels whose light is not known as black. They are LSMI's colour charts above all, from which
            a network would read the answer that no other photo offers.
        phase: ``train`` draws crops, mirrors and lights; anything else gives whole pictures, nothing random.
        short_side: Shrink to so many pixels on the shorter side. Omitted: as the files are. The weights file says it,
            and photos are shown to the network at this size.
        image_size: Edge of the square training crop. Required in training.
        use_flip: Mirror half of the training crops left to right and half top to bottom.
        relight_prob: Share of the training crops shown under other lights, drawn from those of the split.
        reflectance_prob: Share of the training crops whose surfaces get other hues and saturations under the same
            lights: for training sets of few photos.
        exposure_range: Smallest and largest factor on a crop under other lights, drawn evenly in logarithm.
        cache_mb: Megabytes of shrunk scenes that each loader process keeps.
    """

    dataroot: str
    dataroot_masks: str
    encoding: Literal["linear", "srgb"]
    split: Literal["train", "val", "test"] = "train"
    camera: str | None = None
    hard: Literal["keep", "drop"] = "keep"
    hide_unknown: bool = True
    phase: str = "train"
    short_side: int | None = None
    image_size: int | None = None
    use_flip: bool = True
    relight_prob: float = 0.0
    reflectance_prob: float = 0.0
    exposure_range: list[float] = field(default_factory=lambda: [0.6, 1.2])
    cache_mb: int = 256


def check_mask_options(options: IlluminantMaskOptions, where: str) -> None:
    """Check what the values must be.

    Raises:
        UserError: With every problem found.
    """
    check_encoding(options.encoding, where)
    problems = []
    size, short, exposure = options.image_size, options.short_side, options.exposure_range
    if options.phase == "train" and size is None:
        problems.append("image_size (edge of the training crop, such as 128) is required in training")
    if short is not None and short < 1:
        problems.append(f"short_side must be positive, got {short}")
    if size is not None and (size < 1 or short is not None and size > short):
        problems.append(f"image_size must be positive and at most short_side, got {size} and {short}")
    for key in ("relight_prob", "reflectance_prob"):
        if not 0 <= getattr(options, key) <= 1:
            problems.append(f"{key} must be from 0 to 1, got {getattr(options, key)}")
    if len(exposure) != 2 or not 0 < exposure[0] <= exposure[1]:
        problems.append(f"exposure_range must be two rising positive factors, got {exposure}")
    if options.split not in ("train", "val", "test"):
        problems.append(f"split must be train, val or test, got '{options.split}'")
    if options.hard not in ("keep", "drop"):
        problems.append(f"hard must be keep or drop, got '{options.hard}'")
    if options.cache_mb < 0:
        problems.append(f"cache_mb must not be negative, got {options.cache_mb}")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}.")


@DATASET_REGISTRY.register()
class IlluminantMaskDataset(data.Dataset):
    """Pictures of scenes under several lights, and the light of every pixel.

    A sample is ``{'lq', 'gt', 'shares', 'valid', 'centroids', 'lq_path'}``: the picture (3, H, W) in [0, 1] in the
    data set's encoding; its illuminant map (3, H, W) in linear light, green 1; the shares of the K classes (K, H, W);
    1 where these are known, (1, H, W); the classes' centroids (K, 3); all float32; and the picture's path. In training,
    chance comes from Python's ``random``.

    Args:
        opt: Options.

    Raises:
        UserError: An option is wrong, a file is missing or wrong, or no picture is left.

    Attributes:
        centroids: The classes.
        rows: The pictures, as the manifest lists them.
    """

    def __init__(self, opt: IlluminantMaskOptions | Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options = read_options(IlluminantMaskOptions, opt)
        self.where = label(opt)
        check_mask_options(options, self.where)
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        self.folder = Path(options.dataroot_masks)
        self.centroids = read_centroids(self.folder / CENTROIDS)
        self.rows = self._chosen(read_manifest(self.folder))
        self._cache = DecodedCache(options.cache_mb * 2**20)
        self._lights: Array | None = None
        if options.phase == "train" and options.relight_prob > 0:
            self._lights = np.concatenate([usable_lights(self.folder / row.npz) for row in self.rows])
            if not len(self._lights):
                raise UserError(
                    f"{self.where}: relight_prob: no light of {self.folder} belongs to a class; set it to 0."
                )

    def _chosen(self, rows: list[ManifestRow]) -> list[ManifestRow]:
        options = self.options
        found = [row for row in rows if row.split == options.split]
        if options.camera is not None:
            found = [row for row in found if row.camera == options.camera]
        if options.hard == "drop":
            found = [row for row in found if not row.hard]
        if not found:
            splits = ", ".join(sorted({f"{row.camera}/{row.split}" for row in rows}))
            raise UserError(
                f"{self.where}: {self.folder} has no picture of split {options.split}"
                f"{'' if options.camera is None else f' of the camera {options.camera}'}"
                f"{' that is not hard' if options.hard == 'drop' else ''}; it has {splits}."
            )
        return found

    def record_fields(self) -> dict[str, Any]:
        """What a checkpoint says of the pictures it was trained on: ``encoding``, ``centroids`` and ``size``."""
        size = self.options.short_side or self.options.image_size or 0
        return {"encoding": self.options.encoding, "centroids": self.centroids.as_dict(), "size": size}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        scene = self._read(row)
        if self.options.phase == "train":
            scene = self._train_view(scene, row)
        image = from_linear(scene.hidden_image() if self.options.hide_unknown else scene.image, self.options.encoding)
        return {
            "lq": _tensor(image),
            "gt": _tensor(scene.light_map()),
            "shares": _tensor(scene.mask),
            "valid": _tensor(scene.valid[..., None]),
            "centroids": torch.tensor(self.centroids.array, dtype=torch.float32),
            "lq_path": str(Path(self.options.dataroot) / row.image),
        }

    def _read(self, row: ManifestRow) -> Scene:
        key, classes = (row.npz, ""), len(self.centroids)
        lights_key = (row.npz, "lights")
        packed, lights = self._cache.get(key), self._cache.get(lights_key)
        if packed is None or lights is None:
            scene = read_scene(Path(self.options.dataroot), self.folder / row.npz, self.centroids)
            scene = scene.shrunk(self.options.short_side)
            parts = [scene.image, scene.mask, scene.valid[..., None], scene.mixture]
            self._cache.put(key, np.concatenate([part.astype(np.float32) for part in parts], axis=2))
            self._cache.put(lights_key, scene.lights)
            return scene
        image, mask, valid, mixture = np.split(packed, [3, 3 + classes, 4 + classes], axis=2)
        return Scene(image, mixture, mask, valid[..., 0] > 0, lights)

    def _train_view(self, scene: Scene, row: ManifestRow) -> Scene:
        options, size = self.options, self.options.image_size or 0
        height, width = scene.size
        if min(height, width) < size:
            raise UserError(f"{row.image}: {height}x{width} pixels, smaller than image_size {size} of {self.where}.")
        scene = scene.cut(random.randint(0, height - size), random.randint(0, width - size), size, size)
        if options.use_flip:
            scene = scene.mirrored(random.random() < 0.5, random.random() < 0.5)
        if random.random() < options.reflectance_prob:
            scene = scene.recolored(random.uniform(-180, 180), math.exp(random.uniform(*SATURATIONS)))
        if self._lights is None or random.random() >= options.relight_prob:
            return scene
        low, high = np.log(options.exposure_range)
        exposure = float(np.exp(random.uniform(low, high)))
        drawn = np.stack([self._draw_light() for _ in scene.lights])
        return scene.relit(drawn, self.centroids, exposure)

    def _draw_light(self) -> Array:
        """A light of the split, slightly changed, so that lights between the known ones are seen too."""
        if self._lights is None:
            raise TypeError("there are no lights to draw from")
        light: Array = self._lights[random.randrange(len(self._lights))]
        jitter = [random.gauss(0, _JITTER), 0.0, random.gauss(0, _JITTER)]
        return light * np.exp(jitter)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32))
