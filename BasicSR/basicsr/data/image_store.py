"""Memory-mapped store of decoded images: reading a crop touches only the crop's own pages.

A store is a folder ``<name>.store`` with ``images.bin`` (raw ``(H, W, 3)`` RGB pixels, uint8 or uint16, one image after
another, each beginning on a page) and ``index.json`` (for every image its offset, shape, type and checksum, and size,
time and checksum of the file that it was made from; and a checksum of all this). The index is written last: a store
without one is unfinished and is never read. Pixels are what ``basicsr.engine.image_io`` reads, so a store and
its source folder give equal samples. ``basicsr.data.image_store_build`` writes it.
"""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from basicsr.data.image_store_index import PIXELS_NAME, StoredImageInfo, build_command, read_index
from basicsr.data.image_store_index import STORE_SUFFIX as STORE_SUFFIX  # its usual name for other modules
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import Box, image_names

_PIECE = 1 << 20
_NAMED = 3
_SLOW_SECONDS = 5.0

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, name)`` after each image."""


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
        size = pixels.stat().st_size if pixels.is_file() else 0
        if size < end:
            raise UserError(
                f"{pixels}: has {size:,} bytes, the store's index speaks of {end:,}. Build what is missing: "
                f"{build_command(self.index.source_folder(self.folder), self.folder)}"
            )

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

    def damaged(self, workers: int | None = None, progress: Progress | None = None) -> list[str]:
        """Names of images whose pixels do not have the checksum that the index gives; reads all pixels."""
        return wrong_checksums(self.folder / PIXELS_NAME, self.index.images, workers, progress)

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
        now, images = source_files(source), self.index.images
        changed = self._changed({name: path for name, path in now.items() if name in images})
        added = [name for name in now if name not in images]
        gone = [name for name in images if name not in now]
        parts = [
            f"{len(names)} file{'s' * (len(names) > 1)} {what} ({_some(names)})"
            for what, names in (("changed", changed), ("new", added), ("gone", gone))
            if names
        ]
        if parts:
            raise UserError(
                f"{self.folder}: the store is out of date against {source}: {', '.join(parts)}. "
                f"Bring it up to date (only these are done): {build_command(source, self.folder)}"
            )

    def _changed(self, files: Mapping[str, Path]) -> list[str]:
        start = time.monotonic()
        same = list(in_parallel(lambda name: unchanged(self.index.images[name], files[name]), files))
        seconds = time.monotonic() - start
        if seconds > _SLOW_SECONDS:
            logging.getLogger("basicsr").warning(
                "%s: files in %s have other times than when the store was built (copied?), so their content was "
                "compared, which took %.0f s. To note the new times: %s",
                *(self.folder, self.index.source_folder(self.folder), seconds),
                build_command(self.index.source_folder(self.folder), self.folder),
            )
        return [name for name, fine in zip(files, same, strict=True) if fine is None]


def unchanged(info: StoredImageInfo, path: Path, by_content: bool = False) -> StoredImageInfo | None:
    """Whether a source file is still the one that an image was made from; one that cannot be read is not.

    Args:
        info: The image's entry.
        path: The source file.
        by_content: Compare the content's checksum even if size and time are as they were.

    Returns:
        The entry, with the time that the file has now; or None if the file is another.
    """
    try:
        stat = path.stat()
        if stat.st_size != info.source_size:
            return None
        if stat.st_mtime_ns != info.source_mtime_ns or by_content:
            with open(path, "rb", buffering=0) as handle:
                if _crc32(iter(lambda: handle.read(_PIECE), b"")) != info.source_crc32:
                    return None
        return replace(info, source_mtime_ns=stat.st_mtime_ns)
    except OSError:
        return None


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[Result, None, None]:
    """Results of a function in the order of the items, computed by threads (all cores where ``workers`` is None).

    At most a few results are waiting to be taken, whatever their number and size. When the caller stops, by an error
    or Ctrl-C, what has not begun is dropped.
    """
    count = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(count) as pool:
        running: deque[Future[Result]] = deque()
        try:
            for item in items:
                running.append(pool.submit(function, item))
                if len(running) > count + 1:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def wrong_checksums(
    pixels: Path, images: Mapping[str, StoredImageInfo], workers: int | None = None, progress: Progress | None = None
) -> list[str]:
    """Names of the images whose bytes in the pixels' file do not have the checksum of their entry."""
    sums = in_parallel(lambda name: pixels_crc32(pixels, images[name]), images, workers)
    wrong = []
    for done, (name, value) in enumerate(zip(images, sums, strict=True), start=1):
        if value != images[name].crc32:
            wrong.append(name)
        if progress is not None:
            progress(done, len(images), name)
    return wrong


def pixels_crc32(pixels: Path, info: StoredImageInfo) -> int:
    """Checksum of an image's bytes in the pixels' file; that of fewer where the file ends or cannot be read."""

    def pieces() -> Iterable[bytes]:
        left = info.nbytes
        with suppress(OSError), open(pixels, "rb", buffering=0) as handle:
            handle.seek(info.offset)
            while left > 0 and (piece := handle.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece

    return _crc32(pieces())


def _crc32(pieces: Iterable[bytes]) -> int:
    value = 0
    for piece in pieces:
        value = zlib.crc32(piece, value)
    return value


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return ", ".join(ordered[:_NAMED]) + more


def source_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Image files of a folder by name, sorted; see ``image_names``.

    Raises:
        UserError: There is no such folder.
    """
    return {name: Path(folder) / name for name in image_names(folder)}
