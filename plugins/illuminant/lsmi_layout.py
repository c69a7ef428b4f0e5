"""Where the files of LSMI lie: the raw layout, the preprocessed one, their meta.json and split.json.

D. Kim, J. Kim, S. Nam, D. Lee, Y. Lee, N. Kang, H. Lee, B. Yoo, J. Han, S. Kim, "Large Scale Multi-Illuminant (LSMI)
Dataset for Developing White Balance Algorithm under Mixed Illumination", ICCV 2021.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basicsr.engine.errors import UserError
from plugins.illuminant.lsmi_arrays import read_json

RAW, PREPROCESSED, AUTO = "raw", "preprocessed", "auto"
LAYOUTS = (AUTO, RAW, PREPROCESSED)
SPLITS = ("train", "val", "test")
UNLISTED = "unlisted"
LIGHT_SETS = {2: ("1", "12"), 3: ("1", "12", "13", "123")}
"""Names of the pictures of a scene with so many lights: which lights were on."""
META, SPLIT = "meta.json", "split.json"
_NAME = re.compile(r"(?P<place>.+)_(?P<lights>1|12|13|123)")
_SIZED = re.compile(r"(?P<camera>[A-Za-z0-9-]+?)(_(\d+|fullres))?")


@dataclass(frozen=True)
class Levels:
    """The value of a picture file that means no light, and the one at which the sensor is full."""

    black: float
    white: float


CAMERAS = {"galaxy": Levels(0, 1023), "nikon": Levels(600, 15520), "sony": Levels(128, 4095)}
"""The levels of the raw layout's TIFF files."""


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used, or that is not as it should be, and why."""

    path: str
    what: str


@dataclass(frozen=True)
class SceneImage:
    """The files of one picture.

    Attributes:
        layout: ``raw`` or ``preprocessed``.
        camera: Camera.
        split: ``train``, ``val``, ``test`` or ``unlisted``.
        place: Scene.
        lights: Numbers of the lights that were on, from 1.
        image: The picture.
        levels: Black and white level of that file.
        info: The scene's entry in meta.json.
    """

    layout: str
    camera: str
    split: str
    place: str
    lights: tuple[int, ...]
    image: Path
    levels: Levels
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def image_id(self) -> str:
        """Scene and lights, as ``Place1_12``."""
        return self.image.stem

    @property
    def mixture(self) -> Path:
        """The mixture map; a picture with one light has none."""
        return self.image.with_suffix(".npy")

    @property
    def first_image(self) -> Path:
        """The picture with light 1 only."""
        return self.image.with_name(f"{self.place}_1.tiff")

    @property
    def chart_mask(self) -> Path:
        """The preprocessed layout's mask of the colour charts."""
        return self.image.with_name(f"{self.place}_mask.png")

    @property
    def illuminant(self) -> Path:
        """The preprocessed layout's light of every pixel."""
        return self.image.with_name(f"{self.image_id}_illum.npy")


@dataclass
class Listing:
    """The pictures that were found, and what is wrong with the data set."""

    images: list[SceneImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def list_images(root: Path, layout: str = AUTO, levels: Levels | None = None, single: bool = False) -> Listing:
    """Find the pictures of a data set or of one of its cameras' folders.

    Args:
        root: Folder that holds cameras' folders (``nikon``, ``nikon_512``), or one of these.
        layout: ``raw``, ``preprocessed``, or ``auto``: the one that is there.
        levels: Black and white level as in the raw files, for cameras that LSMI does not have.
        single: Whether pictures with one light count as well.

    Raises:
        UserError: There is no such data set, both layouts are there, or a camera's levels are unknown.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; the data set's folder holds nikon, nikon_512 or the like.")
    folders = {RAW: _camera_folders(root, _is_raw), PREPROCESSED: _camera_folders(root, _is_preprocessed)}
    found = [kind for kind, there in folders.items() if there]
    if layout == AUTO:
        if len(found) > 1:
            raise UserError(f"{root}: holds the raw and the preprocessed layout; choose one with --layout.")
        layout = found[0] if found else RAW
    if not folders[layout]:
        raise UserError(
            f"{root}: no folder of LSMI's {layout} layout: <camera>/PlaceN/PlaceN_12.tiff (raw), or "
            "<camera>_<size>/train/PlaceN_12.tiff (preprocessed)."
        )
    listing = Listing()
    for folder in folders[layout]:
        found_camera = _SIZED.fullmatch(folder.resolve().name)
        camera = found_camera["camera"] if found_camera else folder.resolve().name
        of_file = levels or CAMERAS.get(camera)
        if of_file is None:
            known = ", ".join(CAMERAS)
            raise UserError(f"{folder}: camera {camera!r} is none of {known}: give --black and --white of its files.")
        if layout == RAW:
            _list_raw(folder, camera, of_file, single, listing)
        else:
            _list_preprocessed(folder, camera, Levels(0, of_file.white - of_file.black), single, listing)
    return listing


def _camera_folders(root: Path, fits: Any) -> list[Path]:
    if fits(root):
        return [root]
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and fits(folder))


def _is_raw(folder: Path) -> bool:
    return any(any(place.glob(f"{place.name}_*.tiff")) for place in folder.glob("Place*") if place.is_dir())


def _is_preprocessed(folder: Path) -> bool:
    return any(any((folder / split).glob("Place*.tiff")) for split in SPLITS)


def _mapping(path: Path, listing: Listing) -> dict[str, Any]:
    try:
        return read_json(path)
    except UserError as error:
        listing.problems.append(Problem(str(path), _without(path, error)))
        return {}


def _without(path: Path, error: UserError) -> str:
    return str(error).removeprefix(f"{path}: ")


def read_splits(path: Path, listing: Listing) -> dict[str, str]:
    """Split of every place, as split.json tells it; what is wrong with the file is noted."""
    splits: dict[str, str] = {}
    for key, places in _mapping(path, listing).items():
        name = key.rsplit("_", 1)[-1]
        if name not in SPLITS or not isinstance(places, list):
            listing.problems.append(Problem(str(path), f"{key}: no list of places of {', '.join(SPLITS)}; left out"))
            continue
        if not places:
            listing.problems.append(Problem(str(path), f"{key}: lists no place"))
        for place in map(str, places):
            if splits.setdefault(place, name) != name:
                listing.problems.append(
                    Problem(str(path), f"{place}: in {splits[place]} and in {name}; the first counts")
                )
    return splits


def _entry(meta: Mapping[str, Any], place: str, path: Path, listing: Listing) -> Mapping[str, Any]:
    info = meta.get(place)
    if isinstance(info, dict):
        return info
    if meta:  # a file that could not be read at all is one problem, not one a place
        listing.problems.append(Problem(str(path), f"{place}: no entry"))
    return {}


def _list_raw(folder: Path, camera: str, levels: Levels, single: bool, listing: Listing) -> None:
    meta, splits = _mapping(folder / META, listing), read_splits(folder / SPLIT, listing)
    there = sorted((place for place in folder.iterdir() if place.is_dir()), key=_number)
    for missing in sorted(set(splits) - {place.name for place in there}):
        listing.problems.append(Problem(str(folder / SPLIT), f"{missing}: no such folder"))
    for place in there:
        info = _entry(meta, place.name, folder / META, listing)
        names = {}
        for path in sorted(place.glob("*.tiff")):
            match = _NAME.fullmatch(path.stem)
            if match is None or match["place"] != place.name:
                listing.problems.append(Problem(str(path), f"not a name of a picture of {place.name}; left out"))
            else:
                names[match["lights"]] = path
        _check_count(info, set(names), place, listing)
        for lights, path in sorted(names.items(), key=lambda item: (len(item[0]), item[0])):
            if single or len(lights) > 1:
                split = splits.get(place.name, UNLISTED)
                numbers = tuple(map(int, lights))
                listing.images.append(SceneImage(RAW, camera, split, place.name, numbers, path, levels, info))


def _check_count(info: Mapping[str, Any], names: set[str], place: Path, listing: Listing) -> None:
    if not info:
        return
    count = info.get("NumOfLights")
    expected = LIGHT_SETS.get(count) if isinstance(count, int) else None
    if expected is None:
        listing.problems.append(Problem(str(place), f"NumOfLights is {count!r}, expected 2 or 3"))
    elif names != set(expected):
        shown = ", ".join(sorted(names)) or "none"
        listing.problems.append(
            Problem(str(place), f"NumOfLights {count} means pictures {', '.join(expected)}, there are {shown}")
        )


def _number(path: Path) -> tuple[int, str]:
    digits = re.sub(r"\D", "", path.name)
    return int(digits) if digits else -1, path.name


def _list_preprocessed(folder: Path, camera: str, levels: Levels, single: bool, listing: Listing) -> None:
    own, other = folder / META, folder.parent / camera / META
    meta_path = other if other.exists() and not own.exists() else own
    meta = _mapping(meta_path, listing)
    seen: dict[str, str] = {}
    for split in SPLITS:
        places: set[str] = set()
        for path in sorted((folder / split).glob("*.tiff"), key=_number):
            match = _NAME.fullmatch(path.stem)
            if path.stem.endswith("_gt"):
                continue
            if match is None:
                listing.problems.append(Problem(str(path), "not a name of a picture; left out"))
                continue
            place = match["place"]
            if seen.setdefault(place, split) != split:
                what = f"{place} is in {seen[place]} as well; the first counts"
                listing.problems.append(Problem(str(path), what))
                continue
            if place not in places:
                places.add(place)
                _entry(meta, place, meta_path, listing)
            if single or len(match["lights"]) > 1:
                info = meta.get(place)
                lights = tuple(map(int, match["lights"]))
                entry = info if isinstance(info, dict) else {}
                listing.images.append(SceneImage(PREPROCESSED, camera, split, place, lights, path, levels, entry))
