"""Writes memory-mapped image stores (see ``image_store``): parallel decoding, resumable, checked.

Pixels are only ever appended, and the index is replaced in one step at the end, so a store that is being brought up to
date stays readable. While a build runs, a journal (see ``image_store_journal``) lists what is finished; one that was
interrupted or killed goes on there. Where pixels that the index speaks of turn out to be gone or damaged, the index is
taken away first: a store that is being repaired never looks whole.
"""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from basicsr.data.image_store import ImageStore, Progress, in_parallel
from basicsr.data.image_store_index import (
    INDEX_NAME,
    PIXELS_NAME,
    STORE_SUFFIX,
    StoredImageInfo,
    StoreIndex,
    sync_folder,
    write_index,
)
from basicsr.data.image_store_journal import JOURNAL_NAME, LOCK_NAME, Journal, claim
from basicsr.data.image_store_plan import (
    BuildOptions,
    Plan,
    aligned,
    check_space,
    existing_place,
    gib,
    make_plan,
    missing_bytes,
)
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import decode_image, read_bytes

_OWN_FILES = {INDEX_NAME, INDEX_NAME + ".tmp", PIXELS_NAME, JOURNAL_NAME, JOURNAL_NAME + ".tmp", LOCK_NAME}
_SHOWN = 5
_CONFIRM_BYTES = 256 * 2**20  # written between two syncs: what a power failure can cost


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        written: Images decoded and written now.
        kept: Images that were in the store, or in an interrupted build of it, and are unchanged.
        removed: Images dropped because their source is gone.
        bytes_total: Size of the pixels' file.
        bytes_unused: Of these, pixels of images that were replaced or removed.
        bytes_written: Of these, written now.
    """

    written: int
    kept: int
    removed: int
    bytes_total: int
    bytes_unused: int
    bytes_written: int


def build_store(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Make a store of a folder's images, or bring an existing one up to date; see ``build_stores``."""
    return build_stores([(source, store)], BuildOptions(workers=workers, progress=progress))[0]


def build_stores(
    jobs: Sequence[tuple[str | os.PathLike[str], str | os.PathLike[str]]], options: BuildOptions | None = None
) -> list[BuildReport]:
    """Make stores of folders of images, or bring existing ones up to date.

    Args:
        jobs: Of each, the folder of images and the folder to write, which must end in ``.store``.
        options: How.

    Returns:
        What was done, for each.

    Raises:
        UserError: A source is missing or empty, images are damaged (all are named; the others are kept for the next
            call), the disk is too small (found before anything is written) or refuses, another process is building the
            same store, or a place is no place for a store.
    """
    options = options or BuildOptions()
    _check_targets([Path(store) for _, store in jobs])
    with ExitStack() as claims:
        plans = []
        for source, store in jobs:
            with _refusals(Path(store)):
                claims.enter_context(claim(Path(store)))
                plans.append(make_plan(Path(source), Path(store), options))
        check_space(plans)
        return _carry_out(plans, options)


def verify_store(
    store: str | os.PathLike[str], workers: int | None = None, progress: Progress | None = None
) -> list[str]:
    """Names of images whose pixels do not match their checksum; raises ``UserError`` for an unusable store."""
    return ImageStore(store).damaged(workers, progress)


def _check_targets(targets: Sequence[Path]) -> None:
    places = [os.path.realpath(target) for target in targets]
    for target, place in zip(targets, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{target}: two folders cannot be written to one store.")
        if target.suffix != STORE_SUFFIX:
            raise UserError(
                f"{target}: a store's name must end in {STORE_SUFFIX}, as {target.name}{STORE_SUFFIX} does."
            )
        if target.exists() and not target.is_dir():
            raise UserError(f"{target}: exists and is not a folder.")
        strangers = {p.name for p in target.iterdir()} - _OWN_FILES if target.is_dir() else set()
        if strangers:
            shown = ", ".join(sorted(strangers)[:_SHOWN])
            raise UserError(f"{target}: holds other files ({shown}); choose another folder.")


@contextmanager
def _refusals(target: Path, plan: Plan | None = None) -> Iterator[None]:
    """Turn a refusal of the disk into a ``UserError`` that says how much room is missing and what to do."""
    try:
        yield
    except OSError as error:
        room = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with suppress(OSError):
                room = f" ({gib(shutil.disk_usage(existing_place(target)).free)} free now"
                room += f", {gib(missing_bytes(plan))} still to be written)" if plan else ")"
        raise UserError(
            f"{target}: cannot be written: {error.strerror or error}{room}. What is finished is kept: put the cause "
            "right and call again, or name a store in another place: SOURCE STORE."
        ) from error


def _carry_out(plans: list[Plan], options: BuildOptions) -> list[BuildReport]:
    reports: list[BuildReport] = []
    failures: list[str] = []
    count = _Count(sum(len(plan.kept) for plan in plans), sum(len(plan.files) for plan in plans), options.progress)
    for plan in plans:
        with _refusals(plan.target, plan):
            _prepare(plan)
            images, bad = _append(plan, count, options.workers)
            failures += bad
            if not bad:
                _finish(plan, images)
            reports.append(_report(plan, images))
    if failures:
        raise UserError(_failure_text(failures, plans))
    return reports


def _failure_text(failures: list[str], plans: list[Plan]) -> str:
    shown = "\n  ".join(failures[:_SHOWN]) + (f"\n  and {len(failures) - _SHOWN} more" * (len(failures) > _SHOWN))
    folders = ", ".join(str(plan.source) for plan in plans)
    count = sum(len(plan.files) for plan in plans)
    return (
        f"{len(failures)} of {count} images of {folders} cannot be used:\n  {shown}\n"
        "Replace or remove them and call again; the others are kept."
    )


@dataclass
class _Count:
    """Images that are done, over all stores of a call."""

    done: int
    total: int
    progress: Progress | None

    def one_more(self, name: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total, name)


def _prepare(plan: Plan) -> None:
    """Leave nothing on the disk that could be believed wrongly, should this build be killed."""
    journal = Journal(plan.target)
    if plan.index_is_wrong or not plan.journal_is_whole:
        journal.replace(plan.found)
    if plan.index_is_wrong:
        (plan.target / INDEX_NAME).unlink(missing_ok=True)
        sync_folder(plan.target)


def _finish(plan: Plan, images: dict[str, StoredImageInfo]) -> None:
    done = StoreIndex(plan.source_text, images)
    if plan.index_is_wrong or done != plan.index:
        write_index(plan.target, done.source, images)
    Journal(plan.target).remove()


def _report(plan: Plan, images: dict[str, StoredImageInfo]) -> BuildReport:
    total = (plan.target / PIXELS_NAME).stat().st_size
    used = sum(aligned(info.nbytes) for info in images.values())
    return BuildReport(
        written=len(images) - len(plan.kept),
        kept=len(plan.kept),
        removed=sum(name not in plan.files for name in plan.found),
        bytes_total=total,
        bytes_unused=max(0, total - used),
        bytes_written=total - plan.start,
    )


@dataclass(frozen=True)
class _Decoded:
    pixels: np.ndarray
    info: StoredImageInfo


def _decode(path: Path) -> _Decoded | str:
    """The pixels, or what is wrong with the file."""
    try:
        stat = path.stat()  # before the content: a change in between is found by the next build
        content = read_bytes(path)
        pixels = decode_image(content, str(path))
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}."
    except UserError as error:
        return str(error)
    info = StoredImageInfo(
        offset=0,
        height=pixels.shape[0],
        width=pixels.shape[1],
        dtype=str(pixels.dtype),
        crc32=zlib.crc32(pixels.data),
        source_size=stat.st_size,
        source_mtime_ns=stat.st_mtime_ns,
        source_crc32=zlib.crc32(content),
    )
    return _Decoded(pixels, info)


def _append(plan: Plan, count: _Count, workers: int | None) -> tuple[dict[str, StoredImageInfo], list[str]]:
    """Write the pixels of what is to be done behind those that are there; returns all images, and the failures."""
    images, failures, journal = dict(plan.kept), [], Journal(plan.target)
    offset, unconfirmed, todo = plan.start, 0, plan.todo
    with open(plan.target / PIXELS_NAME, "ab", buffering=0) as pixels:
        pixels.truncate(offset)
        with closing(in_parallel(_decode, todo.values(), workers)) as results:
            for name, decoded in zip(todo, results, strict=True):
                if isinstance(decoded, str):
                    failures.append(decoded)
                else:
                    info = replace(decoded.info, offset=offset)
                    size = _write_image(pixels.fileno(), decoded.pixels, offset)
                    journal.append(name, info)
                    images[name], offset, unconfirmed = info, offset + size, unconfirmed + size
                    if unconfirmed >= _CONFIRM_BYTES:
                        os.fsync(pixels.fileno())
                        journal.confirm()
                        unconfirmed = 0
                count.one_more(name)
        os.fsync(pixels.fileno())
        if unconfirmed:
            journal.confirm()
    return images, failures


def _write_image(file: int, pixels: np.ndarray, offset: int) -> int:
    """Append an image and fill its last page; on refusal nothing of it is left."""
    filling = b"\0" * (aligned(pixels.nbytes) - pixels.nbytes)
    try:
        for part in (pixels.reshape(-1).view(np.uint8).data, memoryview(filling)):
            while part:
                part = part[os.write(file, part) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, offset)
        raise
    return pixels.nbytes + len(filling)
