"""Optimizers: names, fused kernels, numbers written as text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from basicsr.engine.errors import UserError
from basicsr.engine.optim import build_optimizer, skips_on_device


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.rand(5, generator=generator)), nn.Parameter(torch.rand(2, 3, generator=generator))]


def stepped(optimizer: torch.optim.Optimizer, params: list[nn.Parameter]) -> list[torch.Tensor]:
    for _ in range(3):
        optimizer.zero_grad()
        sum((p**3).sum() for p in params).backward()  # type: ignore[union-attr]
        optimizer.step()
    return [p.detach().clone() for p in params]


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax", "SGD", "ASGD", "RMSprop", "Rprop"])
def test_every_optimizer_is_torchs_and_steps_alike(name: str) -> None:
    mine, theirs = parameters(), parameters()
    ours = build_optimizer(name, mine, 1e-2)
    assert type(ours) is getattr(torch.optim, name)
    expected = stepped(getattr(torch.optim, name)(theirs, lr=1e-2), theirs)
    for got, want in zip(stepped(ours, mine), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)


def test_options_reach_the_optimizer_and_lists_become_tuples() -> None:
    group = build_optimizer("AdamW", parameters(), 1e-3, betas=[0.9, 0.9], weight_decay=0).param_groups[0]
    assert group["betas"] == (0.9, 0.9) and group["weight_decay"] == 0


def test_parameter_groups_keep_their_own_rate() -> None:
    params = parameters()
    groups = build_optimizer("Adam", [{"params": params[:1]}, {"params": params[1:], "lr": 1e-5}], 1e-3).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-5]


def test_a_generator_of_parameters_is_enough() -> None:
    net = nn.Linear(2, 2)
    assert len(build_optimizer("Adam", net.parameters(), 1e-3).param_groups[0]["params"]) == 2


def test_fused_is_automatic_and_can_be_forced_off() -> None:
    assert build_optimizer("Adam", parameters(), 1e-3).param_groups[0]["fused"] is True
    assert skips_on_device(build_optimizer("Adam", parameters(), 1e-3))
    assert not build_optimizer("Adam", parameters(), 1e-3, fused=False).param_groups[0]["fused"]
    assert not build_optimizer("Adam", [nn.Parameter(torch.zeros(2, dtype=torch.complex64))], 1e-3).param_groups[0][
        "fused"
    ]
    assert not skips_on_device(build_optimizer("Rprop", parameters(), 1e-3))


def test_lr_written_as_text_is_a_number() -> None:
    lr: Any = "1e-3"
    assert build_optimizer("Adam", parameters(), lr).param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize(
    ("name", "lr", "options", "word"),
    [
        ("Adam", "fast", {}, "not a number"),
        ("Adamm", 1e-3, {}, "AdamW"),
        ("SGD", 1e-3, {"betas": [0.9, 0.9]}, "betas"),
        ("Adam", 1e-3, {"betas": [0.9, 1.9]}, "beta"),
    ],
)
def test_mistakes_are_named(name: str, lr: Any, options: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        build_optimizer(name, parameters(), lr, **options)
