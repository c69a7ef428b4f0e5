"""Exponential moving average of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_ema(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the averaged network towards the trained one: ``average = decay * average + (1 - decay) * net``.

    Floating-point buffers (batch-norm statistics) are averaged like parameters; whole-number buffers are copied.

    Args:
        average: The averaged network, changed in place.
        net: The trained network, unwrapped; the same structure.
        decay: 0 copies.
    """
    source = _tensors(net)
    target = _tensors(average)
    if decay == 0:
        for name, tensor in target.items():
            tensor.copy_(source[name])
        return
    floating = [name for name, tensor in target.items() if tensor.is_floating_point()]
    trained = {name for name, _ in net.named_parameters()}
    smooth = [name for name in floating if name in trained]
    if smooth:
        torch._foreach_lerp_([target[n] for n in smooth], [source[n] for n in smooth], 1 - decay)
    for name, tensor in target.items():
        if name in trained:
            continue
        if tensor.is_floating_point():
            _average_buffer(tensor, source[name], 1 - decay)
        else:
            tensor.copy_(source[name])


def _average_buffer(average: Tensor, new: Tensor, weight: float) -> None:
    """Constants such as -inf in an attention mask stay what they are: inf - inf would be NaN."""
    average.copy_(torch.where(torch.isfinite(new) & torch.isfinite(average), torch.lerp(average, new, weight), new))


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}
