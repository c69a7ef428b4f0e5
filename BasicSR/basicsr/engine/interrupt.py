"""SIGTERM and Ctrl-C during training: finish the step, save, leave with the signal's own exit status."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from basicsr.engine import distributed

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTED = b"\nStopping: this iteration is finished and saved; a validation waits for the resume. (Ctrl-C: stop now.)\n"


class Interrupted(SystemExit):
    """Training was asked to stop and has saved its state; ``code`` is 128 + the signal's number (130, 143)."""


class BrokenOff(Exception):
    """A validation was left between two images, on every process, because a signal asked for the end.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"broken off by signal {signum}")
        self.signum = signum


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Around the start of loader processes: SIGTERM and SIGINT wait until it is over, here and in what is started.

    Torch puts its own SIGTERM handler into a loader process before ``worker_init_fn`` can put ours back: a signal to
    the whole group in that moment would kill the process, and with it the save. A process that is started inherits what
    is held back; :func:`keep_inherited_handler` lets it through there.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows: no signals to a group
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def keep_inherited_handler() -> None:
    """For a data worker's ``worker_init_fn``: torch has put a SIGTERM handler of its own over the inherited one."""
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):
        signal.signal(signal.SIGTERM, handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


class StopRequest:
    """Remembers that a signal asked for the end, and lets all processes agree on the step after which they stop.

    Use it as a context manager around the loop. Outside :meth:`arm` the first signal stops at once, as there is no step
    to finish; a second Ctrl-C always does. A terminal, and SLURM, send the signal to the data workers too. They inherit
    the handlers and stay alive until the loop is left, because a worker's death would break the save; then they obey
    SIGTERM, with which the main process ends them. (For SIGTERM this needs :func:`keep_inherited_handler`.)
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._armed = False
        self._pid = os.getpid()
        self._old: dict[int, Any] = {}
        self._group: Any = None
        self._vote: tuple[Any, torch.Tensor] | None = None
        # One byte shared with forked workers: 1 once the loop is left.
        self._left = mmap.mmap(-1, 1)

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
        self._left[0] = 1
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

    def asked(self) -> int:
        """The signal that has asked this process for the end, 0 for none; other processes may not know of it yet."""
        return self.signum or 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            if number == signal.SIGTERM and self._left[0]:
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
        if first and distributed.is_main():
            # Not through the log or sys.stderr: the signal may have come in the middle of one of their writes.
            with contextlib.suppress(OSError):  # nobody may be listening any more
                os.write(2, _NOTED)

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
