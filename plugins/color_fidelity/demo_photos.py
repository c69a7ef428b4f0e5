"""The photographs of the demo: real ones that installed packages carry, or a folder of one's own.

A photograph belongs to one split only. Large packaged photographs are cut into a grid of regions that do not overlap;
all regions of a photograph stay in its split.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import is_image_file, read_image
from plugins.color_science import apply_to_arrays, chroma, chroma_vector
from plugins.sample_photos import SamplePhoto, sample_photos

SPLITS = ("train", "val", "val_color", "test", "stress")
"""``test`` are held-out photographs of every kind, ``stress`` held-out ones with much strong colour."""
FEWEST_PHOTOS = 12
"""So many photos of one's own are needed for the five splits."""


@dataclass(frozen=True)
class Packaged:
    """What becomes of a packaged photograph.

    Attributes:
        photo: The photograph.
        split: Split of all its regions.
        rows: Rows of the grid it is cut into.
        columns: Columns of that grid.
    """

    photo: SamplePhoto
    split: str
    rows: int
    columns: int


_USE = {
    "astronaut": ("train", 2, 2),
    "china": ("train", 2, 2),
    "ihc": ("train", 2, 2),
    "hubble_deep_field": ("train", 2, 2),
    "brick": ("train", 1, 1),
    "gravel": ("train", 1, 1),
    "grass": ("train", 1, 1),
    "camera": ("train", 1, 1),
    "grace_hopper": ("val", 2, 2),
    "retina": ("val_color", 2, 2),
    "chelsea": ("test", 1, 2),
    "rocket": ("test", 2, 2),
    "coffee": ("stress", 2, 2),
    "flower": ("stress", 2, 2),
}
CATALOGUE: tuple[Packaged, ...] = tuple(
    Packaged(photo, *_USE[photo.name]) for photo in sample_photos() if photo.name in _USE
)


@dataclass(frozen=True)
class Photo:
    """One photograph or one region of it, ready to become a target.

    Attributes:
        name: Unique name, used for the files.
        split: Its split.
        source: File it comes from.
        credit: Author and licence, empty where unknown.
        pixels: (H, W, 3) sRGB, uint8.
    """

    name: str
    split: str
    source: str
    credit: str
    pixels: np.ndarray


@dataclass(frozen=True)
class SplitPlan:
    """How a folder of photos is divided.

    Attributes:
        val: Share of all photos for validation, at least one.
        val_color: The same, colourful photos only.
        test: Share held out, of every kind.
        stress: Least share held out, colourful photos only; colourful photos left over are added to it.
        colorful_train: Share of colourful photos among the training photos. Interiors are mostly neutral; that prior is
            what makes networks wash colours out, and a folder of holiday photos does not have it.
    """

    val: float = 0.06
    val_color: float = 0.08
    test: float = 0.08
    stress: float = 0.12
    colorful_train: float = 0.15


def fit(pixels: np.ndarray, size: int) -> np.ndarray:
    """Shrink an image so that its longer side is at most ``size`` pixels; smaller ones are returned as they are."""
    height, width = pixels.shape[:2]
    factor = size / max(height, width)
    if factor >= 1:
        return np.ascontiguousarray(pixels)
    shape = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(np.ascontiguousarray(pixels), shape, interpolation=cv2.INTER_AREA)


def colorfulness(pixels: np.ndarray) -> float:
    """Mean chroma, the length of (Cb - 0.5, Cr - 0.5): 0 for a grey image, 0.53 to 0.6 for a pure primary."""
    return float(apply_to_arrays(lambda rgb: chroma(chroma_vector(rgb)), fit(pixels, 256)).mean())


def packaged_photos(size: int) -> list[Photo]:
    """The photographs of ``CATALOGUE``.

    Args:
        size: Largest longer side of a region, in pixels.

    Raises:
        UserError: A package or its file is not there.
    """
    photos: list[Photo] = []
    for entry in CATALOGUE:
        whole = _read8(entry.photo.path)
        stem, source = entry.photo.name, f"{entry.photo.package}/{entry.photo.file}"
        for row in range(entry.rows):
            for column in range(entry.columns):
                region = _cell(whole, row, entry.rows, column, entry.columns)
                name = stem if entry.rows * entry.columns == 1 else f"{stem}-{row}{column}"
                photos.append(Photo(name, entry.split, source, entry.photo.credit, fit(region, size)))
    return photos


def folder_photos(folder: Path, size: int, seed: int, plan: SplitPlan) -> list[Photo]:
    """The photos of a folder (and its sub-folders), divided by photo.

    Args:
        folder: Where to look.
        size: Largest longer side, in pixels.
        seed: Decides which photo goes where.
        plan: The shares.

    A photo that cannot be read is named in the log and left out; the names of the others do not depend on it.

    Raises:
        UserError: There is no such folder, or it holds too few photos that can be read.
    """
    if not folder.is_dir():
        raise UserError(f"--photos {folder}: there is no such folder. Give a folder of .jpg, .png or .tif photos.")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_image_file(path.name))
    named = [(f"{index:04d}-{path.stem}", path) for index, path in enumerate(files)]
    read = [(name, path, pixels) for name, path in named if (pixels := _readable(path, size)) is not None]
    bad = len(files) - len(read)
    if bad:
        logging.getLogger("basicsr").warning("--photos %s: %d of %d photos were skipped.", folder, bad, len(files))
    if len(read) < FEWEST_PHOTOS:
        without = f", of which {bad} cannot be read" if bad else ""
        raise UserError(
            f"--photos {folder}: {len(files)} photos found{without}; the five splits need at least {FEWEST_PHOTOS}."
        )
    splits = divide([colorfulness(pixels) for _, _, pixels in read], seed, plan)
    return [
        Photo(name, split, str(path), "", pixels)
        for (name, path, pixels), split in zip(read, splits, strict=True)
        if split
    ]


def _readable(path: Path, size: int) -> np.ndarray | None:
    """The photo, shrunk; None, and a warning that names it, if it cannot be read."""
    try:
        return fit(_read8(path), size)
    except UserError as error:
        logging.getLogger("basicsr").warning("skipped: %s", error)
        return None


def divide(scores: Sequence[float], seed: int, plan: SplitPlan) -> list[str]:
    """Give every photo a split; ordinary photos left over by the rounding stay in training.

    Args:
        scores: Colourfulness of each photo; those above the median count as colourful.
        seed: Decides which photo goes where.
        plan: The shares.

    Returns:
        The split of each photo.
    """
    order = np.random.default_rng(seed).permutation(len(scores))
    ranks = np.argsort(np.argsort(np.asarray(scores), kind="stable"), kind="stable")
    colorful = [int(i) for i in order if ranks[i] >= (len(scores) + 1) // 2]
    ordinary = [int(i) for i in order if ranks[i] < (len(scores) + 1) // 2]
    counts = {name: max(1, round(getattr(plan, name) * len(scores))) for name in SPLITS[1:]}
    splits = ["train"] * len(scores)

    def take(pool: list[int], count: int, split: str) -> None:
        for _ in range(min(count, len(pool))):
            splits[pool.pop()] = split

    for split in ("val", "test"):
        take(colorful, round(counts[split] / 3), split)
        take(ordinary, counts[split] - round(counts[split] / 3), split)
    take(colorful, counts["val_color"], "val_color")
    take(colorful, counts["stress"], "stress")
    kept = round(plan.colorful_train / (1 - plan.colorful_train) * len(ordinary))
    take(colorful, max(0, len(colorful) - kept), "stress")
    return splits


def _read8(path: Path) -> np.ndarray:
    pixels = read_image(path)
    return (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def _cell(image: np.ndarray, row: int, rows: int, column: int, columns: int) -> np.ndarray:
    height, width = image.shape[:2]
    return image[
        height * row // rows : height * (row + 1) // rows, width * column // columns : width * (column + 1) // columns
    ]
