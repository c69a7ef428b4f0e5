"""Pictures to balance, from folders and from LSMI scenes, and what is written of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.engine import icc
from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names
from plugins.illuminant.illuminant_map import MapErrors, best_single_light, map_errors
from plugins.illuminant.illuminant_scene import scene_of
from plugins.illuminant.light_images import from_linear, read_light_image, to_linear
from plugins.illuminant.lsmi_mask_files import ManifestRow, read_manifest, read_mask_file, read_scene_image
from plugins.illuminant.white_balance import Keep, balance
from plugins.illuminant.white_balance_pictures import exposure_of, light_picture, shown, side_by_side
from plugins.illuminant.white_balance_run import Estimator

Array = np.ndarray[Any, Any]
COLUMNS = ("image", "mean", "median", "p95", "maximum", "single_mean", "pixels")
_SHEET_SIDE = 1600


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture to balance.

    Attributes:
        name: Of its results, without ending.
        linear: (H, W, 3) float32 in [0, 1], linear light.
        save: Gets the balanced picture, linear, and the folder; writes it and returns the file.
        truth: (H, W, 3) its true light, NaN where unknown; None where there is none.
        raw: Whether it is raw RGB, dark to look at.
        seen: What is shown to who says the light, where that is not the picture: a scene without its colour charts.
    """

    name: str
    linear: Array
    save: Callable[[Array, Path], Path]
    truth: Array | None = None
    raw: bool = False
    seen: Array | None = None


@dataclass(frozen=True)
class Result:
    """What became of a picture: the file, the mean light, and the errors where there is a truth."""

    name: str
    file: Path
    light: tuple[float, float, float]
    errors: MapErrors | None = None
    single: float | None = None


def photo_files(source: Path) -> list[Path]:
    """A photo, or the photos of a folder.

    Raises:
        UserError: There is none, or two would give one result.
    """
    if source.is_file():
        return [source]
    files = [source / name for name in image_names(source)]
    if not files:
        raise UserError(f"{source}: no photo in this folder.")
    stems: dict[str, Path] = {}
    for file in files:
        if file.stem in stems:
            raise UserError(f"{file} and {stems[file.stem].name}: both would be written as {file.stem}; rename one.")
        stems[file.stem] = file
    return files


def srgb_picture(path: Path, read: Callable[[Path], Any], write: Callable[[Path, Any], None]) -> Picture:
    """A photo with the sRGB curve; depth, EXIF and an sRGB profile are kept, another profile is converted to sRGB.

    Args:
        path: The photo.
        read: Gives a dataclass with ``rgb`` (H, W, 3) uint8 or uint16, ``icc_profile``, ``grey``, and ``with_pixels``.
        write: Writes such an object.
    """
    photo = read(path)
    if photo.grey:
        raise UserError(f"{path}: a grey photo has no colour of light.")
    top = np.float32(np.iinfo(photo.rgb.dtype).max)
    pixels, profile = _in_srgb(photo.rgb, photo.icc_profile, path)
    linear = np.clip(to_linear(pixels.astype(np.float32) / top, "srgb"), 0, 1).astype(np.float32)

    def save(balanced: Array, folder: Path) -> Path:
        suffix = path.suffix if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif", ".tiff") else ".png"
        file = folder / f"{path.stem}{suffix}"
        write(file, replace(photo.with_pixels(from_linear(balanced, "srgb")), icc_profile=profile))
        return file

    return Picture(path.stem, linear, save)


def _in_srgb(pixels: Array, profile: bytes | None, path: Path) -> tuple[Array, bytes | None]:
    if profile is None:
        return pixels, None
    try:
        convert = icc.converter(profile)
    except icc.ProfileError as error:
        raise UserError(f"{path}: its colour profile cannot be used ({error}); save it as sRGB.") from error
    return (pixels, profile) if convert is None else (convert(pixels), None)


def linear_picture(path: Path, black: float, white: float | None) -> Picture:
    """A raw picture without a curve; the result is a linear 16-bit PNG, black 0 and white 65535."""
    linear = read_light_image(path, "linear", black, white)
    return Picture(path.stem, linear, lambda balanced, folder: _save_linear(balanced, folder, path.stem), raw=True)


def _save_linear(balanced: Array, folder: Path, stem: str) -> Path:
    file = folder / f"{stem}.png"
    write_png(file, np.rint(balanced * 65535).astype(np.uint16))
    return file


def scene_rows(masks: Path, split: str | None) -> list[ManifestRow]:
    """The scenes of a folder of masks.

    Raises:
        UserError: There is none of that split.
    """
    rows = [row for row in read_manifest(masks) if split in (None, row.split)]
    if not rows:
        raise UserError(f"{masks}: no scene of the split '{split}'.")
    return rows


def scene_picture(root: Path, masks: Path, row: ManifestRow) -> Picture:
    """An LSMI scene with its true illuminant map."""
    file = read_mask_file(masks / row.npz)
    scene = scene_of(file, read_scene_image(root, file))
    truth = np.where(scene.valid[..., None], scene.light_map(), np.nan)
    name, seen = f"{row.camera}_{row.image_id}", scene.hidden_image()
    return Picture(name, scene.image, lambda balanced, folder: _save_linear(balanced, folder, name), truth, True, seen)


def balance_picture_to(picture: Picture, estimate: Estimator, keep: Keep, folder: Path, pictures: bool) -> Result:
    """Balance one picture and write the results.

    Args:
        picture: The picture.
        estimate: Says its light.
        keep: See :func:`plugins.illuminant.white_balance.balance`.
        folder: Where to write ``<name>.*``, and with ``pictures`` ``<name>_light.png`` and ``<name>_compare.png``.
        pictures: Whether to write the illuminant map and the before/after picture.
    """
    light = estimate(picture.linear if picture.seen is None else picture.seen)
    balanced = balance(picture.linear, light, keep)
    file = picture.save(balanced, folder)
    whole = np.broadcast_to(light, picture.linear.shape)
    if pictures:
        map_ = light_picture(whole)
        exposure = exposure_of(picture.linear) if picture.raw else 1.0
        row = [shown(picture.linear, exposure), shown(balanced, exposure), map_]
        if picture.truth is not None:
            row.append(light_picture(picture.truth))
        write_png(folder / f"{picture.name}_light.png", map_)
        write_png(folder / f"{picture.name}_compare.png", side_by_side([_small(each) for each in row]))
    mean = whole.reshape(-1, 3).mean(0, dtype=np.float64)
    kept = (float(mean[0]), float(mean[1]), float(mean[2]))
    if picture.truth is None:
        return Result(picture.name, file, kept)
    single = map_errors(best_single_light(picture.truth), picture.truth).mean
    return Result(picture.name, file, kept, map_errors(whole, picture.truth), single)


def _small(picture: Array) -> Array:
    scale = _SHEET_SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def write_png(path: Path, rgb: Array) -> None:
    """Write (H, W, 3) uint8 or uint16 RGB, whole or not at all."""
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not done:
        raise UserError(f"{path}: encoding as PNG failed")
    write_atomic(path, lambda file: file.write(data.tobytes()))


def check_targets(pictures: Sequence[Path], folder: Path) -> None:
    """Refuse to write over what is read.

    Raises:
        UserError: The folder holds the photos, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; -o names the folder of the results.")
    for path in pictures:
        if path.resolve().parent == folder.resolve():
            raise UserError(
                f"{folder}: the photos are in it, and the results would be written over them; name another."
            )


def mean_row(results: Sequence[Result]) -> dict[str, float] | None:
    """Means of the figures over the pictures that have a truth; None without one."""
    rows = [(result.errors, result.single) for result in results if result.errors is not None and result.errors.pixels]
    if not rows:
        return None
    table = {name: float(np.mean([getattr(errors, name) for errors, _ in rows])) for name in COLUMNS[1:5]}
    return {**table, "single_mean": float(np.mean([single for _, single in rows])), "pictures": len(rows)}


def write_errors(path: Path, results: Sequence[Result]) -> None:
    """Write one line a picture with a truth, as csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        if result.errors is not None:
            figures = [getattr(result.errors, name) for name in COLUMNS[1:5]]
            cells = [f"{value:.4f}" for value in (*figures, result.single)]
            writer.writerow([result.name, *cells, result.errors.pixels])
    write_atomic(path, lambda file: file.write(text.getvalue().encode()))
