"""What an output folder remembers: by which weights and settings each of its photos was made, and from what.

One line of JSON a photo in ``.enhance.jsonl``, added when its file is complete. A line that was cut short by a crash
does not count; the photo it was for is then one that nobody knows the origin of, and stays.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from basicsr.engine.checkpoint import remove_leftovers
from basicsr.engine.cli import writing
from basicsr.engine.errors import UserError
from basicsr.engine.run_lock import RunLock
from plugins.color_fidelity.enhance_plan import Job

RECORD_NAME = ".enhance.jsonl"
State = Literal["missing", "made", "source changed", "made otherwise", "unknown"]
_NAMES_ONLY = {"checkpoint"}  # a checkpoint is told by its content


class OutputRecord:
    """The record of one output folder, held by one process at a time; use it as a context manager.

    Args:
        folder: The output folder; made where it is missing.
        settings: What decides how outputs look: plain values, ``sha256`` of the checkpoint among them.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = dict(settings)
        self._lines: dict[str, dict[str, Any]] = {}
        self._mend = ""
        self._lock = RunLock(folder)

    def __enter__(self) -> OutputRecord:
        with writing(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.take()
            except UserError as error:
                raise UserError(f"{self.folder}: another process is writing photos there; wait for its end") from error
        text = _text(self.folder / RECORD_NAME)
        self._lines = _read_lines(text)
        # A last line that was cut short must not swallow the next one.
        self._mend = "\n" if text and not text.endswith("\n") else ""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def clear_leftovers(self, jobs: Sequence[Job]) -> list[Path]:
        """Delete the unfinished files that a killed run left beside these jobs' outputs."""
        return remove_leftovers(*sorted({job.target.parent for job in jobs}))

    def state(self, job: Job) -> State:
        """What the output of a job is: missing, made by these settings from this source, or something else."""
        try:
            size = job.target.stat().st_size
        except OSError:
            return "missing"
        line = self._lines.get(self._key(job))
        if line is None or line.get("bytes") != size:
            return "unknown"
        if differences(line.get("settings", {}), self.settings):
            return "made otherwise"
        return "made" if line.get("source") == _fingerprint(job.source) else "source changed"

    def refuse_mixture(self, jobs: Sequence[Job]) -> None:
        """Raise ``UserError`` where outputs were made by other weights or settings: a folder shall have one look."""
        others = [job for job in jobs if job.obstacle is None and self.state(job) == "made otherwise"]
        if not others:
            return
        line = self._lines[self._key(others[0])]
        names = ", ".join(job.target.name for job in others[:5]) + (", ..." if len(others) > 5 else "")
        raise UserError(
            f"{self.folder}: {len(others)} photo{'s' * (len(others) > 1)} there ({names}) were made with "
            f"{'; '.join(differences(line.get('settings', {}), self.settings))}. Use --force to make them again, or "
            "another folder with -o."
        )

    def add(self, job: Job) -> None:
        """Note that a job's output is complete.

        Raises:
            UserError: The disk refuses.
        """
        line = {
            "output": self._key(job),
            "bytes": job.target.stat().st_size,
            "source": _fingerprint(job.source),
            "settings": self.settings,
        }
        path = self.folder / RECORD_NAME
        with writing(str(path)):
            with open(path, "a", encoding="utf-8") as file:
                file.write(self._mend + json.dumps(line) + "\n")
        self._mend = ""
        self._lines[self._key(job)] = line

    def _key(self, job: Job) -> str:
        return os.path.relpath(job.target, self.folder)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say in what two settings differ, such as ``max_side 2048 instead of none``."""
    found = []
    for key in sorted((set(old) | set(new)) - _NAMES_ONLY):
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        if key == "sha256":
            places = (f"{each.get('checkpoint')} ({str(each.get(key))[:8]})" for each in (old, new))
            found.append("checkpoint " + " instead of ".join(places))
        else:
            found.append(f"{key} {_shown(before)} instead of {_shown(now)}")
    return found


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        UserError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _fingerprint(source: Path) -> dict[str, Any] | None:
    try:
        status = source.stat()
    except OSError:
        return None
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _text(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_lines(text: str) -> dict[str, dict[str, Any]]:
    """Output names to their last lines; what is no complete line is passed over."""
    lines: dict[str, dict[str, Any]] = {}
    for each in text.splitlines():
        try:
            line = json.loads(each)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("output"), str) and isinstance(line.get("settings"), dict):
            lines[line["output"]] = line
    return lines
