"""Photos and the class of the light they were taken under."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch.utils import data

from basicsr.data import data_util
from basicsr.data.dataset_options import label, read_options
from basicsr.data.image_source import DecodedCache
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names
from basicsr.utils.registry import DATASET_REGISTRY
from plugins.illuminant.centroids import read_centroids
from plugins.illuminant.dataset_lights import LightPool, balanced, drop_outliers, expected_counts, light_pool
from plugins.illuminant.light_images import check_encoding, check_levels, read_pixels, to_unit
from plugins.illuminant.reflectance import SATURATIONS, vary_reflectances
from plugins.illuminant.relight import augment_image_crop_resize, create_augmented_image, resize_square
from plugins.illuminant.truth_files import LitImage, read_truth

Array = np.ndarray[Any, Any]

_GREY = (1 / 3, 1 / 3, 1 / 3)
_SHOWN = 5


@dataclass(frozen=True)
class IlluminantOptions:
    """Options of ``IlluminantDataset``.

    Attributes:
        dataroot: Folder of the photos: 8- or 16-bit PNG, TIFF or JPEG.
        centroids: ``centroids.json`` of ``tools/export_centroids.py``: the classes.
        encoding: ``srgb``: pictures with the sRGB curve. ``linear``: raw RGB. A model learns one of them.
        truth: Table of lights (image, r, g, b), always of linear light. Omitted: a file ``<stem>.wp`` beside each
            photo.
        truth_columns: Which light of a table with several: ``mean``, ``left`` or ``right`` of Cube++.
        neutral: Instead of a truth: the photos are white-balanced, their light is grey.
        list_file: Text file with the photos to use, one name a line: the split.
        black: Black level of linear photos, in the files' units, which is subtracted.
        white: Saturation level of linear photos. Omitted: the range of 8 or 16 bits.
        phase: ``train`` draws crops, mirrors and lights; anything else gives the whole photo, nothing random.
        image_size: Edge of the square that the network sees.
        crop_scale: Smallest and largest share of the photo's area in a training crop.
        use_flip: Mirror half of the training crops left to right and half top to bottom.
        relight_prob: Share of the training samples shown under another light.
        relight_lights: Table of lights to draw from. Omitted: those of the truth; with ``neutral``, daylight and
            incandescent light in linear sRGB.
        reflectance_prob: Share of the training samples whose surfaces get other hues and saturations under the same
            light: for training sets of few photos.
        exposure_range: Smallest and largest factor on a re-illuminated training crop, drawn evenly in logarithm.
        balance: ``repeat``: photos of rare classes are repeated. ``draw``: for a new light, the class is drawn first,
            each as often, then a light of it.
        fixed_relight: In validation: show each photo under so many fixed lights instead of its own.
        relight_seed: Number that fixes those lights, and the ones made for ``neutral``.
        outlier: What becomes of photos whose light is over 10 degrees from every class: ``drop``, or ``keep`` with the
            nearest class.
        cache_mb: Megabytes of reduced photos that each loader process keeps.
    """

    dataroot: str
    centroids: str
    encoding: Literal["srgb", "linear"]
    truth: str | None = None
    truth_columns: str | None = None
    neutral: bool = False
    list_file: str | None = None
    black: float = 0.0
    white: float | None = None
    phase: str = "train"
    image_size: int = 224
    crop_scale: list[float] = field(default_factory=lambda: [0.3, 1.0])
    use_flip: bool = True
    relight_prob: float = 0.0
    relight_lights: str | None = None
    reflectance_prob: float = 0.0
    exposure_range: list[float] = field(default_factory=lambda: [0.7, 1.2])
    balance: Literal["none", "repeat", "draw"] = "none"
    fixed_relight: int | None = None
    relight_seed: int = 0
    outlier: Literal["keep", "drop"] = "drop"
    cache_mb: int = 256


def check_illuminant_options(options: IlluminantOptions, where: str) -> None:
    """Check what the values must be, alone and together.

    Raises:
        UserError: With every problem found.
    """
    check_encoding(options.encoding, where)
    check_levels(options.encoding, options.black, options.white, where)
    scale, exposure, train = options.crop_scale, options.exposure_range, options.phase == "train"
    problems = []
    if options.neutral and (options.truth is not None or options.truth_columns is not None):
        problems.append("neutral photos have no truth file: give truth or neutral: true, not both")
    if options.neutral and options.encoding == "linear" and options.relight_lights is None:
        problems.append("neutral linear photos need relight_lights: lights of this sensor")
    if options.image_size < 1:
        problems.append(f"image_size must be positive, got {options.image_size}")
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        problems.append(f"crop_scale must be two rising shares from above 0 to 1, got {scale}")
    if len(exposure) != 2 or not 0 < exposure[0] <= exposure[1]:
        problems.append(f"exposure_range must be two rising positive factors, got {exposure}")
    for key in ("relight_prob", "reflectance_prob"):
        if not 0 <= getattr(options, key) <= 1:
            problems.append(f"{key} must be from 0 to 1, got {getattr(options, key)}")
    if options.fixed_relight is not None and (train or options.fixed_relight < 1):
        problems.append(f"fixed_relight is for validation and at least 1, got {options.fixed_relight}")
    if options.balance not in ("none", "repeat", "draw"):
        problems.append(f"balance must be none, repeat or draw, got '{options.balance}'")
    elif options.balance == "draw" and train and options.relight_prob == 0:
        problems.append("balance: draw draws new lights, and relight_prob is 0: set it, or use balance: repeat")
    if options.outlier not in ("keep", "drop"):
        problems.append(f"outlier must be keep or drop, got '{options.outlier}'")
    if options.cache_mb < 0:
        problems.append(f"cache_mb must not be negative, got {options.cache_mb}")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}.")


@DATASET_REGISTRY.register()
class IlluminantDataset(data.Dataset):
    """Photos with a known light, as squares, under their own light or another.

    A sample is ``{'image', 'labels', 'light', 'lq_path'}``: ``(3, S, S)`` float32 RGB in [0, 1] in the data set's
    encoding, ``{'illuminant': class}`` (int64), the linear light ``(3,)`` float32 of sum 1 after a change of it, and
    the file's path. In training, chance comes from Python's ``random``; else a sample is a function of its index.

    Args:
        opt: Options.

    Raises:
        UserError: An option is wrong, a file is missing or wrong, a listed photo has no light, or no photo is left.

    Attributes:
        centroids: The classes.
        class_counts: Samples of each class in one pass, (K,) int64; expected and rounded where lights are drawn.
        images: The photos and their lights, in order, without repetitions.
        path_keys: Options that are files; relative ones start at the project's root.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("centroids", "truth", "list_file", "relight_lights")

    def __init__(self, opt: IlluminantOptions | Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options = read_options(IlluminantOptions, opt)
        self.where = label(opt)
        check_illuminant_options(options, self.where)
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        self.centroids = read_centroids(options.centroids)
        self.images = self._listed(self._all_images())
        if not options.neutral:
            self.images = drop_outliers(self.images, self.centroids, options.outlier == "keep", self.where)
        self._classes = self.centroids.assign(np.array([image.light for image in self.images]))[0]
        train = options.phase == "train"
        repeat = train and options.balance == "repeat"
        self._order = balanced(self._classes, len(self.centroids)) if repeat else np.arange(len(self.images))
        self._pool = self._make_pool() if self._share_relit() > 0 else None
        self.class_counts: Array = expected_counts(
            self._classes[self._order], len(self.centroids), self._pool, self._share_relit(), options.fixed_relight or 1
        )
        self._cache = DecodedCache(options.cache_mb * 2**20)
        # The smallest crop of a photo of this size has about as many pixels as the network sees.
        self._short_side = round(options.image_size / options.crop_scale[0] ** 0.5) if train else options.image_size * 2

    def _share_relit(self) -> float:
        if self.options.phase == "train":
            return self.options.relight_prob
        return 1.0 if self.options.fixed_relight is not None else 0.0

    def _all_images(self) -> list[LitImage]:
        options, folder = self.options, Path(self.options.dataroot)
        if options.neutral:
            return [LitImage(folder / name, _GREY) for name in image_names(folder)]
        return read_truth(folder, None if options.truth is None else Path(options.truth), options.truth_columns)

    def _listed(self, images: list[LitImage]) -> list[LitImage]:
        if self.options.list_file is not None:
            by_name = {image.path.name: image for image in images} | {image.path.stem: image for image in images}
            names = [line.strip() for line in data_util.read_lines(self.options.list_file, "list_file")]
            missing = [name for name in names if name not in by_name]
            if missing:
                some = ", ".join(missing[:_SHOWN])
                raise UserError(
                    f"{self.where}: {self.options.list_file}: {len(missing)} of {len(names)} names have no photo with "
                    f"a light in {self.options.dataroot}: {some}."
                )
            images = [by_name[name] for name in names]
        if not images:
            raise UserError(f"{self.where}: no photo in {self.options.dataroot}.")
        return images

    def _make_pool(self) -> LightPool:
        options = self.options
        own = np.array([image.light for image in self.images])
        return light_pool(
            None if options.relight_lights is None else Path(options.relight_lights),
            None if options.neutral else own,
            self.centroids,
            by_class=options.balance == "draw",
            keep_outliers=options.outlier == "keep",
            seed=options.relight_seed,
        )

    def record_fields(self) -> dict[str, Any]:
        """What a checkpoint says of the pictures it was trained on: ``encoding``, ``centroids`` and ``size``."""
        options = self.options
        return {"encoding": options.encoding, "centroids": self.centroids.as_dict(), "size": options.image_size}

    def __len__(self) -> int:
        return len(self._order) * (self.options.fixed_relight or 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        copies = self.options.fixed_relight or 1
        image = self.images[int(self._order[range(len(self))[index] // copies])]
        pixels = self._read(image.path)
        picture, light = (
            self._train_view(pixels, image)
            if self.options.phase == "train"
            else self._view(pixels, image, range(len(self))[index])
        )
        number = int(self.centroids.assign(np.asarray(light))[0])
        return {
            "image": torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)),
            "labels": {"illuminant": number},
            "light": torch.tensor(np.asarray(light), dtype=torch.float32),
            "lq_path": str(image.path),
        }

    def _read(self, path: Path) -> Array:
        key = (str(path), "")
        pixels = self._cache.get(key)
        if pixels is None:
            pixels = read_pixels(path, self.options.encoding, self._short_side)
            self._cache.put(key, pixels)
        return pixels

    def _to_unit(self, pixels: Array, path: Path) -> Array:
        return to_unit(pixels, self.options.encoding, self.options.black, self.options.white, str(path))

    def _train_view(self, pixels: Array, image: LitImage) -> tuple[Array, Any]:
        options = self.options
        rng = random.Random(random.getrandbits(64))  # the engine seeds the module's generator for each sample
        pixels = augment_image_crop_resize(pixels, options.image_size, options.crop_scale, rng)
        if options.use_flip:
            pixels = pixels[:, ::-1] if rng.random() < 0.5 else pixels
            pixels = pixels[::-1] if rng.random() < 0.5 else pixels
        picture = self._to_unit(pixels, image.path)
        if rng.random() < options.reflectance_prob:
            hue, saturation = rng.uniform(-180, 180), math.exp(rng.uniform(*SATURATIONS))
            picture = vary_reflectances(picture, image.light, hue, saturation, options.encoding)
        if self._pool is None or rng.random() >= options.relight_prob:
            return picture, image.light
        low, high = np.log(options.exposure_range)
        exposure = float(np.exp(rng.uniform(low, high)))
        return create_augmented_image(picture, image.light, self._pool.draw(rng), options.encoding, exposure)

    def _view(self, pixels: Array, image: LitImage, index: int) -> tuple[Array, Any]:
        picture = self._to_unit(resize_square(pixels, self.options.image_size), image.path)
        if self._pool is None:
            return picture, image.light
        light = self._pool.draw(random.Random(f"{self.options.relight_seed} {index}"))
        return create_augmented_image(picture, image.light, light, self.options.encoding)
