"""Files of class masks made from LSMI's mixture maps: one npz an image, and the manifest that lists them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_bytes
from plugins.illuminant.lsmi_arrays import Array, npz_bytes, read_npz, read_tiff

FORMAT_VERSION = 1
MANIFEST = "manifest.csv"
SUM_TOLERANCE = 1e-4
"""How far the shares of a valid pixel may be from a sum of 1."""

# name: (kind of number, axes); axes H and W are the picture's, K the classes', L the lights'.
_ARRAYS = {
    "mask": (np.float32, "HWK"),
    "other": (np.float32, "HW"),
    "valid": (np.bool_, "HW"),
    "lights": (np.float64, "L3"),
    "light_class": (np.int64, "L"),
    "light_degrees": (np.float64, "L"),
    "outlier": (np.bool_, "L"),
    "degenerate": (np.bool_, "L"),
    "mixture": (np.float32, "HWL"),
    "centroids": (np.float64, "K3"),
}
_TEXTS = ("sensor", "camera", "place", "image_id", "split", "image")


@dataclass(frozen=True, eq=False)
class MaskFile:
    """The classes of light of one picture, pixel by pixel, with everything needed to trace them.

    Attributes:
        mask: (H, W, K) float32, share of each class of light in a pixel's green channel.
        other: (H, W) float32, share of lights that belong to no class. ``mask.sum(-1) + other`` is 1 where ``valid``.
        valid: (H, W) bool, mixture known, inside the scene (no colour chart), not clipped. Elsewhere all shares are 0.
        lights: (L, 3) float64, linear RGB directions of the sensor, of sum 1.
        light_class: (L,) int64, nearest class of each light.
        light_degrees: (L,) float64, angle to that class's centroid.
        outlier: (L,) bool, too far from every centroid.
        degenerate: (L,) bool, a light that cannot be one (not positive, not finite, or it lights nothing). Its
            direction is stored as grey and its angle as 0.
        hard: Whether a light is an outlier or degenerate.
        mixture: (H, W, L) float32, as read; -1 where unknown.
        class_names: K names.
        centroids: (K, 3) float64, linear directions of sum 1.
        sensor: Camera of the centroids.
        camera: Camera of the picture.
        place: Scene, as ``Place12``.
        image_id: Scene and lights, as ``Place12_13``.
        split: ``train``, ``val``, ``test``, or ``unlisted``.
        image: Path of the picture, relative to the data set's folder.
        black: Level of the picture file that means no light.
        white: Level of the picture file at which the sensor is full.
        format_version: 1.
    """

    mask: Array
    other: Array
    valid: Array
    lights: Array
    light_class: Array
    light_degrees: Array
    outlier: Array
    degenerate: Array
    hard: bool
    mixture: Array
    class_names: tuple[str, ...]
    centroids: Array
    sensor: str
    camera: str
    place: str
    image_id: str
    split: str
    image: str
    black: float
    white: float
    format_version: int = FORMAT_VERSION

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the masks."""
        return self.other.shape[0], self.other.shape[1]


@dataclass(frozen=True)
class ManifestRow:
    """One line of ``manifest.csv``: an image and what became of its lights.

    ``classes`` and ``degrees`` hold one entry a light; ``npz`` is relative to the folder of the manifest, ``image`` to
    the folder of the data set; ``flags`` are names of known faults that were found, ``class_shares`` the mean shares
    of the valid pixels, without ``other_share``.
    """

    image: str
    npz: str
    split: str
    camera: str
    place: str
    image_id: str
    lights: int
    classes: tuple[str, ...]
    degrees: tuple[float, ...]
    hard: bool
    other_share: float
    valid_share: float
    class_shares: tuple[float, ...]
    height: int
    width: int
    black: float
    white: float
    flags: tuple[str, ...] = ()


def write_mask_file(path: str | Path, masks: MaskFile) -> None:
    """Write an npz file, whole or not at all; the same masks give the same bytes.

    Raises:
        UserError: The disk refused, or the fields do not fit together.
    """
    arrays: dict[str, Any] = {}
    for field in fields(MaskFile):
        value = getattr(masks, field.name)
        arrays[field.name] = np.asarray(value, dtype=_ARRAYS[field.name][0]) if field.name in _ARRAYS else value
    arrays["class_names"] = np.asarray(masks.class_names, dtype=np.str_)
    _checked({key: np.asarray(value) for key, value in arrays.items()}, str(path))
    content = npz_bytes(arrays)
    write_atomic(path, lambda file: file.write(content))


def read_mask_file(path: str | Path) -> MaskFile:
    """Read and check an npz file of masks.

    Raises:
        UserError: The file is missing, damaged or no such file; the message names the file and the field.
    """
    arrays = read_npz(Path(path))
    _checked(arrays, str(path))
    values: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
    values |= {name: str(arrays[name]) for name in _TEXTS}
    return MaskFile(
        **values,
        hard=bool(arrays["hard"]),
        class_names=tuple(map(str, arrays["class_names"])),
        black=float(arrays["black"]),
        white=float(arrays["white"]),
        format_version=int(arrays["format_version"]),
    )


def _checked(arrays: dict[str, Array], where: str) -> None:
    missing = [field.name for field in fields(MaskFile) if field.name not in arrays]
    if missing:
        raise UserError(f"{where}: not a file of masks: {', '.join(missing)} missing; see prepare_lsmi_masks.")
    _check_plain(arrays, where)
    axes: dict[str, int] = {"3": 3, "K": arrays["class_names"].size}
    for name, (kind, letters) in _ARRAYS.items():
        values = arrays[name]
        if values.dtype != kind or values.ndim != len(letters):
            wanted = f"{np.dtype(kind)} of {len(letters)} axes"
            raise UserError(f"{where}: {name}: {values.dtype} of shape {values.shape}, expected {wanted}.")
        for letter, length in zip(letters, values.shape, strict=True):
            if axes.setdefault(letter, length) != length or not length:
                raise UserError(f"{where}: {name}: shape {values.shape} does not fit the other fields {axes}.")
    _check_values(arrays, where)


def _check_plain(arrays: dict[str, Array], where: str) -> None:
    for name in (*_TEXTS, "hard", "black", "white", "format_version"):
        if arrays[name].ndim:
            raise UserError(f"{where}: {name}: shape {arrays[name].shape}, expected one value.")
    for name in (*_TEXTS, "class_names"):
        if arrays[name].dtype.kind != "U":
            raise UserError(f"{where}: {name}: {arrays[name].dtype}, expected text.")
    for name in ("black", "white", "format_version", "hard"):
        if arrays[name].dtype.kind not in "fiub":
            raise UserError(f"{where}: {name}: {arrays[name].dtype}, expected a number.")
    if int(arrays["format_version"]) != FORMAT_VERSION:
        version = int(arrays["format_version"])
        raise UserError(f"{where}: format_version: {version}, expected {FORMAT_VERSION}; make the masks again.")
    if not 0 <= float(arrays["black"]) < float(arrays["white"]) < float("inf"):
        levels = f"{float(arrays['black']):g} and {float(arrays['white']):g}"
        raise UserError(f"{where}: black, white: {levels}, expected 0 <= black < white.")


def _check_values(arrays: dict[str, Array], where: str) -> None:
    for name in ("mask", "other", "mixture", "lights", "light_degrees", "centroids"):
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{where}: {name}: NaN or infinite values.")
    for name in ("lights", "centroids"):
        if (arrays[name] <= 0).any():
            raise UserError(f"{where}: {name}: every value must be positive.")
    classes = len(arrays["class_names"])
    if (arrays["light_class"] < 0).any() or (arrays["light_class"] >= classes).any():
        raise UserError(f"{where}: light_class: {arrays['light_class'].tolist()}, expected numbers below {classes}.")
    for name in ("mask", "other"):
        low, high = float(arrays[name].min()), float(arrays[name].max())
        if low < 0 or high > 1 + SUM_TOLERANCE:
            raise UserError(f"{where}: {name}: values from {low:g} to {high:g}, expected shares from 0 to 1.")
    total = arrays["mask"].sum(-1, dtype=np.float64) + arrays["other"]
    if np.abs(total - arrays["valid"]).max() > SUM_TOLERANCE:
        raise UserError(f"{where}: mask, other: the shares do not add up to 1 where valid and to 0 elsewhere.")


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return ";".join(map(_cell, value))
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def manifest_bytes(rows: Sequence[ManifestRow]) -> bytes:
    """Encode the manifest as csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(ManifestRow)]
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue().encode()


def read_manifest(folder: str | Path) -> list[ManifestRow]:
    """Read ``manifest.csv`` of a folder of masks (or the csv file itself).

    Raises:
        UserError: The file is missing, empty or damaged; the message names the line and the column.
    """
    path = Path(folder)
    path = path / MANIFEST if path.is_dir() or path.suffix != ".csv" else path
    try:
        table = list(csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a csv file ({error}).") from error
    if not table:
        raise UserError(f"{path}: lists no image; see prepare_lsmi_masks.")
    return [_row(cells, f"{path}, line {line}") for line, cells in enumerate(table, start=2)]


def _row(cells: dict[str, str], where: str) -> ManifestRow:
    values: dict[str, Any] = {}
    for field in fields(ManifestRow):
        text = cells.get(field.name)
        if text is None:
            raise UserError(f"{where}: {field.name}: missing; see prepare_lsmi_masks.")
        try:
            values[field.name] = _parsed(text, str(field.type))
        except ValueError as error:
            raise UserError(f"{where}: {field.name}: {text!r} is not {field.type}.") from error
    return ManifestRow(**values)


def _parsed(text: str, kind: str) -> Any:
    if kind.startswith("tuple"):
        return tuple(float(part) if "float" in kind else part for part in text.split(";") if part)
    if kind == "bool":
        return bool(int(text))
    return {"str": str, "int": int, "float": float}[kind](text)


def illuminant_map(mixture: Array, lights: Array) -> Array:
    """The light of every pixel: LSMI's sum of w_i Light_i.

    Args:
        mixture: (H, W, L), shares of the green channel.
        lights: (L, 3), positive, of any scale.

    Returns:
        (H, W, 3), linear, float64; green is the sum of the shares.
    """
    directions = np.asarray(lights, dtype=np.float64)
    # Shares of the green channel weigh lights that are equally strong in green.
    return np.asarray(mixture, dtype=np.float64) @ (directions / directions[:, 1:2])


def read_scene_image(root: str | Path, image: MaskFile | ManifestRow) -> Array:
    """Read a picture in linear light, at the size of its masks.

    Args:
        root: The data set's folder.
        image: The picture's masks, or its line of the manifest.

    Returns:
        (H, W, 3) float32, RGB of the sensor, (value - black) / (white - black), clipped to [0, 1].

    Raises:
        UserError: The picture is missing, damaged, or of another shape than its masks.
    """
    path = Path(root) / image.image
    pixels = read_tiff(path)
    height, width = image.size if isinstance(image, MaskFile) else (image.height, image.width)
    rows, columns = pixels.shape[:2]
    if rows < height or columns < width or abs(rows * width - columns * height) > max(rows, columns):
        raise UserError(f"{path}: {rows}x{columns} pixels, the masks have {height}x{width}: not of the same picture.")
    linear = (pixels.astype(np.float32) - np.float32(image.black)) / np.float32(image.white - image.black)
    linear = np.clip(linear, 0, 1)
    if (rows, columns) != (height, width):
        linear = cv2.resize(linear, (width, height), interpolation=cv2.INTER_AREA)
    return linear
