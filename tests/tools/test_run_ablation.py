"""The command line of the ablation, from a sheet to its files, with real trainings of a tiny network."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from basicsr.engine.cli import run_main
from plugins.color_fidelity.ablation import Run
from plugins.color_fidelity.ablation_train import Trainer, train_command
from tests.plugins.color_fidelity.ablation_kit import ROOT, ROWS, make_sheet
from tools.run_ablation import main

COMMON: dict[str, Any] = {"reference": "own", "rows": {"own": {"label": "Own loss", "group": "a"}, "chroma": {}}}


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Train inside this process: the same command line without interpreters that each import torch."""
    from basicsr.train import train_pipeline

    trained: list[str] = []

    def execute(self: Trainer, run: Run, first: int, resume: bool) -> str:
        trained.append(run.name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", train_command(run, ROOT, resume)[1:])
            train_pipeline(str(ROOT))
        return ""

    monkeypatch.setattr(Trainer, "_execute", execute)
    return trained


def test_sheet_becomes_table_plot_and_record(
    tmp_path: Path, in_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(make_sheet(tmp_path, ROWS, COMMON)), "--out", str(tmp_path / "out"), "--threads", "1"]
    assert main([*arguments, "--seeds", "0", "1"]) == 0
    assert in_process == ["Tiny_own_s0", "Tiny_chroma_s0", "Tiny_own_s1", "Tiny_chroma_s1"]
    shown = capsys.readouterr().out
    assert "## Val (3 images)" in shown and "**Own loss** (reference)" in shown
    for name in ("table.md", "table.csv", "per_image.csv", "plot.png", "plot.svg", "results.json"):
        assert (tmp_path / "out" / name).stat().st_size > 200, name
    lines = list(csv.DictReader((tmp_path / "out" / "per_image.csv").open(encoding="utf-8")))
    assert len(lines) == 3 * (1 + 2 * 2) and {line["row"] for line in lines} == {"input", "own", "chroma"}
    table = {line["row"]: line for line in csv.DictReader((tmp_path / "out" / "table.csv").open(encoding="utf-8"))}
    mean = sum(float(line["psnr"]) for line in lines if line["row"] == "chroma") / 6
    assert float(table["chroma"]["psnr"]) == pytest.approx(mean, rel=1e-5)
    change = mean - sum(float(line["psnr"]) for line in lines if line["row"] == "own") / 6
    assert float(table["chroma"]["psnr_change"]) == pytest.approx(change, abs=1e-4)
    record = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert record["seeds"] == [0, 1] and len({item["sha256"] for item in record["weights"]}) == 4
    assert {item["section"] for item in record["weights"]} == {"params_ema"}

    # The copy in the experiment's folder is complete; nothing is left to do.
    copy = tmp_path / "experiments" / "Tiny_chroma_s1" / "Tiny_chroma_s1.yml"
    assert "ChromaMagnitudeLoss" in copy.read_text() and "base:" not in copy.read_text()
    in_process.clear()
    assert main([*arguments, "--seeds", "0", "1"]) == 0
    assert in_process == []
    shown = capsys.readouterr().out
    assert "0 of 4 runs to train" in shown and "judging" not in shown


def test_one_row_without_the_reference_and_a_missing_run(
    tmp_path: Path, in_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(make_sheet(tmp_path, ROWS, COMMON)), "--out", str(tmp_path / "out"), "--threads", "1"]
    assert main([*arguments, "--rows", "chroma", "--seeds", "3"]) == 0
    assert "There is no reference row" in capsys.readouterr().out and in_process == ["Tiny_chroma_s3"]
    assert main([*arguments, "--evaluate-only", "--seeds", "3"]) == 0
    assert "Tiny_own_s3 is left out: it is not complete" in capsys.readouterr().out and len(in_process) == 1


def test_failed_run_gives_status_1_and_the_others_are_judged(
    tmp_path: Path, in_process: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Trainer._execute

    def execute(self: Trainer, run: Run, first: int, resume: bool) -> str:
        return "it broke" if run.row == "own" else good(self, run, first, resume)

    monkeypatch.setattr(Trainer, "_execute", execute)
    sheet = str(make_sheet(tmp_path, ROWS, COMMON))
    assert main([sheet, "--out", str(tmp_path / "out"), "--seeds", "0", "--threads", "1"]) == 1
    captured = capsys.readouterr()
    assert "failed: Tiny_own_s0: it broke" in captured.err and "| chroma " in captured.out
    assert "Tiny_own_s0 failed and is missing: it broke" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_list_and_dry_run_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet, out = str(make_sheet(tmp_path, ROWS, COMMON)), tmp_path / "out"
    assert main([sheet, "--out", str(out), "--list"]) == 0
    shown = capsys.readouterr().out
    assert "own: Own loss (a)\n    the reference" in shown
    assert "    train.chroma_opt.type: (not set) -> ChromaMagnitudeLoss" in shown
    assert main([sheet, "--out", str(out), "--dry-run", "--seeds", "0"]) == 0
    assert "2 of 2 runs to train, 4 iterations" in capsys.readouterr().out
    assert not out.exists() and not (tmp_path / "experiments").exists()


def test_mistakes_stop_everything_before_the_first_training(
    tmp_path: Path, in_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {**ROWS, "wrong": {"train": {"total_itr": 1}}}
    sheet = str(make_sheet(tmp_path, rows, COMMON))
    assert run_main(lambda: main([sheet, "--out", str(tmp_path / "out")])) == 2
    assert "row wrong" in capsys.readouterr().err and in_process == []
    settings = {**COMMON, "sets": {"s": {"lq": "/none/lq", "gt": "/none/gt"}}}
    sheet = str(make_sheet(tmp_path / "b", ROWS, settings) if (tmp_path / "b").mkdir() is None else "")
    assert run_main(lambda: main([sheet, "--out", str(tmp_path / "out")])) == 2
    assert "/none/" in capsys.readouterr().err and in_process == []
