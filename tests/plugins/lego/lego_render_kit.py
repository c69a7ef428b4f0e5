"""A tiny LDraw library for tests: a box with a stud, made of few files."""

from __future__ import annotations

from pathlib import Path

HEAD = "0 {name}\n0 BFC CERTIFY CCW\n"
BOX = HEAD.format(name="Box") + (
    "4 16 1 1 1 1 1 -1 -1 1 -1 -1 1 1\n"
    "4 16 1 -1 1 -1 -1 1 -1 -1 -1 1 -1 -1\n"
    "4 16 1 1 1 -1 1 1 -1 -1 1 1 -1 1\n"
    "4 16 1 1 -1 1 -1 -1 -1 -1 -1 -1 1 -1\n"
    "4 16 1 1 1 1 -1 1 1 -1 -1 1 1 -1\n"
    "4 16 -1 1 1 -1 1 -1 -1 -1 -1 -1 -1 1\n"
    + "".join(
        f"2 24 {x} {y} -1 {x} {y} 1\n2 24 {x} -1 {y} {x} 1 {y}\n2 24 -1 {x} {y} 1 {x} {y}\n"
        for x in (-1, 1)
        for y in (-1, 1)
    )
)
STUD = HEAD.format(name="Stud") + (
    "4 16 6 -4 6 6 -4 -6 -6 -4 -6 -6 -4 6\n2 24 6 -4 6 6 -4 -6\n4 16 6 0 6 6 0 -6 6 -4 -6 6 -4 6\n"
)
BRICK = "0 Test Brick\n0 BFC CERTIFY CCW\n1 16 0 12 0 20 0 0 0 12 0 0 0 10 BOX.DAT\n"
BRICK += "1 16 -10 0 0 1 0 0 0 1 0 0 0 1 stud.dat\n"
PLATE = "0 Test Plate\n0 BFC CERTIFY CCW\n1 16 0 4 0 10 0 0 0 4 0 0 0 10 s\\plates.dat\n"
FILES = {
    "p/box.dat": BOX,
    "p/Stud.dat": STUD,
    "parts/9001.dat": BRICK,
    "parts/9002.dat": PLATE,
    "parts/s/plateS.dat": HEAD.format(name="~sub") + "1 16 0 0 0 1 0 0 0 1 0 0 0 1 box.dat\n",
}


def write_library(folder: Path, **more: str) -> Path:
    """Write the library, with further or other files; ``__`` in a name is a slash, the ending is added."""
    files = {**FILES, **{f"{name.replace('__', '/')}.dat": text for name, text in more.items()}}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
