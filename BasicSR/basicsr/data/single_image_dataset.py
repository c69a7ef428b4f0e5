"""Single images, without a target."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch.utils import data

from basicsr.data import data_util
from basicsr.data.dataset_options import label, per_channel, read_options
from basicsr.data.image_source import (
    DecodedCache,
    EncodedSource,
    ImageSource,
    NoteLog,
    StoreSource,
    backend_options,
    store_root,
)
from basicsr.data.transforms import luma, to_tensor
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import to_float
from basicsr.utils.registry import DATASET_REGISTRY


@dataclass(frozen=True)
class SingleImageOptions:
    """Options of ``SingleImageDataset``.

    Attributes:
        dataroot_lq: Folder of the images; ``*.lmdb`` and ``*.store`` are read as such.
        io_backend: ``type``: disk, lmdb, mmap or memcached, and the backend's own arguments. Omitted: by the ending.
        meta_info_file: Text file that lists the images to use, relative to ``dataroot_lq``, one a line.
        color: ``y`` gives one channel: luma of BT.601.
        mean: Subtracted from each channel (RGB), after scaling to [0, 1].
        std: Divides each channel.
        phase: Set by the engine.
        scale: Set by the engine; not used.
    """

    dataroot_lq: str
    io_backend: Mapping[str, Any] | None = None
    meta_info_file: str | None = None
    color: Literal["y"] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    phase: str = "test"
    scale: int = 1


@DATASET_REGISTRY.register()
class SingleImageDataset(data.Dataset):
    """Whole images of a folder, LMDB or memory-mapped store.

    A sample is ``{'lq', 'lq_path'}``: ``(3, H, W)`` float32 RGB in [0, 1] (before mean and std; one channel with
    ``color: y``) and the file's path (key, from an LMDB).

    Args:
        opt: Options.

    Raises:
        UserError: An option is wrong, the folder is missing or empty, a store is out of date.
    """

    def __init__(self, opt: SingleImageOptions | Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options = read_options(SingleImageOptions, opt)
        self.where = label(opt)
        self.opt: dict[str, Any] = dict(opt) if isinstance(opt, Mapping) else dataclasses.asdict(options)
        if options.color not in (None, "y"):
            raise UserError(f"{self.where}: color must be 'y' or left out, got {options.color!r}.")
        self.mean = per_channel(options.mean, "mean", self.where)
        self.std = per_channel(options.std, "std", self.where)
        self.lq_folder = options.dataroot_lq
        self.io_backend_opt = backend_options(options.io_backend, {"lq": self.lq_folder}, self.where)
        self.source: ImageSource
        self.paths = self._open()

    def _open(self) -> list[str]:
        kind = self.io_backend_opt["type"]
        if kind == "mmap":
            self.lq_folder = store_root(self.lq_folder)
            store_source = StoreSource(self.lq_folder)
            store_source.store.check_fresh()
            self.source = store_source
            names = self._listed() or store_source.store.names()
            return [os.path.join(self.lq_folder, name) for name in names]
        if kind == "lmdb":
            self.io_backend_opt.update(db_paths=[self.lq_folder], client_keys=["lq"])
        self.source = EncodedSource(self.io_backend_opt, "lq", NoteLog(self.where), DecodedCache(0))
        if kind == "lmdb":
            return [os.path.splitext(n)[0] for n in self._listed()] or data_util.paths_from_lmdb(self.lq_folder)
        paths = [os.path.join(self.lq_folder, name) for name in self._listed()]
        if paths and kind == "disk":
            data_util.check_files_exist([{"lq_path": p} for p in paths], self.where)
        return paths or data_util.paths_from_folder(self.lq_folder)

    def _listed(self) -> list[str]:
        if self.options.meta_info_file is None:
            return []
        return [data_util.meta_name(s) for s in data_util.read_lines(self.options.meta_info_file, "meta_info_file")]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        img: np.ndarray = to_float(self.source.open(path).read())
        if self.options.color == "y":
            img = luma(img)
        return {"lq": to_tensor(img, self.mean, self.std), "lq_path": path}
