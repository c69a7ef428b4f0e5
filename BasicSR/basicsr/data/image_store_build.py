"""Writes memory-mapped image stores (see ``image_store``): parallel decoding, resumable, checked.

Pixels are only ever appended, and the index is replaced in one step at the end, so a store that is being brought up to
date stays readable. While a build runs, ``building.jsonl`` lists what is finished; an interrupted build goes on there.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from basicsr.data.image_store import (
    INDEX_NAME,
    PAGE,
    PIXELS_NAME,
    STORE_SUFFIX,
    ImageStore,
    StoredImageInfo,
    read_index,
    same_source,
    source_files,
    write_index,
)
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import decode_image, read_bytes, read_file_header

JOURNAL_NAME = "building.jsonl"
_SHOWN = 5
_SPARE = 64 * 2**20

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, name)`` after each image."""


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        written: Images decoded and written now.
        kept: Images that were in the store, or in an interrupted build of it, and are unchanged.
        removed: Images dropped because their source is gone.
        bytes_total: Size of the pixels' file.
        bytes_unused: Of these, pixels of images that were replaced or removed.
    """

    written: int
    kept: int
    removed: int
    bytes_total: int
    bytes_unused: int


def build_store(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Make a store of a folder's images, or bring an existing one up to date.

    Args:
        source: Folder of images.
        store: Folder to write; must end in ``.store``.
        workers: Threads that decode; all cores where None.
        progress: Told after each image.

    Returns:
        What was done.

    Raises:
        UserError: The source is missing or empty, images are damaged (all are named; the others are kept for the next
            call), the disk is too small or refuses, or ``store`` is no place for a store.
    """
    target = Path(store)
    files = source_files(source)
    if not files:
        raise UserError(f"{os.fspath(source)}: the folder holds no images.")
    _check_target(target)
    old = _existing(target)
    kept = {name: info for name, info in old.items() if name in files and same_source(info, files[name])}
    todo = [name for name in files if name not in kept]
    _check_space(target, [files[name] for name in todo])
    images = dict(kept)
    # A crash may have left half an image behind the last known one: begin there.
    start = max((_aligned(info.offset + info.nbytes) for info in old.values()), default=0)
    try:
        target.mkdir(parents=True, exist_ok=True)
        failures = _append(target, {name: files[name] for name in todo}, images, start, workers, progress)
        _refuse_failures(failures, len(files), source)
        write_index(target, os.path.relpath(os.path.abspath(source), os.path.abspath(target)), images)
        (target / JOURNAL_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written: {error.strerror or error}. What is finished is kept: make room, call again."
        ) from error
    total = (target / PIXELS_NAME).stat().st_size
    used = sum(_aligned(info.nbytes) for info in images.values())
    removed = sum(name not in files for name in old)
    return BuildReport(len(todo), len(kept), removed, total, max(0, total - used))


def _refuse_failures(failures: list[str], count: int, source: str | os.PathLike[str]) -> None:
    if failures:
        shown = "\n  ".join(failures[:_SHOWN]) + (f"\n  and {len(failures) - _SHOWN} more" * (len(failures) > _SHOWN))
        raise UserError(f"{len(failures)} of {count} images of {os.fspath(source)} cannot be used:\n  {shown}")


def verify_store(store: str | os.PathLike[str]) -> list[str]:
    """Names of images whose pixels do not match their checksum; raises ``UserError`` for an unusable store."""
    return ImageStore(store).damaged()


def _aligned(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _check_target(target: Path) -> None:
    if target.suffix != STORE_SUFFIX:
        raise UserError(f"{target}: a store's name must end in {STORE_SUFFIX}, such as {target.name}{STORE_SUFFIX}.")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: exists and is not a folder.")
    if target.is_dir():
        strangers = {p.name for p in target.iterdir()} - {INDEX_NAME, INDEX_NAME + ".tmp", PIXELS_NAME, JOURNAL_NAME}
        if strangers:
            shown = ", ".join(sorted(strangers)[:_SHOWN])
            raise UserError(f"{target}: holds other files ({shown}); choose another folder.")


def _existing(target: Path) -> dict[str, StoredImageInfo]:
    """What a finished store and an interrupted build have already; only entries whose pixels are there."""
    pixels = target / PIXELS_NAME
    if not pixels.is_file():
        return {}
    size = pixels.stat().st_size
    images = read_index(target).images if (target / INDEX_NAME).is_file() else {}
    journal = target / JOURNAL_NAME
    if journal.is_file():
        images.update(_read_journal(journal, pixels))
    return {name: info for name, info in images.items() if info.offset + info.nbytes <= size}


def _read_journal(journal: Path, pixels: Path) -> Iterator[tuple[str, StoredImageInfo]]:
    # After a power failure the list may be ahead of the pixels, or end in half a line: the checksum decides.
    with open(pixels, "rb") as data:
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                info = StoredImageInfo(**entry["info"])
            except (ValueError, KeyError, TypeError):
                return
            data.seek(info.offset)
            if zlib.crc32(data.read(info.nbytes)) == info.crc32:
                yield entry["name"], info


def _check_space(target: Path, files: list[Path]) -> None:
    needed = 0
    for path in files:
        try:
            header = read_file_header(path)
        except UserError:
            continue  # named, with all others like it, when it is decoded
        needed += _aligned(header.height * header.width * 3 * (header.bit_depth // 8))
    place = target.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed + _SPARE > free:
        raise UserError(
            f"{target}: {len(files)} decoded images need {needed / 2**30:.1f} GiB, but {place} has "
            f"{free / 2**30:.1f} GiB free. Make room or choose a folder on another disk."
        )


@dataclass(frozen=True)
class _Decoded:
    pixels: np.ndarray
    info: StoredImageInfo


def _decode(path: Path) -> _Decoded:
    try:
        stat = path.stat()  # before the content: a change in between is found by the next build
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error
    content = read_bytes(path)
    pixels = decode_image(content, str(path))
    info = StoredImageInfo(
        offset=0,
        height=pixels.shape[0],
        width=pixels.shape[1],
        dtype=str(pixels.dtype),
        crc32=zlib.crc32(pixels.data),
        source_size=stat.st_size,
        source_mtime_ns=stat.st_mtime_ns,
        source_crc32=zlib.crc32(content),
    )
    return _Decoded(pixels, info)


def _append(
    target: Path,
    todo: dict[str, Path],
    images: dict[str, StoredImageInfo],
    start: int,
    workers: int | None,
    progress: Progress | None,
) -> list[str]:
    """Write the pixels of ``todo`` behind those that are there, enter them in ``images``; returns the failures."""
    failures: list[str] = []
    offset, total = start, len(images) + len(todo)
    with open(target / PIXELS_NAME, "ab") as pixels, open(target / JOURNAL_NAME, "a", encoding="utf-8") as journal:
        pixels.truncate(offset)
        for name, future in _in_parallel(todo, workers or os.cpu_count() or 1):
            try:
                decoded = future.result()
            except UserError as error:
                failures.append(str(error))
                continue
            pixels.write(decoded.pixels.data)
            pixels.write(b"\0" * (_aligned(decoded.pixels.nbytes) - decoded.pixels.nbytes))
            pixels.flush()
            images[name] = StoredImageInfo(**{**asdict(decoded.info), "offset": offset})
            journal.write(json.dumps({"name": name, "info": asdict(images[name])}) + "\n")
            journal.flush()
            offset += _aligned(decoded.pixels.nbytes)
            if progress is not None:
                progress(len(images), total, name)
        os.fsync(pixels.fileno())
    return failures


def _in_parallel(todo: dict[str, Path], workers: int) -> Iterator[tuple[str, Future[_Decoded]]]:
    """Decode in order, a few images ahead of the writer."""
    with ThreadPoolExecutor(workers) as pool:
        running: deque[tuple[str, Future[_Decoded]]] = deque()
        for name, path in todo.items():
            running.append((name, pool.submit(_decode, path)))
            if len(running) > workers + 1:
                yield running.popleft()
        while running:
            yield running.popleft()
