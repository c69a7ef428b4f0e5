"""Find the images of every source and what their folders, names or tables say of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names
from plugins.lego.color_ids import LDRAW, UNKNOWN_COLOR, canonical_color
from plugins.lego.lego_manifest import REAL, read_csv

RENDERS = "renders.csv"
_PRINT = re.compile(r"(?<=\d)[a-z]?(pr|pb|ps|px|pat)\d+[a-z]*$")
_MOULD = re.compile(r"(?<=\d)[a-z]$")
_PIECE_KEYS = ("session", "piece", "photo", "group")
_FILE_KEYS = ("path", "file", "image", "filename")
_COLOR_KEYS = ("color", "colour", "color_id")
_PART_KEYS = ("part", "part_id", "part_num")


@dataclass(frozen=True, slots=True)
class Found:
    """An image before its ids are brought to one scheme.

    Attributes:
        path: The file.
        source: One of the manifest's sources.
        part: Part id as it stands there; empty where not known.
        color: Colour as it stands there; empty where not known.
        piece: Piece or capture session; empty for synthetic images.
        where: Folder or table row, for messages.
    """

    path: Path
    source: str
    part: str
    color: str
    piece: str
    where: str


@dataclass(frozen=True)
class Place:
    """Where images of a source lie.

    Attributes:
        source: One of the manifest's sources.
        path: A folder of part folders, or a csv table.
        scheme: What kind of numbers its colours are; None where it may have none.
    """

    source: str
    path: Path
    scheme: str | None = None


@dataclass
class Aliases:
    """Decides which parts are one class.

    Attributes:
        table: Part id to class id; it goes before the rules.
        prints: Whether a print (``3001pr0001``) is the class of the plain part.
        moulds: Whether a mould variant (``3040b``) is the class of the number.
    """

    table: Mapping[str, str] = field(default_factory=dict)
    prints: bool = True
    moulds: bool = False

    def class_of(self, part: str) -> str:
        """The class id of a part id.

        Raises:
            UserError: The table goes round in a circle.
        """
        name = part.strip().lower()
        seen: list[str] = []
        while name in self.table and self.table[name] != name:
            if name in seen:
                raise UserError(f"alias table: {' -> '.join([*seen, name])} goes round in a circle")
            seen.append(name)
            name = self.table[name]
        if name in self.table:
            return name
        plain = _PRINT.sub("", name) if self.prints else name
        plain = _MOULD.sub("", plain) if self.moulds else plain
        return self.class_of(plain) if plain != name else name


def read_aliases(path: Path | None, prints: bool = True, moulds: bool = False) -> Aliases:
    """Read an alias table: csv with the columns ``part`` and ``class``.

    Raises:
        UserError: It cannot be read, or a part comes twice with different classes.
    """
    table: dict[str, str] = {}
    for row in read_csv(path, ("part", "class")) if path else ():
        part, target = row["part"].lower(), row["class"].lower()
        if not part or not target:
            raise UserError(f"{path}: a row lacks its part or its class: {row}")
        if table.setdefault(part, target) != target:
            raise UserError(f"{path}: the part '{part}' has two classes, {table[part]} and {target}")
    return Aliases(table, prints, moulds)


def read_targets(path: Path) -> list[str]:
    """Part ids of a list, one a line; ``#`` begins a comment.

    Raises:
        UserError: It cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: this is no text in UTF-8") from error
    parts = [text.split()[0].rstrip(",").lower() for line in lines if (text := line.split("#")[0].strip())]
    if not parts:
        raise UserError(f"{path}: there is no part in the list; give one part id a line")
    return list(dict.fromkeys(parts))


def find_images(place: Place) -> Iterator[Found]:
    """The images of a place.

    Raises:
        UserError: There is no such place, it has no image, or a table lacks a column.
    """
    path = place.path
    if path.is_dir() and (path / RENDERS).is_file():
        path = path / RENDERS
    if not path.exists():
        raise UserError(f"{path}: there is no such folder or table")
    found = False
    for image in _of_folder(place) if path.is_dir() else _of_table(place, path):
        found = True
        yield image
    if not found:
        wanted = "folders of parts (part/images or part/colour/images)" if path.is_dir() else "rows"
        raise UserError(f"{path}: no image found; it should hold {wanted}")


def _of_folder(place: Place) -> Iterator[Found]:
    for part in _folders(place.path):
        folder = place.path / part
        yield from _images(place, folder, part, "")
        for color in _folders(folder):
            yield from _images(place, folder / color, part, color)
            for piece in _folders(folder / color):
                yield from _images(place, folder / color / piece, part, color, piece)


def _images(place: Place, folder: Path, part: str, color: str, piece: str | None = None) -> Iterator[Found]:
    for name in image_names(folder):
        group = ""
        if place.source == REAL:
            group = f"{part}/{color + '/' if color else ''}{_piece_of(name) if piece is None else piece}"
        yield Found(folder / name, place.source, part, color, group, str(folder))


def _piece_of(name: str) -> str:
    """``<piece>_<view>.jpg``; a name without ``_`` leaves all images of its folder together, which is always safe."""
    stem = os.path.splitext(name)[0]
    return stem.rsplit("_", 1)[0] if "_" in stem else ""


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be read: {error.strerror or error}") from error


def _of_table(place: Place, table: Path) -> Iterator[Found]:
    base: Path | None = None
    for line, row in enumerate(read_csv(table), start=2):
        file = _first(row, _FILE_KEYS)
        if not file:
            raise UserError(f"{table}: line {line}: no image; a table needs a column path (or file)")
        if base is None:
            beside = table.parent / table.stem / file
            base = table.parent / table.stem if beside.is_file() else table.parent
        piece = ""
        if place.source == REAL:
            # Sessions may span parts, so a table's own word stands for itself.
            piece = _first(row, _PIECE_KEYS)
            if not piece:
                raise UserError(f"{table}: line {line}: no piece; real images need a column {' or '.join(_PIECE_KEYS)}")
        color = _first(row, _COLOR_KEYS)
        yield Found(base / file, place.source, _first(row, _PART_KEYS), color, piece, f"{table}: line {line}")


def _first(row: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next((row[key] for key in keys if row.get(key)), "")


def color_reader(place: Place, tolerate: bool) -> _ColorReader:
    """What brings the colours of a place to LDraw's codes; see :class:`_ColorReader`."""
    return _ColorReader(place, tolerate)


class _ColorReader:
    """Brings colours to LDraw's codes, remembers those it has seen, and collects those that do not exist."""

    def __init__(self, place: Place, tolerate: bool) -> None:
        self._scheme = place.scheme or (LDRAW if place.source == "render" else None)
        self._place, self._tolerate = place, tolerate
        self._known: dict[str, int] = {"": UNKNOWN_COLOR, str(UNKNOWN_COLOR): UNKNOWN_COLOR}
        self.wrong: dict[str, str] = {}

    def __call__(self, found: Found) -> int:
        if found.color not in self._known:
            self._known[found.color] = self._read(found)
        return self._known[found.color]

    def _read(self, found: Found) -> int:
        if self._scheme is None:
            raise UserError(
                f"{found.where}: the colour is '{found.color}', and a number means nothing without its scheme: say "
                f"--{self._place.source}-colors ldraw, rebrickable, bricklink or name"
            )
        try:
            return canonical_color(found.color, self._scheme, found.where)
        except UserError as error:
            self.wrong[found.color] = str(error)
            return UNKNOWN_COLOR

    def check(self) -> None:
        """Raise ``UserError`` with every colour that does not exist, unless they are tolerated as unknown."""
        if self.wrong and not self._tolerate:
            lines = "\n  ".join(self.wrong.values())
            raise UserError(
                f"{len(self.wrong)} colours of {self._place.path} are not in the table:\n  {lines}\n"
                "--tolerate-colors takes their images as of unknown colour"
            )
