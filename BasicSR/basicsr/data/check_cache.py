"""Remembers what was found out about a file, so that an interrupted check goes on and a second one takes seconds."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

CACHE_NAME = "check_data.jsonl"
_MOST_STALE = 1000


def default_cache() -> Path:
    """Where verdicts are kept unless told otherwise: ``~/.cache/basicsr``, or under ``XDG_CACHE_HOME``."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(folder):  # a user without a home, as in some containers
        folder = tempfile.gettempdir()
    return Path(folder) / "basicsr" / CACHE_NAME


def stamp_of(*paths: str | os.PathLike[str]) -> str:
    """Size and time of last change of files, as text; ``OSError`` if one is not there."""
    stats = [os.stat(path) for path in paths]
    return " ".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)


class VerdictCache:
    """Verdicts by path and stamp, in a text file of one JSON object a line.

    Every verdict is written when it is reached, so a killed process has lost none. Damaged lines are passed over. A
    file that cannot be written is said once; everything then works, but is not remembered.

    Args:
        path: The file; None remembers nothing.
        version: Verdicts that were reached by another version are not used.
        forget: Do not use what is there, only write.
    """

    def __init__(self, path: Path | None, version: str, forget: bool = False) -> None:
        self.path, self._version = path, version
        self._known: dict[str, tuple[str, Any]] = {}
        self._lines = 0
        self._file: IO[bytes] | None = None
        if path is not None:
            if not forget:
                self._load(path)
            self._open(path)

    def __enter__(self) -> VerdictCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def get(self, path: str, stamp: str) -> Any | None:
        """The verdict on a file, if there is one for this stamp."""
        known = self._known.get(os.path.abspath(path))
        return known[1] if known is not None and known[0] == stamp else None

    def put(self, path: str, stamp: str, verdict: Any) -> None:
        """Remember a verdict (anything that JSON can hold, but null)."""
        self._known[os.path.abspath(path)] = (stamp, verdict)
        if self._file is not None:
            self._write(self._line(os.path.abspath(path)))

    def close(self) -> None:
        """Close the file; one that is mostly out of date is first written anew."""
        if self._file is not None and self.path is not None:
            self._file.close()
            self._file = None
            if self._lines > 2 * len(self._known) + _MOST_STALE:
                self._rewrite(self.path)

    def _line(self, path: str) -> bytes:
        stamp, verdict = self._known[path]
        entry = {"path": path, "stamp": stamp, "by": self._version, "verdict": verdict}
        return json.dumps(entry).encode() + b"\n"

    def _load(self, path: Path) -> None:
        with suppress(OSError):
            for line in path.read_bytes().split(b"\n"):
                self._lines += 1
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if entry["by"] == self._version:
                        self._known[str(entry["path"])] = (str(entry["stamp"]), entry["verdict"])

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab", buffering=0)
        except OSError as error:
            self._say(error)
            return
        if self._file.tell():
            self._write(b"\n")  # whatever was cut off before must not swallow what comes

    def _write(self, line: bytes) -> None:
        try:
            if self._file is not None:
                self._file.write(line)
                self._lines += 1
        except OSError as error:
            self._say(error)
            self._file = None

    def _rewrite(self, path: Path) -> None:
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                file.writelines(self._line(name) for name in self._known if _may_exist(name))
            os.replace(temporary, path)
        except OSError as error:
            self._say(error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _say(self, error: OSError) -> None:
        reason = error.strerror or error
        logging.getLogger("basicsr").warning(
            "%s: cannot be written (%s): verdicts are not remembered.", self.path, reason
        )


def _may_exist(path: str) -> bool:
    """Whether a file is still there; what is called after a file, as ``a.lmdb: key 7``, goes with that."""
    return os.path.exists(path) or (": " in path and os.path.exists(path.rsplit(": ", 1)[0]))
