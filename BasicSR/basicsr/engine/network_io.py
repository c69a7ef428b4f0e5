"""Fitting a file of weights to a network, with messages that say what does not fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from basicsr.engine.checkpoint import load_weights
from basicsr.engine.errors import UserError
from basicsr.engine.foreign_files import not_these_weights, prefix_hint

# Wrappers put these in front of every key: DataParallel and DDP the first, torch.compile the second.
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 5

logger = logging.getLogger("basicsr")


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take ``module.`` and ``_orig_mod.`` off the front of the keys where every key has it."""
    stripped = dict(state)
    found = True
    while found and stripped:
        found = False
        for prefix in _PREFIXES:
            if all(key.startswith(prefix) for key in stripped):
                stripped = {key[len(prefix) :]: value for key, value in stripped.items()}
                found = True
    return stripped


def read_state_dict(path: str | Path, param_key: str | None) -> tuple[dict[str, Tensor], str]:
    """Read one state dict out of a weights file.

    Args:
        path: A ``.pth`` or ``.safetensors`` file.
        param_key: The section, such as ``params`` or ``params_ema``; where it is missing ``params`` is taken. None
            means that the file is a bare state dict; a bare one is recognised with any key.

    Returns:
        The state dict without wrappers' prefixes, and the name of the section that was read.

    Raises:
        UserError: No such file, a damaged one, or one without that section.
    """
    content = load_weights(path)
    if param_key is not None and isinstance(content.get(param_key), Mapping):
        return strip_prefixes(content[param_key]), param_key
    if param_key is not None and isinstance(content.get("params"), Mapping):
        logger.info("%s holds no '%s'; its 'params' are used.", path, param_key)
        return strip_prefixes(content["params"]), "params"
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return strip_prefixes(content), "(bare state dict)"
    raise UserError(not_these_weights(path, content, param_key))


def fit(net: nn.Module, state: dict[str, Tensor], source: str, strict: bool) -> None:
    """Load a state dict into a bare network.

    Args:
        net: The network.
        state: Keys to tensors.
        source: The file's name, for messages.
        strict: Whether every key and shape must match; otherwise what does not fit is left out with a warning.

    Raises:
        UserError: A strict load does not fit; the message lists the first few missing, unknown and mismatched keys.
    """
    own = net.state_dict()
    missing = [key for key in own if key not in state]
    unknown = [key for key in state if key not in own]
    shapes = {key: (tuple(state[key].shape), tuple(own[key].shape)) for key in own if key in state}
    wrong = [f"{key} (file {there}, network {here})" for key, (there, here) in shapes.items() if there != here]
    report = _report(missing, unknown, wrong)
    name = type(net).__name__
    if report and strict:
        raise UserError(
            f"{source}: does not fit {name}: {report}. Make the network's options those it was trained with, or set "
            "path.strict_load_<network>: false to load what fits." + prefix_hint(own, state)
        )
    if report:
        fitting, hint = len(own) - len(missing) - len(wrong), prefix_hint(own, state)
        logger.warning("%s: %d of %d tensors fit %s: %s.%s", source, fitting, len(own), name, report, hint)
    mismatched = {key for key, (there, here) in shapes.items() if there != here}
    net.load_state_dict({key: value for key, value in state.items() if key not in mismatched}, strict=strict)


def _report(missing: list[str], unknown: list[str], wrong: list[str]) -> str:
    kinds = (("missing in the file", missing), ("unknown to the network", unknown), ("of another shape", wrong))
    return "; ".join(f"{len(keys)} {kind}: {_short(keys)}" for kind, keys in kinds if keys)


def _short(keys: list[str]) -> str:
    more = f", ... {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
