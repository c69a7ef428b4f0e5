"""Photo enhancement: a trained network over photos, of which some are read and written while one is computed."""

from __future__ import annotations

import errno
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import torch

from basicsr.engine.errors import UserError
from plugins.color_fidelity.enhance_files import Photo, read_photo, write_photo, write_sheet
from plugins.color_fidelity.enhance_plan import Job
from plugins.color_fidelity.enhance_record import OutputRecord
from plugins.color_fidelity.enhance_run import Runner
from plugins.color_fidelity.enhance_stop import Cancelled, StopSignal

READ_AHEAD = 2
"""Photos that are read, or wait to be, while one is computed; as many may wait to be written."""

FRAMES_WARNING = "only the first of its frames"
# What libraries raise about one photo. A bad photo is reported and the others go on.
_PHOTO_ERRORS = (
    OSError, ValueError, TypeError, ArithmeticError, LookupError, SyntaxError, MemoryError, RuntimeError, struct.error,
    cv2.error,
)  # fmt: skip
_NO_MORE_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: The job.
        status: Done, skipped because its output is there, or failed.
        message: The size, or why it was not done.
        seconds: Time spent on it by stage: ``read``, ``compute``, ``write``.
        megapixels: Size of what the network computed.
        warning: Something about a photo that was done.
        fatal: Whether no further photo can be written.
    """

    job: Job
    status: Literal["done", "skipped", "failed"]
    message: str
    seconds: dict[str, float] = field(default_factory=dict)
    megapixels: float = 0.0
    warning: str | None = None
    fatal: bool = False


@dataclass(frozen=True)
class Plan:
    """How a folder is worked through.

    Attributes:
        overwrite: Do photos again whose output exists.
        force: Do photos again whose output was made by other weights, settings or an unknown hand.
        compare: Also write a sheet with the photo before and after, side by side.
        max_side: Photos with a longer side are scaled down to it first; None leaves every size.
        record: The output folder's record; None keeps none.
        overlap: Read and write in threads while the network computes; False does one after the other.
        stop: Told of Ctrl-C; None lets it interrupt anywhere.
    """

    overwrite: bool = False
    force: bool = False
    compare: bool = False
    max_side: int | None = None
    record: OutputRecord | None = None
    overlap: bool = True
    stop: StopSignal | None = None

    def reason_to_skip(self, job: Job) -> str | None:
        """Why a job needs no work, if so."""
        if self.overwrite or not job.target.exists() or (self.compare and not job.sheet.exists()):
            return None
        state = "made" if self.record is None else self.record.state(job)
        if state == "source changed" or (self.force and state != "made"):
            return None
        again = "--force or --overwrite does it again" if state == "unknown" else "--overwrite does it again"
        origin = ", not made by a recorded run" if state == "unknown" else ""
        return f"{job.target} exists{origin} ({again})"


def enhance_photo(photo: Photo, run: Runner) -> Photo:
    """Enhance the colours of a photo; its alpha channel and everything beside the pixels stay.

    Args:
        photo: The photo.
        run: The network for images of any size.

    Raises:
        UserError: The network's result is not finite.
    """
    return photo.with_pixels(enhanced_pixels(photo, run))


def enhanced_pixels(photo: Photo, run: Runner) -> np.ndarray:
    """The network's result for a photo: (H, W, 3) float32, not clipped. Raises what :func:`enhance_photo` raises."""
    pixels = torch.from_numpy(photo.as_float()).permute(2, 0, 1).unsqueeze(0).contiguous()
    output = run(pixels)
    if not torch.isfinite(output).all():
        hint = "use --precision fp32" if run.precision != "fp32" else "the checkpoint is of a run that diverged"
        raise UserError(f"the network's output holds NaN or infinite values; {hint}")
    return output[0].permute(1, 2, 0).numpy()


def enhance_all(jobs: Sequence[Job], run: Runner, plan: Plan | None = None) -> Iterator[Outcome]:
    """Enhance photo after photo; one that cannot be read or written is reported and the rest go on.

    While the network computes a photo, the next ones are read and the last ones written, in a thread each. At most
    ``READ_AHEAD`` photos wait on either side, so the memory needed does not depend on the number of jobs.

    Args:
        jobs: What to do.
        run: The network for images of any size.
        plan: How.

    Yields:
        One outcome a job, in order, when its file is complete. After a signal: those of the photos that were computed.

    Raises:
        UserError: The disk takes no more files; raised after the outcomes of what was under way.
    """
    plan = plan or Plan()
    waiting: deque[Future[Outcome | None]] = deque()
    fatal: Outcome | None = None
    with _Stages(plan, run) as stages:
        for item in stages.read(jobs):
            waiting.append(stages.work(item))
            while waiting and (waiting[0].done() or len(waiting) > READ_AHEAD):
                outcome = waiting.popleft().result()
                if outcome is not None:
                    fatal = outcome if outcome.fatal else fatal
                    yield outcome
            if fatal is not None or (plan.stop is not None and plan.stop.signum is not None):
                break
        for future in waiting:
            outcome = future.result()
            if outcome is not None:
                yield outcome
    if fatal is not None:
        raise UserError(f"stopped, as no further photo could be written: {fatal.message}")


@dataclass(frozen=True)
class _Item:
    """A job on its way: its photo once read, or its outcome where there is nothing to compute."""

    job: Job
    photo: Photo | None = None
    outcome: Outcome | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class _Stages:
    """The three stages; reading and writing have a thread each, or run in place."""

    def __init__(self, plan: Plan, run: Runner) -> None:
        self.plan = plan
        self.run = run
        self._reader = ThreadPoolExecutor(1, "enhance-read")
        self._writer = ThreadPoolExecutor(1, "enhance-write")

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.shutdown(cancel_futures=True)
        self._writer.shutdown()

    def read(self, jobs: Sequence[Job]) -> Iterator[_Item]:
        if not self.plan.overlap:
            yield from map(self._read, jobs)
            return
        ahead: deque[Future[_Item]] = deque()
        for job in jobs:
            ahead.append(self._reader.submit(self._read, job))
            if len(ahead) > READ_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _read(self, job: Job) -> _Item:
        start = time.perf_counter()
        if job.obstacle is not None:
            return _Item(job, outcome=Outcome(job, "failed", job.obstacle))
        try:
            reason = self.plan.reason_to_skip(job)
            if reason is not None:
                return _Item(job, outcome=Outcome(job, "skipped", reason))
            photo = read_photo(job.source).scaled_down(self.plan.max_side)
        except _PHOTO_ERRORS as error:
            return _Item(job, outcome=_failure(job, error, {"read": time.perf_counter() - start}))
        return _Item(job, photo, seconds={"read": time.perf_counter() - start})

    def work(self, item: _Item) -> Future[Outcome | None]:
        """Compute a photo here and now, and hand it to the writer. None comes out for one that was cancelled."""
        if item.photo is None or item.outcome is not None:
            return _finished(item.outcome)
        start = time.perf_counter()
        try:
            with self.plan.stop.computing() if self.plan.stop is not None else nullcontext():
                pixels = enhanced_pixels(item.photo, self.run)
        except Cancelled:
            return _finished(None)
        except _PHOTO_ERRORS as error:
            return _finished(_failure(item.job, error, {**item.seconds, "compute": time.perf_counter() - start}))
        item = replace(item, seconds={**item.seconds, "compute": time.perf_counter() - start})
        if not self.plan.overlap:
            return _finished(self._write(item, pixels))
        return self._writer.submit(self._write, item, pixels)

    def _write(self, item: _Item, pixels: np.ndarray) -> Outcome:
        start = time.perf_counter()
        before = item.photo
        if before is None:
            raise ValueError("an item without a photo was sent to be written")
        try:
            after = before.with_pixels(pixels)
            write_photo(item.job.target, after)
            if self.plan.compare:
                write_sheet(item.job.sheet, before, after)
            if self.plan.record is not None:
                self.plan.record.add(item.job)
        except _PHOTO_ERRORS as error:
            return _failure(item.job, error, {**item.seconds, "write": time.perf_counter() - start})
        height, width = after.rgb.shape[:2]
        seconds = {**item.seconds, "write": time.perf_counter() - start}
        warning = FRAMES_WARNING if before.several_frames else None
        return Outcome(item.job, "done", f"{width}x{height}", seconds, height * width / 1e6, warning)


def _failure(job: Job, error: BaseException, seconds: dict[str, float]) -> Outcome:
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    cause = error if isinstance(error, OSError) else error.__cause__
    fatal = isinstance(cause, OSError) and cause.errno in _NO_MORE_WRITING
    message = text if str(job.source) in text or str(job.target) in text else f"{job.source}: {text}"
    return Outcome(job, "failed", message, seconds, fatal=fatal)


def _finished(outcome: Outcome | None) -> Future[Outcome | None]:
    future: Future[Outcome | None] = Future()
    future.set_result(outcome)
    return future
