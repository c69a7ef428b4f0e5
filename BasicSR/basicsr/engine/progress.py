"""The one line on a terminal that is rewritten while training runs, and a log handler that does not tear it."""

from __future__ import annotations

import datetime
import logging
import shutil
import sys
import time
from typing import TextIO

REFRESH_SECONDS = 0.2


class ProgressLine:
    """One rewritten line: iterations, it/s, ETA, time spent waiting for data, the last logged loss.

    Nothing is read from a device here: the loss shown is the one that was logged last.
    """

    def __init__(self, total: int, start: int = 0, stream: TextIO | None = None) -> None:
        self._total = total
        self._start = start
        self._stream = stream if stream is not None else sys.stderr
        self._shown = ""
        self._text = ""
        self._note = ""
        self._next = 0.0

    def update(self, current: int, seconds_per_iter: float, data_seconds: float) -> None:
        """Show the state after iteration ``current``; draws at most five times a second."""
        now = time.monotonic()
        if now < self._next and current < self._total:
            return
        self._next = now + REFRESH_SECONDS
        eta = datetime.timedelta(seconds=int(max(0, self._total - current) * seconds_per_iter))
        speed = f"{1 / seconds_per_iter:.2f} it/s" if seconds_per_iter > 0 else "- it/s"
        done = current / self._total if self._total else 1.0
        bar = ("#" * round(10 * done)).ljust(10, ".")
        place = f"[{bar}] {done:4.0%} {current:,}/{self._total:,}"
        self._text = f"{place} {speed} eta {eta} data {data_seconds:.3f} s {self._note}"
        self.draw()

    def note(self, text: str) -> None:
        """Set the last part of the line, for example the losses."""
        self._note = text

    def clear(self) -> None:
        """Take the line off the terminal, so that something else can be written."""
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._stream.flush()
            self._shown = ""

    def draw(self) -> None:
        """Write the line again."""
        width = shutil.get_terminal_size().columns - 1
        text = self._text[:width]
        self._stream.write("\r" + text.ljust(len(self._shown)))
        self._stream.flush()
        self._shown = text

    def close(self) -> None:
        """Take the line away for good."""
        self.clear()
        self._text = ""


class TerminalHandler(logging.StreamHandler):
    """Writes log lines to the terminal; where a progress line is active, above it.

    Records with ``extra={'progress': True}`` say what the progress line shows, and are left out while there is one.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.progress: ProgressLine | None = None

    @property
    def stream(self) -> TextIO:
        """Standard error as it is now, not as it was when logging began: hosts such as pytest exchange it."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "file_only", False):
            return
        if self.progress is None:
            super().emit(record)
            return
        if getattr(record, "progress", False):
            return
        self.progress.clear()
        super().emit(record)
        self.progress.draw()


def wants_bar(choice: str, stream: TextIO | None = None) -> bool:
    """Whether to draw a line.

    Args:
        choice: ``logger.progress``: ``auto`` (on a terminal), ``bar`` or ``plain``.
        stream: Where it would be drawn; standard error if not given.
    """
    target = stream if stream is not None else sys.stderr
    return choice == "bar" or (choice == "auto" and target.isatty())
