"""Starts a run again and again and kills it with SIGKILL; run by test_exact_resume.py in a process of its own.

The engine is imported once and every start is a fork, so that a start costs no import.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # the first optimizer would import it, in every fork again

import basicsr.archs
import basicsr.data
import basicsr.losses
import basicsr.metrics
import basicsr.models  # noqa: F401
from basicsr.engine.cli import run_main
from basicsr.train import train_pipeline


def start(root: Path, options: Path, kill_at_call: int | None = None) -> int:
    """Fork a run; with ``kill_at_call`` it kills itself at that call of os.fsync or os.replace."""
    child = os.fork()
    if child:
        return child
    if kill_at_call is not None:
        _arm(kill_at_call)
    sys.argv = ["train.py", "-opt", str(options), "--auto_resume"]
    log = os.open(root / "driver.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 70
    try:
        status = run_main(lambda: train_pipeline(root))
    finally:
        os._exit(status)
    return 0


def _arm(kill_at_call: int) -> None:
    calls = 0

    def counted(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == kill_at_call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def wait(child: int) -> int:
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def finish(root: Path, options: Path) -> float:
    began = time.monotonic()
    status = wait(start(root, options))
    if status != 0:
        raise SystemExit(f"the run ended with status {status}\n{(root / 'driver.log').read_text()[-4000:]}")
    return time.monotonic() - began


def random_kills(root: Path, options: Path, duration: float, wanted: int) -> int:
    """Kill at random moments until ``wanted`` runs were really killed; how many of them had a state by then."""
    dice = random.Random(5)
    killed = 0
    while killed < wanted:
        child = start(root, options)
        time.sleep(dice.uniform(0.2, 0.6) * duration)
        os.kill(child, signal.SIGKILL)
        killed += wait(child) == -signal.SIGKILL
    return killed


def kills_inside_writes(root: Path, options: Path) -> int:
    """Kill at the first, second, third ... file operation of a start, as long as a start gets that far."""
    call, killed = 1, 0
    while True:
        status = wait(start(root, options, call))
        if status == 0:
            return killed
        if status != -signal.SIGKILL:
            raise SystemExit(f"status {status}\n{(root / 'driver.log').read_text()[-4000:]}")
        killed += 1
        call = call % 9 + 1


def main() -> None:
    torch.set_num_threads(1)
    mode, whole, broken, options = sys.argv[1], *(Path(arg) for arg in sys.argv[2:5])
    duration = finish(whole, options)
    if mode == "random":
        killed = random_kills(broken, options, duration, wanted=10)
    else:
        killed = kills_inside_writes(broken, options)
    finish(broken, options)
    sys.stdout.write(f"killed {killed}\n")


if __name__ == "__main__":
    main()
