"""The command line of the evaluation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from basicsr.engine.cli import run_main
from tests.plugins.color_fidelity.evaluation_kit import make_folder, make_run
from tools.eval_color import main

ROOT = Path(__file__).resolve().parents[2]


def test_runs_with_every_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_run(tmp_path / "base", {100: 0.7, 200: 0.75})
    color = make_run(tmp_path / "color", {100: 0.8, 200: 0.95})
    lq = make_folder(tmp_path / "lq", 0.5)
    files = [tmp_path / "out" / name for name in ("f.csv", "f.json", "f.html")]
    flags = ["--csv", str(files[0]), "--json", str(files[1]), "--html", str(files[2]), "--lq", str(lq)]
    assert main([str(base), f"ft={color / 'visualization'}", *flags, "--reference", "base", "--worst", "1"]) == 0
    out = capsys.readouterr().out
    assert "| ft @ 200 " in out and "| base @ 200 " in out and "| input " in out and "worst of ft in val" in out
    assert all(path.stat().st_size > 500 for path in files)


def test_plain_folders_and_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, gt = make_folder(tmp_path / "pred", 0.8), make_folder(tmp_path / "gt", 1.0)
    assert main(["--pred", f"ours={pred}", "--gt", str(gt), "--all", "--quiet"]) == 0
    assert "ΔE00 > 10" in capsys.readouterr().out


def test_fail_if_sets_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(make_run(tmp_path / "run", {7: 0.8}))
    assert main([run, "--fail-if", "sat_ratio<0.5"]) == 0
    assert main([run, "--fail-if", "sat_ratio<0.5", "--fail-if", "run:sat_ratio<0.95"]) == 1
    assert "failed: run:sat_ratio<0.95" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "nothing to evaluate"),
        (["--pred", "x"], "--gt DIR"),
        (["nowhere"], "no folder nowhere"),
        (["RUN", "--fail-if", "sat<1"], "there is no figure 'sat'"),
        (["RUN", "--worst-by", "sat"], "no such figure"),
        (["RUN", "--reference", "other"], "no row 'other'"),
        (["input=RUN"], "'input' cannot be the name of a run, give another: NAME="),
        (["RUN", "--html", str(ROOT)], "it is a folder; name a file"),
        (["RUN", "--csv", f"{__file__}/x.csv"], "is not a folder"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    arguments: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run(tmp_path / "run", {7: 0.8}))
    assert run_main(lambda: main([text.replace("RUN", run) for text in arguments])) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and error in message


def test_runs_as_a_script_from_another_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {7: 0.8})
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "eval_color.py"), str(run), "--fail-if", "sat_ratio<0.99"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "| run @ 7 " in done.stdout


def test_several_runs_by_name_and_iteration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_run(tmp_path / "base", {100: 0.7, 200: 0.75})
    color = make_run(tmp_path / "color", {100: 0.8, 200: 0.95})
    page = tmp_path / "report.html"
    flags = ["--iterations", "100", "--html", str(page), "--worst", "0", "--quiet"]
    assert main(["--run", f"old={base}", "--run", f"new={color}", *flags]) == 0
    out = capsys.readouterr().out
    assert "| old @ 100 " in out and "| new @ 100 " in out and "@ 200" not in out
    assert '"label":"new @ 100"' in page.read_text(encoding="utf-8")
