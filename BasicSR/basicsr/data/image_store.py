"""Memory-mapped store of decoded images: reading a crop touches only the crop's own pages.

A store is a folder ``<name>.store`` with ``images.bin`` (raw ``(H, W, 3)`` RGB pixels, uint8 or uint16, one image after
another, each beginning on a page) and ``index.json`` (for every image its offset, shape, type and checksum, and size,
time and checksum of the file that it was made from). Pixels are what ``basicsr.engine.image_io`` reads, so a store and
its source folder give equal samples. ``basicsr.data.image_store_build`` writes it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import Box, image_names

STORE_SUFFIX = ".store"
INDEX_NAME = "index.json"
PIXELS_NAME = "images.bin"
FORMAT = "basicsr image store"
VERSION = 1
PAGE = 4096
BUILD_HINT = "python tools/build_image_store.py"


@dataclass(frozen=True)
class StoredImageInfo:
    """One image of a store.

    Attributes:
        offset: Where its pixels begin in ``images.bin``, in bytes.
        height: Rows.
        width: Columns.
        dtype: ``uint8`` or ``uint16`` (little endian).
        crc32: Checksum of its pixels.
        source_size: Bytes of the source file.
        source_mtime_ns: Time of the source file's last change.
        source_crc32: Checksum of the source file.
    """

    offset: int
    height: int
    width: int
    dtype: str
    crc32: int
    source_size: int
    source_mtime_ns: int
    source_crc32: int

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.height * self.width * 3 * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class StoreIndex:
    """What ``index.json`` holds: the source folder, as written (relative to the store or absolute), and the images."""

    source: str
    images: dict[str, StoredImageInfo]

    def source_folder(self, store: str | os.PathLike[str]) -> Path:
        """The folder that the store was made from."""
        return Path(os.path.normpath(os.path.join(store, self.source)))


class StoredImage:
    """An image of a store; ``read`` copies a box out of the map."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.height, self.width = int(pixels.shape[0]), int(pixels.shape[1])

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return ``(h, w, 3)`` RGB of the box (top, left, height, width), or of the whole image."""
        top, left, height, width = box or (0, 0, self.height, self.width)
        return np.array(self._pixels[top : top + height, left : left + width])

    def points(self, step: int) -> np.ndarray:
        """Return every ``step``-th pixel in both directions."""
        return np.array(self._pixels[::step, ::step])


class ImageStore:
    """An existing store, opened for reading.

    Args:
        folder: The store's folder.

    Raises:
        UserError: It is missing, unfinished, damaged or of another version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.index = read_index(self.folder)
        self._map: np.ndarray | None = None
        end = max((info.offset + info.nbytes for info in self.index.images.values()), default=0)
        pixels = self.folder / PIXELS_NAME
        if not pixels.is_file() or pixels.stat().st_size < end:
            raise UserError(f"{pixels}: shorter than the store's index says. Build it again: {BUILD_HINT} SRC {folder}")

    def __getstate__(self) -> dict[str, Any]:
        # A memory map must not travel to a worker process as a copy of the whole file.
        return {**self.__dict__, "_map": None}

    def names(self) -> list[str]:
        """The images' names (with their source files' endings), sorted."""
        return sorted(self.index.images)

    def image(self, name: str) -> StoredImage:
        """Open an image.

        Raises:
            UserError: There is none of that name.
        """
        info = self.index.images.get(name)
        if info is None:
            raise UserError(f"{self.folder}: no image '{name}' in this store ({len(self.index.images)} others).")
        return StoredImage(self._view(info))

    def damaged(self) -> list[str]:
        """Names of images whose pixels do not have the checksum that the index gives."""
        return [name for name, info in self.index.images.items() if zlib.crc32(self._view(info).data) != info.crc32]

    def _view(self, info: StoredImageInfo) -> np.ndarray:
        if self._map is None:
            self._map = np.memmap(self.folder / PIXELS_NAME, dtype=np.uint8, mode="r")
        raw = self._map[info.offset : info.offset + info.nbytes]
        return raw.view(np.dtype(info.dtype)).reshape(info.height, info.width, 3)

    def check_fresh(self) -> None:
        """Compare with the source folder, if that still exists.

        A file that was only copied or touched (other time, same size and checksum) counts as unchanged.

        Raises:
            UserError: Source files have changed, come or gone since the store was built.
        """
        source = self.index.source_folder(self.folder)
        if not source.is_dir():
            return
        now = source_files(source)
        changed = [name for name, path in now.items() if name in self.index.images and not self._same(name, path)]
        added = [name for name in now if name not in self.index.images]
        gone = [name for name in self.index.images if name not in now]
        parts = [
            f"{len(names)} file{'s' * (len(names) > 1)} {what} (first: {sorted(names)[0]})"
            for what, names in (("changed", changed), ("new", added), ("gone", gone))
            if names
        ]
        if parts:
            raise UserError(
                f"{self.folder}: the store is out of date against {source}: {', '.join(parts)}. "
                f"Bring it up to date: {BUILD_HINT} {source} {self.folder}"
            )

    def _same(self, name: str, path: Path) -> bool:
        return same_source(self.index.images[name], path)


def same_source(info: StoredImageInfo, path: Path) -> bool:
    """Whether a source file is still the one that an image was made from; one that cannot be read is not."""
    try:
        stat = path.stat()
        if stat.st_size != info.source_size:
            return False
        return stat.st_mtime_ns == info.source_mtime_ns or zlib.crc32(path.read_bytes()) == info.source_crc32
    except OSError:
        return False


def source_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Image files of a folder by name, sorted; see ``image_names``.

    Raises:
        UserError: There is no such folder.
    """
    return {name: Path(folder) / name for name in image_names(folder)}


def read_index(folder: Path) -> StoreIndex:
    """Read a store's index; ``UserError`` if it is missing, damaged or of another version."""
    path = folder / INDEX_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder}: no finished image store ({INDEX_NAME} is missing). Build it: {BUILD_HINT} SRC {folder}"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Build it again: {BUILD_HINT} SRC {folder}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise UserError(f"{path}: not the index of an image store of version {VERSION}.")
    return StoreIndex(data["source"], {name: StoredImageInfo(**entry) for name, entry in data["images"].items()})


def write_index(folder: Path, source: str, images: Mapping[str, StoredImageInfo]) -> None:
    """Write a store's index in one step: a reader sees the old one or the new one."""
    data = {
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "images": {name: asdict(images[name]) for name in sorted(images)},
    }
    temporary = folder / (INDEX_NAME + ".tmp")
    with open(temporary, "w", encoding="utf-8") as handle:
        json.dump(data, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, folder / INDEX_NAME)
