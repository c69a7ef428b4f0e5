"""Schedules against values measured on basicsr 1.4.2, torch and the NAFNet fork's formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from basicsr.engine.errors import UserError
from basicsr.models.lr_scheduler import build_scheduler, get_position_from_periods
from basicsr.utils.registry import SCHEDULER_REGISTRY

BASE = 1e-3


def rates(kind: str, steps: int, total_iter: int | None = None, **options: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = build_scheduler(kind, optimizer, total_iter=total_iter, **options)
    values = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        values.append(optimizer.param_groups[0]["lr"])
    return values


# Measured by running basicsr 1.4.2's classes from a rate of 1e-3.
UPSTREAM = {
    "steps": (
        "MultiStepLR",
        {"milestones": [3, 5, 5, 9], "gamma": 0.5},
        [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 1.25e-4, 1.25e-4, 1.25e-4, 1.25e-4, 6.25e-5, 6.25e-5, 6.25e-5, 6.25e-5],
    ),
    "steps with restarts": (
        "MultiStepRestartLR",
        {"milestones": [2, 5, 8, 10], "gamma": 0.1, "restarts": [0, 6], "restart_weights": [1, 0.5]},
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-5, 5e-4, 5e-4, 5e-5, 5e-5, 5e-6, 5e-6, 5e-6],
    ),
    "late restart": (
        "MultiStepRestartLR",
        {"milestones": [2], "restarts": [4], "restart_weights": [2.0]},
        [1e-3, 1e-3, 1e-4, 1e-4, 2e-3, 2e-3, 2e-3],
    ),
    "cosine with restarts": (
        "CosineAnnealingRestartLR",
        {"periods": [4, 8], "restart_weights": [1, 0.5], "eta_min": 1e-7},
        [
            *(0.001, 0.0008535680353, 0.00050005, 0.0001465319647, 1e-07, 0.0004810217861, 0.0004268340176),
            *(0.000345736291, 0.000250075, 0.000154413709, 7.331598237e-05, 1.912821386e-05, 1e-07),
        ],
    ),
    "torch's cosine": (
        "TrueCosineAnnealingLR",
        {"T_max": 10, "eta_min": 1e-7},
        [
            *(0.001, 0.0009755307053, 0.0009045180463, 0.0007939132369, 0.0006545430463, 0.00050005, 0.0003455569537),
            *(0.0002061867631, 9.558195366e-05, 2.456929468e-05, 1e-07, 2.456929468e-05, 9.558195366e-05),
        ],
    ),
    "linear": ("LinearLR", {"total_iter": 4}, [1e-3, 7.5e-4, 5e-4, 2.5e-4, 0.0]),
    "vibrate": (
        "VibrateLR",
        {"total_iter": 800},
        [
            *(0.0001, 0.0001993333333, 0.0003973333333, 0.000594, 0.0007893333333, 0.0009833333333, 0.000784),
            *(0.000586, 0.0003893333333, 0.000194, 0.0, 0.0001926666667),
        ],
    ),
}


@pytest.mark.parametrize("case", UPSTREAM.values(), ids=UPSTREAM.keys())
def test_values_are_upstreams(case: tuple[str, dict[str, Any], list[float]]) -> None:
    kind, options, expected = case
    assert rates(kind, len(expected) - 1, **options) == pytest.approx(expected, rel=1e-9, abs=1e-18)


def test_vibrate_envelope_in_the_middle_and_at_the_end() -> None:
    values = rates("VibrateLR", 400, total_iter=400)
    assert values[151] == pytest.approx(1e-4) and values[301] == pytest.approx(5e-5)
    assert max(values[160:245]) == pytest.approx(0.2 * BASE)
    assert max(values[255:]) == pytest.approx(0.1 * BASE)


def test_cosine_past_its_periods_stays_instead_of_crashing() -> None:
    values = rates("CosineAnnealingRestartLR", 12, periods=[3, 4], restart_weights=[1, 0.5], eta_min=1e-6)
    assert values[7:] == [pytest.approx(1e-6)] * 6


def test_whole_run_schedules_take_the_runs_length_and_short_runs_do_not_divide_by_zero() -> None:
    assert rates("LinearLR", 4, total_iter=4)[2] == pytest.approx(BASE / 2)
    assert all(0 <= value <= BASE for value in rates("VibrateLR", 10, total_iter=10))


def test_warm_up_does_not_leak_into_the_rate_after_it() -> None:
    from basicsr.models.base_model import BaseModel

    model = BaseModel(
        {"is_train": True, "num_gpu": 0, "train": {"scheduler": {"type": "MultiStepLR", "milestones": [9]}}}
    )
    model.optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)]
    model.setup_schedulers()
    seen = []
    for current_iter in range(1, 11):
        model.update_learning_rate(current_iter, warmup_iter=4)
        model.optimizers[0].step()
        seen.append(model.get_current_learning_rate()[0])
    assert seen == pytest.approx([BASE / 4, BASE / 2, BASE * 3 / 4, *[BASE] * 6, BASE / 10])


def test_position() -> None:
    assert [get_position_from_periods(n, [100, 200, 300, 400]) for n in (50, 100, 210, 300, 999)] == [0, 0, 2, 2, 3]


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        ("CosineAnnealingRestartLR", {"periods": [5, 5], "restart_weights": [1]}, "restart_weights has 1"),
        ("CosineAnnealingRestartLR", {"periods": [0]}, "positive"),
        ("MultiStepLR", {"milestones": [1], "restarts": [0, 5]}, "restarts has 2"),
        ("TrueCosineAnnealingLR", {"T_max": 0}, "T_max"),
        ("LinearLR", {}, "total_iter"),
        ("MultiStepLR", {"milestone": [1]}, "milestone"),
        ("NoSuchLR", {}, "CosineAnnealingRestartLR"),
    ],
)
def test_mistakes_are_named(kind: str, options: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        rates(kind, 1, **options)


def test_state_is_plain_and_continues(tmp_path: Any) -> None:
    def make() -> tuple[Any, Any]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
        return optimizer, build_scheduler("MultiStepLR", optimizer, milestones=[2, 4, 6], gamma=0.5)

    optimizer, scheduler = make()
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "s")
    saved = torch.load(tmp_path / "s", weights_only=True)
    other, again = make()
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    other.step()
    again.step()
    assert other.param_groups[0]["lr"] == BASE / 4


def test_both_names_are_registered() -> None:
    assert SCHEDULER_REGISTRY.get("MultiStepLR") is SCHEDULER_REGISTRY.get("MultiStepRestartLR")
