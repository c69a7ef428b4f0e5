"""Memory layout of image tensors: NCHW or channels-last, chosen by the option or by a short timed probe."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.engine import distributed
from basicsr.engine.errors import UserError
from basicsr.engine.precision import Precision, map_tensors

# Long enough to rise above the noise of a busy machine, short against the first minute of any run.
_PROBE_SECONDS = 2.0
_PROBE_ROUNDS = 5

logger = logging.getLogger("basicsr")


def check_setting(setting: Any) -> bool | str:
    """Validate the option ``channels_last``.

    Raises:
        UserError: Neither true, false nor auto.
    """
    if setting in (True, False, "auto"):
        return setting
    raise UserError(f"channels_last: {setting}: use true, false or auto")


def image_format(value: Any, channels_last: bool) -> Any:
    """Put every (N, C, H, W) tensor in nested lists and dicts into the layout."""
    if not channels_last:
        return value
    return map_tensors(value, lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t)


def convert(net: nn.Module, channels_last: bool) -> None:
    """Lay the network's weights out, in place; the parameters stay the same objects, so optimizers keep them."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net.to(memory_format=layout)  # type: ignore[call-overload]


def probe(net: nn.Module, batch: Tensor, precision: Precision) -> bool:
    """Time forward and backward in both layouts on a copy of the network and take the faster one.

    The copy keeps weights, buffers, gradients and the random generators of the run as they are. Under several processes
    the first one decides for all.

    Args:
        net: The bare network.
        batch: Input of one forward pass.
        precision: Number format of the run.

    Returns:
        Whether channels-last is faster. The times are logged.
    """
    if batch.dim() != 4:
        return False
    devices = [batch.device] if batch.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        runs = {layout: _runner(net, batch, precision, layout) for layout in (False, True)}
        times = _time_in_turn(runs, batch.device)
    mine = times[True] < times[False]
    choice = distributed.broadcast_object(mine)
    logger.info(
        "channels_last: auto: NCHW %.1f ms, channels-last %.1f ms for forward and backward of %s; using %s",
        times[False] * 1e3,
        times[True] * 1e3,
        "x".join(map(str, batch.shape)),
        "channels-last" if choice else "NCHW",
    )
    return choice


def _runner(net: nn.Module, batch: Tensor, precision: Precision, channels_last: bool) -> Callable[[], None]:
    trial = copy.deepcopy(net)
    convert(trial, channels_last)
    image = image_format(batch.detach(), channels_last)

    def run() -> None:
        trial.zero_grad(set_to_none=True)
        with precision.autocast():
            output = trial(image)
        last = output[-1] if isinstance(output, list | tuple) else output
        last.float().square().mean().backward()

    return run


def _time_in_turn(runs: dict[bool, Callable[[], None]], device: torch.device) -> dict[bool, float]:
    """The shortest of several rounds for each, taken in turn so that a busy moment hits both."""
    for run in runs.values():
        run()
    best = {layout: float("inf") for layout in runs}
    end = time.perf_counter() + _PROBE_SECONDS
    for done in range(_PROBE_ROUNDS):
        for layout, run in runs.items():
            best[layout] = min(best[layout], _seconds(run, device))
        if done > 0 and time.perf_counter() > end:
            break
    return best


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
