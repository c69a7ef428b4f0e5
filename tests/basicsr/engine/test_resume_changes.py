"""Resuming with other options is allowed, and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from basicsr.engine.resume_changes import changes, digest
from tests.basicsr.tiny_run import make_project, run_here, write_options


def test_what_is_learnt_counts_and_where_data_lies_does_not() -> None:
    old = {
        "name": "a",
        "train": {"total_iter": 10, "optim_g": {"lr": 1e-3}, "grad_clip": None},
        "datasets": {"train": {"gt_size": 8, "num_worker_per_gpu": 0, "dataroot_gt": "x"}, "val": {"name": "v"}},
        "world_size": 2,
    }
    new = {
        "name": "b",
        "train": {"total_iter": 10, "optim_g": {"lr": 1e-4}, "ssim_opt": {"type": "SSIM"}},
        "datasets": {"train": {"gt_size": 16, "num_worker_per_gpu": 2, "dataroot_gt": "y"}, "val": {"name": "w"}},
    }
    assert changes(digest(old), digest(old)) == []
    assert changes(digest(old), digest(new)) == [
        "datasets.train.gt_size: 8 -> 16",
        "number of processes: 2 -> 1",
        "train.optim_g.lr: 0.001 -> 0.0001",
        "train.ssim_opt.type: (not set) -> SSIM",
    ]


def test_a_long_list_is_cut() -> None:
    many = digest({"network_g": {f"k{index}": index for index in range(30)}})
    assert len(changes(digest({}), many)) == 13 and changes(digest({}), many)[-1] == "... and 18 more"


def log_of(root: Path) -> str:
    return "".join(path.read_text() for path in sorted((root / "experiments" / "tiny").glob("*.log")))


def test_a_changed_learning_rate_and_a_shorter_run_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path)
    run_here(monkeypatch, tmp_path, write_options(tmp_path / "t.yml", train__total_iter=6, train__warmup_iter=-1))
    assert "not those that" not in log_of(tmp_path)
    changed = {"train__total_iter": 4, "train__warmup_iter": -1}
    options = write_options(tmp_path / "t.yml", **changed, train__optim_g={"type": "Adam", "lr": 5e-4})
    run_here(monkeypatch, tmp_path, options, "--auto_resume")
    log = log_of(tmp_path)
    assert "train.optim_g.lr: 0.001 -> 0.0005" in log and "train.total_iter: 6 -> 4" in log
    assert "Nothing is left to train: the state is of iteration 6, train.total_iter is 4." in log
