"""Pairs of a degraded input (lq) and its target (gt)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from torch.utils import data

from basicsr.data import data_util
from basicsr.data.dataset_options import label, per_channel, read_options
from basicsr.data.image_source import (
    DecodedCache,
    EncodedSource,
    ImageSource,
    NoteLog,
    SourceImage,
    StoreSource,
    backend_options,
    store_root,
)
from basicsr.data.transforms import augment, check_pair_size, crop_corner, luma, to_tensor
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import to_float
from basicsr.utils.registry import DATASET_REGISTRY


@dataclass(frozen=True)
class PairedImageOptions:
    """Options of ``PairedImageDataset``.

    Attributes:
        dataroot_gt: Folder of the targets; ``*.lmdb`` and ``*.store`` are read as such.
        dataroot_lq: Folder of the inputs, like ``dataroot_gt``.
        io_backend: ``type``: disk, lmdb, mmap (the memory-mapped store beside each folder) or memcached, and the
            backend's own arguments. Omitted: by the endings of the roots.
        meta_info_file: Text file that lists the targets to use, relative to ``dataroot_gt``, one a line; a repeated
            line is a repeated sample.
        filename_tmpl: Name of the input of a target ``{}``.
        phase: ``train`` cuts and turns; anything else gives whole images.
        scale: Size of the target over size of the input.
        gt_size: Edge of the training crop in the target. Required in training.
        use_hflip: Mirror half of the training crops left to right.
        use_rot: Mirror half top to bottom and transpose half (independent draws).
        use_flip: NAFNet's name of ``use_hflip``.
        color: ``y`` gives one channel: luma of BT.601.
        mean: Subtracted from each channel (RGB), after scaling to [0, 1].
        std: Divides each channel.
        pad_small: Reflect images that are smaller than the crop at the bottom and right, instead of an error. Omitted:
            true where ``use_flip`` is used (as NAFNet does), else false.
        crops_per_image: So many neighbouring samples of the training stream come from one image, which is decoded once.
        cache_mb: Megabytes of decoded images that each loader process keeps.
    """

    dataroot_gt: str
    dataroot_lq: str
    io_backend: Mapping[str, Any] | None = None
    meta_info_file: str | None = None
    filename_tmpl: str = "{}"
    phase: str = "train"
    scale: int = 1
    gt_size: int | None = None
    use_hflip: bool | None = None
    use_rot: bool = False
    use_flip: bool | None = None
    color: Literal["y"] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    pad_small: bool | None = None
    crops_per_image: int = 1
    cache_mb: int = 64


def check_paired_options(options: PairedImageOptions, where: str) -> None:
    """Check what the values must be together.

    Raises:
        UserError: With every problem found.
    """
    problems = []
    if options.phase == "train" and options.gt_size is None:
        problems.append("gt_size (edge of the training crop in the target, such as 256) is required in training")
    if options.gt_size is not None and (options.gt_size < 1 or options.gt_size % max(options.scale, 1)):
        problems.append(f"gt_size must be a positive multiple of scale {options.scale}, got {options.gt_size}")
    if options.scale < 1:
        problems.append(f"scale must be at least 1, got {options.scale}")
    if options.use_hflip is not None and options.use_flip is not None:
        problems.append("use_hflip and use_flip are two names for one thing: give one of them")
    if options.color not in (None, "y"):
        problems.append(f"color must be 'y' or left out, got {options.color!r}")
    if options.crops_per_image < 1:
        problems.append(f"crops_per_image must be at least 1, got {options.crops_per_image}")
    if options.cache_mb < 0:
        problems.append(f"cache_mb must not be negative, got {options.cache_mb}")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}.")


@DATASET_REGISTRY.register()
class PairedImageDataset(data.Dataset):
    """Pairs of images from folders, LMDBs or memory-mapped stores, matched by name or listed in a meta file.

    A sample is ``{'lq', 'gt', 'lq_path', 'gt_path'}``: ``(3, H, W)`` float32 RGB in [0, 1] (before mean and std; one
    channel with ``color: y``) and the files' paths (keys, from an LMDB). In training, one random crop of ``gt_size``,
    mirrored and transposed by chance, from Python's ``random``; else the whole pair, the target cut to the input's size
    times ``scale``.

    Args:
        opt: Options.

    Raises:
        UserError: An option is wrong, a folder is missing or empty, files have no partner, a store is out of date.
    """

    options_class: type[PairedImageOptions] = PairedImageOptions

    def __init__(self, opt: PairedImageOptions | Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options = read_options(self.options_class, opt)
        self.where = label(opt)
        check_paired_options(options, self.where)
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        self.gt_folder, self.lq_folder = options.dataroot_gt, options.dataroot_lq
        self.mean = per_channel(options.mean, "mean", self.where)
        self.std = per_channel(options.std, "std", self.where)
        self.filename_tmpl = options.filename_tmpl
        self.io_backend_opt = backend_options(
            options.io_backend, {"gt": self.gt_folder, "lq": self.lq_folder}, self.where
        )
        self.crops_per_image = options.crops_per_image
        self._pad = options.pad_small if options.pad_small is not None else options.use_flip is not None
        self._hflip = bool(options.use_hflip or options.use_flip)
        self._open_sources()
        self.paths = self._find_pairs()

    def _open_sources(self) -> None:
        kind = self.io_backend_opt["type"]
        self.sources: dict[str, ImageSource] = {}
        if kind == "mmap":
            self.gt_folder, self.lq_folder = store_root(self.gt_folder), store_root(self.lq_folder)
            for key, folder in (("gt", self.gt_folder), ("lq", self.lq_folder)):
                source = StoreSource(folder)
                source.store.check_fresh()
                self.sources[key] = source
            return
        if kind == "lmdb":
            self.io_backend_opt["db_paths"] = [self.lq_folder, self.gt_folder]
            self.io_backend_opt["client_keys"] = ["lq", "gt"]
        cache = DecodedCache(self.options.cache_mb * 2**20)
        for key in ("gt", "lq"):
            note = NoteLog(f"{self.where}, {key}")
            self.sources[key] = EncodedSource(self.io_backend_opt, key, note, cache, self.crops_per_image > 1)

    def _find_pairs(self) -> list[dict[str, str]]:
        kind, folders, keys = self.io_backend_opt["type"], [self.lq_folder, self.gt_folder], ["lq", "gt"]
        if kind == "lmdb":
            pairs = data_util.paired_paths_from_lmdb(folders, keys)
            return self._listed(pairs) if self.options.meta_info_file is not None else pairs
        if self.options.meta_info_file is not None:
            pairs = data_util.paired_paths_from_meta_info_file(
                folders, keys, self.options.meta_info_file, self.filename_tmpl
            )
            if kind == "disk":
                data_util.check_files_exist(pairs, f"{self.where}, {self.options.meta_info_file}")
            return pairs
        if kind == "mmap":
            names = [self._store(key).store.names() for key in keys]
            found = data_util.pair_names(names[0], names[1], keys, self.filename_tmpl, folders)
            return [
                {"lq_path": os.path.join(folders[0], lq), "gt_path": os.path.join(folders[1], gt)} for lq, gt in found
            ]
        return data_util.paired_paths_from_folder(folders, keys, self.filename_tmpl)

    def _store(self, key: str) -> StoreSource:
        source = self.sources[key]
        if not isinstance(source, StoreSource):
            raise TypeError(f"the {key} source is no store")
        return source

    def _listed(self, pairs: list[dict[str, str]]) -> list[dict[str, str]]:
        by_key = {pair["gt_path"]: pair for pair in pairs}
        lines = data_util.read_lines(str(self.options.meta_info_file), "meta_info_file")
        wanted = [os.path.splitext(data_util.meta_name(line))[0] for line in lines]
        missing = [key for key in wanted if key not in by_key]
        if missing:
            raise UserError(
                f"{self.where}: {len(missing)} names of {self.options.meta_info_file} are not in {self.gt_folder}; "
                f"first: {missing[0]}."
            )
        return [by_key[key] for key in wanted]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.paths[index]
        lq_image = self.sources["lq"].open(pair["lq_path"])
        gt_image = self.sources["gt"].open(pair["gt_path"])
        if self.options.phase == "train":
            lq, gt = self.training_pair(index, lq_image, gt_image)
        else:
            lq = to_float(lq_image.read())
            scale = self.options.scale
            gt = to_float(gt_image.read())[: lq.shape[0] * scale, : lq.shape[1] * scale]
        if self.options.color == "y":
            lq, gt = luma(lq), luma(gt)
        lq_tensor, gt_tensor = (to_tensor(img, self.mean, self.std) for img in (lq, gt))
        return {"lq": lq_tensor, "gt": gt_tensor, **pair}

    def training_pair(self, index: int, lq_image: SourceImage, gt_image: SourceImage) -> tuple[np.ndarray, np.ndarray]:
        """Make a training sample (input and target, ``(h, w, 3)`` float32 RGB in [0, 1]); for sub-classes."""
        pair, scale = self.paths[index], self.options.scale
        gt_patch = self.options.gt_size or 0
        lq_patch = gt_patch // scale
        lq_size, gt_size = (lq_image.height, lq_image.width), (gt_image.height, gt_image.width)
        check_pair_size(gt_size, lq_size, scale, pair["gt_path"], pair["lq_path"])
        if self._pad and (lq_size[0] < lq_patch or lq_size[1] < lq_patch):
            lq_size = (max(lq_size[0], lq_patch), max(lq_size[1], lq_patch))
        top, left = self.choose_corner(index, lq_size, lq_patch)
        lq = self._read_patch(lq_image, top, left, lq_patch)
        gt = self._read_patch(gt_image, top * scale, left * scale, gt_patch)
        return self.augmented(*self.alter_crop(to_float(lq), to_float(gt)))

    def augmented(self, lq: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mirror and transpose both alike, by chance and as the options say; for sub-classes."""
        turned: list[np.ndarray] = augment([gt, lq], self._hflip, self.options.use_rot)
        return turned[1], turned[0]

    def choose_corner(self, index: int, lq_size: tuple[int, int], lq_patch: int) -> tuple[int, int]:
        """Draw the training crop's corner (top, left) in the input; for sub-classes."""
        return crop_corner(lq_size, lq_patch, self.paths[index]["gt_path"])

    def alter_crop(self, lq: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Change a training crop (``(h, w, 3)`` float32 RGB in [0, 1]) before it is turned; for sub-classes."""
        return lq, gt

    def _read_patch(self, image: SourceImage, top: int, left: int, edge: int) -> np.ndarray:
        height, width = min(edge, image.height - top), min(edge, image.width - left)
        patch = image.read((top, left, height, width))
        if (height, width) == (edge, edge):
            return patch
        return cv2.copyMakeBorder(patch, 0, edge - height, 0, edge - width, cv2.BORDER_REFLECT)
