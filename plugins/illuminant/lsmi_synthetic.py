"""Made-up scenes in exactly LSMI's form on disk, from real photographs, with the truth beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.cli import check_writable
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import is_image_file, read_bytes, read_image, to_float
from plugins.color_science.illuminants import sample_lights
from plugins.illuminant import lsmi_synthetic_files as files
from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.lsmi_arrays import Array, read_json
from plugins.illuminant.lsmi_layout import CAMERAS, META, PREPROCESSED, RAW, SPLIT, SPLITS, Levels
from plugins.illuminant.lsmi_synthetic_maps import dark, difference_light, measured_mixture, scene_info
from plugins.illuminant.lsmi_synthetic_scene import SMALLEST_ANGLE, LightSource, exposed, make_scene
from plugins.sample_photos import sample_photos

CLIPPED_CHART_FAULT, WRAP_FAULT = "clipped_chart", "wrap"
FAULTS = (CLIPPED_CHART_FAULT, WRAP_FAULT)
SMALLEST_SHARE = 0.01
"""Lights of a file with a channel below this share of their sum are left out: they are failed measurements."""
SMALLEST_SIZE = 32
_SETTINGS = "settings.json"
_DRAWS = 200
_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class SyntheticOptions:
    """What to make.

    Attributes:
        out: Folder of the data set.
        scenes: Scenes a camera.
        size: Height of the raw layout's pictures; the width is 4/3 of it.
        cameras: Names of :data:`CAMERAS`, or any other name with ``levels``.
        layouts: ``raw``, ``preprocessed`` or both.
        seed: The same options and seed give the same bytes.
        photos: Folder of photographs; None for those that installed packages carry.
        lights: csv file with columns r, g, b; None for a guess at the world's lights.
        three: Share of the scenes with three lights.
        apart: Degrees between the lights of a scene, if they can be drawn so; half of LSMI's pairs are 22 apart.
        measured: Write the mixtures and lights that LSMI's first step would find in the noisy pictures, not the truth.
        faults: Faults of the published maps to repeat on purpose; they imply ``measured`` for what they touch.
        levels: Black and white level of the files, for another camera.
    """

    out: Path
    scenes: int = 60
    size: int = 256
    cameras: tuple[str, ...] = ("nikon",)
    layouts: tuple[str, ...] = (RAW,)
    seed: int = 0
    photos: Path | None = None
    lights: Path | None = None
    three: float = 0.4
    apart: float = SMALLEST_ANGLE
    measured: bool = False
    faults: tuple[str, ...] = ()
    levels: Levels | None = None

    def of(self, camera: str) -> Levels:
        """Levels of a camera's files."""
        known = self.levels or CAMERAS.get(camera)
        if known is None:
            raise UserError(f"camera {camera!r} is none of {', '.join(CAMERAS)}: give its black and white level.")
        return known


@dataclass
class Made:
    """What was made: scenes by split, how many were there already, and the photographs of each split."""

    scenes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    kept: int = 0
    photos: dict[str, list[str]] = field(default_factory=dict)


def make_synthetic(
    options: SyntheticOptions, progress: Progress | None = None, source: LightSource | None = None
) -> Made:
    """Make the scenes that are not there yet, and the lists of all.

    Args:
        options: What to make.
        progress: Called as ``progress(done, total, name)`` after each scene.
        source: Draws lights; None for ``options.lights``.

    Raises:
        UserError: The options do not fit, photographs cannot be read, the folder holds something else, or the disk
            refused.
    """
    _check(options)
    photos = _photos(options)
    source = source or _light_source(options.lights, options.apart)
    _claim(options)
    by_split = split_photos([name for name, _ in photos], options.seed)
    made = Made(photos=by_split)
    pictures = {name: linear_photo(path) for name, path in photos}
    total, done = len(options.cameras) * options.scenes, 0
    for number, camera in enumerate(options.cameras):
        places: dict[str, tuple[str, dict[str, Any]]] = {}
        for index, split in enumerate(scene_splits(options.scenes, by_split)):
            place = f"Place{index + 1}"
            truth = options.out / files.TRUTH / camera
            entry = files.read_entry(truth, place)
            if entry is None:
                rng = np.random.default_rng([options.seed, number, index])
                photo = pictures[by_split[split][int(rng.integers(len(by_split[split])))]]
                entry = _make_one(options, camera, place, split, photo, source, rng)
            else:
                made.kept += 1
            places[place] = (entry["split"], entry["info"])
            made.scenes[split] += 1
            done += 1
            if progress:
                progress(done, total, f"{camera} {place}")
        _write_lists(options, camera, places)
    return made


def _check(options: SyntheticOptions) -> None:
    if options.scenes < 1 or not options.cameras or not options.layouts:
        raise UserError("at least one scene, one camera and one layout are needed.")
    if options.size < SMALLEST_SIZE:
        raise UserError(f"--size {options.size}: below {SMALLEST_SIZE} pixels no chart can be seen.")
    if not 0 <= options.three <= 1:
        raise UserError(f"--three {options.three:g}: a share from 0 to 1 is needed.")
    for fault in options.faults:
        if fault not in FAULTS:
            raise UserError(f"--fault {fault}: none of {', '.join(FAULTS)}.")
    for camera in options.cameras:
        levels = options.of(camera)
        if not 0 <= levels.black < levels.white <= 65535:
            raise UserError(f"levels {levels.black:g} and {levels.white:g}: 0 <= black < white <= 65535 is needed.")


def _photos(options: SyntheticOptions) -> list[tuple[str, Path]]:
    if options.photos is None:
        return [(photo.name, photo.path) for photo in sample_photos() if not photo.gray]
    if not options.photos.is_dir():
        raise UserError(f"--photos {options.photos}: no such folder.")
    found = [path for path in sorted(options.photos.rglob("*")) if is_image_file(path.name) and path.is_file()]
    if not found:
        raise UserError(f"--photos {options.photos}: holds no picture.")
    return [(path.relative_to(options.photos).as_posix(), path) for path in found]


def linear_photo(path: Path) -> Array:
    """A photograph as reflectance: sRGB undone, (H, W, 3) float32 in [0.002, 1].

    Raises:
        UserError: It cannot be read.
    """
    encoded = to_float(read_image(path))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, np.power((encoded + 0.055) / 1.055, 2.4))
    return np.clip(linear, 0.002, 1).astype(np.float32)  # nothing is perfectly black


def split_photos(names: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Divide photographs among the splits, so that no scene of one is made of a photograph of another.

    With fewer than three photographs the last splits stay empty.
    """
    order = [names[index] for index in np.random.default_rng([seed, 7]).permutation(len(names))]
    held = max(1, round(len(order) * _SHARES["val"])) if len(order) > 2 else 0
    tests = max(1, round(len(order) * _SHARES["test"])) if len(order) > 1 else 0
    return {
        "train": order[held + tests :],
        "val": order[:held],
        "test": order[held : held + tests],
    }


def scene_splits(scenes: int, photos: dict[str, list[str]]) -> list[str]:
    """Split of each scene: about the published shares, from the first scenes on."""
    shares = {name: _SHARES[name] for name in SPLITS if photos[name]}
    counts = dict.fromkeys(shares, 0)
    result = []
    for number in range(1, scenes + 1):
        name = max(shares, key=lambda key: shares[key] / sum(shares.values()) * number - counts[key])
        counts[name] += 1
        result.append(name)
    return result


def read_lights(path: Path) -> Array:
    """Read lights from the columns r, g, b of a csv file; failed measurements are left out.

    Returns:
        (N, 3) float64, of sum 1.

    Raises:
        UserError: The file is missing or has no such columns, or no light is left.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig"))))
        lights = np.array([[float(row[name]) for name in "rgb"] for row in rows]).reshape(-1, 3)
    except (UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: needs a csv file with numbers in columns r, g, b ({error}).") from error
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = lights / lights.sum(1, keepdims=True)
    good = np.isfinite(shares).all(1) & (shares >= SMALLEST_SHARE).all(1)
    if not good.any():
        raise UserError(f"{path}: holds no light with positive r, g and b.")
    return shares[good]


def _light_source(path: Path | None, apart: float) -> LightSource:
    """Lights of a table, or made-up ones; drawn until they are ``apart`` degrees apart, or 200 times."""
    lights = None if path is None else read_lights(path)

    def draw(count: int, rng: np.random.Generator) -> Array:
        for _ in range(_DRAWS):
            chosen = sample_lights(count, rng) if lights is None else lights[rng.integers(len(lights), size=count)]
            angles = angle_degrees(chosen[:, None], chosen[None]) + 180 * np.eye(count)
            # Deep orange lights at the border of sRGB would count as failed measurements.
            if angles.min() >= apart and chosen.min() >= SMALLEST_SHARE:
                break
        return chosen

    return draw


def _claim(options: SyntheticOptions) -> None:
    """Note what the folder is made with, and refuse one that was made with something else."""
    settings = asdict(options)
    del settings["out"], settings["scenes"]  # more scenes may be added
    plain = {key: str(value) for key, value in settings.items()}
    path = options.out / files.TRUTH / _SETTINGS
    check_writable(path)
    if path.exists():
        before = read_json(path)
        changed = sorted(key for key in plain if before.get(key) != plain[key])
        if changed:
            raise UserError(
                f"{options.out}: was made with other settings ({', '.join(changed)}: {before.get(changed[0])}, now "
                f"{plain[changed[0]]}). Give the same ones to go on, or another folder."
            )
        return
    if options.out.is_dir() and any(options.out.iterdir()):
        raise UserError(f"{options.out}: not empty, and no made-up data set; choose another folder.")
    files.write_json(path, plain)


def _make_one(
    options: SyntheticOptions,
    camera: str,
    place: str,
    split: str,
    photo: Array,
    source: LightSource,
    rng: np.random.Generator,
) -> dict[str, Any]:
    levels = options.of(camera)
    count = 3 if rng.random() < options.three else 2
    size = (options.size, round(options.size * 4 / 3))
    scene = make_scene(photo, size, count, source, rng, CLIPPED_CHART_FAULT in options.faults)
    pictures = {name: exposed(scene.linear(name), levels, rng) for name in scene.names}
    mixtures = {}
    for name in scene.names[1:]:
        if options.measured or WRAP_FAULT in options.faults:
            mixtures[name] = measured_mixture(pictures, name, levels, WRAP_FAULT in options.faults)
        else:
            mixtures[name] = np.where(dark(pictures, name, levels)[..., None], -1.0, scene.mixture(name))
    lights = scene.lights
    if options.measured or CLIPPED_CHART_FAULT in options.faults:
        found = [difference_light(pictures, number, scene.charts, levels) for number in range(1, count + 1)]
        lights = np.array([own if seen is None else seen for own, seen in zip(scene.lights, found, strict=True)])
    shot = files.Shot(place, scene, pictures, mixtures, scene_info(scene, lights, mixtures), levels)
    if RAW in options.layouts:
        files.write_raw(options.out / camera, shot)
    if PREPROCESSED in options.layouts:
        files.write_preprocessed(options.out / f"{camera}_{options.size}", shot, split)
    files.write_truth(options.out / files.TRUTH / camera, shot, split)
    return {"split": split, "info": dict(shot.info)}


def _write_lists(options: SyntheticOptions, camera: str, places: dict[str, tuple[str, dict[str, Any]]]) -> None:
    meta = {place: info for place, (_, info) in places.items()}
    splits: dict[str, list[str]] = {f"{count}_illum_{split}": [] for count in ("two", "three") for split in SPLITS}
    for place, (split, info) in places.items():
        splits[f"{'two' if info['NumOfLights'] == 2 else 'three'}_illum_{split}"].append(place)
    folders = {RAW: options.out / camera, PREPROCESSED: options.out / f"{camera}_{options.size}"}
    for layout in options.layouts:
        # The published second step removes the charts' corners, which do not fit its cut pictures.
        kept = {
            place: {key: value for key, value in info.items() if layout == RAW or key != "MCCCoord"}
            for place, info in meta.items()
        }
        files.write_json(folders[layout] / META, kept)
        files.write_json(folders[layout] / SPLIT, splits)
