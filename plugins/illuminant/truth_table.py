"""Tables of lights as data sets publish them: csv with or without header, lists of numbers, ``.wp`` files."""

from __future__ import annotations

import csv
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError

Light = tuple[float, float, float]

_ID_NAMES = ("image", "file", "filename", "file_name", "name", "id", "img", "image_name", "path")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
_SHOWN = 5


@dataclass(frozen=True)
class TruthRow:
    """One line of a table.

    Attributes:
        line: Its number in the file, from 1.
        name: What it calls the image; empty where the table only lists lights.
        light: r, g, b of sum 1.
    """

    line: int
    name: str
    light: Light


class DegenerateError(ValueError):
    """Three numbers that are no light, because one is not positive or not finite."""


def normalized(values: Sequence[float]) -> Light:
    """Scale three positive numbers to the sum 1.

    Raises:
        DegenerateError: One is not positive and finite.
        ValueError: There are not three.
    """
    if len(values) != 3:
        raise ValueError(f"three numbers r, g, b are needed, got {len(values)}")
    if not all(math.isfinite(v) and v > 0 for v in values):
        raise DegenerateError(f"r, g, b must be positive, got {', '.join(f'{v:g}' for v in values)}")
    largest = max(values)
    scaled = [v / largest for v in values]  # a sum of huge numbers could overflow
    total = math.fsum(scaled)
    return scaled[0] / total, scaled[1] / total, scaled[2] / total


def read_text(path: Path, what: str) -> str:
    """Read a text file; ``what`` says in the message what it should hold.

    Raises:
        UserError: The file is missing, or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): {what}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file: {what}.") from error
    if "\0" in text:
        raise UserError(f"{path}: not a text file: {what}.")
    return text


def read_wp(path: Path) -> Light:
    """Read a ``.wp`` file: three numbers, as INTEL-TAU has them beside its images.

    Raises:
        UserError: The file cannot be read or does not hold three positive numbers.
    """
    fields = re.split(r"[\s,;]+", read_text(path, "a .wp file holds three numbers r, g, b").strip())
    try:
        return normalized([float(field) for field in fields if field])
    except ValueError as error:
        raise UserError(f"{path}: a .wp file holds three positive numbers r, g, b: {error}.") from error


def read_table(path: Path, columns: str | None = None, drop_degenerate: bool = False) -> list[TruthRow]:
    """Read a table of lights.

    Columns may be divided by commas, semicolons, tabs or blanks. With a header, the name is in ``image``, ``file``,
    ``name`` or ``id`` and the light in ``r``, ``g``, ``b`` or, where there are several, in ``mean_r``, ``mean_g``,
    ``mean_b`` and so on. Without one, a row is a name and three numbers, or three numbers. Lines that begin with ``#``
    are comments.

    Args:
        path: The file.
        columns: Which of several lights, such as ``mean``, ``left`` or ``right`` (Cube++). None: ``r, g, b``, else
            ``mean``.
        drop_degenerate: Leave out, with a warning, rows whose numbers are not all positive, instead of an error.

    Returns:
        The rows, in the file's order.

    Raises:
        UserError: The file cannot be read, has no such columns, or has rows without three positive numbers; the
            first few are named with their lines.
    """
    lines = list(_lines(path))
    if not lines:
        raise UserError(f"{path}: it holds no line: a truth file holds one row 'image, r, g, b' an image.")
    (_, head), body = lines[0], lines
    if _is_header(head):
        places, body = _header_places(path, head, columns), lines[1:]
    elif columns is not None:
        raise UserError(f"{path}: it has no header, so there are no columns '{columns}'; leave that option out.")
    else:
        places = _plain_places(path, head)
    rows: list[TruthRow] = []
    problems: list[str] = []
    degenerate: list[str] = []
    for number, fields in body:
        try:
            rows.append(TruthRow(number, *_row(fields, places)))
        except DegenerateError as error:
            (degenerate if drop_degenerate else problems).append(f"line {number}: {error}")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise UserError(f"{path}: {len(problems)} of {len(body)} rows: {_first(problems)}.")
    if degenerate:
        logging.getLogger("basicsr").warning("%s: %d rows left out: %s.", path, len(degenerate), _first(degenerate))
    if not rows:
        raise UserError(f"{path}: it holds no row with a light.")
    return rows


def _first(texts: list[str]) -> str:
    return "; ".join(texts[:_SHOWN]) + (f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")


def read_lights(path: Path, columns: str | None = None, drop_degenerate: bool = False) -> np.ndarray[Any, Any]:
    """Read nothing but lights: a table, or a folder of ``.wp`` files.

    Returns:
        (N, 3) float64, each of sum 1.

    Raises:
        UserError: As :func:`read_table` and :func:`read_wp`, or the folder holds no ``.wp`` file.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*.wp") if p.is_file() and not p.name.startswith("."))
        if not files:
            raise UserError(f"{path}: no .wp file in this folder or below; give that folder, or a csv of r, g, b.")
        return np.array([read_wp(file) for file in files])
    return np.array([row.light for row in read_table(path, columns, drop_degenerate)])


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    text = read_text(path, "a truth file is a table of rows 'image, r, g, b'")
    rows = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    first = rows[0][1] if rows else ""
    delimiter = next((mark for mark in (";", "\t", ",") if mark in first), None)
    for number, line in rows:
        if delimiter is None:
            yield number, line.split()
            continue
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
        # a table divided by semicolons comes from a country that writes 0,5
        yield number, [f.strip().replace(",", ".") if delimiter == ";" else f.strip() for f in fields]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _is_header(fields: list[str]) -> bool:
    named = {re.split(r"[_.\s]", field.lower())[-1] for field in fields}
    return not any(_is_number(field) for field in fields) and bool(named & {"r", "red"})


def _header_places(path: Path, head: list[str], columns: str | None) -> tuple[int | None, list[int]]:
    names = [field.strip().lower() for field in head]
    name_place = next((names.index(key) for key in _ID_NAMES if key in names), None)
    groups: dict[str, list[int | None]] = {}
    for place, name in enumerate(names):
        *prefix, last = re.split(r"[_.\s]", name)
        for channel, spellings in enumerate(_CHANNELS):
            if last in spellings:
                groups.setdefault("_".join(prefix), [None, None, None])[channel] = place
    whole = {key: [p for p in places if p is not None] for key, places in groups.items() if None not in places}
    wanted = [columns.lower()] if columns is not None else ["", "mean"]
    for key in wanted:
        if key in whole:
            return name_place, whole[key]
    there = ", ".join(f"'{key}'" if key else "r, g, b" for key in whole) or "none"
    asked = f"{columns}_r, {columns}_g, {columns}_b" if columns is not None else "r, g, b or mean_r, mean_g, mean_b"
    raise UserError(f"{path}: line 1: no columns {asked}; there are: {there}.")


def _plain_places(path: Path, fields: list[str]) -> tuple[int | None, list[int]]:
    numbers = [_is_number(field) for field in fields]
    if len(fields) == 3 and all(numbers):
        return None, [0, 1, 2]
    if len(fields) >= 4 and all(numbers[1:4]):
        return 0, [1, 2, 3]
    raise UserError(
        f"{path}: line 1: neither a header with r, g, b nor a row 'image, r, g, b' nor three numbers: "
        f"{' '.join(fields)[:80]!r}."
    )


def _row(fields: list[str], places: tuple[int | None, list[int]]) -> tuple[str, Light]:
    name_place, channels = places
    if max([*channels, name_place or 0]) >= len(fields):
        raise ValueError(f"only {len(fields)} columns")
    name = fields[name_place] if name_place is not None else ""
    if name_place is not None and not name:
        raise ValueError("no name of an image")
    values = [fields[place] for place in channels]
    if not all(_is_number(value) for value in values):
        raise ValueError(f"r, g, b must be numbers, got {', '.join(repr(v) for v in values)}")
    return name, normalized([float(value) for value in values])
