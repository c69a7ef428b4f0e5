"""Pairs of a photo as shot and as an expert made it, as in MIT-Adobe FiveK, with fitted labels."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from basicsr.data.dataset_options import label, read_options
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image
from basicsr.utils.registry import DATASET_REGISTRY
from plugins.diagnostic.degradation_draws import labels_of, recoverable
from plugins.diagnostic.degraded_photo_dataset import (
    DegradedPhotoDataset,
    DegradedPhotoOptions,
    check_photo_options,
    random_crop,
    square,
    to_planes,
)
from plugins.diagnostic.estimate import estimates_of
from plugins.diagnostic.label_fit import FIT_SIZE, UNEXPLAINED, LabelFile
from plugins.diagnostic.photo_list import SmallPhotos, list_photos, reduce_photo

logger = logging.getLogger("basicsr")
_SHOWN = 5


@dataclass(frozen=True)
class EditedPairOptions:
    """Options of ``EditedPairDataset``.

    Attributes:
        dataroot_input: Folder of the photos as shot, developed plainly.
        dataroot_expert: Folder of the expert's versions, under the same names (the ending may differ).
        label_file: JSON file that keeps the fitted labels, made when it is missing. Omitted: fitted at every start.
        list_file: Text file with the inputs to use, one a line.
        split: ``train``, ``val`` or ``test``: 7, 1 and 2 tenths of the pairs by a hash of their names; ``all``.
        phase: ``train`` draws crops and mirrors; anything else gives the whole photo.
        image_size: Edge of the square that the network sees.
        crop_scale: Smallest and largest share of the photo's area in a training crop.
        use_flip: Mirror half of the training crops left to right.
        expert_share: Share of the training samples that show the expert's version, which needs nothing.
        give_original: Add the expert's version, ``original``. Omitted: in training only.
        cache_mb: Megabytes of reduced photos that each loader process keeps.
    """

    dataroot_input: str
    dataroot_expert: str
    label_file: str | None = None
    list_file: str | None = None
    split: Literal["all", "train", "val", "test"] = "all"
    phase: str = "train"
    image_size: int = 224
    crop_scale: list[float] = field(default_factory=lambda: [0.4, 1.0])
    use_flip: bool = True
    expert_share: float = 0.2
    give_original: bool | None = None
    cache_mb: int = 512


@DATASET_REGISTRY.register()
class EditedPairDataset(data.Dataset):
    """Pairs whose labels are the estimates that turn the input into the expert's version.

    A sample is as of ``DegradedPhotoDataset``. Pairs that the four numbers do not explain are left out, and counted in
    the log.

    Args:
        opt: Options.

    Raises:
        UserError: An option is wrong, an input has no expert's version, or no pair is left.

    Attributes:
        pairs: Input and expert's version.
        estimates: (N, 4), their labels.
        path_keys: Options that are files; relative ones start at the project's root.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("list_file",)

    def __init__(self, opt: EditedPairOptions | Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options = read_options(EditedPairOptions, opt)
        self.where = label(opt)
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        shared = {key: getattr(options, key) for key in ("image_size", "crop_scale", "cache_mb")}
        check_photo_options(DegradedPhotoOptions("", **shared), self.where)
        if not 0 <= options.expert_share < 1:
            raise UserError(f"{self.where}: expert_share must be from 0 to below 1, got {options.expert_share}.")
        self.train = options.phase == "train"
        side = options.image_size / options.crop_scale[0] ** 0.5 if self.train else options.image_size
        self._reader = SmallPhotos(round(side), options.cache_mb)
        self.pairs, self.estimates = self._labelled(find_pairs(options, self.where))

    def _labelled(self, pairs: list[tuple[Path, Path]]) -> tuple[list[tuple[Path, Path]], Tensor]:
        fitted = LabelFile(self.options.label_file).labels(pairs, _tiny, progress=self._tell(len(pairs)))
        good = [index for index, value in enumerate(fitted.residuals) if value <= UNEXPLAINED]
        if len(good) < len(pairs):
            logger.warning(
                "%s: %d of %d pairs are left out: the edit is not one of exposure, cast and saturation.",
                self.where,
                len(pairs) - len(good),
                len(pairs),
            )
        if not good:
            raise UserError(f"{self.where}: no pair is left whose edit can be explained; are the folders exchanged?")
        return [pairs[index] for index in good], fitted.estimates[good]

    def _tell(self, total: int) -> Any:
        done = [0]

        def tell(count: int) -> None:
            done[0] += count
            logger.info("%s: labels of %d of %d pairs fitted.", self.where, done[0], total)

        return tell

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        options, (before, after) = self.options, self.pairs[index]
        rng = random.Random(random.getrandbits(64) if self.train else index)
        shot, expert = self._reader.read(before), self._reader.read(after)
        if shot.shape != expert.shape:
            raise UserError(f"{before} and {after}: a pair needs one size, got {shot.shape} and {expert.shape}.")
        both = np.concatenate([shot, expert], axis=2)
        if self.train:
            both = random_crop(both, options.crop_scale, rng)
        if self.train and options.use_flip and rng.random() < 0.5:
            both = both[:, ::-1]
        # one after the other: OpenCV shrinks no more than four channels
        image, original = (
            to_planes(square(np.ascontiguousarray(half), options.image_size)) for half in np.split(both, 2, axis=2)
        )
        estimate = self.estimates[index]
        if self.train and rng.random() < options.expert_share:
            image, estimate = original, torch.zeros(4)
        number = estimates_of(estimate[None])[0]
        sample = {"image": image, "labels": labels_of(number, recoverable(original, image)), "lq_path": str(before)}
        if options.give_original if options.give_original is not None else self.train:
            sample["original"] = original
        return sample


def find_pairs(options: EditedPairOptions, where: str) -> list[tuple[Path, Path]]:
    """The inputs of the split and the expert's versions of them.

    Raises:
        UserError: A folder is missing, or an input has no expert's version.
    """
    inputs = list_photos(options.dataroot_input, options.list_file, options.split, where)
    experts = {path.stem: path for path in list_photos(options.dataroot_expert, None, "all", where)}
    missing = [path.name for path in inputs if path.stem not in experts]
    if missing:
        some = ", ".join(missing[:_SHOWN])
        raise UserError(
            f"{where}: {len(missing)} of {len(inputs)} photos have no expert's version of the same name in "
            f"{options.dataroot_expert}: {some}."
        )
    return [(path, experts[path.stem]) for path in inputs]


def _tiny(path: Path) -> Tensor:
    return to_planes(square(reduce_photo(read_image(path), 2 * FIT_SIZE), FIT_SIZE))


@dataclass(frozen=True)
class MixedPhotoOptions(EditedPairOptions):
    """Options of ``MixedPhotoDataset``: those of both kinds of data.

    Attributes:
        dataroot: Folder of good photos, as of ``DegradedPhotoDataset``.
        pair_share: Share of the samples that are pairs.
        identity_share: As of ``DegradedPhotoDataset``.
    """

    dataroot: str = ""
    pair_share: float = 0.5
    identity_share: float = 0.15


@DATASET_REGISTRY.register()
class MixedPhotoDataset(data.Dataset):
    """Edited pairs and spoilt photos, mixed by a ratio; for training. Both are split by the same rule.

    Args:
        opt: Options.

    Raises:
        UserError: As of either data set, or ``pair_share`` is not from 0 to 1, or it is not for training.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("list_file",)

    def __init__(self, opt: MixedPhotoOptions | Mapping[str, Any]) -> None:
        super().__init__()
        options = read_options(MixedPhotoOptions, opt)
        where = label(opt)
        if options.phase != "train" or not 0 <= options.pair_share <= 1 or not options.dataroot:
            raise UserError(f"{where}: MixedPhotoDataset is for training, with dataroot, and pair_share from 0 to 1.")
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        values = dataclasses.asdict(options)
        self.pair_share = options.pair_share
        self.pairs = EditedPairDataset(_fields(EditedPairOptions, values))
        self.photos = DegradedPhotoDataset(_fields(DegradedPhotoOptions, {**values, "list_file": None}))

    def __len__(self) -> int:
        return len(self.pairs) + len(self.photos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = self.pairs if random.random() < self.pair_share else self.photos
        return source[index % len(source)]


def _fields(kind: Any, values: Mapping[str, Any]) -> Any:
    names = {entry.name for entry in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})
