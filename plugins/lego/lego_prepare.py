"""From folders and tables of every source to one manifest with splits and numbered classes."""

from __future__ import annotations

import itertools
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError
from plugins.lego.color_ids import UNKNOWN_COLOR, color_of, color_title
from plugins.lego.lego_manifest import REAL, TRAIN, Classes, Record, extended
from plugins.lego.lego_prepare_check import Issue, Look, drop_copies, find_similar, look_at
from plugins.lego.lego_prepare_scan import Aliases, Found, Place, color_reader, find_images
from plugins.lego.lego_split import SplitShares

_AHEAD = 64
_SHOWN = 12
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PrepareOptions:
    """What to gather and how.

    Attributes:
        places: Where the images lie.
        out: Folder of the manifest.
        aliases: Which parts are one class.
        targets: Parts to keep (class ids or aliases of them); empty for all.
        colors: LDraw codes to tell apart; empty for all that occur. Images of others count as of unknown colour.
        shares: What is held out.
        old_parts: Part classes whose numbers stay.
        old_colors: Colour classes whose numbers stay.
        tolerate_colors: Take colours that are not in the table as unknown.
        drop_similar: Leave out training pictures that look like a held-out one.
        similar_limit: See :func:`plugins.lego.lego_prepare_check.find_similar`.
        decode_all: Decode synthetic images too.
        workers: Threads that read files; None for one a core.
    """

    places: tuple[Place, ...]
    out: Path
    aliases: Aliases = field(default_factory=Aliases)
    targets: tuple[str, ...] = ()
    colors: tuple[int, ...] = ()
    shares: SplitShares = SplitShares()
    old_parts: tuple[str, ...] = ()
    old_colors: tuple[str, ...] = ()
    tolerate_colors: bool = False
    drop_similar: bool = False
    similar_limit: float = 4.0
    decode_all: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class Prepared:
    """The result; nothing is written yet.

    Attributes:
        records: Rows of the manifest.
        parts: Classes of parts.
        colors: Classes of colours.
        issues: What was wrong with files.
        notes: What else the owner should know.
        not_wanted: Images of parts that are not in the list.
    """

    records: list[Record]
    parts: Classes
    colors: Classes
    issues: list[Issue]
    notes: list[str]
    not_wanted: int


def prepare(options: PrepareOptions, progress: Progress | None = None) -> Prepared:
    """Gather, check and divide.

    Args:
        options: What and how.
        progress: Called with how many files were read, of how many, and the last one's name.

    Returns:
        The same for the same files and options, whatever their order.

    Raises:
        UserError: A place, table or id is wrong, or nothing is left.
    """
    tell = progress or _silent
    wanted = {options.aliases.class_of(part) for part in options.targets}
    found, not_wanted, notes = _gather(options, wanted)
    looks = list(_ordered(found, options, tell))
    records, issues = _records(found, looks, options)
    records, copies = drop_copies(records)
    thumbnails = {
        _path_in(options.out, one[0].path): look.thumbnail
        for one, look in zip(found, looks, strict=True)
        if look.thumbnail is not None
    }
    del looks
    similar = find_similar(records, thumbnails, options.similar_limit, lambda done, total: None)
    if options.drop_similar:
        gone = {issue.path for issue in similar}
        records = [record for record in records if record.path not in gone]
        similar = [replace(issue, action="left out") for issue in similar]
    if not records:
        raise UserError("no image is left: every file is unreadable, a contradiction, or of a part that is not listed")
    parts, colors = _classes(records, options, wanted)
    notes += _notes(records, parts, wanted, options)
    return Prepared(records, parts, colors, [*issues, *copies, *similar], notes, not_wanted)


def _silent(done: int, total: int, name: str) -> None:
    del done, total, name


Gathered = tuple[Found, str, int]
"""An image, its class id and its colour."""


def _gather(options: PrepareOptions, wanted: set[str]) -> tuple[list[Gathered], int, list[str]]:
    kept: list[Gathered] = []
    notes: list[str] = []
    not_wanted = 0
    for place in options.places:
        color = color_reader(place, options.tolerate_colors)
        for image in find_images(place):
            part = options.aliases.class_of(image.part) if image.part else ""
            code = color(image)
            if wanted and part and part not in wanted:
                not_wanted += 1
                continue
            if options.colors and code not in options.colors:
                code = UNKNOWN_COLOR
            kept.append((image, part, code))
        color.check()
        if color.wrong:
            some = ", ".join(list(color.wrong)[:_SHOWN])
            notes.append(f"{place.path}: {len(color.wrong)} colours are not in the table, taken as unknown: {some}")
    kept.sort(key=lambda one: (one[0].source, str(one[0].path)))
    if not kept:
        raise UserError("no image is of a listed part; the list and the folders may name parts in different ways")
    return kept, not_wanted, notes


def _ordered(found: Sequence[Gathered], options: PrepareOptions, tell: Progress) -> Iterator[Look]:
    """Look at all files, several at a time, in order."""
    images = iter(found)
    waiting: deque[tuple[Found, Future[Look]]] = deque()
    with ThreadPoolExecutor(options.workers or os.cpu_count() or 1) as pool:
        try:
            for done in range(1, len(found) + 1):
                for image, _, _ in itertools.islice(images, _AHEAD - len(waiting)):
                    waiting.append((image, pool.submit(look_at, image, options.decode_all)))
                image, future = waiting.popleft()
                yield future.result()
                tell(done, len(found), image.path.name)
        finally:
            pool.shutdown(cancel_futures=True)


def _records(
    found: Sequence[Gathered], looks: Sequence[Look], options: PrepareOptions
) -> tuple[list[Record], list[Issue]]:
    records, issues = [], []
    for (image, part, color), look in zip(found, looks, strict=True):
        path = _path_in(options.out, image.path)
        if look.problem:
            issues.append(Issue("unreadable", path, "", "left out", look.problem))
            continue
        split = options.shares.of_image(image.source, image.piece)
        records.append(Record(path, image.source, part, color, image.piece, split, look.sha1))
    return records, issues


def _path_in(out: Path, file: Path) -> str:
    """Relative where the file lies below the manifest's folder or beside it, else absolute."""
    whole, root = file.resolve(), out.resolve()
    for base in (root, root.parent):
        if whole.is_relative_to(base) and base != Path(base.anchor):
            return Path(os.path.relpath(whole, root)).as_posix()
    return str(whole)


def _classes(records: Iterable[Record], options: PrepareOptions, wanted: set[str]) -> tuple[Classes, Classes]:
    present = {record.part for record in records if record.part}
    # A listed part without images keeps its number: images of it will come.
    parts = extended(options.old_parts, wanted or present)
    codes = {record.color for record in records if record.color != UNKNOWN_COLOR} | set(options.colors)
    colors = extended(options.old_colors, (str(code) for code in codes))
    names = tuple(color_title(int(code)) for code in colors)
    shown = tuple("#{:02X}{:02X}{:02X}".format(*color_of(int(code)).rgb) for code in colors)
    return Classes(tuple(parts), tuple(parts)), Classes(tuple(colors), names, shown)


def _notes(records: Sequence[Record], parts: Classes, wanted: set[str], options: PrepareOptions) -> list[str]:
    notes = []
    real = Counter((record.part, record.split) for record in records if record.source == REAL and record.part)
    present = {record.part for record in records}
    missing = sorted(wanted - present)
    if missing:
        notes.append(f"{len(missing)} listed parts have no image: {_some(missing)}")
    pieces = {record.piece for record in records if record.source == REAL}
    if not pieces and any(place.source == REAL for place in options.places):
        notes.append("no real image is left")
    for split in ("val", "test"):
        if pieces and not any(record.split == split for record in records):
            notes.append(f"no piece fell into {split}: there are only {len(pieces)}; another --seed divides otherwise")
    trained = {record.part for record in records if record.split == TRAIN}
    only_held = sorted({part for (part, split) in real if split != TRAIN} - trained)
    if only_held:
        notes.append(
            f"{len(only_held)} parts are held out but never trained (too few pieces; renders of them would help): "
            f"{_some(only_held)}"
        )
    if len(parts) > len(present - {""}) and not wanted:
        notes.append(f"{len(parts) - len(present - {''})} classes of the earlier class file have no image now")
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")


def summary(prepared: Prepared) -> list[tuple[str, str, int, int, int, int]]:
    """Rows (source, split, images, parts, images of known colour, pieces) of a table."""
    rows = []
    keys = sorted({(record.source, record.split) for record in prepared.records}, key=lambda key: (key[0], key[1]))
    for source, split in keys:
        members = [record for record in prepared.records if (record.source, record.split) == (source, split)]
        known = sum(record.color != UNKNOWN_COLOR for record in members)
        parts = len({record.part for record in members if record.part})
        rows.append((source, split, len(members), parts, known, len({r.piece for r in members if r.piece})))
    return rows


def images_per_part(prepared: Prepared, sources: Sequence[str]) -> np.ndarray[Any, Any]:
    """How many images each class of part has from each source, (K, S) int64."""
    number = prepared.parts.numbers()
    counts = np.zeros((len(prepared.parts), len(sources)), np.int64)
    for record in prepared.records:
        if record.part:
            counts[number[record.part], sources.index(record.source)] += 1
    return counts
