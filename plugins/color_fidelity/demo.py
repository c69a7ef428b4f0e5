"""The demo from data to report: baseline, the baseline continued, the colour fine-tune, and what became of them.

Everything is trained by ``BasicSR/basicsr/train.py`` from the option files in ``options/demo``. A stage that is
complete and whose inputs have not changed is not run again; a training that was interrupted is resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from basicsr.engine.errors import UserError
from basicsr.engine.options_merge import load_options
from basicsr.engine.training_process import run_training
from plugins.color_fidelity.demo_data import MANIFEST, DemoDataOptions, make_demo_data
from plugins.color_science.fast import available_cores

Say = Callable[[str], None]
"""Takes a line for the terminal."""

BASELINE, CONTINUED, FINE_TUNED = "baseline", "baseline continued", "fine-tuned"


@dataclass(frozen=True)
class Run:
    """One training of the demo.

    Attributes:
        row: What the tables call it.
        options: Option file under ``options/demo``.
        name: Name of the experiment, without the tag.
    """

    row: str
    options: str
    name: str


RUNS = (
    Run(BASELINE, "nafnet_demo_baseline.yml", "NAFNet_Demo_Baseline"),
    Run(CONTINUED, "nafnet_demo_continued.yml", "NAFNet_Demo_Continued"),
    Run(FINE_TUNED, "nafnet_demo_color_ft.yml", "NAFNet_Demo_ColorFT"),
)


@dataclass(frozen=True)
class DemoOptions:
    """How to run the demo.

    Attributes:
        root: The project's root.
        photos: Folder of photos to use instead of the packaged ones.
        tag: Suffix of the data folder, the experiments and the results, so that several demos can stand side by side.
        size: Largest longer side of a photo, in pixels.
        seed: Seed of the data and of the trainings.
        shots: Versions of each training photo.
        eval_shots: Versions of each other photo.
        fresh: Start again from nothing.
        cores: Cores to use; all by default.
        force: More ``--force_yml`` settings for every training.
        max_photos: Largest number of photos of each split.
    """

    root: Path
    photos: Path | None = None
    tag: str = ""
    size: int = 320
    seed: int = 0
    shots: int = 8
    eval_shots: int = 2
    fresh: bool = False
    cores: int | None = None
    force: tuple[str, ...] = ()
    max_photos: tuple[tuple[str, int], ...] = ()

    @property
    def suffix(self) -> str:
        """The tag as the end of a name."""
        return f"_{self.tag}" if self.tag else ""

    @property
    def data(self) -> Path:
        """Folder of the paired data."""
        return self.root / "datasets" / f"demo{self.suffix}"

    @property
    def results(self) -> Path:
        """Folder of the images, tables and reports."""
        return self.root / "results" / f"demo{self.suffix}"

    def experiment(self, run: Run) -> Path:
        """Folder of a training."""
        return self.root / "experiments" / f"{run.name}{self.suffix}"

    def weights(self, run: Run) -> Path:
        """Weights at the end of a training."""
        return self.experiment(run) / "models" / "net_g_latest.pth"


class Stages:
    """Remembers which stages are complete, with a fingerprint of what they were made from.

    Args:
        path: File that holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.known: dict[str, dict[str, Any]] = {}
        if path.is_file():
            try:
                self.known = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"{path}: damaged ({error}). Remove it, or run with --fresh.") from error

    def is_done(self, name: str, fingerprint: str) -> bool:
        """Whether the stage is complete for this fingerprint."""
        return self.known.get(name, {}) | {"done": True, "fingerprint": fingerprint} == self.known.get(name)

    def is_started(self, name: str, fingerprint: str) -> bool:
        """Whether the stage was begun for this fingerprint."""
        return self.known.get(name, {}).get("fingerprint") == fingerprint

    def seconds(self, name: str) -> float:
        """How long the stage took."""
        return float(self.known.get(name, {}).get("seconds", 0.0))

    def write(self, name: str, fingerprint: str, done: bool, seconds: float = 0.0) -> None:
        """Note a stage as begun or complete."""
        with self.lock:
            self.known[name] = {"fingerprint": fingerprint, "done": done, "seconds": round(seconds, 1)}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.known, indent=2) + "\n", encoding="utf-8")


def prepare(options: DemoOptions) -> Stages:
    """Open the record of the stages; with ``fresh`` everything an earlier demo wrote is removed first."""
    if options.fresh:
        for folder in (options.data, options.results, *[options.experiment(run) for run in RUNS]):
            if folder.exists():
                shutil.rmtree(folder)
    return Stages(options.results / "stages.json")


def make_data(options: DemoOptions, stages: Stages, say: Say) -> None:
    """Write the paired data unless it is there."""
    settings = DemoDataOptions(
        out=options.data,
        photos=options.photos,
        size=options.size,
        seed=options.seed,
        shots={
            split: options.shots if split == "train" else options.eval_shots
            for split in ("train", "val", "val_color", "test", "stress")
        },
        max_photos=dict(options.max_photos),
    )
    fingerprint = _fingerprint(repr(settings))
    if stages.is_done("data", fingerprint) and (options.data / MANIFEST).is_file():
        say("data: complete")
        return
    begin = time.monotonic()
    written = make_demo_data(replace(settings, force=options.data.exists()))
    stages.write("data", fingerprint, True, time.monotonic() - begin)
    say(f"data: {len(written)} pairs in {options.data} ({stages.seconds('data'):.0f} s)")


def train_all(options: DemoOptions, stages: Stages, say: Say) -> None:
    """Train the baseline, then both of its continuations at the same time.

    Raises:
        UserError: A training ended with an error; its last lines are in the message.
    """
    cores = options.cores or available_cores()
    baseline, *continuations = RUNS
    _train(baseline, options, stages, say, cores)
    problems: list[UserError] = []

    def work(run: Run) -> None:
        try:
            _train(run, options, stages, say, max(1, cores // len(continuations)))
        except UserError as error:
            problems.append(error)

    if cores < len(continuations):
        for run in continuations:
            _train(run, options, stages, say, cores)
        return
    threads = [threading.Thread(target=work, args=(run,)) for run in continuations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def train_command(run: Run, options: DemoOptions, threads: int, resume: bool) -> list[str]:
    """The command line that trains a run."""
    force = [f"name={run.name}{options.suffix}", f"manual_seed={options.seed}", f"cpu_threads={threads}"]
    for entry, split in (("train", "train"), ("val", "val"), ("val_2", "val_color")):
        force += [f"datasets:{entry}:dataroot_{kind}={options.data / split / kind}" for kind in ("gt", "lq")]
    if run.row == FINE_TUNED:
        force.append(f"datasets:train:meta_info_file={options.data / 'train' / 'colorful.txt'}")
    if run.row != BASELINE:
        force.append(f"path:pretrain_network_g={options.weights(RUNS[0])}")
    script = options.root / "BasicSR" / "basicsr" / "train.py"
    command = [sys.executable, str(script), "-opt", str(options.root / "options" / "demo" / run.options)]
    return command + (["--auto_resume"] if resume else []) + ["--force_yml", *force, *options.force]


def _train(run: Run, options: DemoOptions, stages: Stages, say: Say, threads: int) -> None:
    fingerprint = _train_fingerprint(run, options)
    if stages.is_done(run.row, fingerprint) and options.weights(run).is_file():
        say(f"{run.row}: complete")
        return
    resume = stages.is_started(run.row, fingerprint)
    stages.write(run.row, fingerprint, False)
    begin = time.monotonic()
    say(f"{run.row}: training {run.name}{options.suffix}{' (resumed)' if resume else ''}")

    def heard(line: str) -> None:
        if "iter" in line:
            say(f"  [{run.row}] {line}")

    run_training(train_command(run, options, threads, resume), options.root, heard, threads, run.row)
    stages.write(run.row, fingerprint, True, time.monotonic() - begin)
    say(f"{run.row}: trained in {stages.seconds(run.row):.0f} s")


def _train_fingerprint(run: Run, options: DemoOptions) -> str:
    """Of the merged options, the data and, for a continuation, the weights it starts from."""
    path = options.root / "options" / "demo" / run.options
    text = repr(load_options(path, train_command(run, options, 1, False)[5:]).root.plain())
    parts = [text, (options.data / MANIFEST).read_text(encoding="utf-8")]
    if run.row != BASELINE and options.weights(RUNS[0]).is_file():
        parts.append(hashlib.sha256(options.weights(RUNS[0]).read_bytes()).hexdigest())
    return _fingerprint(*parts)


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
