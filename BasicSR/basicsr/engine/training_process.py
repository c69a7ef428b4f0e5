"""A training run as a process of its own, for programs that train on the way: demonstrations and studies."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from basicsr.engine.errors import UserError
from basicsr.engine.options_merge import load_options

_LAST_LINES = 25


def run_training(
    command: Sequence[str], root: Path, heard: Callable[[str], None], threads: int | None = None, name: str = ""
) -> None:
    """Run a training command to its end.

    Args:
        command: The command line.
        root: The folder to run it in.
        heard: Called with every line that it prints, without blanks around it.
        threads: CPU threads it may use; None leaves that to the environment.
        name: What it is called in the message of an error.

    Raises:
        UserError: It ended with an error; its last lines are in the message.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    last: list[str] = []
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            last = [*last[1 - _LAST_LINES :], line.rstrip()]
            heard(line.strip())
    if process.returncode != 0:
        tail = "\n  ".join(last)
        said = f"{name}: the training" if name else "the training"
        raise UserError(f"{said} ended with status {process.returncode}. Its last lines:\n  {tail}")


def train_once(
    option_file: Path,
    settings: Sequence[str],
    experiment: Path,
    weights: Path,
    root: Path,
    command_of: Callable[[bool], list[str]],
    say: Callable[[str], None],
    heard: Callable[[str], None],
) -> None:
    """Train unless this very training is complete; go on with it where it was interrupted.

    A ``.demo`` file beside the experiment's folder says which options it was begun with: others train anew.

    Args:
        option_file: The run's option file.
        settings: Its ``--force_yml`` settings.
        experiment: Folder of the run.
        weights: The file that a complete run has.
        root: The folder to run it in.
        command_of: The command line; its argument says whether to resume.
        say: Told what happens, in a few words.
        heard: Called with every line that the training prints.

    Raises:
        UserError: An option is wrong, or the training ended with an error.
    """
    plan = repr(load_options(option_file, list(settings)).root.plain())
    stamp, fingerprint = experiment.with_suffix(".demo"), hashlib.sha256(plan.encode()).hexdigest()
    same = stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint
    if same and weights.is_file():
        say("training: complete")
        return
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(fingerprint, encoding="utf-8")
    say(f"training {experiment.name}{' (resumed)' if same else ''}")
    run_training(command_of(same), root, heard)
