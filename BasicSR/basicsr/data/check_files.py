"""Looks at one image file after another: what it is, what is wrong with it, and a fingerprint of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cv2
import PIL

from basicsr.data.check_cache import VerdictCache, stamp_of
from basicsr.data.image_store import Progress, in_parallel
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import verify_image

ERROR, WARNING = "error", "warning"

KINDS: dict[str, tuple[str, str]] = {
    "folder": (ERROR, "folder, store or LMDB missing, empty or unusable"),
    "empty-file": (ERROR, "file of 0 bytes"),
    "not-an-image": (ERROR, "no image in spite of its name (text, html, unknown)"),
    "damaged": (ERROR, "truncated or damaged image"),
    "unsupported": (ERROR, "image of a kind or size that is not supported"),
    "unreadable": (ERROR, "file cannot be read"),
    "missing-partner": (ERROR, "one half of a pair is missing"),
    "size-mismatch": (ERROR, "target is not scale times the input"),
    "too-small": (ERROR, "smaller than the training crop"),
    "stale-store": (ERROR, "store out of date or damaged"),
    "bit-depth": (WARNING, "16 bit against 8 bit in a pair"),
    "16-bit": (WARNING, "16 bit a channel (kept)"),
    "grey": (WARNING, "grey (expanded to three channels)"),
    "alpha": (WARNING, "alpha channel (dropped)"),
    "cmyk": (WARNING, "CMYK (converted)"),
    "exif-rotated": (WARNING, "EXIF orientation (applied)"),
    "icc": (WARNING, "colour profile other than sRGB (converted)"),
    "icc-unreadable": (WARNING, "colour profile that cannot be used (ignored)"),
    "frames": (WARNING, "several frames or pages (the first is used)"),
    "ignored": (WARNING, "in the folder, but not read: sub-folder or another kind of file"),
    "duplicate": (WARNING, "same content under several names"),
    "identical-pair": (WARNING, "input and target are the same file content"),
    "shared-between-sets": (WARNING, "same content in a training and another set"),
}
"""Every kind of finding: its level and what it means."""

_BY_MESSAGE = {"not an image": "not-an-image", "not supported": "unsupported"}

VERDICT_VERSION = f"1, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"
"""Verdicts of other versions are reached anew; raise the first number when a check changes."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: Key of ``KINDS``.
        path: The file, or the data set.
        message: What is wrong, with figures.
    """

    kind: str
    path: str
    message: str

    @property
    def level(self) -> str:
        """``error`` or ``warning``."""
        return KINDS[self.kind][0]


@dataclass(frozen=True)
class File:
    """An image to look at.

    Attributes:
        path: What messages call it.
        read: Gives its content; ``UserError`` if it cannot be read.
        on_disk: File that holds it (an LMDB holds many images).
    """

    path: str
    read: Callable[[], bytes]
    on_disk: str


@dataclass(frozen=True)
class Facts:
    """What was found out about an image.

    Attributes:
        path: As in ``File``.
        size: Height and width of the upright image, or None if it cannot be used.
        bit_depth: Bits a channel.
        digest: Fingerprint of the file's content, or None.
        findings: What is wrong or special.
        nbytes: Size of the file's content.
    """

    path: str
    size: tuple[int, int] | None
    bit_depth: int
    digest: str | None
    findings: tuple[Finding, ...]
    nbytes: int = 0

    def verdict(self) -> dict[str, Any]:
        """For the cache."""
        found = [[finding.kind, finding.message] for finding in self.findings]
        return {"size": self.size, "depth": self.bit_depth, "digest": self.digest, "bytes": self.nbytes, "found": found}

    @classmethod
    def of_verdict(cls, path: str, verdict: Any) -> Facts | None:
        """The facts of a verdict, or None if it is not one."""
        try:
            height, width = verdict["size"] or (0, 0)
            found = tuple(Finding(kind, path, message) for kind, message in verdict["found"] if kind in KINDS)
            size = (int(height), int(width)) if verdict["size"] else None
            return cls(path, size, int(verdict["depth"]), verdict["digest"], found, int(verdict["bytes"]))
        except (KeyError, TypeError, ValueError):
            return None


def inspect_files(
    files: Sequence[File], cache: VerdictCache, workers: int | None, progress: Progress | None
) -> tuple[dict[str, Facts], int]:
    """Look at files.

    Args:
        files: The files, each once.
        cache: Files that it knows are not read.
        workers: Threads; all cores where None.
        progress: Told after each file; those that the cache knows are done before the first call.

    Returns:
        Facts by path, and how many files the cache knew.
    """
    facts: dict[str, Facts | None] = {}
    for file in files:
        facts[file.path] = _remembered(file, cache)
    new = [file for file in files if facts[file.path] is None]
    known = len(files) - len(new)
    with closing(in_parallel(_inspect, new, workers)) as results:
        for done, (file, (fact, stamp)) in enumerate(zip(new, results, strict=True), start=known + 1):
            facts[file.path] = fact
            if stamp is not None:
                cache.put(file.path, stamp, fact.verdict())
            if progress is not None:
                progress(done, len(files), file.path)
    return {path: fact for path, fact in facts.items() if fact is not None}, known


def _remembered(file: File, cache: VerdictCache) -> Facts | None:
    try:
        verdict = cache.get(file.path, stamp_of(file.on_disk))
    except OSError:
        return None
    return None if verdict is None else Facts.of_verdict(file.path, verdict)


def _inspect(file: File) -> tuple[Facts, str | None]:
    """The facts, and the stamp for which they hold; None where another try may end otherwise."""
    try:
        stamp = stamp_of(file.on_disk)  # before the content: a change in between is found by the next check
        content = file.read()
    except (UserError, OSError) as error:
        text = without(file.path, error) if isinstance(error, UserError) else f"cannot be read: {error.strerror}."
        return Facts(file.path, None, 0, None, (Finding("unreadable", file.path, text),)), None
    return _examine(file.path, content), stamp


def _examine(path: str, content: bytes) -> Facts:
    kinds: list[str] = []
    try:
        header = verify_image(content, path, lambda kind, _: kinds.append(kind))
    except UserError as error:
        text = without(path, error)
        starts = (kind for start, kind in _BY_MESSAGE.items() if text.startswith(start))
        kind = "empty-file" if not content else next(starts, "damaged")
        return Facts(path, None, 0, None, (Finding(kind, path, text),), len(content))
    detail = f"{header.format} {header.width}x{header.height}, mode {header.mode}, {header.bit_depth} bit"
    found = tuple(Finding(kind, path, f"{KINDS[kind][1]}: {detail}") for kind in dict.fromkeys(kinds))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return Facts(path, (header.height, header.width), header.bit_depth, digest, found, len(content))


def without(path: str, error: Exception) -> str:
    """An error's message without the path that it begins with."""
    return str(error).removeprefix(f"{path}: ")
