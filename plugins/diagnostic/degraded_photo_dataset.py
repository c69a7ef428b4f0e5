"""Good photos, spoilt on the fly, with what was done to them as labels."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from basicsr.data.dataset_options import label, read_options
from basicsr.engine.errors import UserError
from basicsr.utils.registry import DATASET_REGISTRY
from plugins.diagnostic.degradation import degrade
from plugins.diagnostic.degradation_draws import HELD_OUT, TRAINING, draw_degradation, labels_of, recoverable
from plugins.diagnostic.photo_list import SmallPhotos, list_photos

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class DegradedPhotoOptions:
    """Options of ``DegradedPhotoDataset``.

    Attributes:
        dataroot: Folder of good photos; sub-folders count, so COCO's ``val2017`` can be given as it is unpacked.
        list_file: Text file with the photos to use, one a line: a split of your own.
        split: ``train``, ``val`` or ``test``: 7, 1 and 2 tenths of the photos by a hash of their names; ``all``.
        phase: ``train`` draws crops, mirrors and degradations; anything else repeats the same ones each time.
        image_size: Edge of the square that the network sees.
        crop_scale: Smallest and largest share of the photo's area in a training crop.
        use_flip: Mirror half of the training crops left to right.
        identity_share: Share of the samples to which nothing is done.
        operators: Which tone curves, space of saturation and compression are drawn: ``training``, or ``held_out``.
        copies: In validation: how many degradations each photo is shown with.
        seed: Number that fixes the degradations of validation.
        give_original: Add the photo before its degradation, ``original``, for the loss on the corrected picture.
            Omitted: in training only.
        cache_mb: Megabytes of reduced photos that each loader process keeps.
    """

    dataroot: str
    list_file: str | None = None
    split: Literal["all", "train", "val", "test"] = "all"
    phase: str = "train"
    image_size: int = 224
    crop_scale: list[float] = field(default_factory=lambda: [0.4, 1.0])
    use_flip: bool = True
    identity_share: float = 0.15
    operators: Literal["training", "held_out"] = "training"
    copies: int = 4
    seed: int = 0
    give_original: bool | None = None
    cache_mb: int = 512


def check_photo_options(options: DegradedPhotoOptions, where: str) -> None:
    """Check what the values must be.

    Raises:
        UserError: With every problem found.
    """
    problems = []
    scale = options.crop_scale
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        problems.append(f"crop_scale must be two rising shares from above 0 to 1, got {scale}")
    if options.image_size < 32:
        problems.append(f"image_size must be at least 32, got {options.image_size}")
    if not 0 <= options.identity_share <= 1:
        problems.append(f"identity_share must be from 0 to 1, got {options.identity_share}")
    if options.operators not in ("training", "held_out"):
        problems.append(f"operators must be training or held_out, got '{options.operators}'")
    if options.copies < 1 or options.cache_mb < 0:
        problems.append("copies must be at least 1 and cache_mb not negative")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}.")


@DATASET_REGISTRY.register()
class DegradedPhotoDataset(data.Dataset):
    """Squares of good photos, degraded; see ``plugins.diagnostic.degradation_draws`` for what is drawn.

    A sample is ``{'image', 'labels', 'lq_path'}`` and perhaps ``original``: ``(3, S, S)`` float32 RGB in [0, 1], the
    labels of ``labels_of``, and the file's path. In training, chance comes from Python's ``random``, which the engine
    seeds for each sample; else a sample is a function of its index and of ``seed``.

    Args:
        opt: Options.

    Raises:
        UserError: An option is wrong, or there is no photo.

    Attributes:
        photos: The files, sorted.
        path_keys: Options that are files; relative ones start at the project's root.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("list_file",)

    def __init__(self, opt: DegradedPhotoOptions | Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options = read_options(DegradedPhotoOptions, opt)
        self.where = label(opt)
        check_photo_options(options, self.where)
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        self.photos = list_photos(options.dataroot, options.list_file, options.split, self.where)
        self.train = options.phase == "train"
        # The smallest crop of a photo of this size has about as many pixels as the network sees.
        side = options.image_size / options.crop_scale[0] ** 0.5 if self.train else options.image_size
        self._reader = SmallPhotos(round(side), options.cache_mb)

    def __len__(self) -> int:
        return len(self.photos) * (1 if self.train else self.options.copies)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = range(len(self))[index]
        path = self.photos[place if self.train else place // self.options.copies]
        copy = place % self.options.copies
        rng = random.Random(random.getrandbits(64) if self.train else f"{self.options.seed} {path.stem} {copy}")
        pixels = self._reader.read(path)
        photo = to_planes(self._train_view(pixels, rng) if self.train else self._whole(pixels))
        draw = draw_degradation(
            rng, HELD_OUT if self.options.operators == "held_out" else TRAINING, self.options.identity_share
        )
        with torch.no_grad():
            spoilt = degrade(photo[None], draw.estimate.batch(), **draw.camera)[0]
        sample = {
            "image": spoilt,
            "labels": labels_of(draw.estimate, recoverable(photo, spoilt)),
            "lq_path": str(path),
        }
        if self.options.give_original if self.options.give_original is not None else self.train:
            sample["original"] = photo
        return sample

    def _train_view(self, pixels: Array, rng: random.Random) -> Array:
        crop = random_crop(pixels, self.options.crop_scale, rng)
        view = square(crop, self.options.image_size)
        return view[:, ::-1] if self.options.use_flip and rng.random() < 0.5 else view

    def _whole(self, pixels: Array) -> Array:
        return square(pixels, self.options.image_size)


def random_crop(pixels: Array, scale: list[float], rng: random.Random) -> Array:
    """A rectangle of the photo's shape that has a random share of its area."""
    height, width = pixels.shape[:2]
    side = rng.uniform(*scale) ** 0.5
    rows, columns = max(1, round(height * side)), max(1, round(width * side))
    top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
    return pixels[top : top + rows, left : left + columns]


def square(pixels: Array, size: int) -> Array:
    """The whole picture as a square: squeezed, not cut, because exposure and colour are matters of the whole."""
    method = cv2.INTER_AREA if min(pixels.shape[:2]) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=method))


def to_planes(pixels: Array) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255
