"""Whether a value from an option file fits a parameter's annotation, and what it becomes."""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import inspect
import pathlib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

from basicsr.engine.options_yaml import parse_scalar

SEQUENCES = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
NoneType = type(None)


class TypeMismatch(ValueError):
    """A value does not fit; the message says what was expected and what came."""


def convert(value: Any, annotation: Any, raw: str | None = None) -> Any:
    """Fit a value to an annotation.

    Args:
        value: Plain value from an option file.
        annotation: bool, int, float, str, Path, None, Literal, list/tuple/dict forms, unions of these. Anything that
            YAML cannot express (a class, a callable) accepts every value.
        raw: The text the value was read from, for values from the command line: where text is wanted it is that text.

    Returns:
        The value; an int where a whole float stands for one (``!!float 5e3``), a number where a text is one
        (``'1e-3'``).

    Raises:
        TypeMismatch: It does not fit.
    """
    annotation = _plain_annotation(annotation)
    if not is_expressible(annotation):
        return value
    if typing.get_origin(annotation) is Union:
        return _convert_union(value, annotation, raw)
    if typing.get_origin(annotation) is Literal:
        return _convert_literal(value, annotation, raw)
    base = typing.get_origin(annotation) or annotation
    if base in (bool, int, float, str, pathlib.Path, pathlib.PurePath, NoneType):
        return _convert_scalar(value, base, raw)
    arguments = typing.get_args(annotation)
    if base is tuple:
        return _convert_tuple(value, annotation, arguments)
    if base in SEQUENCES:
        return _convert_items(value, annotation, [arguments[0] if arguments else Any] * _length(value))
    return _convert_mapping(value, annotation, arguments)


def _plain_annotation(annotation: Any) -> Any:
    if annotation is None:
        return NoneType
    if typing.get_origin(annotation) is typing.Annotated:
        return _plain_annotation(typing.get_args(annotation)[0])
    if isinstance(annotation, types.UnionType):
        return Union[typing.get_args(annotation)]  # noqa: UP007 - built from parts
    return annotation


def is_expressible(annotation: Any) -> bool:
    """Whether YAML can express values of this type."""
    annotation = _plain_annotation(annotation)
    origin = typing.get_origin(annotation)
    if origin is Union:
        return any(is_expressible(item) for item in typing.get_args(annotation) if item is not NoneType)
    if origin is Literal or dataclasses.is_dataclass(annotation):
        return True
    scalars = (bool, int, float, str, pathlib.Path, pathlib.PurePath, NoneType, tuple)
    return (origin or annotation) in (*scalars, *SEQUENCES, *MAPPINGS)


def accepts_none(annotation: Any) -> bool:
    """Whether ``~`` is a value of this type."""
    annotation = _plain_annotation(annotation)
    if typing.get_origin(annotation) is Union:
        return any(accepts_none(item) for item in typing.get_args(annotation))
    if typing.get_origin(annotation) is Literal:
        return None in typing.get_args(annotation)
    return annotation is NoneType or not is_expressible(annotation)


def dataclass_in(annotation: Any) -> type | None:
    """The dataclass among the alternatives of an annotation, if there is one."""
    annotation = _plain_annotation(annotation)
    options = typing.get_args(annotation) if typing.get_origin(annotation) is Union else (annotation,)
    return next((item for item in options if inspect.isclass(item) and dataclasses.is_dataclass(item)), None)


def _convert_union(value: Any, annotation: Any, raw: str | None) -> Any:
    fitting = []
    for item in typing.get_args(annotation):
        if item is not NoneType and not is_expressible(item):
            continue
        try:
            fitting.append(convert(value, item, raw))
        except TypeMismatch:
            continue
    if not fitting:
        raise TypeMismatch(expected(annotation, value))
    return next((item for item in fitting if type(item) is type(value) and item == value), fitting[0])


def _convert_literal(value: Any, annotation: Any, raw: str | None) -> Any:
    choices = typing.get_args(annotation)
    for choice in choices:
        if (type(choice) is type(value) and choice == value) or (isinstance(choice, str) and choice == raw):
            return choice
    raise TypeMismatch(expected(annotation, value) + did_you_mean(str(value), map(str, choices)))


def _convert_scalar(value: Any, wanted: type, raw: str | None) -> Any:
    if wanted in (str, pathlib.Path, pathlib.PurePath):
        if isinstance(value, str):
            return value
        if raw is not None and value is not None and not isinstance(value, (list, dict)):
            return raw.strip()
    elif wanted is NoneType:
        if value is None:
            return None
    elif wanted is bool:
        if isinstance(value, bool):
            return value
    else:
        number = parse_scalar(value.strip()) if isinstance(value, str) else value
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            if wanted is float:
                return float(number)
            if isinstance(number, int) or number.is_integer():
                return int(number)
    raise TypeMismatch(expected(wanted, value))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _convert_tuple(value: Any, annotation: Any, arguments: tuple[Any, ...]) -> list[Any]:
    if not arguments:
        return _convert_items(value, annotation, [Any] * _length(value))
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return _convert_items(value, annotation, [arguments[0]] * _length(value))
    if isinstance(value, list) and len(value) != len(arguments):
        raise TypeMismatch(expected(annotation, value))
    return _convert_items(value, annotation, list(arguments))


def _convert_items(value: Any, annotation: Any, wanted: list[Any]) -> list[Any]:
    if not isinstance(value, list):
        hint = "" if value is None or isinstance(value, dict) else f"; write [{value}]"
        raise TypeMismatch(expected(annotation, value) + hint)
    items = []
    for index, (item, item_type) in enumerate(zip(value, wanted, strict=True)):
        try:
            items.append(convert(item, item_type))
        except TypeMismatch as error:
            raise TypeMismatch(f"item {index + 1}: {error}") from error
    return items


def _convert_mapping(value: Any, annotation: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeMismatch(expected(annotation, value))
    key_type, item_type = arguments if len(arguments) == 2 else (Any, Any)
    converted = {}
    for key, item in value.items():
        try:
            converted[convert(key, key_type, str(key))] = convert(item, item_type)
        except TypeMismatch as error:
            raise TypeMismatch(f"'{key}': {error}") from error
    return converted


def expected(annotation: Any, value: Any) -> str:
    """``expected a whole number, got the text 'abc'``."""
    return f"expected {describe(annotation)}, got {_describe_value(value)}"


def _describe_value(value: Any) -> str:
    if value is None:
        return "nothing (~)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, value)) or 'nothing in it'}"
    if isinstance(value, list):
        return f"the list {value}" if len(value) <= 8 else f"a list of {len(value)}"
    return f"the number {value}"


WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    pathlib.Path: "a path",
    pathlib.PurePath: "a path",
    NoneType: "~",
    Any: "anything",
}


def describe(annotation: Any) -> str:
    """An annotation in words."""
    annotation = _plain_annotation(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Union:
        parts = [describe(item) for item in arguments if item is NoneType or is_expressible(item)]
        if "a number" in parts and "a whole number" in parts:
            parts.remove("a whole number")
        return " or ".join(dict.fromkeys(parts)) or "anything"
    if origin is Literal:
        return " or ".join(_describe_choice(item) for item in arguments)
    base = origin or annotation
    if base is tuple and arguments and Ellipsis not in arguments:
        return f"a list of {len(arguments)}: {', '.join(describe(item) for item in arguments)}"
    if base is tuple or base in SEQUENCES:
        return f"a list of {_plural(describe(arguments[0]))}" if arguments else "a list"
    if base in MAPPINGS or dataclasses.is_dataclass(annotation):
        return "a mapping"
    return getattr(annotation, "__name__", str(annotation))


def _plural(words: str) -> str:
    plurals = {"a whole number": "whole numbers", "a number": "numbers", "text": "texts", "a mapping": "mappings"}
    return plurals.get(words, words)


def _describe_choice(choice: Any) -> str:
    if choice is None:
        return "~"
    return str(choice).lower() if isinstance(choice, bool) else str(choice)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where a candidate is near, else ''."""
    found = nearest(name, candidates)
    return f"; did you mean '{found[0]}'?" if found else ""


def nearest(name: str, candidates: Iterable[str], count: int = 1) -> list[str]:
    """The candidates that look most like a name, disregarding case."""
    by_lower: dict[str, str] = {}
    for candidate in candidates:
        by_lower.setdefault(candidate.lower(), candidate)
    return [by_lower[item] for item in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)]
