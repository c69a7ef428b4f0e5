"""Light round a part: a dome, one to three area lights, and what the ground sends back, as distant point lights.

Many directions with a shadow map each give soft shadows, ambient occlusion and their colours at once. Radiance is in
units in which a white matt surface that faces up, with nothing in the way, has the value 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugins.color_science.illuminants import cct_to_linear_srgb

Array = NDArray[Any]

_GOLDEN = 2.399963229728653
_UNDER_PART = 0.7  # the ground below a part is darker than the ground beside it


@dataclass(frozen=True)
class Lamp:
    """An area light: (azimuth, elevation, angular radius) in degrees, its share of the light, Kelvin."""

    azimuth: float
    elevation: float
    radius: float
    share: float
    kelvin: float


@dataclass(frozen=True)
class Lighting:
    """What is drawn for the light: ``dome`` is its share, ``zenith`` how much brighter it is overhead, and Kelvin."""

    lamps: tuple[Lamp, ...]
    dome: float
    zenith: float
    dome_kelvin: float
    spin: float


@dataclass(frozen=True)
class LightField:
    """Lighting worked out in the world's frame.

    Attributes:
        directions: (L, 3) towards the lights; L is a multiple of 4.
        weights: (L, 3) what each gives a surface that faces it.
        sky: (2, 3) radiance at the horizon and overhead.
        ground: (3,) radiance of the ground.
        lamp_directions, lamp_shapes, lamp_radiance: (A, 3), (A,) radians, (A, 3).
    """

    directions: Array
    weights: Array
    sky: Array
    ground: Array
    lamp_directions: Array
    lamp_shapes: Array
    lamp_radiance: Array


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """Draw a light: mostly soft, as in rooms and light boxes; one in three has a lamp or sun with a clear shadow."""
    hard = rng.random() < 0.33
    lamps = []
    kelvin = float(1e6 / rng.uniform(1e6 / 7500, 1e6 / 2700))
    for number in range(int(rng.integers(1, 4))):
        small = hard and number == 0
        lamps.append(
            Lamp(
                float(rng.uniform(0, 360)),
                float(rng.uniform(30, 85)),
                float(rng.uniform(2, 9) if small else rng.uniform(10, 38)),
                float(rng.uniform(1.0, 2.0) if small else rng.uniform(0.3, 1.0)),
                float(np.clip(1e6 / (1e6 / kelvin + rng.normal(0, 15)), 2200, 12000)),
            )
        )
    dome = float(rng.uniform(0.3, 0.6) if hard else rng.uniform(0.4, 0.9))
    dome_kelvin = float(np.clip(1e6 / (1e6 / kelvin - abs(rng.normal(0, 25))), 2200, 12000))
    return Lighting(tuple(lamps), dome, float(rng.uniform(0.5, 3.0)), dome_kelvin, float(rng.uniform(0, 360)))


def make_light_field(lighting: Lighting, ground: Array, count: int = 48) -> LightField:
    """Work the light out.

    Args:
        lighting: What was drawn.
        ground: (3,) mean linear reflectance of the ground.
        count: Point lights in all, a multiple of 8.
    """
    below, lamp_count = count // 8, count // 2
    dome_count = count - below - lamp_count
    sky_color = _color(lighting.dome_kelvin)
    dome = _hemisphere(dome_count, np.radians(lighting.spin))
    radiance = 1 + (lighting.zenith - 1) * dome[:, 1]
    dome_weights = (radiance / (radiance * dome[:, 1]).sum() * lighting.dome)[:, None] * sky_color
    # radiance whose weighted mean over the hemisphere gives the same light on the ground
    horizon = lighting.dome / (1 + (lighting.zenith - 1) * 2 / 3)
    sky = np.stack([sky_color * horizon, sky_color * horizon * lighting.zenith])
    shares = np.array([lamp.share for lamp in lighting.lamps])
    shares = shares / shares.sum() * (1 - lighting.dome)
    counts = _split(lamp_count, shares)
    directions, weights, middles, radiances = [dome], [dome_weights], [], []
    for lamp, share, number in zip(lighting.lamps, shares, counts, strict=True):
        middle = _direction(lamp.azimuth, lamp.elevation)
        color = _color(lamp.kelvin)
        points = _cap(middle, np.radians(lamp.radius), number)
        gain = share / max(float(points[:, 1].clip(0.05).sum()), 1e-6)
        directions.append(points)
        weights.append(np.tile(gain * color, (number, 1)))
        middles.append(middle)
        radiances.append(share / (np.sin(np.radians(lamp.radius)) ** 2 * max(middle[1], 0.2)) * color)
    under = _hemisphere(below, np.radians(lighting.spin) + 1.0) * (1.0, -1.0, 1.0)
    directions.append(under)
    weights.append(np.tile(ground * _UNDER_PART * 2 / below, (below, 1)))
    return _balanced(directions, weights, sky, ground, middles, [lamp.radius for lamp in lighting.lamps], radiances)


def _balanced(
    directions: list[Array], weights: list[Array], sky: Array, ground: Array, middles: list[Array],
    radii: list[float], radiances: list[Array],
) -> LightField:  # fmt: skip
    """Put all together, white-balanced and exposed on a white surface that faces up."""
    whole, weight = np.concatenate(directions), np.concatenate(weights)
    above = whole[:, 1] > 0
    white = (weight[above] * whole[above, 1:2]).sum(0)
    weight = np.where(above[:, None], weight / white, weight)
    real = np.float32
    return LightField(
        whole.astype(real), weight.astype(real), (sky / white).astype(real), np.asarray(ground, dtype=real),
        np.stack(middles).astype(real), np.radians(radii).astype(real), (np.stack(radiances) / white).astype(real),
    )  # fmt: skip


def _color(kelvin: float) -> Array:
    return np.asarray(cct_to_linear_srgb(kelvin)) * 3


def _direction(azimuth: float, elevation: float) -> Array:
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])


def _hemisphere(count: int, spin: float) -> Array:
    height = (np.arange(count) + 0.5) / count
    angle = np.arange(count) * _GOLDEN + spin
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), height, flat * np.sin(angle)], -1)


def _cap(middle: Array, radius: float, count: int) -> Array:
    """Directions spread over a disc of the sky, from its middle outwards."""
    reach = radius * np.sqrt((np.arange(count) + 0.5) / count)
    angle = np.arange(count) * _GOLDEN
    helper = np.eye(3)[np.argmin(np.abs(middle))]
    u = np.cross(middle, helper)
    u /= np.linalg.norm(u)
    v = np.cross(middle, u)
    around = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
    points = np.cos(reach)[:, None] * middle + np.sin(reach)[:, None] * around
    points[:, 1] = np.maximum(points[:, 1], 0.03)
    lengths: Array = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / lengths)


def _split(total: int, shares: Array) -> list[int]:
    """Multiples of 4 that add up to ``total``: as the shares say, at least 4 each."""
    counts = np.maximum(np.round(shares / shares.sum() * total / 4).astype(int), 1)
    while counts.sum() != total // 4:
        counts[np.argmax(counts)] += 1 if counts.sum() < total // 4 else -1
    return [int(number) * 4 for number in counts]
