"""ReduceLROnPlateau against torch's own, and in a run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr.engine.checkpoint import load_state
from basicsr.engine.errors import UserError
from basicsr.models.lr_scheduler import build_scheduler
from tests.basicsr.tiny_run import make_project, run_here, write_options

BASE = 0.25


def make(**options: Any) -> tuple[Any, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    return build_scheduler("ReduceLROnPlateau", optimizer, **options), optimizer


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("seed", range(6))
def test_reduces_when_torch_does(seed: int, better: str) -> None:
    draw = random.Random(seed)
    options = {
        "factor": draw.choice([0.5, 0.1]),
        "patience": draw.randint(0, 3),
        "cooldown": draw.randint(0, 2),
        "min_lr": draw.choice([0.0, 0.01]),
        "threshold": draw.choice([0.0, 0.02]),
    }
    scheduler, optimizer = make(**options)
    reference_optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        reference_optimizer, mode="max" if better == "higher" else "min", eps=0.0, **options
    )
    reductions = 0
    for _ in range(40):
        value = draw.uniform(1, 2)
        reductions += scheduler.observe(value, better)
        reference.step(value)
        scheduler.step()
        # min_lr apart, torch multiplies the last rate and this one raises the factor to a power
        assert optimizer.param_groups[0]["lr"] == pytest.approx(reference_optimizer.param_groups[0]["lr"], rel=1e-9)
    assert reductions > 0


def test_nan_is_no_improvement_and_counts_survive_a_resume() -> None:
    scheduler, _ = make(factor=0.5, patience=2)
    assert not scheduler.observe(1.0, "lower")
    assert not scheduler.observe(float("nan"), "lower")
    other, optimizer = make(factor=0.5, patience=2)
    other.load_state_dict(scheduler.state_dict())
    assert not other.observe(1.0, "lower")
    assert other.observe(1.0, "lower")
    other.step()
    assert optimizer.param_groups[0]["lr"] == BASE / 2


@pytest.mark.parametrize(
    ("options", "text"),
    [({"factor": 1.0}, "factor: 1.0"), ({"patience": -1}, "patience: -1"), ({"min_lr": -1e-3}, "min_lr")],
)
def test_impossible_values_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        make(**options)


def plateau_options(path: Path, **changes: Any) -> Path:
    settings = {
        "train__scheduler": {"type": "ReduceLROnPlateau", "factor": 0.5, "patience": 0, "threshold": 10.0},
        "train__warmup_iter": -1,
        "val__best_file": "best_tiny.pth",
    }
    return write_options(path, **{**settings, **changes})


def test_a_run_in_epochs_reduces_the_rate_and_names_its_best_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path)
    options = plateau_options(
        tmp_path / "tiny.yml",
        train__total_iter=None,
        train__total_epoch=3,
        val__val_freq=None,
        val__val_epoch=1,
        logger__save_checkpoint_freq=None,
        logger__save_checkpoint_epoch=1.5,
    )
    run_here(monkeypatch, root, options)
    run = root / "experiments" / "tiny"
    states = {path.stem for path in (run / "training_states").glob("*.state")}
    assert states == {"6", "12"}  # 8 photos, batches of 2: 4 iterations an epoch
    assert (run / "models" / "best_tiny.pth").is_file() and not (run / "models" / "net_g_best.pth").exists()
    # Validated after 4, 8 and 12; no change is an improvement of 1000 %: reduced after 8 and after 12.
    state = load_state(run / "training_states" / "12.state")
    assert state["optimizers"][0]["param_groups"][0]["lr"] == pytest.approx(1e-3 / 2)


def test_a_resumed_run_reduces_like_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {}
    for name, totals in (("whole", [12]), ("halves", [6, 12])):
        root = make_project(tmp_path / name)
        for total in totals:
            options = plateau_options(root / "tiny.yml", train__total_iter=total, val__val_freq=2)
            run_here(monkeypatch, root, options, *(["--auto_resume"] if total != totals[0] else []))
        state = load_state(root / "experiments" / "tiny" / "training_states" / "12.state")
        rates[name] = (state["optimizers"][0]["param_groups"][0]["lr"], state["schedulers"][0]["reductions"])
    assert rates["whole"] == rates["halves"]
    assert rates["whole"][1] >= 4


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train__total_epoch": 2}, "train.total_epoch: says in epochs what 'total_iter' says"),
        ({"val__metrics": None}, "follows a validation metric and there is none"),
        ({"val__best_file": "../x.pth"}, "val.best_file"),
        ({"val__best_file": "net_g_100.pth"}, "val.best_file"),
        ({"train__total_iter": None, "train__total_epoch": 0}, "must be above 0"),
        (
            {"train__scheduler": {"type": "ReduceLROnPlateau", "metric": "psnrr"}},
            "val.metrics has no 'psnrr'",
        ),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], text: str
) -> None:
    root = make_project(tmp_path)
    options = plateau_options(tmp_path / "tiny.yml", **changes)
    with pytest.raises(UserError) as caught:
        run_here(monkeypatch, root, options)
    assert text in str(caught.value)


def test_a_run_that_no_longer_improves_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PSNR rises in this run; taken as a loss, its first value stays the best."""
    root = make_project(tmp_path)
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 0, "better": "lower"}}
    options = plateau_options(
        tmp_path / "tiny.yml",
        train__total_iter=40,
        train__scheduler={"type": "WholeRunCosineLR", "eta_min": 1e-6},
        val__val_freq=2,
        val__early_stop=3,
        val__metrics=metrics,
        logger__save_checkpoint_freq=2,
    )
    run_here(monkeypatch, root, options)
    states = sorted(int(path.stem) for path in (root / "experiments" / "tiny" / "training_states").glob("*.state"))
    best = load_state(root / "experiments" / "tiny" / "training_states" / f"{states[-1]}.state")["best"]["Val"]["psnr"]
    assert states[-1] < 40
    assert (root / "experiments" / "tiny" / "models" / "net_g_latest.pth").is_file()
    assert states[-1] >= best["iter"] + 2 * 3 - 2


def test_early_stop_without_a_metric_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path)
    options = write_options(tmp_path / "tiny.yml", val__metrics=None, val__early_stop=2)
    with pytest.raises(UserError, match="val.early_stop: follows a validation metric"):
        run_here(monkeypatch, root, options)


def test_whole_run_cosine_ends_at_its_lowest_rate() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build_scheduler("WholeRunCosineLR", optimizer, total_iter=4, eta_min=0.2)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0, 0.6 + 0.4 * 0.5**0.5, 0.6, 0.6 - 0.4 * 0.5**0.5, 0.2, 0.2])
