"""Ctrl-C and SIGTERM while photos are enhanced: the photo in the network is dropped, finished ones are written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Cancelled(Exception):
    """The photo in the network is not wanted any more."""


class StopSignal:
    """Notes the first signal, and interrupts only computing; a second Ctrl-C stops at once. A context manager."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._computing = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        # Python only lets the main thread set handlers.
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Work that may be cut short: a signal, also one that came before, raises :class:`Cancelled` in it."""
        self._computing = True
        try:
            if self.signum is not None:
                raise Cancelled
            yield
        finally:
            self._computing = False

    @property
    def status(self) -> int:
        """The exit status that belongs to the signal."""
        return 128 + (self.signum or signal.SIGINT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signum is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = self.signum or number
        if self._computing:
            self._computing = False
            raise Cancelled
