"""Images of LEGO parts with their part and colour, in the order of a curriculum."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch.utils import data

from basicsr.data.dataset_options import label, read_options
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image
from basicsr.utils.registry import DATASET_REGISTRY
from plugins.lego import lego_resize as resize
from plugins.lego.curriculum import CurriculumOrder, read_stages, shares_of_counts
from plugins.lego.lego_augment import augment, read_augment
from plugins.lego.lego_handed import flippable
from plugins.lego.lego_manifest import (
    COLOR_NAMES,
    PART_NAMES,
    SOURCES,
    SPLITS,
    TRAIN,
    VAL,
    Classes,
    Record,
    is_known,
    read_classes,
    read_manifest,
)

logger = logging.getLogger("basicsr")
Array = np.ndarray[Any, Any]

UNKNOWN = -1
_FAR_FROM_ALL = 255.0


@dataclass(frozen=True)
class LegoOptions:
    """Options of ``LegoDataset``.

    Attributes:
        manifest: ``manifest.csv`` of ``tools/prepare_lego.py``.
        part_names: Classes of parts. Omitted: ``part_names.json`` beside the manifest.
        color_names: Classes of colours. Omitted: ``color_names.json`` beside the manifest.
        split: ``train``, ``val`` or ``test``. Omitted: train in training, val elsewhere.
        sources: Which of legacy, b200c, real, render to use. Omitted: all.
        need: Use only images whose ``part`` or ``color`` is known. Omitted: all.
        phase: Set by the engine; only ``train`` augments.
        image_size: Edge of the square that the network sees.
        resize_mode: ``letterbox`` keeps proportions, ``stretch`` does not, ``crop`` cuts the longer side.
        center: Share of each edge around the middle that is shown: below 1 a crop of the brick itself.
        grey: Show luma only, as a network does that must not see colour.
        augment: Chances and limits, see ``plugins/lego/lego_augment.py``; true for the defaults, omitted for none.
        hflip_parts: ``symmetric``: all parts but those known to have a mirrored twin. ``all``, ``none``, or a list of
            part ids that may be mirrored.
        epoch_size: Images of one epoch. Omitted: as many as there are.
        curriculum: Stages ``{until_epoch: 5, real: 0.2, legacy: 0.4, ...}``; the last has no end. Omitted: every
            image is as likely, whatever its source.
        balance_by: Which classes are balanced.
        class_power: Weight of a class is its size to this power: 1 as it is, 0 all alike.
        max_repeat: Most times that an image comes in one epoch.
    """

    manifest: str
    part_names: str | None = None
    color_names: str | None = None
    split: Literal["train", "val", "test"] | None = None
    sources: list[str] | None = None
    need: Literal["part", "color"] | None = None
    phase: str = "train"
    image_size: int = 224
    resize_mode: Literal["letterbox", "stretch", "crop"] = "letterbox"
    center: float = 1.0
    grey: bool = False
    augment: Mapping[str, Any] | bool | None = None
    hflip_parts: str | list[str] = "symmetric"
    epoch_size: int | None = None
    curriculum: list[Any] | None = None
    balance_by: Literal["part", "color"] = "part"
    class_power: float = 0.5
    max_repeat: int = 10


def check_lego_options(options: LegoOptions, where: str) -> None:
    """Check what the values must be.

    Raises:
        UserError: With every problem found.
    """
    problems = []
    if options.image_size < 8:
        problems.append(f"image_size must be at least 8, got {options.image_size}")
    if options.resize_mode not in resize.MODES:
        problems.append(f"resize_mode must be one of {', '.join(resize.MODES)}, got '{options.resize_mode}'")
    if not 0 < options.center <= 1:
        problems.append(f"center must be a share above 0, at most 1, got {options.center}")
    if options.split not in (None, *SPLITS):
        problems.append(f"split must be one of {', '.join(SPLITS)}, got '{options.split}'")
    wrong = [source for source in options.sources or () if source not in SOURCES]
    if wrong:
        problems.append(f"sources: '{wrong[0]}' is none; there are {', '.join(SOURCES)}")
    if options.need not in (None, "part", "color") or options.balance_by not in ("part", "color"):
        problems.append("need and balance_by are part or color")
    if options.epoch_size is not None and options.epoch_size < 1:
        problems.append(f"epoch_size must be at least 1, got {options.epoch_size}")
    if options.max_repeat < 1:
        problems.append(f"max_repeat must be at least 1, got {options.max_repeat}")
    if not 0 <= options.class_power <= 1:
        problems.append(f"class_power must be from 0 to 1, got {options.class_power}")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}.")


@DATASET_REGISTRY.register()
class LegoDataset(data.Dataset):
    """Images of a manifest.

    A sample is ``{'image', 'labels', 'source', 'lq_path'}``: (3, S, S) float32 RGB in [0, 1]; ``{'part', 'color'}``,
    class numbers (int64, -1 where not known or not among the classes); the number of the source (int64); the file.
    Chance comes from Python's ``random``, which the training stream seeds for every sample.

    Args:
        opt: Options.

    Raises:
        UserError: An option, the manifest or a class file is wrong, or no image is left.

    Attributes:
        parts: Classes of parts.
        colors: Classes of colours.
        part_labels: (N,) int64 class of each image.
        color_labels: (N,) likewise.
        sources: (N,) int64 source of each image.
        paths: Files.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("manifest", "part_names", "color_names")

    def __init__(self, opt: LegoOptions | Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options = read_options(LegoOptions, opt)
        self.where = label(opt)
        check_lego_options(options, self.where)
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        manifest = Path(options.manifest)
        self.parts, self.colors = classes_of(options)
        self.stages = read_stages(options.curriculum, self.where, SOURCES) if options.curriculum else None
        self._augment = read_augment(options.augment, self.where) if options.phase == "train" else None
        records = self._chosen(read_manifest(manifest))
        self.paths = [str(manifest.parent / record.path) for record in records]
        part, color = self.parts.numbers(), self.colors.numbers()
        self.part_labels: Array = np.array([part.get(record.part, UNKNOWN) for record in records], np.int64)
        self.color_labels: Array = np.array([color.get(str(record.color), UNKNOWN) for record in records], np.int64)
        self.sources: Array = np.array([SOURCES.index(record.source) for record in records], np.int64)
        self._may_flip = flippable(options.hflip_parts, self.parts.ids, self.where)
        self._rgb: Array = np.array([_rgb(text) for text in self.colors.rgb], np.float64).reshape(-1, 3)
        self.recipe = resize.input_recipe(options.image_size, options.resize_mode, options.center, options.grey)
        self._tell()

    def _chosen(self, records: list[Record]) -> list[Record]:
        options = self.options
        split = options.split or (TRAIN if options.phase == "train" else VAL)
        kept = [record for record in records if record.split == split]
        if options.sources is not None:
            kept = [record for record in kept if record.source in options.sources]
        if options.need == "part":
            kept = [record for record in kept if record.part in self.parts.numbers()]
        elif options.need == "color":
            numbers = self.colors.numbers()
            kept = [record for record in kept if is_known(record.color) and str(record.color) in numbers]
        if not kept:
            there = Counter(f"{record.split}/{record.source}" for record in records)
            listed = ", ".join(f"{name} {count}" for name, count in sorted(there.items())) or "nothing"
            raise UserError(f"{self.where}: {options.manifest}: no image of the split {split} is left; it has {listed}")
        return kept

    def _tell(self) -> None:
        counts = Counter(SOURCES[number] for number in self.sources.tolist())
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        known = int((self.color_labels >= 0).sum())
        logger.info("%s: %d images (%s), %d with a known colour.", self.where, len(self), listed, known)

    def sample_order(self, seed: int) -> CurriculumOrder:
        """The order of training images; see :class:`basicsr.data.sample_order.Order`."""
        options = self.options
        counts = {name: int((self.sources == number).sum()) for number, name in enumerate(SOURCES)}
        stages = self.stages or shares_of_counts({name: count for name, count in counts.items() if count})
        classes = self.part_labels if options.balance_by == "part" else self.color_labels
        size = options.epoch_size or len(self)
        order = CurriculumOrder(
            self.sources, classes, SOURCES, stages, size, options.class_power, options.max_repeat, seed
        )
        for stage, plan in zip(stages, order.plan, strict=True):
            text = ", ".join(f"{name} {count / size:.0%}" for name, count in plan.items() if count)
            until = "on" if stage.until is None else f"until epoch {stage.until}"
            logger.info("%s: %s: %s of %d images.", self.where, until, text, size)
            for name, share in stage.shares.items():
                got, asked = plan.get(name, 0) / size, share / sum(stage.shares.values())
                if got < 0.9 * asked:
                    logger.warning(
                        "%s: %s is to be %.0f%% of an epoch, but its %d images give %.0f%% at max_repeat %d.",
                        self.where, name, 100 * asked, counts[name], 100 * got, options.max_repeat,
                    )  # fmt: skip
        return order

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, options = self.paths[index], self.options
        part, color = int(self.part_labels[index]), int(self.color_labels[index])
        pixels = read_image(path)
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        pixels = resize.resize_square(
            resize.center_part(pixels, options.center), options.image_size, options.resize_mode
        )
        if self._augment is not None:
            may_flip = part < 0 or bool(self._may_flip[part])
            keep_color = color >= 0 and not options.grey  # luma names no colour: light may change as it likes
            pixels = augment(pixels, self._augment, keep_color, may_flip, self._contrast(pixels, color))
        if options.grey:
            pixels = resize.to_grey(pixels)
        return {
            "image": torch.from_numpy(resize.to_input(pixels)),
            "labels": {"part": torch.tensor(part), "color": torch.tensor(color)},
            "source": torch.tensor(int(self.sources[index])),
            "lq_path": path,
        }

    def _contrast(self, pixels: Array, color: int) -> float:
        """How far the brick's colour is from the picture's border, of 441."""
        if color < 0 or color >= len(self._rgb):
            return _FAR_FROM_ALL
        return float(np.linalg.norm(self._rgb[color] - resize.border_color(pixels)))


def classes_of(options: LegoOptions) -> tuple[Classes, Classes]:
    """The classes of parts and of colours.

    Raises:
        UserError: A file is missing or wrong.
    """
    folder = Path(options.manifest).parent
    return (
        read_classes(Path(options.part_names) if options.part_names else folder / PART_NAMES),
        read_classes(Path(options.color_names) if options.color_names else folder / COLOR_NAMES),
    )


def _rgb(text: str) -> tuple[int, int, int]:
    value = int(text.removeprefix("#"), 16)
    return value >> 16, value >> 8 & 255, value & 255
