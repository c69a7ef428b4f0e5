"""Which degradations data sets show: drawn anew for each training sample, from other families for the test."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plugins.color_science.illuminants import cct_to_linear_srgb
from plugins.diagnostic.estimate import HIGHEST, LOWEST, NEUTRAL_KELVIN, Estimate
from plugins.diagnostic.tone_curves import ToneCurve

EV_THRESHOLD = 0.5
"""Stops beyond which a photo counts as under- or over-exposed."""
SATURATION_THRESHOLD = math.log(1.18)
"""Log saturation beyond which a photo counts as under- or over-saturated."""
UNKNOWN = -1
EXPOSURE_CLASSES = ("under", "well", "over")
SATURATION_CLASSES = ("under", "normal", "over")

_MIRED_REACH = (-85.0, 130.0)
_TINT_SPREAD = 0.007
_CLIPPED_EXPOSURE, _CLIPPED_COLOR = 0.6, 0.5
_CLOSE_TO_GREY = 0.012
_CLOSE_TO_BLACK = 2.0 / 255


@dataclass(frozen=True)
class Developing:
    """How a camera develops a picture, and which families data sets draw from.

    Attributes:
        curves: Families of tone curves.
        spaces: Spaces of saturation.
        samplings: Resolutions of JPEG's colour planes.
        quality: Lowest and highest JPEG quality.
        strongest_curve: Largest amount of a curve.
    """

    curves: tuple[str, ...]
    spaces: tuple[str, ...]
    samplings: tuple[str, ...]
    quality: tuple[int, int]
    strongest_curve: float


TRAINING = Developing(("odds", "power"), ("luma", "linear"), ("420",), (70, 96), 0.35)
HELD_OUT = Developing(("sine", "cubic"), ("oklab",), ("444", "422"), (50, 90), 0.45)
"""Curves, space and compression that no training sample has."""


@dataclass(frozen=True)
class Draw:
    """One degradation: what was done, and how the camera developed it (keywords of ``degrade``)."""

    estimate: Estimate
    camera: dict[str, Any]


def draw_degradation(rng: random.Random, developing: Developing, identity_share: float) -> Draw:
    """Draw one.

    Exposure and saturation are each left alone in a third of the draws (up to a little scatter), and else changed by
    at least 0.75 EV, or a factor of 1.3 or more, so that the classes are what a person would say. The cast is that
    of a camera set to daylight under another light of the locus, in one of four draws none.

    Args:
        rng: The source of chance.
        developing: The families to draw from.
        identity_share: Share of the draws in which nothing at all is done but developing; there the curve is weak.
    """
    identity = rng.random() < identity_share
    estimate = Estimate() if identity else Estimate(_draw_ev(rng), *_draw_cast(rng), _draw_saturation(rng))
    strength = developing.strongest_curve * (0.3 if identity else 1.0)
    camera = {
        "curve": ToneCurve(rng.choice(developing.curves), rng.uniform(-strength, strength)),
        "saturation_space": rng.choice(developing.spaces),
        "noise": rng.choice((0.0, rng.uniform(0.0, 0.03))),
        "jpeg_quality": rng.randint(*developing.quality),
        "jpeg_sampling": rng.choice(developing.samplings),
        "seed": rng.getrandbits(31),
    }
    return Draw(estimate, camera)


def _draw_ev(rng: random.Random) -> float:
    kind = rng.randrange(3)
    if kind == 0:
        return rng.uniform(-2.5, -0.75)
    return rng.uniform(0.75, 1.5) if kind == 1 else rng.uniform(-0.2, 0.2)


def _draw_saturation(rng: random.Random) -> float:
    kind = rng.randrange(3)
    if kind == 0:
        return rng.uniform(math.log(0.35), math.log(0.75))
    return rng.uniform(math.log(1.3), math.log(1.9)) if kind == 1 else rng.uniform(-0.07, 0.07)


def _draw_cast(rng: random.Random) -> tuple[float, float]:
    if rng.randrange(4) == 0:
        return 0.0, 0.0
    while True:
        kelvin = 1e6 / (1e6 / NEUTRAL_KELVIN + rng.uniform(*_MIRED_REACH))
        light = cct_to_linear_srgb(kelvin, float(np.clip(rng.gauss(0, _TINT_SPREAD), -0.015, 0.015)))
        warm, cool = math.log(light[0] / light[1]), math.log(light[2] / light[1])
        # the reddest lights with the greenest tint lie just beyond what an estimate may be
        if LOWEST[1] <= warm <= HIGHEST[1] and LOWEST[2] <= cool <= HIGHEST[2]:
            return warm, cool


def recoverable(photo: Tensor, spoilt: Tensor) -> tuple[bool, bool, bool, bool]:
    """Which of the four numbers can still be read off a spoilt photo.

    Exposure cannot where most of the picture has become plain white or black; the cast cannot where half of it has a
    channel at its end; saturation cannot then either, nor where the photo had no colours to begin with.

    Args:
        photo: (3, H, W), sRGB in [0, 1].
        spoilt: The same, degraded.

    Returns:
        For EV, log R/G, log B/G and log saturation.
    """
    white, black = spoilt >= 1 - _CLOSE_TO_BLACK / 2, spoilt <= _CLOSE_TO_BLACK
    lost = float((white.all(0) | black.all(0)).float().mean())
    colorless = float((white.any(0) | black.all(0)).float().mean())
    chroma = float((photo.amax(0) - photo.amin(0)).mean())
    cast = colorless <= _CLIPPED_COLOR
    return lost <= _CLIPPED_EXPOSURE, cast, cast, cast and chroma >= _CLOSE_TO_GREY


def labels_of(estimate: Estimate, known: tuple[bool, bool, bool, bool]) -> dict[str, Any]:
    """What a data set says of a sample.

    Returns:
        ``estimate`` (4,) and ``known`` (4,), float32; ``exposure_class`` and ``saturation_class``, 0 to 2, -1 where
        they cannot be told.
    """
    exposure = _class_of(estimate.ev, EV_THRESHOLD) if known[0] else UNKNOWN
    saturation = _class_of(estimate.log_saturation, SATURATION_THRESHOLD) if known[3] else UNKNOWN
    return {
        "estimate": estimate.batch()[0],
        "known": torch.tensor(known, dtype=torch.float32),
        "exposure_class": exposure,
        "saturation_class": saturation,
    }


def _class_of(value: float, threshold: float) -> int:
    return 0 if value < -threshold else 2 if value > threshold else 1
