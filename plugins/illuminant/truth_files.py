"""Images and the measured light that each was taken under."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names
from plugins.illuminant.truth_table import Light, TruthRow, read_table, read_wp

_SHOWN = 5


@dataclass(frozen=True)
class LitImage:
    """An image and its light.

    Attributes:
        path: The image file.
        light: Linear r, g, b of sum 1.
    """

    path: Path
    light: Light


@dataclass(frozen=True)
class Truth:
    """What a folder and its truth have in common, and what they have not.

    Attributes:
        images: Images with a light, sorted by name.
        without_light: Names of images that have none.
        without_image: Names in the table (or ``.wp`` files) to which there is no image.
    """

    images: tuple[LitImage, ...]
    without_light: tuple[str, ...]
    without_image: tuple[str, ...]


def match_truth(folder: Path, csv: Path | None, columns: str | None = None) -> Truth:
    """Find the light of every image of a folder.

    Names match with or without their ending and whatever its case; folders in front of a name are ignored. A table of
    bare r, g, b (Gehler-Shi) is matched by position to the sorted images, and must have as many rows.

    Args:
        folder: Folder of the images.
        csv: Table of lights (see :func:`~plugins.illuminant.truth_table.read_table`); None: a file ``<stem>.wp`` or
            ``<name>.wp`` beside each image.
        columns: Which light of a table with several, such as ``mean`` or ``left``.

    Returns:
        The matches and the rest.

    Raises:
        UserError: A file cannot be read, a row is wrong, a name fits several images or stands twice with different
            lights, or nothing matches.
    """
    names = image_names(folder)
    if not names:
        raise UserError(f"{folder}: no image in this folder.")
    found = _from_sidecars(folder, names, columns) if csv is None else _from_table(folder, names, csv, columns)
    if not found.images:
        wanted = "a .wp file of its own" if csv is None else f"a row in {csv} ({_few(found.without_image)})"
        raise UserError(f"{folder}: none of its {len(names)} images ({_few(names)}) has {wanted}.")
    return found


def read_truth(folder: Path, csv: Path | None, columns: str | None = None) -> list[LitImage]:
    """The images of a folder that have a light, see :func:`match_truth`; what has no partner is logged by name."""
    found = match_truth(folder, csv, columns)
    where = csv if csv is not None else folder
    for kind, rest in (
        ("images without a light are left out", found.without_light),
        ("lights without an image are ignored", found.without_image),
    ):
        if rest:
            logging.getLogger("basicsr").warning("%s: %d %s: %s.", where, len(rest), kind, _few(rest))
    return list(found.images)


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _from_sidecars(folder: Path, names: list[str], columns: str | None) -> Truth:
    if columns is not None:
        raise UserError(f"{folder}: columns '{columns}' belong to a table; .wp files have none.")
    images, without, used = [], [], set()
    for name in names:
        file = next((p for p in (folder / f"{Path(name).stem}.wp", folder / f"{name}.wp") if p.is_file()), None)
        if file is None:
            without.append(name)
            continue
        used.add(file.name)
        images.append(LitImage(folder / name, read_wp(file)))
    alone = sorted(p.name for p in folder.glob("*.wp") if p.name not in used and not p.name.startswith("."))
    return Truth(tuple(images), tuple(without), tuple(alone))


def _from_table(folder: Path, names: list[str], csv: Path, columns: str | None) -> Truth:
    rows = read_table(csv, columns)
    if not rows[0].name:
        if len(rows) != len(names):
            raise UserError(
                f"{csv}: it names no images, so its rows are those of the sorted images, but it has {len(rows)} rows "
                f"and {folder} has {len(names)} images. Add a column 'image'."
            )
        pairs = zip(names, rows, strict=True)
        return Truth(tuple(LitImage(folder / name, row.light) for name, row in pairs), (), ())
    lights: dict[str, TruthRow] = {}
    alone = []
    index = _Index(folder, names)
    for row in rows:
        name = index.find(row, csv)
        if name is None:
            alone.append(row.name)
            continue
        before = lights.setdefault(name, row)
        if before.light != row.light:
            raise UserError(f"{csv}: lines {before.line} and {row.line}: two different lights for {name}.")
    images = tuple(LitImage(folder / name, lights[name].light) for name in names if name in lights)
    return Truth(images, tuple(name for name in names if name not in lights), tuple(alone))


class _Index:
    """Image names by their spellings in tables."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._names = set(names)
        self._lower: dict[str, list[str]] = {}
        for name in names:
            for key in {name.lower(), Path(name).stem.lower()}:
                self._lower.setdefault(key, []).append(name)

    def find(self, row: TruthRow, csv: Path) -> str | None:
        name = PurePosixPath(row.name.replace("\\", "/")).name
        if name in self._names:
            return name
        # an ending of the table may be another than the file's (.PNG of a camera, .tiff of a conversion)
        stem = name.rsplit(".", 1)[0]
        for key in (name.lower(), stem.lower()):
            fits = self._lower.get(key, [])
            if len(fits) > 1:
                raise UserError(
                    f"{csv}: line {row.line}: '{row.name}' fits several images of {self._folder}: {', '.join(fits)}."
                )
            if fits:
                return fits[0]
        return None
