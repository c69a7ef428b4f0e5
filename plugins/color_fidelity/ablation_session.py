"""One session with a sheet, from plan to files; ``tools/run_ablation.py`` adds the arguments and the text."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from basicsr import __version__
from basicsr.data import build_dataset
from basicsr.engine.device import resolve_device
from basicsr.engine.errors import UserError
from plugins.color_fidelity.ablation import Run, Sheet, check_run
from plugins.color_fidelity.ablation_eval import Judge, entrants
from plugins.color_fidelity.ablation_options import option_changes, sha256
from plugins.color_fidelity.ablation_plot import write_plots
from plugins.color_fidelity.ablation_report import Results, markdown, write_results
from plugins.color_fidelity.ablation_stats import summarise
from plugins.color_fidelity.ablation_train import Say, State, Status, Trainer, run_state
from plugins.color_science.fast import available_cores


@dataclass(frozen=True)
class Plan:
    """What there is to train.

    Attributes:
        states: Every run with how far it is.
        checksum: sha256 of the weights that all rows start from; None where there are none.
    """

    states: tuple[tuple[Run, State], ...]
    checksum: str | None

    @property
    def left(self) -> int:
        """Number of runs to train."""
        return sum(state.status is not Status.COMPLETE for _, state in self.states)

    @property
    def iterations(self) -> int:
        """Iterations to train."""
        return sum(run.total_iter - state.done for run, state in self.states)


@dataclass(frozen=True)
class Choices:
    """How to judge.

    Attributes:
        reference: Row that changes are counted against; None: the sheet's.
        device: Where networks run; None: as in the options.
        save_images: Whether to write the outputs.
        threads: CPU threads; None: all cores.
        command: Arguments of the session, for the record.
    """

    reference: str | None = None
    device: str | None = None
    save_images: bool = False
    threads: int | None = None
    command: tuple[str, ...] = ()


def make_plan(sheet: Sheet) -> Plan:
    """Look at every run's folder. The weights to start from may still be missing here."""
    checksum = sha256(sheet.start) if sheet.start is not None and sheet.start.is_file() else None
    return Plan(tuple((run, run_state(run, checksum)) for run in sheet.runs), checksum)


def checked_options(sheet: Sheet, plan: Plan, data: bool = True, start: bool = True) -> dict[str, dict[str, Any]]:
    """Check every row as ``train.py`` would, and that the sets to judge on are there, before anything is trained.

    Args:
        sheet: The sheet.
        plan: Its plan.
        data: Whether the sets must be there.
        start: Whether training data and weights must be there for rows that are not complete.

    Returns:
        Row to its converted options.

    Raises:
        UserError: Something is wrong, in whatever row.
    """
    problems: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    open_rows = {run.row for run, state in plan.states if state.status is not Status.COMPLETE}
    for run, _ in plan.states:
        if run.row in found:
            continue
        found[run.row] = {}
        try:
            found[run.row] = check_run(run, sheet.root, paths=data and start and run.row in open_rows)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    for options in sheet.sets.values() if data else ():
        build_dataset(options)
    return found


def describe_rows(sheet: Sheet, reference: str | None = None) -> str:
    """The rows with what each changes against the reference row."""
    name = _reference_name(sheet, reference, [row.name for row in sheet.rows])
    base = next((row for row in sheet.rows if row.name == name), None)
    lines = []
    for row in sheet.rows:
        lines.append(f"{row.name}: {row.label}" + (f" ({row.group})" if row.group else ""))
        if base is row:
            lines.append("    the reference")
        elif base is not None:
            lines += [f"    {change}" for change in option_changes(base.options, row.options)]
    lines += [f"{name}: the same options as {twin}; left out" for name, twin in sheet.same.items()]
    return "\n".join(lines)


def _reference_name(sheet: Sheet, wanted: str | None, present: Sequence[str]) -> str | None:
    """The reference row; None where it is not among those judged."""
    name = wanted or sheet.settings.reference
    name = sheet.same.get(name, name) if name is not None else None
    if wanted is not None and name not in present:
        raise UserError(f"--reference {wanted}: it was not judged; there are: {', '.join(present)}")
    return name if name in present else None


def train_sheet(plan: Plan, sheet: Sheet, say: Say, jobs: int = 1, threads: int | None = None) -> dict[str, str]:
    """Train what is not complete; returns the runs that failed, with the reason."""
    return Trainer(sheet, plan.checksum, say, jobs, threads).train(plan.states)


def evaluate_sheet(
    sheet: Sheet,
    options: Mapping[str, Mapping[str, Any]],
    failed: Mapping[str, str],
    choices: Choices,
    say: Say,
) -> tuple[str, list[Path]]:
    """Judge all complete runs and write every file.

    Args:
        sheet: The sheet.
        options: Row to its checked options.
        failed: Runs that failed in this session.
        choices: How to judge.
        say: Gets lines for the terminal.

    Returns:
        The tables, and the files written.
    """
    plan = make_plan(sheet)
    runs = [run for run, state in plan.states if state.status is Status.COMPLETE]
    device = _device(next(iter(options.values())), choices.device)
    threads = choices.threads or available_cores()
    torch.set_num_threads(threads)
    save = sheet.out / "images" if choices.save_images else None
    judge = Judge(sheet, device, say, threads, save)
    judged = judge.judge(entrants(sheet, options, runs))
    reference = _reference_name(sheet, choices.reference, list(dict.fromkeys(item.row for item in judged)))
    figures = summarise(judged, reference, sheet.photos)
    notes = [*_notes(plan, sheet, failed), *judge.problems]
    if reference is None:
        notes.append(
            f"There is no reference row ({sheet.settings.reference or 'none is named'}): no changes are given."
        )
    results = Results(sheet, reference, judged, figures, notes, _facts(sheet, plan, device, choices))
    return markdown(results), [*write_results(results), *write_plots(results, say)]


def _notes(plan: Plan, sheet: Sheet, failed: Mapping[str, str]) -> list[str]:
    notes = [
        f"{name}: the same options as {twin} under this overlay; not trained twice."
        for name, twin in sheet.same.items()
    ]
    for run, state in plan.states:
        if run.name in failed:
            notes.append(f"{run.name} failed and is missing: {failed[run.name].splitlines()[0]}")
        elif state.status is Status.CHANGED:
            notes.append(f"{run.name} is left out: it was trained with other options ({state.changes[0]}).")
        elif state.status is not Status.COMPLETE:
            notes.append(f"{run.name} is left out: it is not complete.")
    return notes


def _device(options: Mapping[str, Any], wanted: str | None) -> torch.device:
    if wanted is not None:
        return resolve_device({"device": wanted})
    return resolve_device({"device": options.get("device", "auto"), "num_gpu": options.get("num_gpu", "auto")})


def _facts(sheet: Sheet, plan: Plan, device: torch.device, choices: Choices) -> dict[str, Any]:
    return {
        "command": ["tools/run_ablation.py", *choices.command],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "sheet": str(sheet.folder),
        "overlay": None if sheet.overlay is None else str(sheet.overlay),
        "seeds": sorted({run.seed for run in sheet.runs}),
        "iterations": {run.row: run.total_iter for run in sheet.runs},
        "starts_from": {"file": None if sheet.start is None else str(sheet.start), "sha256": plan.checksum},
        "sets": {name: dict(options) for name, options in sheet.sets.items()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} ({platform.machine()})",
        "cores": available_cores(),
        "versions": {
            "basicsr": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
