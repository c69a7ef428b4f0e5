"""Writes the demo's paired data: real photographs as targets, the camera's view of them before the edit as inputs.

Layout, under one folder: ``<split>/gt/<name>.png``, ``<split>/lq/<name>.png`` for the splits train, val, val_color,
test and stress; ``train/all.txt`` and ``train/colorful.txt`` (target lists, see ``write_lists``), ``manifest.csv``
(what was done to which photo, and whose it is) and ``contact_sheet.png``.
"""

from __future__ import annotations

import csv
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from plugins.color_fidelity.demo_camera import CameraRanges, CameraShot, take_shot
from plugins.color_fidelity.demo_photos import SPLITS, Photo, SplitPlan, colorfulness, folder_photos, packaged_photos
from plugins.color_fidelity.fidelity import saturated_mask
from plugins.color_science import apply_to_arrays, oklab_to_rgb, rgb_to_oklab

MANIFEST = "manifest.csv"
CONTACT_SHEET = "contact_sheet.png"
_SHEET_COLUMNS = 8
_CELL = (144, 192)
_MAX_REPEATS = 8
PALE, BOLD = (0.2, 0.7), (1.0, 2.0)
"""Ranges of the factor on OKLab chroma of a repainted photo."""
BOLD_EVERY = 4
"""One repainted shot of so many is bold: most walls are pale, which is where washing out is learnt."""

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``."""


@dataclass(frozen=True)
class DemoDataOptions:
    """What to write.

    Attributes:
        out: Folder to write.
        photos: Folder of photos; None takes those of the installed packages.
        size: Largest longer side in pixels.
        seed: Same seed, same photos: same files.
        shots: How often each photo (or region) is seen by the camera, each time with other settings.
        max_photos: Largest number of photos or regions of each split; None for all.
        recolor: Repaint all training shots but the first, target included, before the camera sees them: hues turned by
            a random angle, three of four paler, one of four bolder. A handful of photographs does not hold every
            colour. None does it for the packaged photographs only. Photos of other splits are never changed.
        camera: Ranges of the camera's settings.
        plan: How a folder of photos is divided.
        force: Replace a folder that an earlier call has written.
    """

    out: Path
    photos: Path | None = None
    size: int = 320
    seed: int = 0
    shots: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 1))
    max_photos: dict[str, int] = field(default_factory=dict)
    recolor: bool | None = None
    camera: CameraRanges = CameraRanges()
    plan: SplitPlan = SplitPlan()
    force: bool = False


@dataclass(frozen=True)
class Written:
    """One pair that was written; the fields are the columns of the manifest."""

    split: str
    name: str
    source: str
    credit: str
    width: int
    height: int
    colorfulness: float
    saturated_share: float
    hue_turn_deg: float
    chroma_factor: float
    shot: CameraShot


def make_demo_data(options: DemoDataOptions, progress: Progress | None = None) -> list[Written]:
    """Write the data; the folder appears under its name only when it is complete.

    Args:
        options: What to write.
        progress: Told after every pair.

    Returns:
        One entry per pair.

    Raises:
        UserError: The folder exists, or the photos cannot be had.
    """
    _check_options(options)
    photos = _chosen_photos(options)
    partial = options.out.with_name(options.out.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    written: list[Written] = []
    total = sum(options.shots[photo.split] for photo in photos)
    for photo in photos:
        for index in range(options.shots[photo.split]):
            written.append(_write_pair(partial, photo, index, options))
            if progress is not None:
                progress(len(written), total)
    write_lists(partial / "train", written)
    _write_manifest(partial / MANIFEST, written)
    _write_contact_sheet(partial / CONTACT_SHEET, partial, written)
    if options.out.exists():
        shutil.rmtree(options.out)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(options.out)
    return written


def _check_options(options: DemoDataOptions) -> None:
    if options.size < 32:
        raise UserError(f"--size {options.size}: at least 32 pixels are needed.")
    if not 0 <= options.plan.colorful_train < 1:
        raise UserError(f"--colorful-train {options.plan.colorful_train}: a share from 0 to below 1 is needed.")
    for split, count in options.shots.items():
        if count < 1:
            raise UserError(f"shots of {split} is {count}: it must be at least 1.")
    if not options.out.exists():
        return
    if not options.force:
        raise UserError(f"{options.out} exists. Give --force to replace it, or --out another folder.")
    if not (options.out / MANIFEST).is_file():
        raise UserError(
            f"{options.out} was not written by this tool (it holds no {MANIFEST}) and is not replaced. Remove it "
            "yourself, or give --out another folder."
        )


def _chosen_photos(options: DemoDataOptions) -> list[Photo]:
    if options.photos is None:
        photos = packaged_photos(options.size)
    else:
        photos = folder_photos(options.photos, options.size, options.seed, options.plan)
    chosen: list[Photo] = []
    for split in SPLITS:
        members = [photo for photo in photos if photo.split == split]
        chosen += members[: options.max_photos.get(split, len(members))]
    return chosen


def _write_pair(out: Path, photo: Photo, index: int, options: DemoDataOptions) -> Written:
    # Each shot has a generator of its own: another photo in the folder changes nothing about this one.
    rng = np.random.default_rng([options.seed, zlib.crc32(photo.name.encode()), index])
    shot = options.camera.draw(rng)
    recolor = options.photos is None if options.recolor is None else options.recolor
    turn, factor, target = 0.0, 1.0, photo.pixels
    if recolor and photo.split == "train" and index > 0:
        turn = float(rng.uniform(0.0, 360.0))
        factor = float(rng.uniform(*(BOLD if index % BOLD_EVERY == 1 else PALE)))
        target = repaint(target, turn, factor)
    name = f"{photo.name}-s{index}"
    write_png(out / photo.split / "lq" / f"{name}.png", take_shot(target, shot, rng))
    write_png(out / photo.split / "gt" / f"{name}.png", target)
    height, width = target.shape[:2]
    return Written(
        split=photo.split,
        name=name,
        source=photo.source,
        credit=photo.credit,
        width=width,
        height=height,
        colorfulness=colorfulness(target),
        saturated_share=float(saturated_mask(target).mean()),
        hue_turn_deg=turn,
        chroma_factor=factor,
        shot=shot,
    )


def repaint(photo: np.ndarray, turn: float, factor: float) -> np.ndarray:
    """Turn all hues by an angle and scale all chroma, in OKLab: lightness stays, grey stays grey.

    Args:
        photo: (H, W, 3) sRGB, uint8.
        turn: Angle in degrees.
        factor: Factor on the chroma; what leaves the gamut is clipped.

    Returns:
        (H, W, 3) sRGB, uint8.
    """
    cosine, sine = factor * np.cos(np.radians(turn)), factor * np.sin(np.radians(turn))
    lightness, a, b = np.moveaxis(apply_to_arrays(rgb_to_oklab, photo.astype(np.float64) / 255), -1, 0)
    turned = np.stack([lightness, a * cosine - b * sine, a * sine + b * cosine], axis=-1)
    return np.round(np.clip(apply_to_arrays(oklab_to_rgb, turned), 0, 1) * 255).astype(np.uint8)


def write_png(path: Path, rgb: np.ndarray) -> None:
    """Write (H, W, 3) RGB uint8 as a PNG, making its folder.

    Raises:
        UserError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise UserError(f"{path}: OpenCV could not encode the image.")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}.") from error


def write_lists(folder: Path, written: Sequence[Written]) -> None:
    """Write the two target lists of the training split, one file name a line.

    ``all.txt`` names every target once. ``colorful.txt`` repeats a target in proportion to its mean chroma (at least
    once, at most eight times): ``meta_info_file: colorful.txt`` shows rare colours more often without a second copy.
    """
    members = [item for item in written if item.split == "train"]
    mean = sum(item.colorfulness for item in members) / max(1, len(members))
    repeats = [min(_MAX_REPEATS, max(1, round(2 * item.colorfulness / max(mean, 1e-6)))) for item in members]
    lines = [f"{item.name}.png" for item in members]
    (folder / "all.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    repeated = [line for line, count in zip(lines, repeats, strict=True) for _ in range(count)]
    (folder / "colorful.txt").write_text("".join(f"{line}\n" for line in repeated), encoding="utf-8")


def _write_manifest(path: Path, written: Sequence[Written]) -> None:
    rows = []
    for item in written:
        row = {key: value for key, value in asdict(item).items() if key != "shot"}
        row.update(asdict(item.shot))
        rows.append({key: f"{value:.5f}" if isinstance(value, float) else value for key, value in row.items()})
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]) if rows else ["split", "name"])
        writer.writeheader()
        writer.writerows(rows)


def _write_contact_sheet(path: Path, root: Path, written: Sequence[Written]) -> None:
    """One strip per split, input above target, evenly spread over the split."""
    strips = []
    for split in SPLITS:
        names = [item.name for item in written if item.split == split]
        picked = [names[i] for i in np.linspace(0, len(names) - 1, min(_SHEET_COLUMNS, len(names))).round().astype(int)]
        for kind in ("lq", "gt"):
            cells = [_thumbnail(root / split / kind / f"{name}.png") for name in picked]
            cells += [np.full((*_CELL, 3), 255, np.uint8)] * (_SHEET_COLUMNS - len(cells))
            label = np.full((_CELL[0], 120, 3), 255, np.uint8)
            text = split if kind == "lq" else ""
            cv2.putText(label, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (40, 40, 40), 1, cv2.LINE_AA)
            strips.append(np.hstack([label, *cells]))
    write_png(path, np.vstack(strips))


def _thumbnail(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path}: cannot be read back.")
    height, width = image.shape[:2]
    factor = min((_CELL[0] - 4) / height, (_CELL[1] - 4) / width)
    small = cv2.resize(image, (max(1, int(width * factor)), max(1, int(height * factor))), interpolation=cv2.INTER_AREA)
    cell = np.full((*_CELL, 3), 255, np.uint8)
    top, left = (_CELL[0] - small.shape[0]) // 2, (_CELL[1] - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small[..., ::-1]
    return cell
