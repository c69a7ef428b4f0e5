"""Which photos of a folder belong to which part of the split, and how they are read small."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from basicsr.data import data_util
from basicsr.data.image_source import DecodedCache
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import is_image_file, read_image

Split = Literal["all", "train", "val", "test"]
SPLITS = ("all", "train", "val", "test")
_TENTHS = {"train": range(0, 7), "val": range(7, 8), "test": range(8, 10), "all": range(0, 10)}
_SHOWN = 5


def list_photos(root: str | Path, list_file: str | None, split: str, where: str) -> list[Path]:
    """Photos of a folder and its sub-folders.

    Args:
        root: The folder.
        list_file: Text file with the names to use, relative to ``root``, one a line; a bare name is looked for in
            every sub-folder.
        split: ``all``, or the part by a hash of the file's name without its ending: 7 of 10 are ``train``, 1 ``val``,
            2 ``test``. It depends on nothing but the name, so photos that are added move no other.
        where: The data set, for messages.

    Returns:
        Paths, sorted.

    Raises:
        UserError: The folder is missing, a listed photo is, or none is left.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise UserError(f"{where}: {folder}: there is no such folder.")
    if split not in SPLITS:
        raise UserError(f"{where}: split must be one of {', '.join(SPLITS)}, got '{split}'")
    found = sorted(
        Path(place) / name
        for place, folders, names in os.walk(folder)
        for name in names
        if is_image_file(name) and not any(part.startswith(".") for part in Path(place).relative_to(folder).parts)
    )
    if list_file is not None:
        found = _listed(found, folder, list_file, where)
    chosen = [path for path in found if part_of(path.stem) in _TENTHS[split]]
    if not chosen:
        kind = f" of the split '{split}'" if split != "all" and found else ""
        raise UserError(f"{where}: no photo{kind} in {folder}.")
    return chosen


def part_of(name: str) -> int:
    """The tenth, 0 to 9, that a photo's name falls into."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 10


def _listed(found: list[Path], folder: Path, list_file: str, where: str) -> list[Path]:
    names = [line.strip() for line in data_util.read_lines(list_file, "list_file")]
    known = {path.name: path for path in found} | {path.relative_to(folder).as_posix(): path for path in found}
    missing = [name for name in names if name not in known]
    if missing:
        some = ", ".join(missing[:_SHOWN])
        raise UserError(f"{where}: {list_file}: {len(missing)} of {len(names)} photos are not in {folder}: {some}.")
    return [known[name] for name in dict.fromkeys(names)]


class SmallPhotos:
    """Reads photos reduced to a short side, and keeps them.

    Args:
        short_side: Pixels of the shorter side; smaller photos stay as they are.
        cache_mb: Megabytes to keep in each process.
    """

    def __init__(self, short_side: int, cache_mb: int) -> None:
        self.short_side = short_side
        self._cache = DecodedCache(cache_mb * 2**20)

    def read(self, path: Path) -> np.ndarray[Any, Any]:
        """(H, W, 3), RGB, uint8; do not change it."""
        key = (str(path), "")
        pixels = self._cache.get(key)
        if pixels is None:
            pixels = reduce_photo(read_image(path), self.short_side)
            self._cache.put(key, pixels)
        return pixels


def reduce_photo(pixels: np.ndarray[Any, Any], short_side: int) -> np.ndarray[Any, Any]:
    """Scale a photo down so that its shorter side is ``short_side``, by averaging, and to uint8."""
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.float32) / 257 + 0.5).astype(np.uint8)
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
