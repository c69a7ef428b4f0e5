"""Progress of a long job over files: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import datetime
import io
import sys
import time
from collections import deque
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

_MARKS = 6
"""The speed is taken over so many lines."""


class WorkProgress:
    """Shows how much is done, how fast, and how long the rest will take, on standard error.

    Call it as ``progress(done, total, name)`` after each file. What was done before the first call (by an earlier,
    interrupted run) counts as done but not for the speed. A call that does not count on begins a new phase.

    Args:
        label: What is being done.
        every: Seconds between two lines where the output is no terminal.
        stream: Where to write; standard error if not given.
    """

    def __init__(self, label: str, every: float = 10.0, stream: TextIO | None = None) -> None:
        self._label, self._every = label, every
        self._stream = stream if stream is not None else sys.stderr
        self._bar: tqdm | None = None
        self._done, self._total = 0, -1
        self._first, self._next = 0, 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)
        self._start = self._last = time.monotonic()  # a phase begins where the one before it ended

    def __enter__(self) -> WorkProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, done: int, total: int, name: str) -> None:
        now = time.monotonic()
        if total != self._total or done <= self._done:
            self._begin(done, total)
        self._done, self._last = done, now
        if self._stream.isatty():
            self._draw(done)
        elif now >= self._next or done == total:
            self._next = now + self._every
            self._stream.write(self._line(done, total, now, name) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Leave the last state on the terminal."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _begin(self, done: int, total: int) -> None:
        self.close()
        self._start = self._last
        self._marks = deque([(self._start, done - 1)], maxlen=_MARKS)
        self._first, self._total, self._next = done - 1, total, self._start + self._every

    def _draw(self, done: int) -> None:
        if self._bar is None:
            self._bar = tqdm(
                desc=self._label,
                total=self._total,
                initial=self._first,
                unit="img",
                dynamic_ncols=True,
                file=self._stream,
            )
            self._bar.start_t = self._bar.last_print_t = time.time() - (time.monotonic() - self._start)
        self._bar.update(done - self._bar.n)

    def _line(self, done: int, total: int, now: float, name: str) -> str:
        then, before = self._marks[0]
        self._marks.append((now, done))
        speed = (done - before) / max(now - then, 1e-6)  # of late: other jobs come and go
        left = datetime.timedelta(seconds=round((total - done) / max(speed, 1e-9)))
        return f"{self._label}: {done}/{total} ({done / total:.0%}), {speed:.1f} img/s, {left} left, {name}"


def print_any_name() -> None:
    """Let ``print`` show file names that are not text (bytes of another encoding) as escapes; they end no program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
