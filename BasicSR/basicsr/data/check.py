"""Finds what is wrong with image data before training does: one pass over every file of every data set."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from basicsr.data import data_util
from basicsr.data.image_source import backend_options, store_root
from basicsr.data.image_store import ImageStore
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import IMAGE_SUFFIXES, ImageHeader, read_bytes, verify_image
from basicsr.utils.file_client import LmdbBackend

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

Progress = Callable[[int, int, str], None]


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
        images: Number of files read.
        pairs: Number of pairs.
        findings: In the order of the files.
    """

    images: int = 0
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
        return {"images": self.images, "pairs": self.pairs, "errors": self.errors, "findings": found}


@dataclass(frozen=True)
class _File:
    path: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class _Facts:
    path: str
    header: ImageHeader | None
    digest: str | None
    findings: tuple[Finding, ...]


def check_data(sets: Sequence[DataSetToCheck], workers: int | None = None, progress: Progress | None = None) -> Report:
    """Check data sets.

    Args:
        sets: What to check.
        workers: Threads; all cores where None.
        progress: Called as ``progress(done, total, path)`` after each file.

    Returns:
        The report. Problems are findings, not exceptions.
    """
    report = Report()
    listings = [(entry, _list_set(entry, report)) for entry in sets]
    files: dict[str, _File] = {}
    for _, (pairs, singles) in listings:
        for file in [f for pair in pairs for f in pair] + singles:
            files.setdefault(file.path, file)
    facts = _inspect(list(files.values()), workers, progress)
    report.images = len(facts)
    for fact in facts.values():
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


def _inspect(files: list[_File], workers: int | None, progress: Progress | None) -> dict[str, _Facts]:
    facts: dict[str, _Facts] = {}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for done, fact in enumerate(pool.map(_inspect_one, files), start=1):
            facts[fact.path] = fact
            if progress is not None:
                progress(done, len(files), fact.path)
    return facts


def _inspect_one(file: _File) -> _Facts:
    try:
        content = file.read()
    except UserError as error:
        return _Facts(file.path, None, None, (Finding("unreadable", file.path, _without(file.path, error)),))
    kinds: list[str] = []
    try:
        header = verify_image(content, file.path, lambda kind, _: kinds.append(kind))
    except UserError as error:
        text = _without(file.path, error)
        starts = (kind for start, kind in _BY_MESSAGE.items() if text.startswith(start))
        kind = "empty-file" if not content else next(starts, "damaged")
        return _Facts(file.path, None, None, (Finding(kind, file.path, text),))
    detail = f"{header.format} {header.width}x{header.height}, mode {header.mode}, {header.bit_depth} bit"
    found = tuple(Finding(kind, file.path, f"{KINDS[kind][1]}: {detail}") for kind in dict.fromkeys(kinds))
    return _Facts(file.path, header, hashlib.blake2b(content, digest_size=16).hexdigest(), found)


def _without(path: str, error: Exception) -> str:
    return str(error).removeprefix(f"{path}: ")


def _list_set(entry: DataSetToCheck, report: Report) -> tuple[list[tuple[_File, _File]], list[_File]]:
    """Pairs and single files of a data set; problems go into the report."""
    roots = {key: root for key, root in (("lq", entry.lq), ("gt", entry.gt)) if root is not None}
    files: dict[str, dict[str, _File]] = {}
    try:
        kind = backend_options(entry.io_backend, roots, f"data set '{entry.name}'")["type"]
    except UserError as error:
        report.findings.append(Finding("folder", entry.name, str(error)))
        return [], []
    for key, root in roots.items():
        try:
            files[key] = _list_root(root, kind, report)
        except UserError as error:
            report.findings.append(Finding("folder", root, _without(root, error)))
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
    entry: DataSetToCheck, files: dict[str, dict[str, _File]], report: Report
) -> tuple[list[tuple[_File, _File]], list[_File]]:
    pairs: dict[str, tuple[_File, _File]] = {}
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


def _disk_file(path: str) -> _File:
    return _File(path, lambda: read_bytes(path))


def _list_root(root: str, kind: str, report: Report) -> dict[str, _File]:
    if kind == "lmdb":
        backend = LmdbBackend(root)
        return {key: _lmdb_file(backend, root, key) for key in data_util.lmdb_keys(root)}
    if kind == "mmap":
        folder = store_root(root)
        store = ImageStore(folder)
        for name in store.damaged():
            report.findings.append(Finding("stale-store", folder, f"the pixels of {name} have a wrong checksum"))
        try:
            store.check_fresh()
        except UserError as error:
            report.findings.append(Finding("stale-store", folder, _without(folder, error)))
        source = store.index.source_folder(folder)
        if not source.is_dir():
            return {}
        return {name: _disk_file(str(source / name)) for name in store.names() if (source / name).is_file()}
    names = data_util.list_images(root)
    others = sorted(name for name in set(os.listdir(root)) - set(names) if not name.startswith("."))
    report.findings.extend(_ignored(os.path.join(root, name)) for name in others)
    return {name: _disk_file(os.path.join(root, name)) for name in names}


def _ignored(path: str) -> Finding:
    if os.path.isdir(path):
        return Finding("ignored", path, "a folder; images are read from the folder itself, not from those in it")
    return Finding("ignored", path, f"its ending is none of {', '.join(IMAGE_SUFFIXES)}")


def _lmdb_file(backend: LmdbBackend, root: str, key: str) -> _File:
    return _File(f"{root}: key {key}", lambda: backend.get(key))


def _check_pair(entry: DataSetToCheck, lq: _Facts, gt: _Facts) -> Iterable[Finding]:
    if lq.header is None or gt.header is None:
        return
    lq_size, gt_size = (lq.header.height, lq.header.width), (gt.header.height, gt.header.width)
    over = [g - entry.scale * size for g, size in zip(gt_size, lq_size, strict=True)]
    allowed = 0 if entry.phase == "train" else entry.scale - 1
    if min(over) < 0 or max(over) > allowed:
        text = f"target {gt_size[1]}x{gt_size[0]} (width x height) is not {entry.scale} times {lq.path} "
        yield Finding("size-mismatch", gt.path, text + f"{lq_size[1]}x{lq_size[0]}")
    elif entry.phase == "train" and entry.gt_size and min(gt_size) < entry.gt_size and not entry.pad_small:
        yield Finding("too-small", gt.path, f"{gt_size[1]}x{gt_size[0]} is smaller than the crop of {entry.gt_size}")
    if lq.header.bit_depth != gt.header.bit_depth:
        text = f"input {lq.path} has {lq.header.bit_depth} bit, target {gt.header.bit_depth} bit a channel"
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
