"""Where LDraw files come from: a folder, a zip (``complete.zip``) or a tar archive, under any top-level folder.

Names are looked up as the LDraw file format says: without regard to case, back-slashes are slashes, and a bare name is
searched in ``parts``, ``p``, ``p/48`` and ``models``, in this order (``s\\x.dat`` is ``parts/s/x.dat``, ``48\\x.dat``
is ``p/48/x.dat``).
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from basicsr.engine.errors import UserError

CONFIG_NAME = "ldconfig.ldr"
_SEARCHED = ("", "parts/", "p/", "p/48/", "models/", "unofficial/parts/", "unofficial/p/")
_KEPT_ENDINGS = (".dat", ".ldr", ".mpd")
_TOP_FOLDERS = ("parts/", "p/", "models/", "unofficial/")
_MAX_FILE_BYTES = 64 << 20
_MAX_ARCHIVE_BYTES = 4 << 30


class LDrawLibrary(ABC):
    """Text of LDraw files by name.

    Attributes:
        path: The folder or archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index: dict[str, str] = {}

    def find(self, name: str) -> str | None:
        """The key of a file that a type-1 line or a user names, or None where the library has no such file."""
        plain = name.strip().replace("\\", "/").lower()
        return next((prefix + plain for prefix in _SEARCHED if prefix + plain in self._index), None)

    def text(self, key: str) -> str:
        """The text of a file.

        Args:
            key: A name that ``find`` returned.

        Raises:
            UserError: The file cannot be read, or is larger than any LDraw file.
        """
        content = self._read(self._index[key])
        if len(content) > _MAX_FILE_BYTES:
            raise UserError(f"{self.path}: {key}: larger than {_MAX_FILE_BYTES >> 20} MiB; no LDraw file is.")
        return content.decode("utf-8", errors="replace")

    def parts(self) -> list[str]:
        """Ids of all parts (files directly in ``parts``), sorted."""
        found = {
            key.rsplit("/", 1)[1][:-4]
            for key in self._index
            if key.endswith(".dat") and (key.startswith("parts/") and key.count("/") == 1)
        }
        return sorted(found)

    def part_key(self, part: str) -> str:
        """The key of a part by its id (``3001`` or ``3001.dat``).

        Raises:
            UserError: The library has no such part.
        """
        plain = part.lower().removesuffix(".dat")
        key = f"parts/{plain}.dat"
        if key not in self._index:
            raise UserError(f"{self.path}: has no part '{part}' (no file {key}); it has {len(self.parts())} parts.")
        return key

    def config_text(self) -> str | None:
        """The text of ``LDConfig.ldr``, or None where the library comes without it."""
        return self.text(CONFIG_NAME) if CONFIG_NAME in self._index else None

    def _add(self, stored: str, reference: str) -> None:
        plain = stored.replace("\\", "/").lower()
        if not plain.endswith(_KEPT_ENDINGS):
            return
        if plain.rsplit("/", 1)[-1] == CONFIG_NAME:
            self._index.setdefault(CONFIG_NAME, reference)
            return
        # an archive may hold everything below one folder ("ldraw/parts/...")
        head, _, tail = plain.partition("/")
        below = tail if not plain.startswith(_TOP_FOLDERS) and tail.startswith(_TOP_FOLDERS) else plain
        self._index.setdefault(below.removeprefix("./"), reference)

    def _check(self) -> None:
        if not any(key.startswith("parts/") for key in self._index):
            raise UserError(
                f"{self.path}: no LDraw library: it has no folder 'parts' with .dat files. Give the folder that holds "
                "'parts' and 'p', or the archive of it (complete.zip from ldraw.org, .tar, .tar.xz)."
            )

    @abstractmethod
    def _read(self, reference: str) -> bytes:
        """The bytes of a stored file."""


class _FolderLibrary(LDrawLibrary):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for folder, _, names in os.walk(path):
            for name in sorted(names):
                whole = os.path.join(folder, name)
                self._add(os.path.relpath(whole, path), whole)
        self._check()

    def _read(self, reference: str) -> bytes:
        try:
            return Path(reference).read_bytes()
        except OSError as error:
            raise UserError(f"{reference}: cannot be read: {error.strerror or error}.") from error


class _ArchiveLibrary(LDrawLibrary):
    """An archive; texts are held compressed as they are (zip) or in memory (tar, which cannot be entered anywhere)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._contents: dict[str, bytes] = {}
        self._is_zip = zipfile.is_zipfile(path)
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        try:
            self._open()
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: is no readable zip or tar archive ({error}).") from error
        self._check()

    def _open(self) -> None:
        if self._is_zip:
            for name in self._archive().namelist():
                self._add(name, name)
            return
        total = 0
        with tarfile.open(self.path, "r|*") as archive:  # a stream: seeking back in an .xz starts anew
            for member in archive:
                if not member.isfile() or not member.name.lower().endswith(_KEPT_ENDINGS):
                    continue
                total += member.size
                if member.size > _MAX_FILE_BYTES or total > _MAX_ARCHIVE_BYTES:
                    raise UserError(f"{self.path}: {member.name}: larger than an LDraw library can be.")
                stream = archive.extractfile(member)
                if stream is not None:
                    self._contents[member.name] = stream.read()
                    self._add(member.name, member.name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _archive(self) -> zipfile.ZipFile:
        """The zip, opened by this process: two processes must not share a place in a file."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), zipfile.ZipFile(self.path))
        return self._opened[1]

    def _read(self, reference: str) -> bytes:
        if not self._is_zip:
            return self._contents[reference]
        try:
            if self._archive().getinfo(reference).file_size > _MAX_FILE_BYTES:
                raise UserError(f"{self.path}: {reference}: larger than {_MAX_FILE_BYTES >> 20} MiB; no LDraw file is.")
            return self._archive().read(reference)
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path}: {reference}: cannot be unpacked ({error}).") from error


def open_library(path: str | os.PathLike[str]) -> LDrawLibrary:
    """Open an LDraw library.

    Args:
        path: The folder with ``parts`` and ``p``, or a zip or tar archive of it.

    Raises:
        UserError: It does not exist, cannot be read, or holds no LDraw parts.
    """
    path = Path(path)
    if path.is_dir():
        return _FolderLibrary(path)
    if path.is_file():
        return _ArchiveLibrary(path)
    raise UserError(f"{path}: does not exist. Give an LDraw folder or archive (complete.zip from ldraw.org).")


def text_hash(text: str) -> str:
    """Twelve hexadecimal digits that name a text."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]
