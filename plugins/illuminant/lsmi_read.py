"""Reading one picture of LSMI with its mixture and lights, and looking for the known faults of the published maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_bytes
from plugins.illuminant.lsmi_arrays import Array, read_npy, read_tiff
from plugins.illuminant.lsmi_chart import brightest, chart_area, gray_patches
from plugins.illuminant.lsmi_layout import RAW, SceneImage

META_LIGHTS, CHART_LIGHTS = "meta", "chart"
LIGHT_SOURCES = (META_LIGHTS, CHART_LIGHTS)

CLIPPED_CHART = "clipped_chart"
"""A light was measured on a patch that is clipped in the picture itself; the published step looks at a difference."""
WRAPPED = "wrapped_dark"
"""Pixels darker than the black level became very bright in uint16; they are not valid."""
FROM_CHART, FROM_MAP = "lights_from_chart", "lights_from_illum"
NO_CHARTS, NO_MASK, NOT_FINITE = "no_chart_position", "no_chart_mask", "nan_in_mixture"
FLAGS = {
    CLIPPED_CHART: "light measured on a clipped chart",
    WRAPPED: "dark pixels wrapped in uint16, left out",
    NOT_FINITE: "NaN in the mixture, left out",
    FROM_CHART: "light not in meta.json, measured on the charts",
    FROM_MAP: "light not in meta.json, taken from _illum.npy",
    NO_CHARTS: "meta.json does not tell where the charts are: they are not left out",
    NO_MASK: "_mask.png is missing: the charts, painted black, are not left out",
}
"""What each flag of the manifest means."""

TOLERANCE = 1e-3
"""Shares may be so far from a sum of 1."""
SMALLEST_SHARE = 0.005
"""A light whose weakest channel has a smaller share of the sum is no light but a failed measurement."""


@dataclass(frozen=True, eq=False)
class ReadScene:
    """A picture's lights and mixture.

    Attributes:
        files: Where it came from.
        mixture: (H, W, L) float64, shares of sum 1; -1 where unknown.
        known: (H, W) bool.
        valid: (H, W) bool, known, no colour chart, not clipped.
        lights: (L, 3) float64, of sum 1; grey where degenerate.
        degenerate: (L,) bool.
        flags: Keys of :data:`FLAGS`.
    """

    files: SceneImage
    mixture: Array
    known: Array
    valid: Array
    lights: Array
    degenerate: Array
    flags: tuple[str, ...]


def read_scene(files: SceneImage, lights_from: str = META_LIGHTS, keep_charts: bool = False) -> ReadScene:
    """Read a picture's mixture and lights.

    Args:
        files: The picture.
        lights_from: ``meta`` (the published lights; the charts where there are none) or ``chart``: measured on the
            charts in any case, with clipping looked for in every picture.
        keep_charts: Let the charts count as scene.

    Raises:
        UserError: A file is missing or damaged, or they do not fit together; the message names it.
    """
    flags: list[str] = []
    pixels = read_tiff(files.image)
    mixture, known = _mixture(files, pixels.shape[:2], flags)
    lights = _lights(files, mixture, known, lights_from, flags)
    valid = known & (pixels < files.levels.white).all(-1)
    if not keep_charts:
        valid &= ~_charts(files, pixels.shape[:2], flags)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shares = lights / lights.sum(1, keepdims=True)
        good = np.isfinite(shares).all(1) & (shares >= SMALLEST_SHARE).all(1) & (lights > 0).all(1)
    shares[~good] = 1 / 3
    return ReadScene(files, mixture, known, valid, shares, ~good, tuple(flags))


def _mixture(files: SceneImage, size: tuple[int, int], flags: list[str]) -> tuple[Array, Array]:
    count = len(files.lights)
    if count == 1:
        return np.ones((*size, 1)), np.ones(size, dtype=bool)
    mixture = read_npy(files.mixture, count).astype(np.float64)
    if mixture.shape[:2] != size:
        raise UserError(f"{files.mixture}: {mixture.shape[:2]} pixels, the picture {files.image.name} has {size}.")
    finite = np.isfinite(mixture).all(-1)
    if not finite.all():
        flags.append(NOT_FINITE)
        mixture[~finite] = -1
    told = (mixture >= 0).all(-1) | ((mixture != -1).all(-1) & finite)
    inside = ((mixture >= -TOLERANCE) & (mixture <= 1 + TOLERANCE)).all(-1)
    # The preprocessed layout has replaced -1 by 0 and resized: whatever misses a part of its sum touches the unknown.
    whole = np.abs(mixture.sum(-1) - 1) <= TOLERANCE
    wrapped = (told & ~inside) | _silently_wrapped(files, mixture)
    if wrapped.any():
        flags.append(WRAPPED)
    known = told & inside & whole & ~wrapped
    if not known.any():
        raise UserError(f"{files.mixture}: no pixel has a known mixture (shares from 0 to 1 with a sum of 1).")
    mixture = np.clip(mixture, 0, None)
    mixture /= np.where(known, mixture.sum(-1), 1)[..., None]
    mixture[~known] = -1
    return mixture, known


def _silently_wrapped(files: SceneImage, mixture: Array) -> Array:
    """Pixels of a map of three lights that wrapped and yet look like shares: all of the rest went to light 1."""
    size = mixture.shape[:2]
    if files.layout != RAW or len(files.lights) != 3 or not files.levels.black:
        return np.zeros(size, dtype=bool)
    greens = []
    for name in ("1", "12", "13"):
        try:
            green = read_tiff(files.image.with_name(f"{files.place}_{name}.tiff"))[..., 1].astype(np.float64)
        except UserError:  # the listing tells what is missing
            return np.zeros(size, dtype=bool)
        if green.shape != size:
            return np.zeros(size, dtype=bool)
        greens.append(green)
    first, top = greens[0], files.levels.white - files.levels.black
    others = sum(np.clip(green - first, 0, top) for green in greens[1:]) / files.levels.white
    return np.asarray((first < files.levels.black) & (np.abs(mixture[..., 0] - (1 - others)) < 1e-6))


def _charts(files: SceneImage, size: tuple[int, int], flags: list[str]) -> Array:
    if files.layout == RAW:
        corners = chart_corners(files.info)
        if corners is None:
            flags.append(NO_CHARTS)
            return np.zeros(size, dtype=bool)
        return chart_area(size, corners)
    if not files.chart_mask.exists():
        if files.split == "train":  # the only one whose charts are painted over
            flags.append(NO_MASK)
        return np.zeros(size, dtype=bool)
    encoded = np.frombuffer(read_bytes(files.chart_mask), np.uint8)
    mask = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    if mask is None or mask.shape != size:
        what = "not a picture" if mask is None else f"{mask.shape} pixels, the picture has {size}"
        raise UserError(f"{files.chart_mask}: {what}.")
    # LSMI writes 0 and 1; whoever made it visible, 0 and 255.
    return np.asarray(mask.astype(int) * 2 <= (255 if mask.max() > 1 else 1))


def chart_corners(info: Mapping[str, Any]) -> Array | None:
    """Corners (N, 4, 2) of the charts in pixels of the half-size pictures; None where meta.json does not tell."""
    charts = info.get("MCCCoord")
    if not isinstance(charts, dict) or not charts:
        return None
    try:
        corners = np.array(list(charts.values()), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if corners.ndim != 3 or corners.shape[1:] != (4, 2) or not (np.abs(corners) < 1e6).all():
        return None
    return corners / 2


def _lights(files: SceneImage, mixture: Array, known: Array, lights_from: str, flags: list[str]) -> Array:
    found: list[Array | None] = [_meta_light(files.info, number) for number in files.lights]
    if files.layout == RAW:
        found = _with_charts(files, found, lights_from, flags)
    elif any(light is None for light in found) and files.illuminant.exists():
        flags.append(FROM_MAP)
        mapped = _mapped_lights(files, mixture, known)
        found = [mapped[index] if light is None else light for index, light in enumerate(found)]
    missing = [f"Light{number}" for number, light in zip(files.lights, found, strict=True) if light is None]
    if missing:
        raise UserError(f"{files.image}: {', '.join(missing)}: neither in meta.json nor to be measured.")
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _meta_light(info: Mapping[str, Any], number: int) -> Array | None:
    value = info.get(f"Light{number}")
    if not isinstance(value, list) or len(value) != 3:
        return None
    try:
        return np.array([float(part) for part in value])
    except (TypeError, ValueError):
        return None


def _with_charts(
    files: SceneImage, found: list[Array | None], lights_from: str, flags: list[str]
) -> list[Array | None]:
    result: list[Array | None] = []
    for number, told in zip(files.lights, found, strict=True):
        measured, clipped = _chart_light(files, number)
        if told is not None and clipped and CLIPPED_CHART not in flags:
            flags.append(CLIPPED_CHART)
        if measured is not None and (told is None or lights_from == CHART_LIGHTS):
            if FROM_CHART not in flags:
                flags.append(FROM_CHART)
            told = measured
        result.append(told)
    return result


def _chart_light(files: SceneImage, number: int) -> tuple[Array | None, bool]:
    """A light as the brightest grey patch without clipping shows it, and whether the published step used another one.

    Light 1 is seen in picture 1, light n in the difference of pictures 1n and 1.
    """
    corners = chart_corners(files.info)
    if corners is None:
        return None, False
    try:
        first = read_tiff(files.first_image)
        pair = first if number == 1 else read_tiff(files.image.with_name(f"{files.place}_1{number}.tiff"))
    except UserError:  # the published light stands; without one the caller says what is missing
        return None, False
    if first.shape != pair.shape:
        return None, False
    black, white = files.levels.black, files.levels.white
    linear = np.clip(pair.astype(np.float64) - (black if number == 1 else first), 0, white - black)
    clipped = np.asarray((first >= white).any(-1) | (pair >= white).any(-1))
    full = np.asarray((linear >= white - black).any(-1))
    patches = gray_patches(linear, clipped, corners)
    published = brightest(patches.colors, ~gray_patches(linear, full, corners).clipped)
    chosen = brightest(patches.colors, ~patches.clipped)
    light = None if chosen is None else patches.colors[chosen]
    return light, published is not None and bool(patches.clipped[published])


def _mapped_lights(files: SceneImage, mixture: Array, known: Array) -> Array:
    """Lights (L, 3) from the light of every pixel, by least squares."""
    lit = read_npy(files.illuminant, 3)
    if lit.shape[:2] != known.shape:
        raise UserError(f"{files.illuminant}: {lit.shape[:2]} pixels, the picture has {known.shape}.")
    usable = known & np.isfinite(lit).all(-1)
    solved, _, rank, _ = np.linalg.lstsq(mixture[usable], lit[usable].astype(np.float64), rcond=None)
    if rank < len(files.lights):
        raise UserError(f"{files.illuminant}: does not tell the lights: the mixture is the same everywhere.")
    return np.asarray(solved)
