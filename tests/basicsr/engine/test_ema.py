"""Moving average of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn

from basicsr.engine.ema import update_ema


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))


def test_parameters_and_batch_norm_statistics_are_averaged_and_counters_copied() -> None:
    net, average = Net(), Net()
    average.load_state_dict(net.state_dict())
    start = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        net.layer.weight.add_(1.0)
    net.norm(torch.rand(8, 2))
    update_ema(average, net, 0.75)
    new = net.state_dict()
    for key in ("layer.weight", "norm.running_mean", "norm.running_var"):
        torch.testing.assert_close(average.state_dict()[key], 0.75 * start[key] + 0.25 * new[key])
    assert not torch.equal(new["norm.running_mean"], start["norm.running_mean"])
    assert average.norm.num_batches_tracked == 1


def test_infinite_constants_stay() -> None:
    net, average = Net(), Net()
    update_ema(average, net, 0.9)
    assert torch.equal(average.mask, net.mask)


def test_decay_zero_copies_exactly() -> None:
    net, average = Net(), Net()
    net.norm(torch.rand(8, 2))
    update_ema(average, net, 0)
    assert all(torch.equal(value, average.state_dict()[key]) for key, value in net.state_dict().items())
