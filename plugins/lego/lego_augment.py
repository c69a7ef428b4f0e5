"""Chance for training pictures of bricks: geometry, light, noise, backgrounds.

Light changes as exposure and white balance do, in narrow limits where the colour of the brick is to be learnt: among 64
solid colours the nearest two are often under 5 ΔE00 apart, and stronger changes make one brick another's colour.

Random numbers come from a generator that is seeded by Python's ``random``, which is seeded for every sample.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from plugins.lego.lego_background import new_background, replace_background
from plugins.lego.lego_resize import border_color

Array = np.ndarray[Any, Any]

_SAFE_HUE, _SAFE_GAIN, _SAFE_STOPS, _SAFE_CONTRAST = 2.0, 0.05, 0.15, 0.05
_SAFE_SATURATION = 0.04


@dataclass(frozen=True)
class AugmentOptions:
    """Chances (0 to 1) and limits.

    Attributes:
        rotate90: Chance of a turn by 90, 180 or 270 degrees.
        flip: Chance of a horizontal flip, of parts that may be mirrored.
        affine: Chance of a shift, scaling and small rotation together.
        shift: Largest shift, share of the edge.
        scale: Largest change of scale.
        rotate: Largest angle, degrees.
        light: Chance of another exposure, contrast and white balance.
        stops: Largest change of exposure where the colour is not known.
        contrast: Largest change of contrast where the colour is not known.
        gain: Largest change of the red and blue gains where the colour is not known.
        hue_saturation: Chance of another hue and saturation.
        hue: Largest turn of the hue where the colour is not known, in OpenCV's units of 2 degrees.
        saturation: Largest change of the saturation where the colour is not known.
        noise: Chance of Gaussian noise.
        noise_sigma: Its smallest and largest standard deviation, of 255.
        blur: Chance of a Gaussian blur of 3 or 5 pixels.
        dropout: Chance of holes.
        holes: Most holes.
        hole_size: Largest edge of a hole, share of the picture's edge.
        background: Chance that a plain background is replaced.
    """

    rotate90: float = 0.5
    flip: float = 0.5
    affine: float = 0.5
    shift: float = 0.1
    scale: float = 0.2
    rotate: float = 15.0
    light: float = 0.5
    stops: float = 0.5
    contrast: float = 0.2
    gain: float = 0.15
    hue_saturation: float = 0.3
    hue: float = 10.0
    saturation: float = 0.2
    noise: float = 0.3
    noise_sigma: tuple[float, float] = (3.2, 7.1)
    blur: float = 0.2
    dropout: float = 0.3
    holes: int = 8
    hole_size: float = 0.09
    background: float = 0.5


_CHANCES = ("rotate90", "flip", "affine", "light", "hue_saturation", "noise", "blur", "dropout", "background")


def read_augment(value: Mapping[str, Any] | bool | None, where: str) -> AugmentOptions | None:
    """Read ``augment`` of a data set: a mapping, true for the defaults, false or nothing for none.

    Raises:
        UserError: An unknown key or an impossible value.
    """
    if value is None or value is False:
        return None
    given = {} if value is True else dict(value)
    names = [entry.name for entry in fields(AugmentOptions)]
    for key, entry in given.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names)}"
            raise UserError(f"{where}: augment.{key} is not known; {hint}")
        pair = key == "noise_sigma"
        numbers = list(entry) if pair and isinstance(entry, list | tuple) else [entry]
        if not all(isinstance(n, int | float) and np.isfinite(n) and n >= 0 for n in numbers):
            raise UserError(
                f"{where}: augment.{key}: {entry!r}: give {'two numbers' if pair else 'a number'} from 0 on"
            )
        if pair and (len(numbers) != 2 or numbers[0] > numbers[1]):
            raise UserError(f"{where}: augment.{key}: {entry!r}: give the smallest and the largest")
        if key in (*_CHANCES, "shift", "contrast", "gain", "saturation", "hole_size", "scale") and numbers[0] > 1:
            raise UserError(f"{where}: augment.{key}: {entry!r}: give a share from 0 to 1")
    if "noise_sigma" in given:
        given["noise_sigma"] = tuple(given["noise_sigma"])
    return AugmentOptions(**given)


def augment(pixels: Array, options: AugmentOptions, color_known: bool, may_flip: bool, plain: float = 60.0) -> Array:
    """Change a training picture by chance.

    Args:
        pixels: (S, S, 3) uint8 RGB.
        options: Chances and limits.
        color_known: Whether the brick's colour is a label, so that it has to stay what it is.
        may_flip: Whether a mirrored picture is still of this part.
        plain: How far a brick's colour is from its background, 0 to 441; a near one cannot be told from it.

    Returns:
        (S, S, 3) uint8 RGB; the input is not changed.
    """
    rng = np.random.default_rng(random.getrandbits(64))
    chance = dict(zip(_CHANCES, rng.random(len(_CHANCES)), strict=True))
    drawn = {name: chance[name] < getattr(options, name) for name in _CHANCES}
    edge = border_color(pixels)
    if drawn["background"] and plain >= 40:
        fresh = new_background(rng, pixels.shape[0])
        swapped = replace_background(pixels, fresh)
        if swapped is not None:
            pixels, edge = swapped, border_color(swapped)
    if drawn["rotate90"]:
        pixels = np.rot90(pixels, int(rng.integers(1, 4)))
    if drawn["flip"] and may_flip:
        pixels = pixels[:, ::-1]
    pixels = np.ascontiguousarray(pixels)
    if drawn["affine"]:
        pixels = _affine(pixels, options, rng, edge)
    if drawn["light"] or drawn["hue_saturation"]:
        pixels = _light(pixels, options, rng, color_known, drawn["light"], drawn["hue_saturation"])
    if drawn["blur"]:
        size = int(rng.choice((3, 5)))
        pixels = cv2.GaussianBlur(pixels, (size, size), 0)
    if drawn["noise"]:
        pixels = _noise(pixels, options, rng)
    if drawn["dropout"]:
        pixels = _dropout(pixels, options, rng)
    return pixels


def _affine(pixels: Array, options: AugmentOptions, rng: np.random.Generator, edge: Array) -> Array:
    size = pixels.shape[0]
    angle, factor = rng.uniform(-options.rotate, options.rotate), 1 + rng.uniform(-options.scale, options.scale)
    matrix = cv2.getRotationMatrix2D((size / 2 - 0.5, size / 2 - 0.5), angle, factor)
    matrix[:, 2] += rng.uniform(-options.shift, options.shift, 2) * size
    return cv2.warpAffine(
        pixels,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[int(value) for value in edge],
    )


_CURVE = np.linspace(0, 1, 256)
_LINEAR = np.where(_CURVE <= 0.04045, _CURVE / 12.92, ((_CURVE + 0.055) / 1.055) ** 2.4)


def _light(
    pixels: Array, options: AugmentOptions, rng: np.random.Generator, color_known: bool, light: bool, hue: bool
) -> Array:
    def limit(value: float, safe: float) -> float:
        return min(value, safe) if color_known else value

    if light:
        stops = rng.uniform(-1, 1) * limit(options.stops, _SAFE_STOPS)
        contrast = 1 + rng.uniform(-1, 1) * limit(options.contrast, _SAFE_CONTRAST)
        gains = np.exp(rng.uniform(-1, 1, 3) * np.log1p(limit(options.gain, _SAFE_GAIN)) * (1, 0, 1))
        # One table a channel: in linear light the exposure and the gains, over the curve the contrast.
        linear = np.minimum(_LINEAR[None] * (2.0**stops * gains)[:, None], 1)
        curve = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
        curve = np.clip((curve - 0.5) * contrast + 0.5, 0, 1)
        pixels = cv2.LUT(pixels, np.ascontiguousarray((curve * 255 + 0.5).astype(np.uint8).T[None]))
    if hue:
        turn = rng.uniform(-1, 1) * limit(options.hue, _SAFE_HUE)
        factor = 1 + rng.uniform(-1, 1) * limit(options.saturation, _SAFE_SATURATION)
        pixels = _turned(pixels, turn * 2, factor)
    return pixels


def _turned(pixels: Array, degrees: float, factor: float) -> Array:
    """Turn the hue about the grey axis and scale the saturation, as one matrix."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    third, root = 1 / 3, np.sqrt(1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turn = cosine * np.eye(3) + (1 - cosine) * third * np.ones((3, 3)) + sine * root * cross
    grey = np.full((3, 3), third)
    matrix = grey + factor * (turn - grey)
    return cv2.transform(pixels, matrix.astype(np.float32))


def _noise(pixels: Array, options: AugmentOptions, rng: np.random.Generator) -> Array:
    # A normal draw for each pixel is the dearest step of all: float32, and no further copy.
    shape: tuple[int, ...] = pixels.shape
    noise = rng.standard_normal(shape, dtype=np.float32)
    np.multiply(noise, np.float32(rng.uniform(*options.noise_sigma)), out=noise)
    np.add(noise, pixels, out=noise)
    return cv2.convertScaleAbs(np.maximum(noise, 0, out=noise))


def _dropout(pixels: Array, options: AugmentOptions, rng: np.random.Generator) -> Array:
    size, result = pixels.shape[0], pixels.copy()
    largest = max(1, round(options.hole_size * size))
    for _ in range(int(rng.integers(1, max(1, options.holes) + 1))):
        height, width = rng.integers(1, largest + 1, 2)
        top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
        result[top : top + height, left : left + width] = rng.integers(0, 256)
    return result
