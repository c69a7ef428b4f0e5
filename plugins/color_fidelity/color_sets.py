"""Colour sets of a paired data set: lists for a colour-stress validation set, a test set and training.

Pairs are ranked by the colour of their target, or by how much of it a given network loses. Near-duplicates stay
together, and what a validation set that must stay untouched has already is dropped. Nothing is copied: the sets are
``meta_info`` files that ``PairedImageDataset`` and ``ColorPairedImageDataset`` read.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from basicsr.data.image_source import store_root
from basicsr.data.paired_image_dataset import PairedImageOptions
from basicsr.engine.errors import UserError
from plugins.color_fidelity import color_sets_split as split
from plugins.color_fidelity.color_sets_duplicates import Fingerprint, Match, find_matches, fingerprint, group
from plugins.color_fidelity.color_sets_figures import ColorAmount, ColorLoss, LossMeter, color_amount
from plugins.color_fidelity.color_sets_photos import PairPaths, Picture, PictureReader, find_pairs, kept_names, shrink

SIDE = 320
THUMBNAIL = 232
RANKINGS = ("amount", "coverage", "lost")
_QUALITY = 85
_AHEAD = 2

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


@dataclass(frozen=True)
class ColorSetOptions:
    """What to divide and how.

    Attributes:
        data: The paired data set: roots, list, name template, backend.
        keep: Validation sets that stay as they are: folders (or LMDBs, stores) of targets, or lists of targets of
            ``data``.
        sizes: Sizes of what is held out.
        rank_by: ``amount`` (colour to lose), ``coverage`` (area alone) or ``lost`` (by the network); None: ``lost``
            where a network is given, else ``amount``.
        max_repeat: Most lines that one pair has in the oversampling list.
        seed: Decides the draws.
        workers: Threads that read pictures; None for one per core.
    """

    data: PairedImageOptions
    keep: tuple[Path, ...] = ()
    sizes: split.SplitSizes = split.SplitSizes()
    rank_by: str | None = None
    max_repeat: int = 8
    seed: int = 0
    workers: int | None = None


@dataclass(frozen=True)
class Look:
    """What is known of a pair after reading it: see the classes of the fields; ``thumbnail`` is an encoded JPEG."""

    pair: PairPaths
    height: int
    width: int
    amount: ColorAmount
    loss: ColorLoss | None
    print: Fingerprint
    thumbnail: bytes


@dataclass(frozen=True)
class Entry:
    """A pair and where it went.

    Attributes:
        look: The pair.
        score: What it is ranked by.
        rank: 1 for the highest score.
        group: Number of its group of near-duplicates.
        group_size: Pairs in that group.
        twin: Name of the picture it is most similar to, if any is a near-duplicate; ``similarity`` is that of the two.
        similarity: Correlation of their detail.
        split: One of ``color_sets_split.SPLITS``.
        reason: Why it is there.
        repeats: Lines in the oversampling list.
    """

    look: Look
    score: float
    rank: int
    group: int
    group_size: int
    twin: str
    similarity: float
    split: str
    reason: str
    repeats: int = 0

    @property
    def name(self) -> str:
        """The target's name, as in the lists."""
        return self.look.pair.name


@dataclass(frozen=True)
class ColorSets:
    """The result.

    Attributes:
        entries: All pairs in the data set's order.
        rank_by: What they are ranked by.
        kept_elsewhere: Pictures of kept validation sets that are not part of the data set.
        asked: Pairs that stress and test set were to have; they may have fewer.
    """

    entries: list[Entry]
    rank_by: str
    kept_elsewhere: int
    asked: tuple[int, int] = (0, 0)

    def members(self, name: str) -> list[Entry]:
        """The pairs of a split, highest score first."""
        return sorted((entry for entry in self.entries if entry.split == name), key=lambda entry: entry.rank)

    def notes(self) -> list[str]:
        """What somebody who asked for larger sets should know."""
        found = []
        for name, asked in zip((split.STRESS, split.TEST), self.asked, strict=True):
            count = len(self.members(name))
            if count < asked:
                pale = ", pictures with hardly any colour not taken" if name == split.STRESS else ""
                found.append(
                    f"the {name} set has {count} of {asked} pairs: groups of near-duplicates are not divided{pale}; "
                    f"a larger --{name} has room for larger groups"
                )
        return found


def make_color_sets(
    options: ColorSetOptions, meter: LossMeter | None = None, progress: Progress | None = None
) -> ColorSets:
    """Divide a data set; nothing is written.

    Args:
        options: What and how.
        meter: Measures what a network loses; None: targets alone are looked at.
        progress: Told after every picture that was read.

    Returns:
        Where each pair goes and why; the same for the same files, options and seed.

    Raises:
        UserError: A file, folder, list or option is wrong.
    """
    rank_by = _ranking(options, meter)
    pairs = find_pairs(options.data)
    listed, folders = _kept(options, pairs)
    tell = progress or _silent
    with ThreadPoolExecutor(options.workers or os.cpu_count() or 1) as pool:
        outside = [_read_kept(folder, pool, tell) for folder in folders]
        looks = _look_at(options.data, pairs, meter, pool, tell)
    names = [name for kept, _ in outside for name in kept]
    prints = [item for _, kept in outside for item in kept]
    entries = _divide(options, rank_by, looks, listed, names, prints)
    free = sum(entry.split not in (split.KEPT, split.DROPPED) for entry in entries)
    return ColorSets(entries, rank_by, len(names), options.sizes.settle(free))


def _silent(what: str, done: int, total: int) -> None:
    del what, done, total


def _ranking(options: ColorSetOptions, meter: LossMeter | None) -> str:
    rank_by = options.rank_by or ("amount" if meter is None else "lost")
    if rank_by not in RANKINGS:
        raise UserError(f"--rank-by {rank_by}: use one of {', '.join(RANKINGS)}")
    if rank_by == "lost" and meter is None:
        raise UserError("--rank-by lost needs --checkpoint: what is lost is measured on a network's output")
    split.repeats([], [], options.max_repeat)
    return rank_by


def _kept(options: ColorSetOptions, pairs: Sequence[PairPaths]) -> tuple[set[str], list[str]]:
    """Names of the data set that are kept, and the roots of kept sets elsewhere."""
    listed: set[str] = set()
    folders: list[str] = []
    for path in options.keep:
        if path.is_file():
            listed |= kept_names(path, pairs)
            continue
        if not path.is_dir():
            raise UserError(f"--keep-val {path}: there is no such folder or list")
        root = path / "gt" if (path / "gt").is_dir() else path
        if root.resolve() == Path(options.data.dataroot_gt).resolve():
            raise UserError(
                f"--keep-val {path}: this is the folder that is to be divided; to keep some of its pairs give a list "
                "of their targets, one name a line"
            )
        folders.append(str(root))
    return listed, folders


def _read_kept(root: str, pool: ThreadPoolExecutor, tell: Progress) -> tuple[list[str], list[Fingerprint]]:
    reader = PictureReader(root)
    names = reader.names()
    prints = []
    for done, item in enumerate(_ordered(pool, lambda name: fingerprint(reader.small(name, SIDE).rgb), names), start=1):
        prints.append(item)
        tell("kept", done, len(names))
    return [os.path.join(root, os.path.basename(name)) for name in names], prints


def _look_at(
    data: PairedImageOptions,
    pairs: Sequence[PairPaths],
    meter: LossMeter | None,
    pool: ThreadPoolExecutor,
    tell: Progress,
) -> list[Look]:
    roots = data_roots(data)
    targets, inputs = PictureReader(roots[0]), PictureReader(roots[1])

    def read(pair: PairPaths) -> tuple[PairPaths, Picture, Look, Picture | None]:
        target = targets.small(pair.gt, max(SIDE, meter.side if meter else 0))
        lq = inputs.small(pair.lq, meter.side) if meter else None
        rgb = shrink(target.rgb, SIDE)
        look = Look(pair, target.height, target.width, color_amount(rgb), None, fingerprint(rgb), thumbnail(rgb))
        return pair, target, look, lq

    looks = []
    for pair, target, look, lq in _ordered(pool, read, pairs):
        if meter is not None and lq is not None:
            loss, output = meter(lq.rgb, shrink(target.rgb, meter.side), pair.name)
            look = replace(look, loss=loss, thumbnail=thumbnail(target.rgb, output))
        looks.append(look)
        tell("pairs", len(looks), len(pairs))
    return looks


def data_roots(data: PairedImageOptions) -> tuple[str, str]:
    """Folders, LMDBs or stores that targets and inputs are read from; ``io_backend: mmap`` means the stores beside."""
    roots = [str(root).rstrip("/") for root in (data.dataroot_gt, data.dataroot_lq)]
    if dict(data.io_backend or {}).get("type") == "mmap":
        roots = [store_root(root) for root in roots]
    return roots[0], roots[1]


def thumbnail(target: np.ndarray, output: np.ndarray | None = None) -> bytes:
    """A JPEG of a target (uint8), with a network's output below it."""
    parts = [shrink(image, THUMBNAIL) for image in (target, output) if image is not None]
    size = (parts[0].shape[1], parts[0].shape[0])
    stacked = np.vstack([cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts])
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(stacked[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise UserError("the installed OpenCV cannot write JPEG images: install opencv-python from PyPI")
    return data.tobytes()


def _ordered(pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``map`` over threads in order, with only a few results waiting: pictures must not pile up in memory."""
    ahead = _AHEAD * (os.cpu_count() or 1) + 2
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _divide(
    options: ColorSetOptions,
    rank_by: str,
    looks: Sequence[Look],
    listed: set[str],
    outside: Sequence[str],
    outside_prints: Sequence[Fingerprint],
) -> list[Entry]:
    prints = [look.print for look in looks]
    within, across = find_matches(prints), find_matches(prints, outside_prints)
    groups = group(len(looks), within)
    kept = [look.pair.name in listed for look in looks]
    twins = _twins(looks, kept, within, across, outside)
    scores = [_score(look, rank_by) for look in looks]
    blocked = {groups[match.first] for match in across} | {groups[i] for i, is_kept in enumerate(kept) if is_kept}
    free = [i for i in range(len(looks)) if groups[i] not in blocked]
    candidates = [_candidate(looks[i], scores[i], groups[i]) for i in free]
    splits, reasons = split.choose(candidates, options.sizes, options.seed)
    placed = {i: (where, why) for i, where, why in zip(free, splits, reasons, strict=True)}
    ranks = {i: rank for rank, i in enumerate(sorted(range(len(looks)), key=lambda i: (-scores[i], i)), start=1)}
    sizes = Counter(groups)
    entries = []
    for i, look in enumerate(looks):
        direct, similarity, twin = twins.get(i, (False, 0.0, ""))
        where, why = placed.get(i, (split.KEPT, "in a list of --keep-val") if kept[i] else (split.DROPPED, ""))
        if where == split.DROPPED:
            why = f"near-duplicate of the kept validation{': like' if direct else ', by way of'} {twin}"
        entries.append(Entry(look, scores[i], ranks[i], groups[i], sizes[groups[i]], twin, similarity, where, why))
    return _with_repeats(entries, options.max_repeat)


def _twins(
    looks: Sequence[Look],
    kept: Sequence[bool],
    within: Sequence[Match],
    across: Sequence[Match],
    outside: Sequence[str],
) -> dict[int, tuple[bool, float, str]]:
    """For each pair with a near-duplicate: whether that is kept, the similarity, its name; a kept one comes first."""
    found: dict[int, tuple[bool, float, str]] = {}
    for match in within:
        for one, other in ((match.first, match.second), (match.second, match.first)):
            twin = (kept[other], match.similarity, looks[other].pair.name)
            found[one] = max(found.get(one, twin), twin)
    for match in across:
        twin = (True, match.similarity, outside[match.second])
        found[match.first] = max(found.get(match.first, twin), twin)
    return found


def _score(look: Look, rank_by: str) -> float:
    if rank_by == "lost" and look.loss is not None:
        return look.loss.lost
    return look.amount.coverage if rank_by == "coverage" else look.amount.amount


def _candidate(look: Look, score: float, number: int) -> split.Candidate:
    return split.Candidate(look.pair.name, score, look.amount.coverage, look.amount.hue, number)


def _with_repeats(entries: Sequence[Entry], most: int) -> list[Entry]:
    training = [entry for entry in entries if entry.split == split.TRAIN]
    counts = split.repeats([entry.score for entry in training], [entry.group for entry in training], most)
    by_name = {entry.name: count for entry, count in zip(training, counts, strict=True)}
    return [replace(entry, repeats=by_name.get(entry.name, 0)) for entry in entries]
