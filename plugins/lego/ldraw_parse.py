"""Reads LDraw files: lines of type 0 to 5 into arrays, sub-files flattened through their 3x4 matrices.

Facts of the format (LDraw.org file format 1.0.2 and its BFC extension): units are LDU (0.4 mm), y points down. Line
types: 0 comment and meta command, 1 sub-file, 2 edge, 3 triangle, 4 quadrilateral, 5 optional line. Colour 16 is the
colour of whoever refers to the file, 24 its edge colour. ``BFC CERTIFY CW|CCW`` states the winding, ``BFC CW|CCW``
changes it from there on, ``BFC INVERTNEXT`` turns the next sub-file inside out, and a matrix of negative determinant
turns it once more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.engine.errors import UserError
from plugins.lego.ldraw_library import LDrawLibrary

Array = NDArray[Any]

INHERITED, EDGE_COLOR = 16, 24
_MAX_DEPTH = 40
_MAX_FACES = 4_000_000
_NUMBERS = {1: 12, 2: 6, 3: 9, 4: 12, 5: 12}
_STUD = re.compile(r"^p/stud(10|15|a)?\.dat$")
_ROUND = re.compile(r"^p/stud\w*\.dat$")


@dataclass(frozen=True)
class SubFile:
    """A type-1 line: which file, with which colour and (3, 4) matrix, whether turned inside out, and its line."""

    name: str
    color: int
    matrix: Array
    inverted: bool
    line: int


@dataclass
class ParsedFile:
    """What one file says by itself.

    Attributes:
        triangles: (F, 3, 3) corners, counter-clockwise seen from outside where ``certified``.
        triangle_colors: (F,) LDraw codes.
        certified: (F,) whether the winding of a triangle is known.
        edges: (E, 2, 3) ends of type-2 lines.
        children: Its sub-files.
    """

    triangles: Array
    triangle_colors: Array
    certified: Array
    edges: Array
    children: list[SubFile]


@dataclass
class FlatPart:
    """A part with all its sub-files in place.

    Attributes:
        triangles: (F, 3, 3) float64 corners in LDU, y down.
        colors: (F,) int32, 16 where the part's own colour belongs.
        certified: (F,) bool, whether the winding (counter-clockwise from outside) is known.
        edges: (E, 2, 3) float64 ends of the type-2 lines.
        studs: (S, 3, 4) float64 matrices of the studs that carry the maker's relief on top.
        stud_faces: (S, 2) first triangle of each of them, and the one after its last.
        description: The first line of the file.
    """

    triangles: Array
    colors: Array
    certified: Array
    edges: Array
    studs: Array
    stud_faces: Array
    description: str = ""


@dataclass
class _Collected:
    triangles: list[Array] = field(default_factory=list)
    colors: list[Array] = field(default_factory=list)
    certified: list[Array] = field(default_factory=list)
    edges: list[Array] = field(default_factory=list)
    studs: list[Array] = field(default_factory=list)
    stud_faces: list[tuple[int, int]] = field(default_factory=list)
    faces: int = 0


class _Reader:
    """The state of reading one file line by line: winding and what the next sub-file's sign is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.certified = False
        self.clockwise = False
        self.clip = True
        self.invert_next = False
        self.triangles: list[list[float]] = []
        self.colors: list[int] = []
        self.known: list[bool] = []
        self.edges: list[list[float]] = []
        self.children: list[SubFile] = []

    def error(self, line: int, what: str) -> UserError:
        return UserError(f"{self.name}, line {line}: {what}")

    def read(self, number: int, line: str) -> None:
        words = line.split()
        if not words:
            return
        if words[0] == "0":
            self._meta([word.upper() for word in words[1:]])
            return
        if not words[0].isdecimal() or not 1 <= int(words[0]) <= 5:
            raise self.error(number, f"starts with '{words[0][:20]}'; an LDraw line starts with a type from 0 to 5.")
        kind = int(words[0])
        color, values = self._values(number, kind, words)
        if kind == 1:
            name = line.split(None, 14)[14].strip()
            matrix = np.array(values).reshape(4, 3)
            whole = np.concatenate([matrix[1:], matrix[:1].T], axis=1)  # the file has x y z first, then the rows
            self.children.append(SubFile(name, color, whole, self.invert_next, number))
            self.invert_next = False
        elif kind == 2:
            self.edges.append(values)
        elif kind in (3, 4):
            self._face(color, values)

    def _values(self, number: int, kind: int, words: list[str]) -> tuple[int, list[float]]:
        count = _NUMBERS[kind]
        if len(words) < 2 + count + (kind == 1):
            needed = f"a colour and {count} numbers" + (" and a file name" if kind == 1 else "")
            raise self.error(number, f"a line of type {kind} needs {needed}; it has {len(words) - 1} words.")
        try:
            color = int(words[1], 16 if words[1].lower().startswith("0x") else 10)
            values = [float(word) for word in words[2 : 2 + count]]
        except ValueError:
            raise self.error(number, f"'{' '.join(words[1 : 2 + count])[:80]}' are not all numbers.") from None
        if not np.isfinite(values).all():
            raise self.error(number, "a coordinate is not finite.")
        return color, values

    def _face(self, color: int, values: list[float]) -> None:
        a, b, c = values[0:3], values[3:6], values[6:9]
        faces = [(a, b, c)] if len(values) == 9 else [(a, b, c), (a, c, values[9:12])]
        for first, second, third in faces:
            self.triangles.append([*first, *third, *second] if self.clockwise else [*first, *second, *third])
            self.colors.append(color)
            self.known.append(self.certified and self.clip)

    def _meta(self, words: list[str]) -> None:
        if not words or words[0] != "BFC":
            return
        for word in words[1:]:
            if word in ("CERTIFY", "NOCERTIFY"):
                self.certified = word == "CERTIFY"
            elif word in ("CW", "CCW"):
                self.clockwise = word == "CW"
            elif word in ("CLIP", "NOCLIP"):
                self.clip = word == "CLIP"
            elif word == "INVERTNEXT":
                self.invert_next = True


def parse_text(text: str, name: str) -> ParsedFile:
    """Read one LDraw file by itself.

    Args:
        text: Its text.
        name: Its name, for error messages.

    Raises:
        UserError: A line is not what its type needs; the message has the name and the line's number.
    """
    reader = _Reader(name)
    for number, line in enumerate(text.splitlines(), start=1):
        if number == 1:
            line = line.lstrip("\ufeff")
        if line.upper().startswith("0 FILE ") and reader.triangles + reader.edges + reader.children:
            break  # a multi-part document: its first model is the part
        reader.read(number, line)
    return ParsedFile(
        np.array(reader.triangles, dtype=np.float64).reshape(-1, 3, 3),
        np.array(reader.colors, dtype=np.int32),
        np.array(reader.known, dtype=bool),
        np.array(reader.edges, dtype=np.float64).reshape(-1, 2, 3),
        reader.children,
    )


class PartReader:
    """Flattens parts of a library; files that many parts share are parsed once.

    Args:
        library: Where the files are.
    """

    def __init__(self, library: LDrawLibrary) -> None:
        self.library = library
        self._parsed: dict[str, ParsedFile] = {}

    def read(self, part: str) -> FlatPart:
        """A part by its id.

        Raises:
            UserError: There is no such part, a file is malformed or missing, files refer to each other in a circle, or
                the part has no surface.
        """
        key = self.library.part_key(part)
        found = _Collected()
        self._flatten(key, np.eye(4), INHERITED, False, True, (), found)
        if not found.faces:
            raise UserError(f"{self.library.path}: {key}: has no triangle or quadrilateral; nothing can be rendered.")
        first = self.library.text(key).splitlines()[0].lstrip("\ufeff")
        return FlatPart(
            np.concatenate(found.triangles),
            np.concatenate(found.colors),
            np.concatenate(found.certified),
            np.concatenate(found.edges) if found.edges else np.zeros((0, 2, 3)),
            np.array(found.studs).reshape(-1, 3, 4),
            np.array(found.stud_faces, dtype=np.int64).reshape(-1, 2),
            " ".join(first.split()[1:]),
        )

    def _file(self, key: str) -> ParsedFile:
        if key not in self._parsed:
            self._parsed[key] = parse_text(self.library.text(key), f"{self.library.path}: {key}")
        return self._parsed[key]

    def _flatten(
        self, key: str, matrix: Array, color: int, inverted: bool, known: bool, above: tuple[str, ...], out: _Collected
    ) -> None:
        file = self._file(key)
        before = out.faces
        out.faces += len(file.triangles)
        if out.faces > _MAX_FACES:
            raise UserError(f"{self.library.path}: {(*above, key)[0]}: more than {_MAX_FACES} faces.")
        if len(file.triangles):
            points = file.triangles @ matrix[:3, :3].T + matrix[:3, 3]
            if inverted != bool(np.linalg.det(matrix[:3, :3]) < 0):
                points = points[:, ::-1]
            out.triangles.append(points)
            own = file.triangle_colors
            out.colors.append(np.where((own == INHERITED) | (own == EDGE_COLOR), color, own).astype(np.int32))
            out.certified.append(file.certified & known)
        if len(file.edges):
            out.edges.append(file.edges @ matrix[:3, :3].T + matrix[:3, 3])
        for child in file.children:
            self._enter(child, key, matrix, color, inverted, known, above, out)
        if _STUD.search(key):
            out.studs.append(matrix[:3])
            out.stud_faces.append((before, out.faces))

    def _enter(
        self,
        child: SubFile,
        key: str,
        matrix: Array,
        color: int,
        inverted: bool,
        known: bool,
        above: tuple[str, ...],
        out: _Collected,
    ) -> None:
        place = f"{self.library.path}: {key}, line {child.line}"
        # Studs stand alone, so their finer circles (48 sides) fit; elsewhere 16-sided holes are cut for 16-sided ones.
        finer = self.library.find(f"48/{child.name}") if _ROUND.search(key) else None
        below = finer or self.library.find(child.name)
        if below is None:
            raise UserError(f"{place}: refers to '{child.name}', which the library does not have.")
        if below in (*above, key):
            raise UserError(f"{place}: refers to '{child.name}', which refers back to it: a circle.")
        if len(above) >= _MAX_DEPTH:
            raise UserError(f"{place}: sub-files are nested deeper than {_MAX_DEPTH} levels.")
        own = color if child.color in (INHERITED, EDGE_COLOR) else child.color
        whole = matrix @ np.concatenate([child.matrix, [[0.0, 0.0, 0.0, 1.0]]])
        self._flatten(below, whole, own, inverted != child.inverted, known, (*above, key), out)
