"""What is said about a sheet of trainings as a whole, and how two sets of options are compared."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from basicsr.engine.errors import UserError
from basicsr.engine.options_yaml import parse_scalar
from basicsr.utils.options import ordered_yaml

SECTION = "ablation"
CHECKSUM_LINE = "# starts from weights with sha256 "


@dataclass(frozen=True)
class Settings:
    """The section ``ablation`` of ``_common.yml`` and of an overlay, laid over each other.

    Attributes:
        sets: What the rows are judged on: name to ``{lq: folder, gt: folder}``, with any other option of
            ``PairedImageDataset``, and ``photo``, a regular expression whose first group is the photograph that an
            image was made from (the bootstrap draws versions of one photograph together). Default: the validation sets.
        reference: The row that changes are counted against.
        baseline: Weights that are judged beside the rows without training; default: those that all rows start from;
            false: none.
        param_key: Section of the weights files to judge; default: averaged weights where there are some.
        rows: Row to ``{label, group, options}``, in the order of the table; ``options`` are laid over the row's last.
        smoke: Options laid over everything by ``--smoke``.
    """

    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: str | None = None
    baseline: str | bool | None = None
    param_key: str | None = None
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    smoke: Mapping[str, Any] = field(default_factory=dict)


def read_settings(section: Mapping[str, Any], where: str) -> Settings:
    """The section ``ablation`` as an object.

    Raises:
        UserError: A key is unknown or a value has the wrong form.
    """
    known = {item.name for item in dataclasses.fields(Settings)}
    for key, value in section.items():
        if key not in known:
            raise UserError(f"{where}: {SECTION}.{key}: unknown key; there are: {', '.join(sorted(known))}")
        if key in ("sets", "rows", "smoke") and not isinstance(value or {}, Mapping):
            raise UserError(f"{where}: {SECTION}.{key}: must hold keys, got {value!r}")
    found = Settings(**{key: value for key, value in section.items() if value is not None})
    for name, item in found.sets.items():
        if not isinstance(item, Mapping) or not all(isinstance(item.get(half), str) for half in ("lq", "gt")):
            raise UserError(f"{where}: {SECTION}.sets.{name}: must be {{lq: folder, gt: folder}}, got {item!r}")
        _check_pattern(item.get("photo"), f"{where}: {SECTION}.sets.{name}.photo")
    for key in ("reference", "param_key"):
        if not isinstance(section.get(key), (str, type(None))):
            raise UserError(f"{where}: {SECTION}.{key}: must be a name, got {section[key]!r}")
    if not isinstance(found.baseline, (str, type(None))) and found.baseline is not False:
        raise UserError(f"{where}: {SECTION}.baseline: must be a weights file or false, got {found.baseline!r}")
    for name, item in found.rows.items():
        if not isinstance(item or {}, Mapping) or not isinstance((item or {}).get("options") or {}, Mapping):
            raise UserError(f"{where}: {SECTION}.rows.{name}: must be {{label, group, options: {{...}}}}, got {item!r}")
        unknown = set(item or {}) - {"label", "group", "options"}
        if unknown:
            raise UserError(
                f"{where}: {SECTION}.rows.{name}.{min(unknown)}: unknown key; there are: label, group, options"
            )
    return found


def _check_pattern(pattern: Any, where: str) -> None:
    try:
        groups = re.compile(pattern or "()").groups
    except (re.error, TypeError) as error:
        raise UserError(f"{where}: {pattern!r} is no regular expression: {error}") from error
    if not groups:
        raise UserError(f"{where}: '{pattern}' has no group: put the photograph's name in brackets, '(.+)-s\\d+$'")


def as_yaml(options: Mapping[str, Any]) -> str:
    """Nested options as YAML, in their own order; the engine reads back the same values."""

    class Dumper(ordered_yaml()[1]):  # type: ignore[misc]
        pass

    Dumper.add_representer(str, _represent_text)
    return str(yaml.dump(options, Dumper=Dumper, default_flow_style=None, allow_unicode=True, sort_keys=False))


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # The engine takes more for numbers than YAML 1.1 does: the text 1e-4 must keep its quotes.
    style = None if parse_scalar(text) == text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_HARMLESS = frozenset(
    "name plugins cpu_threads num_worker_per_gpu prefetch_mode num_prefetch_queue pin_memory persistent_workers "
    "cache_mb non_finite manual_seed".split()
)
_HARMLESS_SECTIONS = ("logger.", "val.", "datasets.val", "path.experiments_root", "path.results_root")


def option_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two sets of options, as far as it decides what is learnt (seeds apart).

    Returns:
        Lines such as ``train.total_iter: 100 -> 200``; none where both describe the same training.
    """
    first, second = (dict(_flat(options, "")) for options in (before, after))
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return [f"{key}: {first.get(key, '(not set)')} -> {second.get(key, '(not set)')}" for key in sorted(keys)]


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _flat(member, f"{prefix}.{key}" if prefix else str(key))
    elif value is not None and not _is_harmless(prefix):  # absent and empty mean the same
        yield prefix, list(value) if isinstance(value, (list, tuple)) else value


def _is_harmless(key: str) -> bool:
    return key.rpartition(".")[2] in _HARMLESS or key.startswith(_HARMLESS_SECTIONS)


def sha256(path: Path) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
