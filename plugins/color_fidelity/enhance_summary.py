"""Counting while photos are enhanced: how long it will take, and what it took."""

from __future__ import annotations

import datetime
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from plugins.color_fidelity.enhance import Outcome
from plugins.color_fidelity.enhance_plan import Job, megapixels

STAGES = ("read", "compute", "write")


class Tally:
    """What was done so far, and how long the rest will take by its megapixels.

    Args:
        jobs: All jobs, in the order in which their outcomes will come.
        max_side: What photos are scaled down to.
        needs_work: Whether a job will be computed; only the headers of those are read.
        clock: Seconds; for tests.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        max_side: int | None = None,
        needs_work: Callable[[Job], bool] = lambda job: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = {"done": 0, "skipped": 0, "failed": 0}
        self.total = len(jobs)
        self.failures: list[str] = []
        self.warnings: list[str] = []
        self.stages = dict.fromkeys(STAGES, 0.0)
        self.megapixels = 0.0
        self._sizes = {job.source: megapixels(job, max_side) if needs_work(job) else 0.0 for job in jobs}
        self._passed = 0.0
        self._clock = clock
        self._start = clock()

    def add(self, outcome: Outcome) -> str:
        """Count an outcome and return its line for the terminal."""
        self.counts[outcome.status] += 1
        self._passed += self._sizes.pop(outcome.job.source, 0.0)
        self.megapixels += outcome.megapixels
        for stage, seconds in outcome.seconds.items():
            self.stages[stage] += seconds
        place = f"[{sum(self.counts.values())}/{self.total}]"
        if outcome.status == "failed":
            self.failures.append(outcome.message)
            return f"{place} failed: {outcome.message}"
        if outcome.status == "skipped":
            return f"{place} skipped: {outcome.message}"
        spent = " ".join(f"{stage} {outcome.seconds.get(stage, 0.0):.1f}" for stage in STAGES)
        line = f"{place} {outcome.job.target}  {outcome.message}  {spent} s  left {self.left()}"
        if outcome.warning is None:
            return line
        self.warnings.append(f"{outcome.job.source}: {outcome.warning}")
        return f"{line}  warning: {outcome.warning}"

    def left(self) -> datetime.timedelta:
        """Time until the last photo is written, by the megapixels that are left."""
        seconds = (self._clock() - self._start) * sum(self._sizes.values()) / self._passed if self._passed else 0.0
        return datetime.timedelta(seconds=round(seconds))

    def as_dict(self) -> dict[str, Any]:
        """The summary as plain values; times in seconds, memory in bytes, None where the system does not say."""
        wall = self._clock() - self._start
        return {
            "photos": self.total,
            **self.counts,
            "not_reached": self.total - sum(self.counts.values()),
            "megapixels": round(self.megapixels, 3),
            "seconds": round(wall, 3),
            "megapixels_per_second": round(self.megapixels / wall, 4) if wall > 0 else None,
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stages.items()},
            "peak_memory": peak_memory(),
            "peak_gpu_memory": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
            "failures": self.failures,
            "warnings": self.warnings,
        }

    def as_text(self) -> str:
        """The summary in a few lines."""
        figures = self.as_dict()
        counts = ", ".join(f"{number} {status}" for status, number in self.counts.items() if number) or "nothing done"
        missing = f", {figures['not_reached']} not reached" if figures["not_reached"] else ""
        text = f"{counts}{missing}"
        if self.counts["done"]:
            spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self.stages.items())
            text += f"\n{self.megapixels:.1f} megapixels in {figures['seconds']:.1f} s"
            text += f" ({self.megapixels / max(figures['seconds'], 1e-3):.2f} a second); {spent}"
            peaks = [("memory", figures["peak_memory"]), ("GPU", figures["peak_gpu_memory"])]
            text += "".join(f"; peak {name} {size / 2**30:.2f} GiB" for name, size in peaks if size is not None)
        return text


def peak_memory() -> int | None:
    """The largest resident memory of this process in bytes; None where the system does not tell."""
    if importlib.util.find_spec("resource") is None:
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
