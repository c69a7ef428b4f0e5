"""The manifest of a LEGO data set, one csv row an image, and the files that number its classes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.lego.color_ids import UNKNOWN_COLOR

MANIFEST = "manifest.csv"
PART_NAMES, COLOR_NAMES = "part_names.json", "color_names.json"
SOURCES = ("legacy", "b200c", "real", "render")
"""In the order of the numbers that a data set's items carry."""
REAL = "real"
TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)


@dataclass(frozen=True, slots=True)
class Record:
    """One image.

    Attributes:
        path: File, relative to the manifest's folder or absolute.
        source: One of ``SOURCES``.
        part: Class id after the alias table; empty where the part is not known.
        color: LDraw's code, 9999 where not known.
        piece: Piece or capture session; empty for synthetic images.
        split: One of ``SPLITS``.
        sha1: Of the file, hexadecimal.
    """

    path: str
    source: str
    part: str
    color: int
    piece: str
    split: str
    sha1: str


COLUMNS = tuple(entry.name for entry in fields(Record))


@dataclass(frozen=True)
class Classes:
    """What the numbers of a head mean.

    Attributes:
        ids: Class id of each number: part ids, or LDraw codes as text.
        names: What to show for each.
        rgb: Display colour of each class of colour, ``#RRGGBB``; empty for parts.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    rgb: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self) -> dict[str, int]:
        """Class id to its number."""
        return {name: number for number, name in enumerate(self.ids)}

    def rows(self) -> list[dict[str, Any]]:
        """What the file holds."""
        plain = [
            {"index": number, "id": one, "name": name}
            for number, (one, name) in enumerate(zip(self.ids, self.names, strict=True))
        ]
        return [{**row, "rgb": color} for row, color in zip(plain, self.rgb, strict=True)] if self.rgb else plain


def read_manifest(path: Path) -> list[Record]:
    """Read a manifest; further columns are left alone.

    Raises:
        UserError: It is missing, no text, lacks a column, or a row has a wrong value.
    """
    records = []
    for line, row in enumerate(read_csv(path, COLUMNS), start=2):
        try:
            color = int(row["color"])
        except ValueError as error:
            raise UserError(f"{path}: line {line}: color '{row['color']}' is no LDraw code") from error
        for key, known in (("source", SOURCES), ("split", SPLITS)):
            if row[key] not in known:
                raise UserError(f"{path}: line {line}: {key} '{row[key]}': use one of {', '.join(known)}")
        if not row["path"]:
            raise UserError(f"{path}: line {line}: no path")
        records.append(Record(row["path"], row["source"], row["part"], color, row["piece"], row["split"], row["sha1"]))
    return records


def read_csv(path: Path, needed: Sequence[str] = ()) -> Iterable[dict[str, str]]:
    """The rows of a csv file with a header, missing cells as empty text.

    Raises:
        UserError: It is missing or no such file.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: the header lacks {', '.join(missing)}; it needs {', '.join(needed)}")
            for row in reader:
                yield {key: (value or "").strip() for key, value in row.items() if key is not None}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: this is no csv text in UTF-8 ({error})") from error


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows to a csv file at once, or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, lambda stream: stream.write(text.getvalue().encode()))


def write_manifest(path: Path, records: Iterable[Record]) -> None:
    """Write a manifest at once."""
    write_csv(path, COLUMNS, (asdict(record) for record in records))


def read_classes(path: Path) -> Classes:
    """Read ``part_names.json`` or ``color_names.json``.

    Raises:
        UserError: It is missing, or no list of classes numbered from 0 in order, or an id comes twice.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: this is no JSON ({error})") from error
    shape = 'a list of {"index": 0, "id": "3001", "name": "3001"}'
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
        raise UserError(f"{path}: this is no list of classes; it should be {shape}")
    for number, row in enumerate(rows):
        if row.get("index", number) != number:
            raise UserError(f"{path}: row {number} has the index {row['index']}; rows are numbered from 0 in order")
    ids = tuple(str(row["id"]) for row in rows)
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: the class '{twice}' comes twice")
    rgb = tuple(str(row["rgb"]) for row in rows) if rows and all("rgb" in row for row in rows) else ()
    return Classes(ids, tuple(str(row.get("name", row["id"])) for row in rows), rgb)


def write_classes(path: Path, classes: Classes) -> None:
    """Write a class file at once."""
    text = json.dumps(classes.rows(), indent=1, ensure_ascii=False) + "\n"
    write_atomic(path, lambda stream: stream.write(text.encode()))


def extended(old: Sequence[str], wanted: Iterable[str]) -> list[str]:
    """Class ids in a stable order: those there were keep their number, new ones follow, sorted as people count."""
    known = set(old)
    return [*old, *sorted({one for one in wanted if one not in known}, key=counting_key)]


def counting_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which ``3001`` comes before ``30165`` and ``3001`` before ``3001a``."""
    parts: list[tuple[int, int, str]] = []
    for character in text:
        if character.isdecimal() and character.isascii():
            value = int(character)
            if parts and parts[-1][0] == 0:
                parts[-1] = (0, parts[-1][1] * 10 + value, "")
            else:
                parts.append((0, value, ""))
        else:
            parts.append((1, 0, character))
    return tuple(parts)


def is_known(color: int) -> bool:
    """Whether a colour code says which colour it is."""
    return color != UNKNOWN_COLOR
