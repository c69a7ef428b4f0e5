"""Option keys of data sets: a frozen dataclass is a data set's schema, and a mapping is read into it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from basicsr.engine.errors import UserError

T = TypeVar("T")


def read_options(schema: type[T], opt: T | Mapping[str, Any]) -> T:
    """Fill ``schema`` from a mapping; keys that are not fields (name, type, loader keys) are left to others.

    Args:
        schema: A dataclass.
        opt: An instance of it, returned unchanged, or a mapping, which is not changed.

    Returns:
        The options.

    Raises:
        UserError: A required key is missing.
    """
    if isinstance(opt, schema):
        return opt
    if not isinstance(opt, Mapping):
        raise UserError(f"{schema.__name__}: expected a mapping of options, got {type(opt).__name__}.")
    values: dict[str, Any] = {}
    missing = []
    for entry in dataclasses.fields(schema):  # type: ignore[arg-type]
        if entry.name in opt:
            values[entry.name] = copy.deepcopy(opt[entry.name])
        elif entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            missing.append(entry.name)
    if missing:
        raise UserError(f"{label(opt)}: required option{'s' * (len(missing) > 1)} missing: {', '.join(missing)}.")
    return schema(**values)


def label(opt: Any) -> str:
    """How messages call a data set: by its name where it has one."""
    get = opt.get if isinstance(opt, Mapping) else lambda key: getattr(opt, key, None)
    name, phase = get("name"), get("phase")
    return f"data set '{name}'" if name else f"data set of phase '{phase}'" if phase else "data set"


def per_channel(values: list[float] | None, key: str, where: str) -> list[float] | None:
    """Check a per-channel list (``mean``, ``std``): one number for each channel, or one for all."""
    if values is None:
        return None
    numbers = [float(v) for v in values] if isinstance(values, (list, tuple)) else [float(values)]
    if len(numbers) not in (1, 3):
        raise UserError(f"{where}: {key} needs 1 or 3 numbers, got {len(numbers)}.")
    if key == "std" and any(v == 0 for v in numbers):
        raise UserError(f"{where}: std must not be 0.")
    return numbers
