"""A dozen simple parts in LDraw's file format, computed from their measures: enough to try all without a library.

Measures in LDU (0.4 mm), y points down: a stud's pitch is 20, a brick 24 high, a plate 8, walls 4 thick, a stud 4 high
with a radius of 6. The parts are open below, as real ones are, but have no fine ribs; they carry names of their own, so
that nobody takes them for parts of LDraw's library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from basicsr.engine.checkpoint import write_atomic

Point = tuple[float, float, float]
Outline = list[tuple[float, float]]
"""Corners (x, z) of a convex polygon, in one direction round it."""

_PITCH, _BRICK, _PLATE, _WALL = 20.0, 24.0, 8.0, 4.0
_STUD, _STUD_RADIUS, _TUBE, _TUBE_HOLE = 4.0, 6.0, 8.0, 6.0
_SIDES = 24


class _Part:
    """Lines of a part's file, in the order in which they were added."""

    def __init__(self, title: str) -> None:
        self.lines = [f"0 {title}, simplified", "0 BFC CERTIFY CCW"]

    def face(self, points: Sequence[Point], inside: Point, hollow: bool = False) -> None:
        """A flat convex polygon that is seen from the side away from ``inside``, or from ``inside`` where hollow."""
        a, b, c = points[:3]
        normal = _cross(_minus(b, a), _minus(c, a))
        outwards = sum(n * d for n, d in zip(normal, _minus(_middle(points), inside), strict=True)) > 0
        ordered = list(points) if outwards != hollow else list(reversed(points))
        for second in range(1, len(ordered) - 1):
            self._line(3, 16, (ordered[0], ordered[second], ordered[second + 1]))

    def edge(self, first: Point, second: Point) -> None:
        """A sharp edge; where there is none the surface is smooth."""
        self._line(2, 24, (first, second))

    def _line(self, kind: int, color: int, points: Sequence[Point]) -> None:
        numbers = " ".join(f"{value:.4f}".rstrip("0").rstrip(".") for point in points for value in point)
        self.lines.append(f"{kind} {color} {numbers}")

    def loft(self, layers: Sequence[tuple[float, Outline]], round_about: bool, hollow: bool = False) -> None:
        """Walls between outlines of the same number of corners, one above the other."""
        inside = _middle([(x, y, z) for y, outline in layers for x, z in outline])
        rings = [[(x, y, z) for x, z in outline] for y, outline in layers]
        for lower, upper in zip(rings, rings[1:], strict=False):
            for here in range(len(lower)):
                there = (here + 1) % len(lower)
                self.face([lower[here], lower[there], upper[there], upper[here]], inside, hollow)
                if not round_about:
                    self.edge(lower[here], upper[here])
        for ring in rings:
            self._ring(ring)

    def cap(self, height: float, outline: Outline, inside: Point, hollow: bool = False) -> None:
        """A flat lid."""
        self.face([(x, height, z) for x, z in outline], inside, hollow)

    def rim(self, height: float, outer: Outline, inner: Outline, inside: Point) -> None:
        """A flat ring between two outlines of the same number of corners."""
        for here in range(len(outer)):
            there = (here + 1) % len(outer)
            corners = [outer[here], outer[there], inner[there], inner[here]]
            self.face([(x, height, z) for x, z in corners], inside)

    def _ring(self, ring: Sequence[Point]) -> None:
        for here in range(len(ring)):
            self.edge(ring[here], ring[(here + 1) % len(ring)])

    def stud(self, x: float, z: float, top: float = 0.0) -> None:
        """A stud on a surface at the height ``top``."""
        outline = _circle(_STUD_RADIUS, x, z)
        self.loft([(top, outline), (top - _STUD, outline)], round_about=True)
        self.cap(top - _STUD, outline, (x, top, z))

    def tube(self, x: float, z: float, ceiling: float, bottom: float) -> None:
        """A tube below, between four studs."""
        outer, inner = _circle(_TUBE, x, z), _circle(_TUBE_HOLE, x, z)
        self.loft([(ceiling, outer), (bottom, outer)], round_about=True)
        self.loft([(ceiling, inner), (bottom, inner)], round_about=True, hollow=True)
        self.rim(bottom, outer, inner, (x, ceiling, z))


def _minus(a: Point, b: Point) -> Point:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _cross(a: Point, b: Point) -> Point:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _middle(points: Sequence[Point]) -> Point:
    sums = [sum(values) / len(points) for values in zip(*points, strict=True)]
    return (sums[0], sums[1], sums[2])


def _circle(radius: float, x: float = 0.0, z: float = 0.0) -> Outline:
    angles = [2 * math.pi * step / _SIDES for step in range(_SIDES)]
    return [(x + radius * math.cos(angle), z + radius * math.sin(angle)) for angle in angles]


def _rectangle(low_x: float, high_x: float, low_z: float, high_z: float) -> Outline:
    return [(low_x, low_z), (high_x, low_z), (high_x, high_z), (low_x, high_z)]


def _places(count: int) -> list[float]:
    """Middles of so many studs in a row about 0."""
    return [_PITCH * (number - (count - 1) / 2) for number in range(count)]


def _hollow_box(part: _Part, wide: int, deep: int, height: float) -> None:
    """Walls and lid, open below, tubes between the studs."""
    x, z = wide * _PITCH / 2, deep * _PITCH / 2
    outer = _rectangle(-x, x, -z, z)
    inner = _rectangle(-x + _WALL, x - _WALL, -z + _WALL, z - _WALL)
    middle = (0.0, height * 0.75, 0.0)  # in the hollow, of plates too
    part.loft([(height, outer), (0.0, outer)], round_about=False)
    part.cap(0.0, outer, middle)
    part.loft([(height, inner), (_WALL, inner)], round_about=False, hollow=True)
    part.cap(_WALL, inner, middle, hollow=True)
    part.rim(height, outer, inner, middle)
    if min(wide, deep) >= 2:
        for place in _places(max(wide, deep) - 1):
            part.tube(*((place, 0.0) if wide >= deep else (0.0, place)), _WALL, height)


def _box(title: str, wide: int, deep: int, height: float, studs: bool = True) -> Callable[[], _Part]:
    def make() -> _Part:
        part = _Part(title)
        _hollow_box(part, wide, deep, height)
        if studs:
            for x in _places(wide):
                for z in _places(deep):
                    part.stud(x, z)
        return part

    return make


def _slope(title: str, wide: int) -> Callable[[], _Part]:
    """A slope of 45 degrees, two studs deep, with one row of studs at its back."""

    def make() -> _Part:
        part = _Part(title)
        x, depth, lip = wide * _PITCH / 2, _PITCH, _BRICK - 4
        whole, back = _rectangle(-x, x, -depth, depth), _rectangle(-x, x, 0.0, depth)
        middle = (0.0, _BRICK * 0.7, depth / 2)
        part.loft([(_BRICK, whole), (lip, whole), (0.0, back)], round_about=False)
        part.cap(0.0, back, middle)
        inner = _rectangle(-x + _WALL, x - _WALL, -depth + _WALL, depth - _WALL)
        top = _rectangle(-x + _WALL, x - _WALL, _WALL, depth - _WALL)
        part.loft([(_BRICK, inner), (lip + 2, inner), (_WALL, top)], round_about=False, hollow=True)
        part.cap(_WALL, top, middle, hollow=True)
        part.rim(_BRICK, whole, inner, middle)
        for place in _places(wide):
            part.stud(place, depth / 2)
        return part

    return make


def _turned(title: str, layers: Sequence[tuple[float, float]], hole: float, studs: int) -> Callable[[], _Part]:
    """A round part: outer radii by height from the bottom up, and the radius of the hollow below."""

    def make() -> _Part:
        part = _Part(title)
        bottom, top = layers[0][0], layers[-1][0]
        part.loft([(height, _circle(radius)) for height, radius in layers], round_about=True)
        middle = (0.0, (bottom + top) / 2, 0.0)
        part.cap(top, _circle(layers[-1][1]), middle)
        inner = _circle(hole)
        part.loft([(bottom, inner), (top + _WALL, inner)], round_about=True, hollow=True)
        part.cap(top + _WALL, inner, middle, hollow=True)
        part.rim(bottom, _circle(layers[0][1]), inner, middle)
        for x in _places(studs):
            for z in _places(studs):
                part.stud(x, z, top)
        return part

    return make


PARTS: dict[str, Callable[[], _Part]] = {
    "brick-1x1": _box("Brick 1 x 1", 1, 1, _BRICK),
    "brick-1x2": _box("Brick 1 x 2", 2, 1, _BRICK),
    "brick-2x2": _box("Brick 2 x 2", 2, 2, _BRICK),
    "brick-2x4": _box("Brick 2 x 4", 4, 2, _BRICK),
    "plate-1x2": _box("Plate 1 x 2", 2, 1, _PLATE),
    "plate-2x2": _box("Plate 2 x 2", 2, 2, _PLATE),
    "tile-2x2": _box("Tile 2 x 2", 2, 2, _PLATE, studs=False),
    "slope-1x2": _slope("Slope 45 1 x 2", 1),
    "slope-2x2": _slope("Slope 45 2 x 2", 2),
    "round-1x1": _turned("Round brick 1 x 1", [(_BRICK, 8.0), (20.0, 8.0), (20.0, 10.0), (0.0, 10.0)], 6.0, 1),
    "round-2x2": _turned("Round brick 2 x 2", [(_BRICK, 20.0), (0.0, 20.0)], 15.0, 2),
    "cone-1x1": _turned("Cone 1 x 1", [(_BRICK, 8.0), (20.0, 8.0), (20.0, 10.0), (0.0, 6.5)], 5.0, 1),
}
"""Part id to what makes its file."""


def part_text(part: str) -> str:
    """The text of a part's file.

    Raises:
        KeyError: There is no such part.
    """
    return "\n".join(PARTS[part]().lines) + "\n"


def write_simple_parts(folder: Path) -> tuple[str, ...]:
    """Write all parts as an LDraw library.

    Args:
        folder: Gets ``parts/<id>.dat``.

    Returns:
        The part ids.

    Raises:
        UserError: The disk refused.
    """
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        content = part_text(part).encode()
        write_atomic(folder / "parts" / f"{part}.dat", lambda stream, data=content: stream.write(data))  # type: ignore[misc]
    return tuple(PARTS)
