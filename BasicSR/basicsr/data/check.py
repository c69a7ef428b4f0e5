"""Finds what is wrong with image data before training does: one pass over every file of every data set."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from basicsr.data import data_util
from basicsr.data.check_cache import VerdictCache, stamp_of
from basicsr.data.check_files import ERROR, KINDS, VERDICT_VERSION, Facts, File, Finding, inspect_files, without
from basicsr.data.image_source import backend_options, store_root
from basicsr.data.image_store import ImageStore, Progress
from basicsr.data.image_store_index import BUILD_HINT, INDEX_NAME, PIXELS_NAME
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import IMAGE_SUFFIXES, read_bytes
from basicsr.utils.file_client import LmdbBackend

__all__ = ["ERROR", "KINDS", "DataSetToCheck", "Finding", "Report", "check_data"]


@dataclass(frozen=True)
class DataSetToCheck:
    """One data set: its name, phase and the keys that matter here.

    Attributes:
        name: For messages.
        gt: Targets: folder, ``.lmdb`` or ``.store``; None for single images.
        lq: Inputs, likewise; None to check one folder alone.
        phase: ``train`` or another.
        scale: Target size over input size.
        gt_size: Training crop in the target, or None.
        filename_tmpl: Name of the input of a target ``{}``.
        meta_info_file: List of targets to use, or None for all.
        pad_small: Images smaller than the crop are padded: no error.
        io_backend: As in the option file.
    """

    name: str
    gt: str | None
    lq: str | None
    phase: str = "train"
    scale: int = 1
    gt_size: int | None = None
    filename_tmpl: str = "{}"
    meta_info_file: str | None = None
    pad_small: bool = False
    io_backend: Mapping[str, Any] | None = None


@dataclass
class Report:
    """Everything found.

    Attributes:
        images: Number of files that were judged.
        remembered: How many of these were not read, because an earlier verdict still holds.
        nbytes: Size of the files.
        pairs: Number of pairs.
        findings: In the order of the files.
    """

    images: int = 0
    remembered: int = 0
    nbytes: int = 0
    pairs: int = 0
    findings: list[Finding] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        """Findings of each kind."""
        return Counter(finding.kind for finding in self.findings)

    @property
    def errors(self) -> int:
        """Number of findings that would stop or spoil training."""
        return sum(finding.level == ERROR for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = [{"level": finding.level, **asdict(finding)} for finding in self.findings]
        counts = {"images": self.images, "remembered": self.remembered, "bytes": self.nbytes}
        return {**counts, "pairs": self.pairs, "errors": self.errors, "findings": found}


@dataclass(frozen=True)
class _Work:
    """What listing and reading need beside the files."""

    report: Report
    cache: VerdictCache
    workers: int | None
    progress: Progress | None


def check_data(
    sets: Sequence[DataSetToCheck],
    workers: int | None = None,
    progress: Progress | None = None,
    cache: VerdictCache | None = None,
) -> Report:
    """Check data sets.

    Args:
        sets: What to check.
        workers: Threads; all cores where None.
        progress: Called as ``progress(done, total, path)`` after each file that is read; first for the pixels of each
            store, then for all files.
        cache: Earlier verdicts, which are not reached again; takes the new ones.

    Returns:
        The report. Problems are findings, not exceptions.
    """
    report = Report()
    work = _Work(report, cache or VerdictCache(None, VERDICT_VERSION), workers, progress)
    listings = [(entry, _list_set(entry, work)) for entry in sets]
    files: dict[str, File] = {}
    for _, (pairs, singles) in listings:
        for file in [f for pair in pairs for f in pair] + singles:
            files.setdefault(file.path, file)
    facts, report.remembered = inspect_files(list(files.values()), work.cache, workers, progress)
    report.images = len(facts)
    for fact in facts.values():
        report.nbytes += fact.nbytes
        report.findings.extend(fact.findings)
    digests: dict[str, dict[str, str]] = {}
    for entry, (pairs, singles) in listings:
        report.pairs += len(pairs)
        for lq, gt in pairs:
            report.findings.extend(_check_pair(entry, facts[lq.path], facts[gt.path]))
        targets = [gt for _, gt in pairs] + singles
        own = {gt.path: facts[gt.path].digest or gt.path for gt in targets}
        report.findings.extend(_duplicates(own))
        digests[entry.name] = {digest: path for path, digest in own.items()}
    report.findings.extend(_shared(sets, digests))
    return report


def _list_set(entry: DataSetToCheck, work: _Work) -> tuple[list[tuple[File, File]], list[File]]:
    """Pairs and single files of a data set; problems go into the report."""
    report = work.report
    roots = {key: root for key, root in (("lq", entry.lq), ("gt", entry.gt)) if root is not None}
    files: dict[str, dict[str, File]] = {}
    try:
        kind = backend_options(entry.io_backend, roots, f"data set '{entry.name}'")["type"]
    except UserError as error:
        report.findings.append(Finding("folder", entry.name, str(error)))
        return [], []
    for key, root in roots.items():
        try:
            files[key] = _list_root(root, kind, work)
        except UserError as error:
            report.findings.append(Finding("folder", root, without(root, error)))
            files[key] = {}
    if len(roots) == 1:
        return [], list(next(iter(files.values())).values())
    if entry.meta_info_file is not None:
        return _listed_pairs(entry, files, report)
    matched, lonely_gts, lonely_lqs = data_util.match_names(list(files["lq"]), list(files["gt"]), entry.filename_tmpl)
    for names, key, other in ((lonely_gts, "gt", "lq"), (lonely_lqs, "lq", "gt")):
        for name in names:
            path = files[key][name].path
            report.findings.append(Finding("missing-partner", path, f"no partner in {roots[other]}"))
    lonely = [files["gt"][name] for name in lonely_gts] + [files["lq"][name] for name in lonely_lqs]
    return [(files["lq"][lq], files["gt"][gt]) for lq, gt in matched], lonely


def _listed_pairs(
    entry: DataSetToCheck, files: dict[str, dict[str, File]], report: Report
) -> tuple[list[tuple[File, File]], list[File]]:
    pairs: dict[str, tuple[File, File]] = {}
    folders, meta = [str(entry.lq), str(entry.gt)], str(entry.meta_info_file)
    try:
        listed = data_util.paired_paths_from_meta_info_file(folders, ["lq", "gt"], meta, entry.filename_tmpl)
    except UserError as error:
        report.findings.append(Finding("folder", meta, str(error)))
        return [], []
    for pair in listed:
        halves = []
        for key, folder in (("lq", folders[0]), ("gt", folders[1])):
            path = pair[f"{key}_path"]
            name = os.path.relpath(path, folder)
            known = files[key].get(name) or files[key].get(os.path.splitext(name)[0])
            if known is None and os.path.isfile(path):
                known = _disk_file(path)
            if known is None:
                report.findings.append(Finding("missing-partner", path, f"listed in {meta}, but there is no such file"))
            else:
                halves.append(known)
        if len(halves) == 2:
            pairs[pair["gt_path"]] = (halves[0], halves[1])
    return list(pairs.values()), []


def _disk_file(path: str) -> File:
    return File(path, lambda: read_bytes(path), path)


def _list_root(root: str, kind: str, work: _Work) -> dict[str, File]:
    if kind == "lmdb":
        backend = LmdbBackend(root)
        return {key: _lmdb_file(backend, root, key) for key in data_util.lmdb_keys(root)}
    if kind == "mmap":
        return _list_store(store_root(root), work)
    names = data_util.list_images(root)
    others = sorted(name for name in set(os.listdir(root)) - set(names) if not name.startswith("."))
    work.report.findings.extend(_ignored(os.path.join(root, name)) for name in others)
    return {name: _disk_file(os.path.join(root, name)) for name in names}


def _list_store(folder: str, work: _Work) -> dict[str, File]:
    """The files that a store was made from, after its pixels and freshness are checked."""
    store = ImageStore(folder)
    for name in _damaged(store, folder, work):
        text = f"the pixels of {name} have a wrong checksum; make them anew: {BUILD_HINT} --repair SOURCE STORE"
        work.report.findings.append(Finding("stale-store", folder, text))
    try:
        store.check_fresh()
    except UserError as error:
        work.report.findings.append(Finding("stale-store", folder, without(folder, error)))
    source = store.index.source_folder(folder)
    if not source.is_dir():
        return {}
    return {name: _disk_file(str(source / name)) for name in store.names() if (source / name).is_file()}


def _damaged(store: ImageStore, folder: str, work: _Work) -> list[str]:
    key, stamp = f"{folder}: pixels", stamp_of(store.folder / PIXELS_NAME, store.folder / INDEX_NAME)
    known = work.cache.get(key, stamp)
    if isinstance(known, list):
        return [str(name) for name in known]
    names = store.damaged(work.workers, work.progress)
    work.cache.put(key, stamp, names)
    return names


def _ignored(path: str) -> Finding:
    if os.path.isdir(path):
        return Finding("ignored", path, "a folder; images are read from the folder itself, not from those in it")
    return Finding("ignored", path, f"its ending is none of {', '.join(IMAGE_SUFFIXES)}")


def _lmdb_file(backend: LmdbBackend, root: str, key: str) -> File:
    return File(f"{root}: key {key}", lambda: backend.get(key), os.path.join(root, "data.mdb"))


def _check_pair(entry: DataSetToCheck, lq: Facts, gt: Facts) -> Iterable[Finding]:
    if lq.size is None or gt.size is None:
        return
    lq_size, gt_size = lq.size, gt.size
    over = [g - entry.scale * size for g, size in zip(gt_size, lq_size, strict=True)]
    allowed = 0 if entry.phase == "train" else entry.scale - 1
    if min(over) < 0 or max(over) > allowed:
        text = f"target {gt_size[1]}x{gt_size[0]} (width x height) is not {entry.scale} times {lq.path} "
        yield Finding("size-mismatch", gt.path, text + f"{lq_size[1]}x{lq_size[0]}")
    elif entry.phase == "train" and entry.gt_size and min(gt_size) < entry.gt_size and not entry.pad_small:
        yield Finding("too-small", gt.path, f"{gt_size[1]}x{gt_size[0]} is smaller than the crop of {entry.gt_size}")
    if lq.bit_depth != gt.bit_depth:
        text = f"input {lq.path} has {lq.bit_depth} bit, target {gt.bit_depth} bit a channel"
        yield Finding("bit-depth", gt.path, text)
    if lq.digest == gt.digest:
        yield Finding("identical-pair", gt.path, f"the same content as {lq.path}")


def _duplicates(digests: Mapping[str, str]) -> Iterable[Finding]:
    same: dict[str, list[str]] = defaultdict(list)
    for path, digest in digests.items():
        same[digest].append(path)
    for paths in same.values():
        for path in paths[1:]:
            yield Finding("duplicate", path, f"the same content as {paths[0]}")


def _shared(sets: Sequence[DataSetToCheck], digests: Mapping[str, Mapping[str, str]]) -> Iterable[Finding]:
    for train in (entry for entry in sets if entry.phase == "train"):
        for other in (entry for entry in sets if entry.phase != "train"):
            for digest in digests[train.name].keys() & digests[other.name].keys():
                text = f"the same content as {digests[train.name][digest]} of the training set '{train.name}'"
                yield Finding("shared-between-sets", digests[other.name][digest], text)
