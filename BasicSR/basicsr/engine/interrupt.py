"""SIGTERM and Ctrl-C during training: finish the step, save, leave with the signal's own exit status."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from basicsr.engine import distributed

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SystemExit):
    """Training was asked to stop and has saved its state; ``code`` is 128 + the signal's number (130, 143)."""


class StopRequest:
    """Remembers that a signal asked for the end, and lets all processes agree on the step after which they stop.

    Use it as a context manager around the loop. Outside :meth:`arm` the first signal stops at once, as there is no step
    to finish; a second Ctrl-C always does. Data workers that inherit the handlers ignore Ctrl-C (the main process ends
    them) and die of SIGTERM as usual.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._armed = False
        self._pid = os.getpid()
        self._old: dict[int, Any] = {}
        self._group: Any = None
        self._vote: tuple[Any, torch.Tensor] | None = None

    def __enter__(self) -> StopRequest:
        # Python only lets the main thread set handlers; a run started in another thread keeps its host's.
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        self._group = distributed.new_control_group()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._armed = False
        if self._vote is not None and kind is None:
            self._vote[0].wait()
        self._vote = None
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old = {}

    def arm(self) -> None:
        """From now on there is a step to finish: the first signal only leaves a note."""
        self._armed = True

    @property
    def status(self) -> int:
        """The exit status that belongs to the signal."""
        return 128 + (self.signum or signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        first = self.signum is None
        if first:
            self.signum = number
        if not self._armed:
            raise KeyboardInterrupt if number == signal.SIGINT else Interrupted(128 + number)
        if not first and number == signal.SIGINT:
            raise KeyboardInterrupt

    def agreed(self) -> bool:
        """Whether to stop after this step; to be called once a step, by every process.

        Several processes must stop after the same step, or one would wait for the others' gradients for ever. The
        notes are therefore exchanged between the hosts, in the background of the next step: nothing waits for a device.
        """
        if self._group is None:
            return self.signum is not None
        decided = 0
        if self._vote is not None:
            work, votes = self._vote
            work.wait()
            decided = int(votes.item())
        flag = torch.tensor(self.signum or 0)
        if decided:
            self.signum = self.signum or decided
            self._vote = None
            return True
        self._vote = (dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._group, async_op=True), flag)
        return False
