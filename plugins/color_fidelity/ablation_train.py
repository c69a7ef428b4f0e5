"""Training the runs of a sheet through ``train.py``, several at a time if wanted, with progress over all of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path

from basicsr.engine.checkpoint import states_in, write_atomic
from basicsr.engine.errors import UserError
from basicsr.utils.options import yaml_load
from plugins.color_fidelity.ablation import Run, Sheet, resolved_text
from plugins.color_fidelity.ablation_options import CHECKSUM_LINE, option_changes
from plugins.color_science.fast import available_cores

Say = Callable[[str], None]
"""Takes a line for the terminal."""

_ITERATION = re.compile(r"\biter:\s*([\d,]+)")
_TAIL = 25
_GRACE = 120.0
"""Seconds that a training gets to finish its step, its validation and its save when everything is stopped."""


class Status(Enum):
    """How far a run is."""

    NEW = "new"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"
    CHANGED = "changed"


@dataclass(frozen=True)
class State:
    """How far a run is, and with what options its folder was made.

    Attributes:
        status: New, interrupted, complete, or made with other options.
        changes: What differs, where it was made with others.
        done: Iterations that need not be repeated.
    """

    status: Status
    changes: tuple[str, ...] = ()
    done: int = 0


@dataclass
class Progress:
    """Iterations over all runs of a session, and the time they will take.

    Args:
        total: Iterations to do in this session.
        say: Gets a line from time to time.
        every: Seconds between lines.
    """

    total: int
    say: Say
    every: float = 30.0
    started: float = field(default_factory=time.monotonic)
    _done: dict[str, int] = field(default_factory=dict)
    _said: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def update(self, run: Run, iteration: int, first: int) -> None:
        """Note how far a run is; ``first`` iterations were done in an earlier session."""
        with self._lock:
            self._done[run.name] = max(0, iteration - first)
            now = time.monotonic()
            if now - self._said < self.every:
                return
            self._said = now
        self.say(f"{run.title}: iteration {iteration:,} of {run.total_iter:,} | all runs {self.text()}")

    def drop(self, run: Run, first: int) -> None:
        """A run failed: what is left of it will not be done."""
        with self._lock:
            self.total -= run.total_iter - first - self._done.get(run.name, 0)

    def text(self) -> str:
        """Done of total, and the time left at the present speed."""
        done, elapsed = sum(self._done.values()), time.monotonic() - self.started
        share = f"{done:,} of {self.total:,} iterations"
        if not done or done >= self.total:
            return share
        return f"{share}, {timedelta(seconds=round((self.total - done) * elapsed / done))} left"


def run_state(run: Run, start_checksum: str | None = None) -> State:
    """Find out how far a run is, from its folder alone."""
    if not run.folder.exists():
        return State(Status.NEW)
    copy = run.folder / run.file.name
    if not copy.is_file():
        return State(Status.CHANGED, (f"{run.folder} holds no {copy.name}: it was not made by this tool",))
    changes = option_changes(yaml_load(copy), run.options)
    recorded = _recorded_checksum(copy)
    if start_checksum is not None and recorded is not None and recorded != start_checksum:
        changes.append(f"the weights it starts from: sha256 {recorded[:12]}... -> {start_checksum[:12]}...")
    if changes:
        return State(Status.CHANGED, tuple(changes))
    if run.weights.is_file():
        return State(Status.COMPLETE, done=run.total_iter)
    states = states_in(run.folder / "training_states")
    return State(Status.INTERRUPTED, done=next(iter(states))) if states else State(Status.NEW)


def _recorded_checksum(copy: Path) -> str | None:
    for line in copy.read_text(encoding="utf-8").splitlines():
        if line.startswith(CHECKSUM_LINE):
            return line.removeprefix(CHECKSUM_LINE).strip()
    return None


def train_command(run: Run, root: Path, resume: bool) -> list[str]:
    """The command line that trains a run."""
    command = [sys.executable, str(root / "BasicSR" / "basicsr" / "train.py"), "-opt", str(run.file)]
    return [*command, "--auto_resume"] if resume else command


def write_run_file(run: Run, start_checksum: str | None) -> None:
    """Write the resolved option file, which ``train.py`` also copies into the experiment's folder."""
    text = resolved_text(run, start_checksum)
    write_atomic(run.file, lambda file: file.write(text.encode()))


class Trainer:
    """Trains runs, one after the other or several at a time; a run that fails does not stop the others.

    Args:
        sheet: The sheet.
        start_checksum: Checksum of the weights that all rows start from.
        say: Gets lines for the terminal.
        jobs: Trainings at the same time.
        threads: CPU threads of each; by default the cores are dealt out.
    """

    def __init__(
        self, sheet: Sheet, start_checksum: str | None, say: Say, jobs: int = 1, threads: int | None = None
    ) -> None:
        self.sheet, self.checksum, self.say, self.jobs = sheet, start_checksum, say, jobs
        self.threads = threads or max(1, available_cores() // jobs)
        self.failed: dict[str, str] = {}
        self._children: list[subprocess.Popen[str]] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.progress = Progress(0, say)

    def train(self, runs: Sequence[tuple[Run, State]]) -> dict[str, str]:
        """Train what is not complete.

        Returns:
            Name of each run that failed, with the reason.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; the trainings have saved their states and go on when called again.
        """
        todo = [(run, state) for run, state in runs if state.status is not Status.COMPLETE]
        self.progress = Progress(sum(run.total_iter - state.done for run, state in todo), self.say)
        old = signal.signal(signal.SIGTERM, _interrupt) if _is_main_thread() else None
        pool = ThreadPoolExecutor(self.jobs)
        try:
            _wait_all([pool.submit(self._train, run, state) for run, state in todo])
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            if old is not None:
                signal.signal(signal.SIGTERM, old)
        return self.failed

    def _train(self, run: Run, state: State) -> None:
        if self._stopping.is_set():
            return
        resume = state.status is Status.INTERRUPTED
        if state.status is Status.CHANGED:
            self.say(f"{run.title}: its options changed, it is trained anew (the old folder is renamed, not deleted)")
        self.say(f"{run.title}: training {run.name}" + (f", resumed after {state.done:,} iterations" * resume))
        begin = time.monotonic()
        try:
            write_run_file(run, self.checksum)
            problem = self._execute(run, state.done, resume)
        except UserError as error:
            problem = str(error)
        if self._stopping.is_set() and problem:
            return
        if problem:
            self.failed[run.name] = problem
            self.progress.drop(run, state.done)
            self.say(f"{run.title}: FAILED. {problem}")
            return
        took = timedelta(seconds=round(time.monotonic() - begin))
        self.say(f"{run.title}: trained in {took} | all runs {self.progress.text()}")

    def _execute(self, run: Run, first: int, resume: bool) -> str:
        """Run the training; returns what went wrong, or an empty text."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "PYTHONUNBUFFERED": "1"}
        last: list[str] = []
        with subprocess.Popen(
            train_command(run, self.sheet.root, resume),
            cwd=self.sheet.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C in the terminal reaches this process alone, which then asks each training once to stop.
            start_new_session=True,
        ) as child:
            with self._lock:
                self._children.append(child)
                if self._stopping.is_set():
                    child.terminate()
            for line in child.stdout or ():
                last = [*last[1 - _TAIL :], line.rstrip()]
                match = _ITERATION.search(line)
                if match:
                    self.progress.update(run, int(match[1].replace(",", "")), first)
        if child.returncode == 0 and run.weights.is_file():
            self.progress.update(run, run.total_iter, first)
            return ""
        tail = "\n    ".join(last)
        return f"train.py ended with status {child.returncode}. Its last lines:\n    {tail}"

    def _stop(self) -> None:
        """Ask every training to save and stop; a second Ctrl-C ends them at once."""
        with self._lock:
            self._stopping.set()
            alive = [child for child in self._children if child.poll() is None]
            for child in alive:
                child.terminate()
        self.say(f"stopping: {len(alive)} training(s) finish their step and save (Ctrl-C again: at once)")
        deadline = time.monotonic() + _GRACE
        try:
            while any(child.poll() is None for child in alive) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            for child in alive:
                if child.poll() is None:
                    child.kill()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wait_all(futures: list[Future[None]]) -> None:
    """Wait in short steps, because a wait without end would not let Ctrl-C through on every system."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=0.5)
        for future in done:
            future.result()
