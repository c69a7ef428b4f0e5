"""What is to be done to an image store, and whether the disk has room for it; nothing is written here."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from basicsr.data.image_store import Progress, in_parallel, source_files, unchanged, wrong_checksums
from basicsr.data.image_store_index import (
    INDEX_NAME,
    PAGE,
    PIXELS_NAME,
    DamagedIndexError,
    StoredImageInfo,
    StoreIndex,
    read_index,
)
from basicsr.data.image_store_journal import Journal
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_file_header

SPARE_BYTES = 64 * 2**20
"""Room that is left to others on the disk."""


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes:
        workers: Threads that decode; all cores where None.
        by_content: Compare the content of every source file, not only its size and time, to find those that changed.
        repair: Compare all pixels in the store with their checksums, and make those anew that are wrong.
        progress: Told after each image, over all stores of the call; counted anew for each of these steps.
    """

    workers: int | None = None
    by_content: bool = False
    repair: bool = False
    progress: Progress | None = None


@dataclass
class Plan:
    """What is to be done to one store.

    Attributes:
        source: Folder of images.
        target: The store.
        files: The source's images by name.
        index: The store's index, if it has one that is right.
        found: What the store and an interrupted build of it have, whole.
        kept: Of these, what is unchanged in the source.
        start: Where new pixels begin, in bytes.
        needed: Bytes of new pixels, by the headers of the files.
        index_is_wrong: There is an index that must not be believed any more.
        journal_is_whole: The journal can be continued as it is.
    """

    source: Path
    target: Path
    files: dict[str, Path]
    index: StoreIndex | None = None
    found: dict[str, StoredImageInfo] = field(default_factory=dict)
    kept: dict[str, StoredImageInfo] = field(default_factory=dict)
    start: int = 0
    needed: int = 0
    index_is_wrong: bool = False
    journal_is_whole: bool = True

    @property
    def todo(self) -> dict[str, Path]:
        """Images to be decoded and written."""
        return {name: path for name, path in self.files.items() if name not in self.kept}

    @property
    def source_text(self) -> str:
        """The source folder as the index gives it: relative to the store."""
        return os.path.relpath(os.path.abspath(self.source), os.path.abspath(self.target))


def aligned(size: int) -> int:
    """Bytes that an image takes: a multiple of a page."""
    return -(-size // PAGE) * PAGE


def make_plan(source: Path, target: Path, options: BuildOptions) -> Plan:
    """Find out what is to be done.

    Args:
        source: Folder of images.
        target: The store's folder; nobody else may be building it.
        options: How to build.

    Raises:
        UserError: The source is missing or empty, or the store is of another version or another folder's.
    """
    plan = Plan(source, target, source_files(source))
    if not plan.files:
        raise UserError(f"{source}: the folder holds no images.")
    _look_at_store(plan, options)
    names = [name for name in plan.found if name in plan.files]
    now = in_parallel(
        lambda name: unchanged(plan.found[name], plan.files[name], options.by_content), names, options.workers
    )
    with closing(now):
        for done, (name, info) in enumerate(zip(names, now, strict=True), start=1):
            if info is not None:
                plan.kept[name] = info
            if options.progress is not None and options.by_content:
                options.progress(done, len(names), f"comparing {name}")
    plan.needed = sum(_pixel_bytes(path) for path in plan.todo.values())
    return plan


def _look_at_store(plan: Plan, options: BuildOptions) -> None:
    """Find what is there and whole; only that is kept."""
    pixels = plan.target / PIXELS_NAME
    size = pixels.stat().st_size if pixels.is_file() else 0
    indexed: Mapping[str, StoredImageInfo] = {}
    if (plan.target / INDEX_NAME).is_file():
        try:
            plan.index = read_index(plan.target)
        except DamagedIndexError:
            plan.index_is_wrong = True
        else:
            _check_same_source(plan, plan.index)
            indexed = plan.index.images
    there = {name: info for name, info in indexed.items() if info.offset + info.nbytes <= size}
    written, plan.journal_is_whole = Journal(plan.target).read(pixels)
    # A crash may have left half an image behind the last known one: begin there. Never below what the index speaks of:
    # a training run may have it mapped.
    ends = [aligned(info.offset + info.nbytes) for info in [*there.values(), *written.values()]]
    plan.start = max(ends, default=0)
    plan.found = {**there, **written}
    if options.repair:
        for name in wrong_checksums(pixels, plan.found, options.workers, _checking(options.progress)):
            del plan.found[name]
            plan.journal_is_whole = False
        there = {name: info for name, info in there.items() if name in plan.found}
    plan.index_is_wrong |= len(there) < len(indexed)


def _checking(progress: Progress | None) -> Progress | None:
    return None if progress is None else lambda done, total, name: progress(done, total, f"checking {name}")


def _check_same_source(plan: Plan, index: StoreIndex) -> None:
    before = index.source_folder(plan.target)
    if before.is_dir() and not os.path.samefile(before, plan.source):
        raise UserError(
            f"{plan.target}: was made from {before}, not from {plan.source}. Name another store, or delete this one."
        )


def _pixel_bytes(path: Path) -> int:
    try:
        header = read_file_header(path)
    except UserError:
        return 0  # named, with all others like it, when it is decoded
    return aligned(header.height * header.width * 3 * (header.bit_depth // 8))


def check_space(plans: Iterable[Plan]) -> None:
    """See that the disks have room for all that is planned.

    Raises:
        UserError: One has not; the message says how much is needed and how much is free.
    """
    disks: dict[int, list[Plan]] = defaultdict(list)
    for plan in plans:
        if plan.todo:
            disks[existing_place(plan.target).stat().st_dev].append(plan)
    for members in disks.values():
        _check_disk(members)


def _check_disk(plans: Sequence[Plan]) -> None:
    place = existing_place(plans[0].target.parent)
    needed, count = sum(plan.needed for plan in plans), sum(len(plan.todo) for plan in plans)
    free = shutil.disk_usage(place).free + sum(_half_written(plan) for plan in plans)
    if needed + SPARE_BYTES > free:
        targets = ", ".join(str(plan.target) for plan in plans)
        raise UserError(
            f"{targets}: {count} decoded images need {gib(needed)} (and {gib(SPARE_BYTES)} to spare), but {place} has "
            f"{gib(free)} free. Nothing was written. Make room, or name a store on another disk: SOURCE STORE."
        )


def _half_written(plan: Plan) -> int:
    """Bytes behind the last whole image, which a build frees first."""
    pixels = plan.target / PIXELS_NAME
    return max(0, pixels.stat().st_size - plan.start) if pixels.is_file() else 0


def missing_bytes(plan: Plan) -> int:
    """What a build has yet to write; pixels are only appended."""
    pixels = plan.target / PIXELS_NAME
    return max(0, plan.start + plan.needed - (pixels.stat().st_size if pixels.is_file() else 0))


def gib(size: int) -> str:
    """A number of bytes for a message."""
    return f"{size / 2**30:.2f} GiB"


def existing_place(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return place
