"""Files that cannot be read, and pictures that lie in two splits or under two names."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import decode_image, read_bytes, read_header
from plugins.lego.lego_manifest import REAL, TEST, TRAIN, VAL, Record
from plugins.lego.lego_prepare_scan import Found

Array = np.ndarray[Any, Any]

_SIDE = 24
_BLOCK = 512
_ORDER = {TEST: 0, VAL: 1, TRAIN: 2}


@dataclass(frozen=True, slots=True)
class Look:
    """What reading a file showed.

    Attributes:
        sha1: Of its bytes.
        height: Of the upright picture.
        width: Likewise.
        thumbnail: (24, 24, 3) uint8 of a real picture; None for others.
        problem: Why it cannot be used; empty where it can.
    """

    sha1: str = ""
    height: int = 0
    width: int = 0
    thumbnail: Array | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """Something about a file that its owner should know.

    Attributes:
        kind: unreadable, conflict, duplicate, or similar.
        path: The file.
        other: The file that it is like.
        action: What was done.
        reason: In words.
    """

    kind: str
    path: str
    other: str
    action: str
    reason: str


def look_at(found: Found, decode_all: bool = False) -> Look:
    """Read a file: real pictures are decoded, of synthetic ones the header is enough unless ``decode_all``."""
    try:
        content = read_bytes(found.path)
        header = read_header(content, str(found.path))
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if found.source != REAL and not decode_all:
            return Look(sha1, header.height, header.width)
        pixels = decode_image(content, str(found.path), header=header)
    except UserError as error:
        return Look(problem=str(error))
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Look(sha1, header.height, header.width, small if found.source == REAL else None)


def drop_copies(records: Sequence[Record]) -> tuple[list[Record], list[Issue]]:
    """Leave out files with the same bytes: of copies the one that is held out stays, so nothing is tested on training.

    Copies under two parts or two known colours are contradictions: all of them are left out.

    Returns:
        What is left, in order, and what was done.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.sha1].append(record)
    dropped: dict[str, Issue] = {}
    for group in groups.values():
        if len(group) > 1:
            for issue in _settle(group):
                dropped[issue.path] = issue
    return [record for record in records if record.path not in dropped], list(dropped.values())


def _settle(group: list[Record]) -> Iterable[Issue]:
    parts = {record.part for record in group if record.part}
    colors = {record.color for record in group if record.color != 9999}
    first = group[0]
    if len(parts) > 1 or len(colors) > 1:
        what = f"parts {', '.join(sorted(parts))}" if len(parts) > 1 else f"colours {sorted(colors)}"
        for record in group:
            other = first if record is not first else group[1]
            yield Issue("conflict", record.path, other.path, "left out", f"the same bytes under {what}")
        return
    kept = min(group, key=lambda record: (_ORDER[record.split], record.source != REAL, record.path))
    for record in group:
        if record is not kept:
            where = "the same split" if record.split == kept.split else f"{kept.split}, this was {record.split}"
            yield Issue("duplicate", record.path, kept.path, "left out", f"the same bytes as a file in {where}")


def find_similar(
    records: Sequence[Record], thumbnails: dict[str, Array], limit: float, tell: Callable[[int, int], None]
) -> list[Issue]:
    """Real pictures in two splits that look the same (copies that were re-encoded or scaled).

    Args:
        records: Of the manifest.
        thumbnails: Path to thumbnail, of the real ones.
        limit: Largest root mean square difference of two thumbnails, of 255.
        tell: Called with how many held-out pictures were compared, and of how many.

    Returns:
        One issue for each picture of a lower split and its nearest held-out one; nothing is left out.
    """
    real = [record for record in records if record.path in thumbnails]
    held = [record for record in real if record.split != TRAIN]
    if not held:
        return []
    pixels = np.stack([thumbnails[record.path].reshape(-1) for record in real]).astype(np.float32)
    rank = np.array([_ORDER[record.split] for record in real])
    squares = np.einsum("ij,ij->i", pixels, pixels)
    rows = np.flatnonzero(rank < _ORDER[TRAIN])
    issues: dict[int, Issue] = {}
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        distance = squares[block, None] + squares[None] - 2 * pixels[block] @ pixels.T
        distance[rank[block, None] >= rank[None]] = np.inf
        near = distance <= limit**2 * pixels.shape[1]
        for row, column in np.argwhere(near):
            one, other = real[column], real[block[row]]
            rms = float(np.sqrt(max(0.0, distance[row, column]) / pixels.shape[1]))
            reason = f"{one.split} looks like {other.split} (difference {rms:.1f} of 255)"
            issues.setdefault(int(column), Issue("similar", one.path, other.path, "kept, look at it", reason))
        tell(min(start + _BLOCK, len(rows)), len(rows))
    return [issues[column] for column in sorted(issues)]
