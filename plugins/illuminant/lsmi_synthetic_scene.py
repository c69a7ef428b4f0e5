"""One made-up scene under two or three lights, exact to the last digit, and what a camera makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.lsmi_arrays import Array
from plugins.illuminant.lsmi_chart import BOX, COLUMNS, HEIGHT, ROWS, WIDTH, chart_area, patch_corners, to_picture
from plugins.illuminant.lsmi_layout import LIGHT_SETS, Levels
from plugins.illuminant.lsmi_mask_files import illuminant_map

LightSource = Callable[[int, np.random.Generator], Array]
"""Called as ``source(count, rng)``; gives (count, 3) positive linear colours of any scale."""
SMALLEST_ANGLE = 5.0
"""Lights of one scene are drawn until they are that many degrees apart, or 50 times; so are 95 % of LSMI's pairs."""
BRIGHTEST_CHART = 0.9
"""Exposure: the whitest patch under all lights, of the sensor's range."""
CLIPPED_CHART = 1.3
"""The same where the fault ``clipped_chart`` is asked for."""
ELECTRONS = 12000.0
"""Full well of a sensor's pixel: the shot noise at the white level is 1/sqrt of it."""
READ_NOISE = 4.0
"""Electrons."""

# Linear sRGB of a 24-patch chart, rounded: made after the usual published sRGB values, for looks only. The last row,
# which lights are measured by, is exactly grey.
_PATCHES = np.array([
    [115, 82, 68], [194, 150, 130], [98, 122, 157], [87, 108, 67], [133, 128, 177], [103, 189, 170],
    [214, 126, 44], [80, 91, 166], [193, 90, 99], [94, 60, 108], [157, 188, 64], [224, 163, 46],
    [56, 61, 150], [70, 148, 73], [175, 54, 60], [231, 199, 31], [187, 86, 149], [8, 133, 161],
    [243, 243, 243], [200, 200, 200], [160, 160, 160], [122, 122, 122], [85, 85, 85], [52, 52, 52],
])  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A scene without noise.

    Attributes:
        lights: (L, 3) linear, of sum 1.
        strengths: (L, H, W) how strongly each light falls on each pixel, in green.
        reflectance: (H, W, 3) linear, charts included.
        charts: (3, 4, 2) corners of the charts in pixels, clockwise from the upper left.
        exposure: Factor to the sensor's range.
    """

    lights: Array
    strengths: Array
    reflectance: Array
    charts: Array
    exposure: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its pictures: which lights are on."""
        return LIGHT_SETS[len(self.lights)]

    def chosen(self, name: str) -> list[int]:
        """Indices of the lights of a picture."""
        return [int(digit) - 1 for digit in name]

    def mixture(self, name: str) -> Array:
        """Exact shares of the lights in the green channel, (H, W, len(name)) float64, of sum 1."""
        strengths = np.moveaxis(self.strengths[self.chosen(name)], 0, -1)
        return strengths / strengths.sum(-1, keepdims=True)

    def linear(self, name: str) -> Array:
        """The picture without noise and clipping, (H, W, 3) float64; 1 is the white level."""
        strengths = np.moveaxis(self.strengths[self.chosen(name)], 0, -1)
        light = illuminant_map(strengths, self.lights[self.chosen(name)])
        return self.reflectance * light * self.exposure

    def chart_area(self) -> Array:
        """(H, W) bool."""
        return chart_area(self.reflectance.shape[:2], self.charts)


def make_scene(
    photo: Array, size: tuple[int, int], count: int, source: LightSource, rng: np.random.Generator, bright: bool
) -> Scene:
    """Make a scene.

    Args:
        photo: (h, w, 3) linear RGB in [0, 1], taken as reflectance.
        size: Height and width.
        count: Lights, 2 or 3.
        source: Draws lights.
        rng: The source of chance.
        bright: Expose so that charts clip where several lights meet.
    """
    height, width = size
    reflectance = _crop(photo, size, rng).astype(np.float64)
    lights = _draw_lights(count, source, rng)
    strengths = np.stack([_strength(index, size, rng) for index in range(count)])
    charts = _place_charts(height, width, rng)
    for corners in charts:
        _paint(reflectance, corners)
    scene = Scene(lights, strengths, reflectance, charts, 1.0)
    area = scene.chart_area()
    peak = max(float(scene.linear(name)[area].max()) for name in scene.names)
    exposure = (CLIPPED_CHART if bright else BRIGHTEST_CHART) / peak
    return Scene(lights, strengths, reflectance, charts, exposure)


def _crop(photo: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
    rows, columns = photo.shape[:2]
    side = min(rows / size[0], columns / size[1]) * rng.uniform(0.6, 1.0)
    height, width = max(1, round(size[0] * side)), max(1, round(size[1] * side))
    top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
    part = photo[top : top + height, left : left + width]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    method = cv2.INTER_AREA if side > 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(part), (size[1], size[0]), interpolation=method)


def _draw_lights(count: int, source: LightSource, rng: np.random.Generator) -> Array:
    for _ in range(50):
        lights = np.asarray(source(count, rng), dtype=np.float64)
        if lights.shape != (count, 3) or not np.isfinite(lights).all() or (lights <= 0).any():
            raise UserError(f"lights: expected {count} positive r, g, b; got {lights.tolist()}.")
        angles = angle_degrees(lights[:, None], lights[None]) + 180 * np.eye(count)
        if angles.min() >= SMALLEST_ANGLE:
            break
    return lights / lights.sum(1, keepdims=True)


def _strength(index: int, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """How strongly a light falls on each pixel: the first one everywhere, the others in a part of the scene."""
    if index == 0:
        field = 0.6 + 0.4 * _gradient(size, rng)
        if rng.random() < 0.5:  # something stands in its way
            field *= 1 - rng.uniform(0.5, 0.95) * _soft(_half_plane(size, rng), size, rng)
        return field
    kind = rng.integers(4)
    if kind == 0:
        field = _soft(_window(size, rng), size, rng)
    elif kind == 1:
        field = _lamp(size, rng)
    elif kind == 2:
        field = _soft(_half_plane(size, rng), size, rng)
    else:
        field = _gradient(size, rng)
    field = field * (0.8 + 0.2 * _gradient(size, rng))
    return rng.uniform(0.7, 2.5) * field + rng.uniform(0.01, 0.1)  # some of it is scattered everywhere


def _grid(size: tuple[int, int]) -> tuple[Array, Array]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows + 0.5) / size[0], (columns + 0.5) / size[1]


def _gradient(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = _grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)
    return np.clip(0.5 + along / (abs(np.cos(angle)) + abs(np.sin(angle))), 0, 1)


def _half_plane(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = _grid(size)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
    return (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) > offset).astype(np.float64)


def _window(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """The patch that a window with a cross throws, aslant."""
    middle = rng.uniform(0.3, 0.7, 2) * (size[1], size[0])
    half = rng.uniform(0.2, 0.4, 2) * (size[1], size[0])
    shear = rng.uniform(-0.4, 0.4)
    field = np.zeros(size, np.float32)
    for column in (-1, 0.06):
        for row in (-1, 0.06):
            square = np.array([[column, row], [column + 0.94, row], [column + 0.94, row + 0.94], [column, row + 0.94]])
            square[:, 0] += shear * square[:, 1]
            cv2.fillConvexPoly(field, np.round(middle + half * square).astype(np.int32), 1.0)
    return field.astype(np.float64)


def _lamp(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = _grid(size)
    ratio = size[1] / size[0]
    distance = np.square((x - rng.uniform(0, 1)) * ratio) + np.square(y - rng.uniform(0, 1))
    height = rng.uniform(0.15, 0.5) ** 2
    return (height / (distance + height)) ** 1.5


def _soft(field: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
    return np.clip(cv2.GaussianBlur(field, (0, 0), min(size) * rng.uniform(0.01, 0.08)), 0, 1)


def _place_charts(height: int, width: int, rng: np.random.Generator) -> Array:
    """Three charts, seen a little from the side, apart from each other and near the middle square."""
    scale = height * rng.uniform(0.22, 0.28) / WIDTH
    left = (width - min(width, height)) / 2
    charts = []
    for third in range(3):
        center = np.array([left + min(width, height) * (third + 0.5) / 3, height * rng.uniform(0.2, 0.8)])
        slant = rng.uniform(-0.04, 0.04, (4, 2)) * (WIDTH, HEIGHT)
        charts.append(center + scale * (BOX + slant - np.array([WIDTH, HEIGHT]) / 2))
    # As meta.json will hold them: with one decimal, in pixels of twice the size.
    return np.round(np.asarray(charts, dtype=np.float64) * 2, 1) / 2


def _paint(reflectance: Array, corners: Array) -> None:
    cv2.fillConvexPoly(reflectance, np.round(corners).astype(np.int32), (0.015, 0.015, 0.015))
    linear = np.power((_PATCHES / 255.0 + 0.055) / 1.055, 2.4)
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = to_picture(patch_corners(row, column), corners)
            cv2.fillConvexPoly(reflectance, np.round(cell).astype(np.int32), linear[row * COLUMNS + column].tolist())


def exposed(linear: Array, levels: Levels, rng: np.random.Generator) -> Array:
    """What the camera's file holds: shot and read noise, black level, clipping, rounding.

    Args:
        linear: (H, W, 3), 1 is the white level.
        levels: Levels of the file.
        rng: The source of chance.

    Returns:
        (H, W, 3) uint16, black not subtracted.
    """
    electrons = np.maximum(linear, 0) * ELECTRONS
    noisy = electrons + rng.standard_normal(linear.shape) * np.sqrt(electrons + READ_NOISE**2)
    values = levels.black + noisy / ELECTRONS * (levels.white - levels.black)
    return np.clip(np.round(values), 0, levels.white).astype(np.uint16)
