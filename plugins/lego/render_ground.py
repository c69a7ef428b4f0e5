"""What a part lies on: procedural surfaces and, where a user gives them, pieces of photos, as linear reflectance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.engine.image_io import read_image, to_float

Array = NDArray[Any]

PAPER, TRAY, TABLE, WOOD, CLOTH, DARK, PHOTO = "paper", "tray", "table", "wood", "cloth", "dark", "photo"
_CHANCES = {PAPER: 0.42, TRAY: 0.23, TABLE: 0.12, WOOD: 0.09, CLOTH: 0.08, DARK: 0.06}
KINDS = (*_CHANCES, PHOTO)
_SIDE = 256
_PHOTO_SIDE = 640
_PHOTO_MEMORY = 24


@dataclass(frozen=True)
class Ground:
    """What is drawn for the ground: its kind, the photo's name ('' for a procedural one), the seed of its texture,
    how many bounding radii the texture spans, and its turn in degrees."""

    kind: str
    photo: str
    seed: int
    span: float
    turn: float


def sample_ground(rng: np.random.Generator, photos: list[str], photo_share: float) -> Ground:
    """Draw a ground.

    Args:
        rng: The source of chance.
        photos: Names of the user's background photos; may be empty.
        photo_share: Share of grounds that are photos, where there are any.
    """
    use_photo = rng.random() < photo_share and bool(photos)
    names, chances = list(_CHANCES), np.cumsum(list(_CHANCES.values()))
    kind = names[min(int(np.searchsorted(chances, rng.random() * chances[-1])), len(names) - 1)]
    photo = photos[int(rng.integers(len(photos)))] if photos else ""
    return Ground(
        PHOTO if use_photo else kind,
        photo if use_photo else "",
        int(rng.integers(2**31)),
        float(rng.uniform(4, 10)),
        float(rng.uniform(0, 360)),
    )


def ground_texture(ground: Ground, folder: Path | None) -> Array:
    """The ground's reflectance.

    Args:
        ground: What was drawn.
        folder: Where the photos are.

    Returns:
        (256, 256, 3) float32, linear, 0 to 1; continued by mirroring.

    Raises:
        UserError: A photo cannot be read.
    """
    rng = np.random.default_rng(ground.seed)
    if ground.kind == PHOTO and folder is not None:
        return _from_photo(_photo(str(folder / ground.photo)), rng)
    plain = _PLAIN[ground.kind](rng)
    if rng.random() < 0.15:
        plain = _with_border(plain, rng)
    return np.clip(plain, 0.004, 0.97).astype(np.float32)


def noise(rng: np.random.Generator, cells: tuple[int, int], gain: float = 0.5, octaves: int = 4) -> Array:
    """(256, 256) float32 of smooth noise, mean 0, spread about 1.

    Args:
        rng: The source of chance.
        cells: Rows and columns of the coarsest octave.
        gain: How much weaker each finer octave is.
        octaves: How many.
    """
    total = np.zeros((_SIDE, _SIDE), np.float32)
    weight, power = 1.0, 0.0
    for octave in range(octaves):
        rows, columns = (min(cell << octave, _SIDE) for cell in cells)
        grid = rng.normal(size=(rows, columns)).astype(np.float32)
        total += weight * cv2.resize(grid, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        power, weight = power + weight**2, weight * gain
    return np.asarray(total / np.float32(np.sqrt(power)))


def _tinted(level: float, tint: Array, spread: Array) -> Array:
    color = level * (1 + tint)
    return np.asarray(spread[..., None] * color)


def _tint(rng: np.random.Generator, spread: float) -> Array:
    tint = rng.normal(size=3) * spread
    return np.asarray(tint - tint.mean())


def _paper(rng: np.random.Generator) -> Array:
    shading = 1 + 0.02 * noise(rng, (2, 2)) + rng.uniform(0.003, 0.015) * noise(rng, (64, 64), octaves=2)
    return _tinted(rng.uniform(0.72, 0.92), _tint(rng, 0.012), shading)


def _tray(rng: np.random.Generator) -> Array:
    """A used plastic tray or belt: milky, slightly coloured, with stains, soft reflections and dust."""
    level = rng.uniform(0.35, 0.8)
    shading = 1 + 0.07 * noise(rng, (2, 2)) + 0.02 * noise(rng, (16, 16))
    plain = _tinted(level, np.array([-0.035, 0.015, 0.02]) * rng.uniform(-0.4, 1.6) + _tint(rng, 0.01), shading)
    dust = rng.random((_SIDE, _SIDE)) < 0.0015
    plain[dust] *= rng.uniform(0.7, 1.25)
    return plain


def _table(rng: np.random.Generator) -> Array:
    shading = 1 + 0.04 * noise(rng, (2, 2)) + 0.05 * noise(rng, (48, 48), octaves=3)
    return _tinted(rng.uniform(0.12, 0.6), _tint(rng, 0.04), shading)


def _wood(rng: np.random.Generator) -> Array:
    rings = np.sin(noise(rng, (2, 24), octaves=2) * 2.2 + np.arange(_SIDE) * rng.uniform(0.05, 0.3))
    grain = 1 + 0.14 * rings + 0.08 * noise(rng, (3, 96), octaves=3)
    color = np.array([1.25, 0.95, 0.66]) + _tint(rng, 0.08)
    return np.asarray(grain[..., None] * color * rng.uniform(0.12, 0.5))


def _cloth(rng: np.random.Generator) -> Array:
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    pitch = rng.uniform(3, 7)
    weave = 0.12 * (np.sin(rows * 2 * np.pi / pitch) + np.sin(columns * 2 * np.pi / pitch))
    color = rng.uniform(0.04, 0.7, 3) * rng.uniform(0.3, 1.0)
    pattern = 1 + weave + 0.15 * noise(rng, (3, 3)) + 0.05 * noise(rng, (96, 96), octaves=2)
    return np.asarray(pattern[..., None] * color)


def _dark(rng: np.random.Generator) -> Array:
    shading = 1 + 0.12 * noise(rng, (2, 2)) + 0.1 * noise(rng, (64, 64), octaves=2)
    return _tinted(rng.uniform(0.015, 0.1), _tint(rng, 0.05), shading)


_PLAIN = {PAPER: _paper, TRAY: _tray, TABLE: _table, WOOD: _wood, CLOTH: _cloth, DARK: _dark}


def _with_border(plain: Array, rng: np.random.Generator) -> Array:
    """The edge of a sheet or a tray crosses the ground."""
    angle, place = rng.uniform(0, 2 * np.pi), rng.uniform(-60, 60)
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - _SIDE / 2
    beyond = np.clip(rows * np.sin(angle) + columns * np.cos(angle) - place, 0, 1)[..., None]
    other = rng.uniform(0.4, 1.15) * (1 + _tint(rng, 0.05))
    return np.asarray(plain * (1 - beyond + beyond * other))


@lru_cache(maxsize=_PHOTO_MEMORY)
def _photo(path: str) -> Array:
    image: Array = to_float(read_image(path)).astype(np.float32)
    scale = _PHOTO_SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return to_linear(image)


def _from_photo(photo: Array, rng: np.random.Generator) -> Array:
    side = int(min(photo.shape[:2]) * rng.uniform(0.4, 1.0))
    side = max(side, 1)
    row = int(rng.integers(photo.shape[0] - side + 1))
    column = int(rng.integers(photo.shape[1] - side + 1))
    piece = cv2.resize(photo[row : row + side, column : column + side], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.clip(piece, 0.004, 0.97)


def to_linear(srgb: Array) -> Array:
    """Linear light of sRGB values in [0, 1], float32."""
    low = srgb / 12.92
    high = ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, low, high).astype(np.float32)


def to_srgb(linear: Array) -> Array:
    """SRGB values of linear light in [0, 1], float32."""
    high = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, high).astype(np.float32)
