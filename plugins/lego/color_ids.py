"""Colour numbers of LDraw, Rebrickable and BrickLink, kept apart: a number means nothing without its scheme.

The table ``color_ids.csv`` holds codes, names and display values of LDraw's colour configuration (LDConfig.ldr, update
2023-04-13, LDraw.org, CC BY 2.0) and the number of the same colour elsewhere, blank where that is not certain.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from basicsr.engine.errors import UserError

UNKNOWN_COLOR = 9999
"""Canonical code of a colour that is not known."""
LDRAW, REBRICKABLE, BRICKLINK, NAME = "ldraw", "rebrickable", "bricklink", "name"
SCHEMES = (LDRAW, REBRICKABLE, BRICKLINK, NAME)
_UNKNOWN_IDS = {LDRAW: ("9999",), REBRICKABLE: ("-1", "9999"), BRICKLINK: ("0", "9999"), NAME: ("", "unknown", "9999")}
_FILE = Path(__file__).with_name("color_ids.csv")
_NEAREST = 4


@dataclass(frozen=True)
class BrickColor:
    """One colour.

    Attributes:
        ldraw: LDraw's code: the canonical one here.
        name: LDraw's name, with spaces.
        rgb: Display value, sRGB, each 0 to 255.
        finish: solid, transparent, chrome, pearl, metal, milky, glitter, speckle or rubber.
        rebrickable: Rebrickable's id; None where it is not certain or there is none.
        bricklink: BrickLink's id; None likewise.
        other_names: Names elsewhere.
    """

    ldraw: int
    name: str
    rgb: tuple[int, int, int]
    finish: str
    rebrickable: int | None = None
    bricklink: int | None = None
    other_names: tuple[str, ...] = ()

    def id_in(self, scheme: str) -> int | str | None:
        """The number (or name) in a scheme; None where it is not known."""
        values: dict[str, int | str | None] = {
            LDRAW: self.ldraw, REBRICKABLE: self.rebrickable, BRICKLINK: self.bricklink, NAME: self.name
        }  # fmt: skip
        return values[check_scheme(scheme)]


@lru_cache(maxsize=1)
def color_table() -> tuple[BrickColor, ...]:
    """All colours, by LDraw code."""
    with open(_FILE, encoding="utf-8", newline="") as stream:
        return tuple(_color_of(row) for row in csv.DictReader(stream))


def _color_of(row: dict[str, str]) -> BrickColor:
    value = int(row["rgb"].removeprefix("#"), 16)
    return BrickColor(
        int(row["ldraw"]),
        row["name"],
        (value >> 16, value >> 8 & 255, value & 255),
        row["finish"],
        int(row["rebrickable"]) if row["rebrickable"] else None,
        int(row["bricklink"]) if row["bricklink"] else None,
        tuple(name for name in row["other_names"].split(";") if name),
    )


def check_scheme(scheme: str) -> str:
    """Return the scheme.

    Raises:
        UserError: There is no such scheme.
    """
    if scheme not in SCHEMES:
        raise UserError(f"colour scheme '{scheme}': there are {', '.join(SCHEMES)}")
    return scheme


def canonical_color(value: str | int, scheme: str, where: str = "") -> int:
    """The LDraw code of a colour.

    Args:
        value: Number, or name with any spelling of spaces, case and "grey".
        scheme: What kind of number it is: one of ``SCHEMES``.
        where: File or row, in front of error messages.

    Returns:
        The code, or ``UNKNOWN_COLOR`` for a scheme's own word for "unknown".

    Raises:
        UserError: Unknown scheme, or no such colour in it; the message has the nearest ones.
    """
    text = str(value).strip()
    key = _plain(text) if check_scheme(scheme) == NAME else text
    if key in _UNKNOWN_IDS[scheme]:
        return UNKNOWN_COLOR
    if scheme != NAME and not text.removeprefix("-").isdecimal():
        raise UserError(f"{_at(where)}colour '{text}' is no {scheme} number; {_hint_of_name(text)}")
    found = _index(scheme).get(key if scheme == NAME else str(int(text)))
    if found is None:
        raise UserError(f"{_at(where)}there is no colour '{text}' in the scheme {scheme}; {_hint(text, scheme)}")
    return found.ldraw


def color_of(code: int) -> BrickColor:
    """The colour of an LDraw code.

    Raises:
        UserError: There is none.
    """
    canonical_color(code, LDRAW)
    return _index(LDRAW)[str(code)]


def convert_color(value: str | int, source: str, target: str) -> int | str | None:
    """A colour's number in another scheme; None where that is not certain.

    Raises:
        UserError: See :func:`canonical_color`.
    """
    check_scheme(target)
    code = canonical_color(value, source)
    if code == UNKNOWN_COLOR:
        return int(_UNKNOWN_IDS[target][0]) if target != NAME else "unknown"
    return color_of(code).id_in(target)


def color_title(code: int) -> str:
    """A colour's name; ``unknown`` for 9999, the number where there is none."""
    if code == UNKNOWN_COLOR:
        return "unknown"
    found = _index(LDRAW).get(str(code))
    return found.name if found else str(code)


@lru_cache(maxsize=len(SCHEMES))
def _index(scheme: str) -> dict[str, BrickColor]:
    if scheme == NAME:
        return {_plain(name): color for color in color_table() for name in (*color.other_names, color.name)}
    return {str(number): color for color in color_table() if (number := color.id_in(scheme)) is not None}


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum()).replace("grey", "gray")


def _hint(text: str, scheme: str) -> str:
    if scheme == NAME:
        return _hint_of_name(text)
    numbers = sorted((int(number) for number in _index(scheme)), key=lambda number: (abs(number - int(text)), number))
    near = ", ".join(f"{number} {_index(scheme)[str(number)].name}" for number in sorted(numbers[:_NEAREST]))
    elsewhere = [
        f"{other} {text} is {_index(other)[text].name}"
        for other in (LDRAW, REBRICKABLE, BRICKLINK)
        if other != scheme and text in _index(other)
    ]
    return f"near it are {near}" + (f"; {', '.join(elsewhere)}: is the scheme right?" if elsewhere else "")


def _hint_of_name(text: str) -> str:
    near: Sequence[str] = difflib.get_close_matches(_plain(text), _index(NAME), n=_NEAREST, cutoff=0.5)
    titles = dict.fromkeys(_index(NAME)[name].name for name in near)
    return f"near it are {', '.join(titles)}" if titles else "give a number of the scheme, or 9999 for unknown"


def _at(where: str) -> str:
    return f"{where}: " if where else ""
