"""YAML with a memory: every value of an option file knows the file and the line it came from.

The dialect is YAML 1.1 as upstream's files use it, with its known traps removed: ``1e-3`` is a number, ``010`` is ten,
``1:30`` and dates stay text. Nothing in a file is ever executed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from basicsr.engine.errors import UserError

INT_PATTERN = re.compile(r"[-+]?[0-9][0-9_]*")
HEX_PATTERN = re.compile(r"[-+]?0x[0-9a-fA-F_]+")
FLOAT_PATTERN = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?")
SPECIAL_FLOATS = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
TRUE_WORDS = frozenset({"true", "yes", "on"})
FALSE_WORDS = frozenset({"false", "no", "off"})
NULL_WORDS = frozenset({"", "~", "null"})
VARIABLE_PATTERN = re.compile(r"\$(?P<escaped>\$)?\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file and line, or the command line.

    Attributes:
        file: Path as the user would name it, or the text of a ``--force_yml`` argument.
        line: One-based line, 0 where there is none.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """Something wrong with the options.

    Attributes:
        place: Where.
        key: Dotted key, '' for the file as a whole.
        message: What is wrong and what would be right.
    """

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"


@dataclass
class Entry:
    """A value and its place. A mapping's value is ``dict[key, Entry]``, a sequence's ``list[Entry]``.

    Attributes:
        value: The value.
        place: Where it was written (for a mapping's member: the line of its key).
        raw: The text it was read from, where it came from the command line.
    """

    value: Any
    place: Place
    raw: str | None = None

    def plain(self) -> Any:
        """The value as plain nested dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: member.plain() for key, member in self.value.items()}
        if isinstance(self.value, list):
            return [member.plain() for member in self.value]
        return self.value


@dataclass
class LoadedFile:
    """An option file as read.

    Attributes:
        root: The tree of its values.
        problems: Duplicate keys and undefined variables, to be reported with everything else.
    """

    root: Entry
    problems: list[Problem] = field(default_factory=list)


def parse_scalar(text: str) -> Any:
    """The value that an unquoted piece of text stands for: None, bool, int, float or the text itself."""
    lowered = text.lower()
    if lowered in NULL_WORDS:
        return None
    if lowered in TRUE_WORDS or lowered in FALSE_WORDS:
        return lowered in TRUE_WORDS
    if lowered in SPECIAL_FLOATS:
        return float(SPECIAL_FLOATS[lowered])
    number = parse_number(text)
    return text if number is None else number


def parse_number(text: str) -> int | float | None:
    """The number that ``text`` is, or None."""
    if INT_PATTERN.fullmatch(text):
        return int(text.replace("_", ""))
    if HEX_PATTERN.fullmatch(text):
        return int(text.replace("_", ""), 16)
    if FLOAT_PATTERN.fullmatch(text):
        return float(text.replace("_", ""))
    return None


def expand_variables(text: str, environment: Mapping[str, str] = os.environ) -> tuple[str, list[str]]:
    """Replace ``${NAME}`` and ``${NAME:-default}``; ``$${NAME}`` stands for the literal ``${NAME}``.

    Returns:
        The new text, and the names that are neither defined nor have a default.
    """
    undefined: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return match[0][1:]
        value = environment.get(match["name"])
        if match["default"] is not None:
            value = value or match["default"]
        if value is None:
            undefined.append(match["name"])
            return match[0]
        return value

    return VARIABLE_PATTERN.sub(replace, text), undefined


class _Reader:
    """Turns the YAML nodes of one file into entries."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []

    def place(self, node: yaml.Node) -> Place:
        return Place(self.file, node.start_mark.line + 1)

    def read(self, node: yaml.Node, key: str, place: Place | None = None) -> Entry:
        place = place or self.place(node)
        if isinstance(node, yaml.ScalarNode):
            return Entry(self.scalar(node, key, place), place)
        if any(node is outer for outer in self._open):
            raise UserError(f"{place}: {key}: an alias (*) refers to the mapping or list it is in")
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            raise self.tag_error(node, key, place)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return Entry(self.mapping(node, key), place)
            items = [self.read(item, f"{key}[{index}]") for index, item in enumerate(node.value)]
            return Entry(items, place)
        finally:
            self._open.pop()

    def scalar(self, node: yaml.ScalarNode, key: str, place: Place) -> Any:
        text, undefined = expand_variables(node.value)
        for name in undefined:
            message = f"the environment variable {name} is not defined; define it or write ${{{name}:-default}}"
            self.problems.append(Problem(place, key, message))
        if node.tag == f"{_TAG}str":
            return text
        if node.tag in (f"{_TAG}float", f"{_TAG}int"):
            number = parse_scalar(text.strip())
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                self.problems.append(Problem(place, key, f"'{text}' is not a number"))
                return text
            return float(number) if node.tag == f"{_TAG}float" else number
        if node.tag in (f"{_TAG}null", f"{_TAG}bool", f"{_TAG}plain"):
            return parse_scalar(text)
        raise self.tag_error(node, key, place)

    @staticmethod
    def tag_error(node: yaml.Node, key: str, place: Place) -> UserError:
        return UserError(f"{place}: {key}: the tag {node.tag} is not allowed; only !!float, !!int and !!str are")

    def mapping(self, node: yaml.MappingNode, key: str) -> dict[Any, Entry]:
        merged: dict[Any, Entry] = {}
        own: dict[Any, Entry] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in reversed(sources):
                    merged.update(self.read(source, key).value)
                continue
            name = self.key(key_node)
            dotted = f"{key}.{name}" if key else str(name)
            if name in own:
                first = own[name].place.line
                message = f"written twice in the same mapping (first in line {first}); keep one"
                self.problems.append(Problem(self.place(key_node), dotted, message))
            own[name] = self.read(value_node, dotted, self.place(key_node))
        return {**merged, **own}

    def key(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise UserError(f"{self.place(node)}: a key must be a plain word")
        if node.tag == f"{_TAG}plain":
            number = parse_number(node.value)
            return node.value if number is None else number
        return node.value


class _Loader(yaml.SafeLoader):
    """Marks every unquoted scalar as plain: what it stands for is decided by ``parse_scalar`` alone."""

    yaml_implicit_resolvers: dict[str, Any] = {}


_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"^<<$"), ["<"])
_Loader.add_implicit_resolver(f"{_TAG}plain", re.compile(r".*", re.DOTALL), None)


def read_yaml(text: str, file: str) -> LoadedFile:
    """Parse the text of an option file.

    Args:
        text: YAML.
        file: Name used in places and messages.

    Raises:
        UserError: It is not YAML, or not a mapping; with file and line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        detail = ", ".join(part for part in (error.context, error.problem) if part)
        hint = " (indent with spaces, not tabs)" if "\\t" in (error.problem or "") else ""
        if "${" in "".join(text.splitlines()[line - 1 : line]):
            hint = ' (between { } or [ ], ${...} needs quotes: "${...}")'
        raise UserError(f"{Place(file, line)}: not valid YAML: {detail}{hint}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not valid YAML: {error}") from error
    if node is None:
        return LoadedFile(Entry({}, Place(file, 1)))
    reader = _Reader(file)
    root = reader.read(node, "")
    if not isinstance(root.value, dict):
        raise UserError(f"{root.place}: an option file must be a mapping (lines of 'key: value')")
    return LoadedFile(root, reader.problems)


def read_file(path: Path, shown: str | None = None) -> LoadedFile:
    """Read and parse an option file.

    Args:
        path: The file.
        shown: How messages name it; the path itself by default.

    Raises:
        UserError: It cannot be read or is not valid.
    """
    name = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such option file{_neighbours(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: cannot be read: {error}") from error
    return read_yaml(text, name)


def _neighbours(path: Path) -> str:
    files = sorted(item.name for pattern in ("*.yml", "*.yaml") for item in path.parent.glob(pattern))
    return f"; {path.parent} has: {', '.join(files[:12])}" if files else ""


def parse_value(text: str) -> Any:
    """The value of a ``--force_yml`` argument: parsed, never executed.

    Args:
        text: ``~`` or ``none``, ``true``/``false``, a number (``3``, ``-1``, ``1e-4``, ``!!float 5e3``), a list or
            mapping in YAML's flow form (``[1, 2]``, ``{a: 1}``), text in quotes, or anything else, which is text.

    Raises:
        UserError: A bracket or quote that is not closed.
    """
    stripped = text.strip()
    if stripped.lower() == "none":
        return None
    if stripped[:1] not in ("[", "{", "'", '"') and not stripped.startswith("!!"):
        return parse_scalar(stripped)
    loaded = read_yaml(f"value: {stripped}", "--force_yml")
    if loaded.problems:
        raise UserError(f"--force_yml: {loaded.problems[0].message}")
    if set(loaded.root.value) != {"value"}:
        raise UserError(f"--force_yml: '{text}' is not one value")
    return loaded.root.value["value"].plain()


def entry_of(value: Any, place: Place, raw: str | None = None) -> Entry:
    """Wrap a plain value in entries that all have the same place."""
    if isinstance(value, Mapping):
        return Entry({key: entry_of(member, place) for key, member in value.items()}, place, raw)
    if isinstance(value, (list, tuple)):
        return Entry([entry_of(member, place) for member in value], place, raw)
    return Entry(value, place, raw)
