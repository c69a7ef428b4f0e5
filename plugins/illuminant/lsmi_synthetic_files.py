"""How a made-up scene is written: LSMI's raw layout, its preprocessed one, and the truth beside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.cli import writing
from basicsr.engine.errors import UserError
from plugins.illuminant.lsmi_arrays import Array, npy_bytes, npz_bytes, read_json, read_npz, tiff_bytes
from plugins.illuminant.lsmi_layout import Levels
from plugins.illuminant.lsmi_mask_files import illuminant_map
from plugins.illuminant.lsmi_synthetic_scene import Scene

TRUTH = "truth"


@dataclass(frozen=True)
class Shot:
    """A scene with its pictures: uint16 (H, W, 3), mixtures (H, W, l) and its entry of meta.json."""

    place: str
    scene: Scene
    pictures: Mapping[str, Array]
    mixtures: Mapping[str, Array]
    info: Mapping[str, Any]
    levels: Levels

    @property
    def square(self) -> slice:
        """Columns of the middle square, which the preprocessed layout keeps."""
        height, width = self.scene.reflectance.shape[:2]
        left = max(0, width // 2 - height // 2)
        return slice(left, left + height)


@dataclass(frozen=True)
class Truth:
    """What is exactly so in one picture; arrays are the raw layout's size.

    Attributes:
        mixture: (H, W, L) float64, of sum 1 everywhere.
        lights: (L, 3) float64, of sum 1.
        illuminant: (H, W, 3) float32, green 1.
        linear: (H, W, 3) float32, no noise, no clipping, 1 is the white level.
        charts: (H, W) bool, a colour chart.
        square: First column and column behind the last of the preprocessed layout's square.
    """

    mixture: Array
    lights: Array
    illuminant: Array
    linear: Array
    charts: Array
    square: tuple[int, int]

    def cut(self) -> Truth:
        """The preprocessed layout's middle square."""
        columns = slice(*self.square)
        return replace(
            self,
            mixture=self.mixture[:, columns],
            illuminant=self.illuminant[:, columns],
            linear=self.linear[:, columns],
            charts=self.charts[:, columns],
        )


def truth_of(shot: Shot, name: str) -> Truth:
    """The truth of one picture of a scene."""
    lights, mixture = shot.scene.lights[shot.scene.chosen(name)], shot.scene.mixture(name)
    light = illuminant_map(mixture, lights).astype(np.float32)
    linear = shot.scene.linear(name).astype(np.float32)
    return Truth(mixture, lights, light, linear, shot.scene.chart_area(), (shot.square.start, shot.square.stop))


def read_truth_file(folder: Path, camera: str, image_id: str) -> Truth:
    """Read the truth of a picture.

    Args:
        folder: The made-up data set's folder.
        camera: Camera.
        image_id: As ``Place1_12``.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = folder / TRUTH / camera / f"{image_id}.npz"
    arrays = read_npz(path)
    try:
        square = (int(arrays["square"][0]), int(arrays["square"][1]))
        mixture, lights, light = arrays["mixture"], arrays["lights"], arrays["illuminant"]
        return Truth(mixture, lights, light, arrays["linear"], arrays["charts"], square)
    except (KeyError, IndexError) as error:
        raise UserError(f"{path}: not a truth file of a made-up data set ({error}).") from error


def _save(path: Path, content: bytes) -> None:
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_raw(folder: Path, shot: Shot) -> None:
    """Write the pictures, previews and mixtures of a scene into the folder of its camera."""
    for name, picture in shot.pictures.items():
        path = folder / shot.place / f"{shot.place}_{name}.tiff"
        _save(path, tiff_bytes(picture))
        with writing(str(path)):
            Image.fromarray(preview(picture, shot.levels)).save(path.with_suffix(".jpg"), quality=90)
        if name in shot.mixtures:
            _save(path.with_suffix(".npy"), npy_bytes(shot.mixtures[name]))


def preview(picture: Array, levels: Levels) -> Array:
    """A picture to look at, uint8: gains that make the middle of its colours grey, and a display's curve."""
    linear = np.clip((picture.astype(np.float32) - levels.black) / (levels.white - levels.black), 0, 1)
    means = linear.mean((0, 1)) + 1e-6
    balanced = np.clip(linear * (means[1] / means), 0, 1)
    return np.asarray(255 * balanced ** (1 / 2.2) + 0.5, dtype=np.uint8)


def write_preprocessed(folder: Path, shot: Shot, split: str) -> None:
    """Write a scene as LSMI's second step does, without its resizing: the middle square, black level subtracted.

    In ``train`` the charts are black and a ``_mask.png`` of 0 and 1 tells where they are; unknown mixtures become 0.
    """
    white = shot.levels.white - shot.levels.black
    charts = shot.scene.chart_area()[:, shot.square]
    for name, picture in shot.pictures.items():
        path = folder / split / f"{shot.place}_{name}.tiff"
        image = np.clip(picture[:, shot.square].astype(np.float64) - shot.levels.black, 0, white)
        mixture = shot.mixtures.get(name, np.ones((*picture.shape[:2], 1)))[:, shot.square]
        numbers = [f"Light{digit}" for digit in name]
        light = mixture @ np.array([shot.info[number] for number in numbers])
        light[(mixture == -1).any(-1)] = 1
        with np.errstate(divide="ignore", invalid="ignore"):
            balanced = np.nan_to_num(np.clip(image / light, 0, white))
        if split == "train":
            image, balanced = image * ~charts[..., None], balanced * ~charts[..., None]
        _save(path, tiff_bytes(image.astype(np.uint16)))
        _save(path.with_name(f"{path.stem}_gt.tiff"), tiff_bytes(balanced.astype(np.uint16)))
        _save(path.with_name(f"{path.stem}_illum.npy"), npy_bytes(light))
        if name in shot.mixtures:
            _save(path.with_suffix(".npy"), npy_bytes(np.where(mixture == -1, 0.0, mixture)))
    if split == "train":
        done, encoded = cv2.imencode(".png", (~charts).astype(np.uint8))
        _save(folder / split / f"{shot.place}_mask.png", encoded.tobytes() if done else b"")


def write_truth(folder: Path, shot: Shot, split: str) -> None:
    """Write the truth of a scene's pictures, and last its entry: a scene that has one is whole."""
    for name in shot.pictures:
        truth = truth_of(shot, name)
        _save(folder / f"{shot.place}_{name}.npz", npz_bytes({key: getattr(truth, key) for key in vars(truth)}))
    entry = {"split": split, "info": dict(shot.info)}
    write_json(folder / f"{shot.place}.json", entry)


def read_entry(folder: Path, place: str) -> dict[str, Any] | None:
    """The entry of a scene that is whole; None where it is missing or damaged."""
    path = folder / f"{place}.json"
    if not path.exists():
        return None
    try:
        entry = read_json(path)
    except UserError:
        return None
    return entry if isinstance(entry.get("info"), dict) and isinstance(entry.get("split"), str) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as json, whole or not at all."""
    encoded = json.dumps(content, indent=1).encode()
    write_atomic(path, lambda file: file.write(encoded))
