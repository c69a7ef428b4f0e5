"""Files that other training codes wrote: what is safe to read in them, and what to say of the rest."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Plain numbers only: no object, no structure, no text.
_NUMBER_TYPES = "?bhilqBHILQefdg"


def numpy_numbers() -> contextlib.AbstractContextManager[Any]:
    """Let ``torch.load(weights_only=True)`` accept NumPy numbers, such as a best PSNR kept beside the weights.

    They are rebuilt from a number type and raw bytes, so nothing foreign is run. Without effect before torch 2.5.
    """
    if not hasattr(torch.serialization, "safe_globals"):
        return contextlib.nullcontext()
    # Where NumPy's pickles name the function differs between NumPy 1 and 2; a file of either loads with either.
    scalar = np.float64(0).__reduce__()[0]
    names: list[Any] = [(scalar, f"numpy.{package}.multiarray.scalar") for package in ("core", "_core")]
    types = {type(np.dtype(code)) for code in _NUMBER_TYPES}
    return torch.serialization.safe_globals([*names, np.dtype, *types])


def upstream_state_message(path: Path, state: Mapping[str, Any]) -> str:
    """Why a state of upstream BasicSR or NAFNet cannot be resumed, and which options go on from its weights.

    Args:
        path: ``experiments/<name>/training_states/<iter>.state``.
        state: What it holds.
    """
    iteration, models = state["iter"], path.parent.parent / "models"
    pattern = re.compile(rf"net_(\w+)_{re.escape(str(iteration))}\.pth")
    found = {match[1]: file for file in sorted(models.glob("net_*")) if (match := pattern.fullmatch(file.name))}
    weights = found or {"g": models / f"net_g_{iteration}.pth"}
    options = ", ".join(f"pretrain_network_{label}: {file}" for label, file in weights.items())
    missing = "" if found else " (that file is not there: look for the weights that belong to the state)"
    return (
        f"{path}: a state of the original BasicSR. It holds neither the random generators nor the data position, "
        "so its run cannot be continued exactly. To go on from its weights, leave path.resume_state (and "
        f"--auto_resume) out and set, under path, {options}{missing}. That starts a new run, fine-tuned from them: "
        f"iterations count from 1 again, the learning rate begins at optim_g.lr{_reached(state)}, and a run of the "
        "same name renames the old folder, so choose another name to keep it where it is."
    )


def _reached(state: Mapping[str, Any]) -> str:
    """The iteration and learning rate of a state, as far as it says."""
    rates = []
    for optimizer in _items(state.get("optimizers")):
        groups = optimizer.get("param_groups") if isinstance(optimizer, Mapping) else None
        rates += [group["lr"] for group in _items(groups) if isinstance(group, Mapping) and "lr" in group]
    rate = f" at a learning rate of {rates[0]:.3g}" if rates and isinstance(rates[0], int | float) else ""
    return f" (the old run was at iteration {state['iter']}{rate})"


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()


def not_these_weights(path: str | Path, content: Mapping[Any, Any], param_key: str | None) -> str:
    """What to do with a file that holds no such section.

    Args:
        path: The file.
        content: What it holds.
        param_key: The section that was looked for; None for a bare state dict.
    """
    if {"optimizers", "iter"} <= content.keys():
        weights = Path(path).parent.parent / "models" / f"net_g_{content['iter']}.pth"
        return f"{path}: a training state, which holds no weights; those that belong to it are {weights}"
    sections = [str(key) for key, value in content.items() if _is_state_dict(value)]
    wanted = f"'{param_key}'" if param_key is not None else "a bare state dict"
    holds = ", ".join(str(key) for key in content) or "nothing"
    if not sections:
        return f"{path}: it holds {holds}, not {wanted}, and no section of it holds weights"
    choice = " or ".join(sections)
    return f"{path}: it holds {holds}, not {wanted}; set path.param_key_g: {choice} (param_key_x for network_x)"


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, torch.Tensor) for item in value.values())


def prefix_hint(own: Iterable[str], there: Iterable[str]) -> str:
    """A sentence for a file whose keys are the network's with something in front (``model.``, ``net_g.``), or ''.

    Args:
        own: Keys of the network.
        there: Keys of the file.
    """
    own, there = set(own), set(there)
    first = min(own, default="")
    for prefix in sorted(key[: -len(first)] for key in there if first and key.endswith(f".{first}")):
        if all(f"{prefix}{key}" in there for key in own):
            return (
                f" The file has all of the network's keys with '{prefix}' in front, as a training module around the "
                f"network writes them: save it again as {{'params': {{key without '{prefix}': tensor}}}}."
            )
    return ""
