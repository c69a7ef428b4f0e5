"""How option files become one tree: ``base:`` inheritance and ``--force_yml``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from basicsr.engine.errors import UserError
from basicsr.engine.options_yaml import Entry, LoadedFile, Place, entry_of, parse_value, read_file


def load_options(path: Path | str, force: Sequence[str] = ()) -> LoadedFile:
    """Read an option file with everything it inherits, then apply forced values.

    Args:
        path: The option file.
        force: ``--force_yml`` arguments, each ``a:b:c=value``.

    Returns:
        The merged tree (without ``base``) and the problems met on the way.

    Raises:
        UserError: A file is missing or not YAML, the bases form a circle, or a forced value cannot be parsed.
    """
    loaded = _load_chain(Path(path), str(path), ())
    for argument in force:
        apply_force(loaded.root, argument)
    return loaded


def _load_chain(path: Path, shown: str, children: tuple[Path, ...]) -> LoadedFile:
    resolved = path.resolve()
    if resolved in children:
        circle = " -> ".join(item.name for item in (*children[children.index(resolved) :], resolved))
        raise UserError(f"{shown}: 'base' goes round in a circle: {circle}")
    loaded = read_file(path, shown)
    base = loaded.root.value.pop("base", None)
    if base is None or base.value is None:
        return loaded
    if not isinstance(base.value, str):
        raise UserError(f"{base.place}: base: must be the path of one option file, relative to this file")
    base_path = path.parent / os.path.expanduser(base.value)
    if not base_path.is_file():
        raise UserError(f"{base.place}: base: no such option file: {base_path} (paths are relative to {shown})")
    parent = _load_chain(base_path, os.path.normpath(str(base_path)), (*children, resolved))
    return LoadedFile(merge(parent.root, loaded.root), parent.problems + loaded.problems)


def merge(base: Entry, child: Entry) -> Entry:
    """Lay ``child`` over ``base``.

    Mappings are merged key by key; anything else in the child replaces what the base has, ``~`` included. A mapping
    whose ``type`` the child changes is replaced as a whole: the parameters of another component would only be stale.
    """
    if not isinstance(base.value, dict) or not isinstance(child.value, dict):
        return child
    old_type, new_type = base.value.get("type"), child.value.get("type")
    if old_type is not None and new_type is not None and old_type.value != new_type.value:
        return child
    members = dict(base.value)
    for key, member in child.value.items():
        members[key] = merge(members[key], member) if key in members else member
    return Entry(members, child.place, child.raw)


def apply_force(root: Entry, argument: str) -> None:
    """Set one value in the tree, in place.

    Args:
        root: The tree.
        argument: ``a:b:c=value``; the value is everything behind the first ``=``. A number as key names an element of a
            list. Parents that do not exist are made; whether they may exist is for the check to say.

    Raises:
        UserError: It does not have that form, or leads through something that holds no keys.
    """
    keys, separator, text = argument.partition("=")
    names = [name.strip() for name in keys.split(":")]
    if not separator or not all(names):
        raise UserError(f"--force_yml '{argument}': must have the form key:key=value, e.g. train:optim_g:lr=1e-4")
    place = Place(f"--force_yml {argument}")
    entry = root
    for depth, name in enumerate(names[:-1]):
        entry = _step_into(entry, name, place, ".".join(names[: depth + 1]))
    try:
        value = entry_of(parse_value(text), place, text)
    except UserError as error:
        reason = str(error).partition(": ")[2]
        raise UserError(f"--force_yml '{argument}': {reason}") from error
    last = names[-1]
    if isinstance(entry.value, list):
        entry.value[_index(entry, last, place)] = value
    elif isinstance(entry.value, dict):
        entry.value[_existing_key(entry, last)] = value
    else:
        raise UserError(f"{place}: '{'.'.join(names[:-1])}' is a single value, it has no '{last}'")


def _step_into(entry: Entry, name: str, place: Place, dotted: str) -> Entry:
    if isinstance(entry.value, list):
        return entry.value[_index(entry, name, place)]
    if not isinstance(entry.value, dict):
        raise UserError(f"{place}: '{dotted.rpartition('.')[0]}' is a single value, it has no '{name}'")
    key = _existing_key(entry, name)
    member: Entry | None = entry.value.get(key)
    if member is None or member.value is None:
        member = entry.value[key] = Entry({}, place)
    return member


def _existing_key(entry: Entry, name: str) -> object:
    return next((key for key in entry.value if str(key) == name), name)


def _index(entry: Entry, name: str, place: Place) -> int:
    if name.isdigit() and int(name) < len(entry.value):
        return int(name)
    count = len(entry.value)
    raise UserError(f"{place}: '{name}' is no position in a list of {count}; write the whole list: key=[a, b]")
