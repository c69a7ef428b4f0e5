"""A training as a process of its own: its lines, its failure, and what is not trained twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from basicsr.engine.errors import UserError
from basicsr.engine.training_process import run_training, train_once


def test_failed_training_is_an_error_with_its_last_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "for i in range(40): print('line', i)\nraise SystemExit(3)"]
    heard: list[str] = []
    with pytest.raises(UserError, match=r"baseline: .*status 3(.|\n)*line 39") as caught:
        run_training(command, tmp_path, heard.append, 1, "baseline")
    assert heard == [f"line {i}" for i in range(40)]
    assert "line 15\n" in str(caught.value) and "line 14\n" not in str(caught.value)


def test_threads_reach_the_training(tmp_path: Path) -> None:
    heard: list[str] = []
    run_training([sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"], tmp_path, heard.append, 3)
    assert heard == ["3"]


def test_the_same_training_resumes_or_is_complete_and_another_begins_anew(tmp_path: Path) -> None:
    options, weights = tmp_path / "a.yml", tmp_path / "run" / "weights.pth"
    options.write_text("name: a\ntrain:\n  total_iter: 3\n")
    said: list[str] = []

    def attempt(text: str, *settings: str) -> list[str]:
        heard: list[str] = []

        def command(resume: bool) -> list[str]:
            return [sys.executable, "-c", f"print('resumed' if {resume} else 'new'); {text}"]

        train_once(options, settings, tmp_path / "run", weights, tmp_path, command, said.append, heard.append)
        return heard

    with pytest.raises(UserError):
        attempt("raise SystemExit(1)")
    weights.parent.mkdir()
    assert attempt(f"open({str(weights)!r}, 'w').close()") == ["resumed"]
    assert attempt("") == [] and said[-1] == "training: complete"
    assert attempt("", "train:total_iter=4") == ["new"]
    assert said == ["training run", "training run (resumed)", "training: complete", "training run"]
