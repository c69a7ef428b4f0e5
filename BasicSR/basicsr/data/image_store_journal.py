"""What a build of an image store leaves behind when it is killed: a list of what is finished, and nothing else.

``building.jsonl`` has a line for every image that was written, and now and then a mark: all lines above it are about
pixels that the disk has confirmed. A process that is killed loses nothing. After a power failure lines below the last
mark may be ahead of the pixels; there the checksums decide.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from basicsr.data.image_store import pixels_crc32
from basicsr.data.image_store_index import StoredImageInfo, sync_folder
from basicsr.engine.errors import UserError

JOURNAL_NAME = "building.jsonl"
LOCK_NAME = "building.lock"
_MARK = {"confirmed": True}


class Journal:
    """The list of finished images of a build.

    Args:
        folder: The store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_NAME

    def read(self, pixels: Path) -> tuple[dict[str, StoredImageInfo], bool]:
        """What is finished and really there.

        Args:
            pixels: The pixels' file.

        Returns:
            The images, and whether all of the list could be used; if not, it has to be replaced before it is continued.
        """
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return {}, True
        entries, confirmed, clean = _parse(lines)
        size = pixels.stat().st_size if pixels.is_file() else 0
        images: dict[str, StoredImageInfo] = {}
        for number, (name, info) in enumerate(entries):
            there = info.offset + info.nbytes <= size
            if there and (number < confirmed or pixels_crc32(pixels, info) == info.crc32):
                images[name] = info
            else:
                clean = False
        return images, clean

    def replace(self, images: Mapping[str, StoredImageInfo]) -> None:
        """Make the list anew, in one step, of images whose pixels are on the disk."""
        temporary = self.path.with_name(JOURNAL_NAME + ".tmp")
        with open(temporary, "w", encoding="utf-8") as handle:
            handle.writelines(_line(name, info) for name, info in images.items())
            handle.write(json.dumps(_MARK) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, self.path)
        sync_folder(self.path.parent)

    def append(self, name: str, info: StoredImageInfo) -> None:
        """Enter an image that has been written."""
        self._write(_line(name, info), confirm=False)

    def confirm(self) -> None:
        """Enter that everything above is on the disk for good; the caller has synced the pixels."""
        self._write(json.dumps(_MARK) + "\n", confirm=True)

    def remove(self) -> None:
        """The build is finished."""
        self.path.unlink(missing_ok=True)

    def _write(self, line: str, confirm: bool) -> None:
        with open(self.path, "ab", buffering=0) as handle:
            before = handle.tell()
            try:
                if handle.write(line.encode()) != len(line.encode()):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                if confirm:
                    os.fsync(handle.fileno())
            except OSError:
                with suppress(OSError):  # half a line would be glued to the next one
                    handle.truncate(before)
                raise


def _line(name: str, info: StoredImageInfo) -> str:
    return json.dumps({"name": name, "info": asdict(info)}) + "\n"


def _parse(lines: list[str]) -> tuple[list[tuple[str, StoredImageInfo]], int, bool]:
    """The entries, how many of them are confirmed, and whether every line is whole."""
    entries: list[tuple[str, StoredImageInfo]] = []
    confirmed, clean = 0, lines[-1] == ""
    for line in lines:
        if not line:
            continue
        try:
            data = json.loads(line)
            if data == _MARK:
                confirmed = len(entries)
            else:
                entries.append((str(data["name"]), StoredImageInfo.from_dict(data["info"])))
        except (ValueError, KeyError, TypeError):
            clean = False
    return entries, confirmed, clean


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a store for this process while it is built; the folder is made, and removed again if it stays empty.

    The lock ends with the process, however that ends. Where the disk or system has no locks, nothing is locked.

    Raises:
        UserError: Another process is building this store.
        OSError: The folder cannot be made.
    """
    existed = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    handle = _lock(folder / LOCK_NAME, folder)
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK_NAME).unlink(missing_ok=True)
        os.close(handle)
        if not existed:
            with suppress(OSError):
                folder.rmdir()  # refused unless empty


def _lock(path: Path, folder: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locked(handle):
                raise UserError(f"{folder}: another process is building this store. Wait until it has finished.")
            if _is_current(handle, path):
                return handle
        except (OSError, UserError):
            os.close(handle)
            raise
        os.close(handle)


def _is_current(handle: int, path: Path) -> bool:
    """Whether whoever held the lock has not removed its file between our opening and locking it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _locked(handle: int) -> bool:
    if importlib.util.find_spec("fcntl") is None:
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
