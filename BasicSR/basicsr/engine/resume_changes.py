"""Which options differ between an interrupted run and the start that continues it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_SECTIONS = ("model_type", "scale", "precision", "compile", "datasets.train.", "train.", "network_")
# They say where things are and how fast they are read, not what is learnt.
_HARMLESS = frozenset(
    "name dataroot_gt dataroot_lq meta_info_file num_worker_per_gpu prefetch_mode num_prefetch_queue pin_memory "
    "persistent_workers non_finite".split()
)
_SHOWN = 12
_ABSENT = "(not set)"
PROCESSES = "number of processes"


def digest(opt: Mapping[str, Any]) -> str:
    """The options that decide what is learnt, as JSON text for the training state.

    Args:
        opt: The run's options.

    Returns:
        A JSON object: dotted key to value.
    """
    kept = {key: value for key, value in _flat(opt, "") if key.startswith(_SECTIONS) and not _harmless(key)}
    return json.dumps({**kept, PROCESSES: opt.get("world_size", 1)}, default=str, sort_keys=True)


def changes(old: str, new: str) -> list[str]:
    """What differs between two digests.

    Args:
        old: That of the training state.
        new: That of this start.

    Returns:
        Lines such as ``train.total_iter: 100 -> 200``.
    """
    before, after = json.loads(old), json.loads(new)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    lines = [f"{key}: {_text(before, key)} -> {_text(after, key)}" for key in sorted(keys)]
    hidden = len(lines) - _SHOWN
    return lines if hidden <= 0 else [*lines[:_SHOWN], f"... and {hidden} more"]


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _flat(member, f"{prefix}.{key}" if prefix else str(key))
    elif value is not None:  # a key that is absent and one that is empty mean the same
        yield prefix, value


def _harmless(key: str) -> bool:
    return key.rpartition(".")[2] in _HARMLESS or ".io_backend" in key


def _text(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else _ABSENT
