"""Several losses: schedules over time, parts, pairs, contexts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from basicsr.engine.loss_set import LossSchedule, LossSet, split_schedule
from tests.basicsr.models.model_kit import KitPairLoss, KitPartsLoss

PRED, TARGET = torch.zeros(2, 3, 4, 4, requires_grad=True), torch.ones(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LossSchedule(), [1, 1, 1, 1, 1, 1]),
        (LossSchedule(start_iter=3), [0, 0, 1, 1, 1, 1]),
        (LossSchedule(end_iter=4), [1, 1, 1, 0, 0, 0]),
        (LossSchedule(start_iter=2, ramp_iter=4), [0, 0.25, 0.5, 0.75, 1, 1]),
        (LossSchedule(ramp_iter=4), [0.25, 0.5, 0.75, 1, 1, 1]),
        (LossSchedule(start_iter=2, end_iter=5, ramp_iter=2), [0, 0.5, 1, 1, 0, 0]),
    ],
)
def test_schedule(schedule: LossSchedule, expected: list[float]) -> None:
    assert [schedule.factor(n) for n in range(1, 7)] == expected


def test_schedule_keys_are_not_the_constructors() -> None:
    entry = {"type": "L1Loss", "start_iter": 5, "end_iter": None, "loss_weight": 2.0}
    assert split_schedule(entry) == ({"type": "L1Loss", "loss_weight": 2.0}, LossSchedule(start_iter=5))
    assert "start_iter" in entry


def test_every_opt_with_a_type_is_a_loss() -> None:
    train_opt = {
        "pixel_opt": {"type": "L1Loss", "loss_weight": 0.5},
        "ssim_opt": {"type": "KitPartsLoss", "loss_weight": 2.0},
        "empty_opt": None,
        "optim_g": {"type": "Adam"},
        "total_iter": 3,
    }
    losses = LossSet.from_options(train_opt)
    assert list(losses) == ["pixel_opt", "ssim_opt"] and len(losses) == 2
    total, parts = losses(PRED, TARGET, 1)
    assert total.item() == pytest.approx(0.5 + 2.0 * 2)
    assert list(parts) == ["pixel_opt", "ssim_opt", "ssim_opt/red", "ssim_opt/blue"]
    assert not any(value.requires_grad for value in parts.values()) and total.requires_grad
    assert parts["ssim_opt"].item() == pytest.approx(4.0)


def test_weight_of_a_ramp_scales_term_and_parts() -> None:
    losses = LossSet({"a_opt": KitPartsLoss()}, {"a_opt": LossSchedule(ramp_iter=4)})
    total, parts = losses(PRED, TARGET, 1)
    assert total.item() == pytest.approx(0.5) and parts["a_opt/red"].item() == pytest.approx(0.25)


def test_a_loss_outside_its_time_is_not_computed() -> None:
    class Refuses(nn.Module):
        def forward(self, pred: Tensor, target: Tensor) -> Tensor:
            raise AssertionError("computed")

    losses = LossSet({"late_opt": Refuses()}, {"late_opt": LossSchedule(start_iter=9)})
    total, parts = losses(PRED, TARGET, 8)
    assert total.item() == 0 and parts == {}


@pytest.mark.parametrize(
    ("style", "names"), [(True, ["p_opt", "p_opt/percep", "p_opt/style"]), (False, ["p_opt", "p_opt/percep"])]
)
def test_perceptual_and_style_pair(style: bool, names: list[str]) -> None:
    total, parts = LossSet({"p_opt": KitPairLoss(style)})(PRED, TARGET, 1, lq=TARGET)
    assert list(parts) == names and total.item() == pytest.approx(1.0)


def test_context_reaches_the_losses_that_take_it() -> None:
    seen: dict[str, Any] = {}

    class Takes(nn.Module):
        def forward(self, pred: Tensor, target: Tensor, lq: Tensor | None = None) -> Tensor:
            seen["lq"] = lq
            return pred.mean()

    LossSet({"a_opt": Takes(), "b_opt": nn.L1Loss()})(PRED, TARGET, 1, lq=TARGET, other=1)
    assert seen["lq"] is TARGET


def test_a_loss_of_the_prediction_alone_does_not_take_the_target_for_its_weight() -> None:
    class Smooth(nn.Module):
        def forward(self, pred: Tensor, weight: Tensor | None = None) -> Tensor:
            assert weight is None
            return pred.mean()

    LossSet({"tv_opt": Smooth()})(PRED, TARGET, 1)
    assert LossSet.from_options({"tv_opt": {"type": "WeightedTVLoss"}})(PRED, TARGET, 1)[0].item() == 0


def test_wrong_results_and_gan_losses_are_named() -> None:
    class NoTotal(nn.Module):
        def forward(self, pred: Tensor, target: Tensor) -> dict[str, Tensor]:
            return {"part": pred.mean()}

    with pytest.raises(UserError, match="bad_opt.*total"):
        LossSet({"bad_opt": NoTotal()})(PRED, TARGET, 1)
    with pytest.raises(UserError, match="discriminator"):
        LossSet.from_options({"gan_opt": {"type": "GANLoss", "gan_type": "vanilla"}})
