"""The index of an image store: what is where in the pixels' file, and what it was made from."""

from __future__ import annotations

import json
import os
import shlex
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError

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

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> StoredImageInfo:
        """Make one of what ``asdict`` gave; ``ValueError``, ``KeyError`` or ``TypeError`` if it cannot be that."""
        values = {field.name: entry[field.name] for field in fields(cls)}
        numbers = [value for name, value in values.items() if name != "dtype"]
        if values["dtype"] not in ("uint8", "uint16") or not all(type(value) is int for value in numbers):
            raise ValueError(f"not the entry of an image: {values}")
        if min(values["offset"], values["height"] - 1, values["width"] - 1) < 0:
            raise ValueError(f"not the place of an image: {values}")
        return cls(**values)


@dataclass(frozen=True)
class StoreIndex:
    """What ``index.json`` holds: the source folder, as written (relative to the store or absolute), and the images."""

    source: str
    images: dict[str, StoredImageInfo]

    def source_folder(self, store: str | os.PathLike[str]) -> Path:
        """The folder that the store was made from."""
        return Path(os.path.normpath(os.path.join(store, self.source)))


class DamagedIndexError(UserError):
    """The index of a store is damaged; a build starts anew."""


def build_command(source: str | os.PathLike[str], store: str | os.PathLike[str]) -> str:
    """The command line that brings a store up to date, for messages."""
    return f"{BUILD_HINT} {shlex.quote(os.fspath(source))} {shlex.quote(os.fspath(store))}"


def read_index(folder: Path) -> StoreIndex:
    """Read a store's index.

    Raises:
        UserError: There is none (no store, or one whose build has not finished), or it is of another version.
        DamagedIndexError: It cannot be read, or its checksum is wrong.
    """
    path = folder / INDEX_NAME
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        unfinished = "its build has not finished" if (folder / PIXELS_NAME).exists() else f"{INDEX_NAME} is missing"
        raise UserError(
            f"{folder}: no finished image store ({unfinished}). Build it: "
            f"{build_command(_usual_source(folder), folder)}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedIndexError(f"{path}: cannot be read ({error}). {_anew(folder)}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise UserError(f"{path}: not the index of an image store of version {VERSION}.")
    try:
        images = {name: StoredImageInfo.from_dict(entry) for name, entry in data["images"].items()}
        source = os.fspath(data["source"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedIndexError(f"{path}: damaged: {error}. {_anew(folder)}") from error
    # stores built before the index had a checksum are read without it
    if data.get("crc32", _index_crc32(source, images)) != _index_crc32(source, images):
        raise DamagedIndexError(f"{path}: damaged: its checksum is wrong. {_anew(folder)}")
    return StoreIndex(source, images)


def _anew(folder: Path) -> str:
    return f"Build it again: {build_command(_usual_source(folder), folder)}"


def _usual_source(folder: Path) -> Path | str:
    """The folder beside a store that it is made from by default, or a word for it."""
    beside = folder.with_suffix("")
    return beside if folder.suffix == STORE_SUFFIX and beside.is_dir() else "SOURCE"


def _index_crc32(source: str, images: Mapping[str, StoredImageInfo]) -> int:
    entries = [[name, *asdict(images[name]).values()] for name in sorted(images)]
    return zlib.crc32(json.dumps([source, entries]).encode())


def write_index(folder: Path, source: str, images: Mapping[str, StoredImageInfo]) -> None:
    """Write a store's index in one step: a reader sees the old one or the new one."""
    data = {
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "crc32": _index_crc32(source, images),
        "images": {name: asdict(images[name]) for name in sorted(images)},
    }
    temporary = folder / (INDEX_NAME + ".tmp")
    with open(temporary, "w", encoding="utf-8") as handle:
        json.dump(data, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, folder / INDEX_NAME)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have the disk confirm names that were made or replaced, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
