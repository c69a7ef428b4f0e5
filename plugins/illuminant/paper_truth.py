"""The light of a photo of things on white paper: the paper's own colour, and where the paper is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from plugins.color_science.angle_statistics import recovery_error
from plugins.illuminant.light_images import shrink, to_linear

Array = np.ndarray[Any, Any]

WORKING_SIDE = 320
"""Shorter side of the photo that the search works on, in pixels."""
LEAST_SHARE = 0.15
"""Share of the photo that paper must cover."""
MOST_SPREAD = 3.0
"""Angle, in degrees, within which 68 % of the paper's pixels must lie around its median: above, lights mix on it."""
MOST_TINT = 20.0
"""Angle to grey, in degrees, above which a large even area is rather a coloured wall than paper."""
MOST_CLIPPED = 0.5
"""Share of the paper that may be overexposed."""
_CLIPPED = 250 / 255
_DARKEST = 1e-3
_BRIGHT = 0.35
_TEXTURE = 0.035
_BIN = 0.03
_NEAR, _NEAR_SHADOW, _NEAR_OTHER = 0.10, 0.22, 0.35
_WHITE = 0.4
_SHADE, _SHADOW = 0.40, 0.04
_PART = 0.02
_RIM = 0.012


@dataclass(frozen=True)
class PaperTruth:
    """What was found on a photo.

    Attributes:
        light: Linear r, g, b of sum 1 of the paper; None where none was found.
        paper: (H, W) bool, the even, lit, not overexposed paper that ``light`` was measured on.
        hide: (H, W) bool, all that shows the paper: also its shadows, creases and overexposed parts, and a narrow rim
            of the things on it. A model that is to be tested must not see it.
        quality: From 0 to 1: how large, even and well exposed the paper is; 0 where there is none.
        reason: Why there is no light; empty where there is one.
        spread: Angle, in degrees, within which 68 % of the paper's pixels lie around the median.
    """

    light: tuple[float, float, float] | None
    paper: Array
    hide: Array
    quality: float
    reason: str
    spread: float

    @property
    def left(self) -> float:
        """Share of the photo that a model may see, from 0 to 1."""
        return 1 - float(self.hide.mean())


def find_paper(image: Array) -> PaperTruth:
    """Find the white paper on a photo and take its colour for the light.

    Paper is the most common colour among bright pixels without texture, if it covers ``LEAST_SHARE`` of the photo, is
    nearly grey (``MOST_TINT``) and evenly coloured (``MOST_SPREAD``), and at least half of it is not overexposed.
    White things on the paper are not told from it where they touch it without an edge.

    Args:
        image: (H, W, 3) float sRGB in [0, 1].

    Returns:
        The light and the masks, of the photo's size.

    Raises:
        ValueError: The shape is another, the photo is smaller than 32 x 32, or a value is not finite.
    """
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 32:
        raise ValueError(f"image must have shape (H, W, 3) and at least 32 x 32 pixels, got {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError("the image holds values that are not finite")
    small = shrink(image.astype(np.float32), WORKING_SIDE)
    linear = to_linear(np.clip(small, 0, 1), "srgb")
    clipped = small.max(-1) >= _CLIPPED
    area, around, hide, problem = _search(linear, clipped)
    light: tuple[float, float, float] | None = None
    spread = quality = 0.0
    paper = area & ~clipped
    if not problem:
        light, spread, problem = _measure(linear, area, paper, around)
    if not problem:
        over = 1 - paper.sum() / area.sum()
        quality = float(min(1.0, area.mean() / 0.5) * (1 - spread / (2 * MOST_SPREAD)) * (1 - over))
    size = (image.shape[1], image.shape[0])
    masks = [cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool) for m in (paper, hide)]
    if problem:
        empty = np.zeros(image.shape[:2], bool)
        return PaperTruth(None, empty, empty.copy(), 0.0, problem, spread)
    return PaperTruth(light, masks[0], masks[1], quality, "", spread)


def _search(linear: Array, clipped: Array) -> tuple[Array, Array, Array, str]:
    """The lit paper of one colour, also that of other colours, all paper, and a problem or nothing."""
    nothing = np.zeros(clipped.shape, bool)
    luminance = linear.mean(-1)
    chroma = np.log(np.maximum(linear, _DARKEST))
    chroma = np.stack([chroma[..., 0] - chroma[..., 1], chroma[..., 2] - chroma[..., 1]], -1)
    smooth = _texture(luminance) < _TEXTURE
    top = np.percentile(luminance, 98)
    if top < 0.01:
        return nothing, nothing, nothing, "the photo is black"
    seeds = smooth & (luminance > _BRIGHT * top) & ~clipped
    if seeds.mean() < LEAST_SHARE / 3:
        over = (clipped & smooth).mean() >= LEAST_SHARE
        return (
            nothing,
            nothing,
            nothing,
            "the bright areas are overexposed" if over else "no bright area without texture",
        )
    center = _mode(chroma[seeds])
    level = np.median(luminance[seeds & (_distance(chroma, center) < _NEAR)])
    near = _distance(chroma, center)
    lit = smooth & ((near < _NEAR) & (luminance > _SHADE * level) | clipped & (near < 2 * _NEAR))
    area = _large_parts(lit)
    if area.mean() < LEAST_SHARE:
        problem = f"an even bright area covers {100 * area.mean():.0f} % of the photo, too little for paper"
        return nothing, nothing, nothing, problem
    bright = smooth & (near < _NEAR_OTHER) & (luminance > _SHADE * level) & ~clipped
    return area, _joined(bright, area), _with_shadows(area, near, linear, level, clipped), ""


def _texture(luminance: Array) -> Array:
    """Local deviation of the logarithm of the luminance, after a little smoothing against noise."""
    log = np.log(np.maximum(cv2.GaussianBlur(luminance, (0, 0), 1.0), _DARKEST))
    mean, square = cv2.blur(log, (5, 5)), cv2.blur(log * log, (5, 5))
    return np.sqrt(np.maximum(square - mean * mean, 0))


def _distance(chroma: Array, center: Array) -> Array:
    return np.sqrt(np.square(chroma - center).sum(-1))


def _mode(chroma: Array) -> Array:
    """The densest place of (N, 2) points: the fullest cell of a smoothed histogram, then the median around it."""
    edges = np.arange(-2.5, 2.5 + _BIN, _BIN)
    inside = np.clip(chroma, -2.49, 2.49)
    table = np.histogram2d(inside[:, 0], inside[:, 1], bins=len(edges) - 1, range=((edges[0], edges[-1]),) * 2)[0]
    i, j = np.unravel_index(int(cv2.GaussianBlur(table, (0, 0), 1.5).argmax()), table.shape)
    peak = np.array([edges[i], edges[j]]) + _BIN / 2
    around = chroma[_distance(chroma, peak) < _NEAR]
    return np.median(around, axis=0) if len(around) else peak


def _large_parts(mask: Array) -> Array:
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, figures, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    large = figures[:, cv2.CC_STAT_AREA] >= _PART * mask.size
    large[0] = False
    return large[labels]


def _joined(mask: Array, area: Array) -> Array:
    """The parts of ``mask | area`` that hold some of ``area``."""
    both = mask | area
    _, labels = cv2.connectedComponents(both.astype(np.uint8), connectivity=4)
    return np.isin(labels, np.unique(labels[area])) & both


def _with_shadows(area: Array, near: Array, linear: Array, level: float, clipped: Array) -> Array:
    """Add what touches the lit paper and has about its colour, however dark, or is overexposed; then a rim."""
    blown = clipped & (linear.min(-1) > _WHITE * linear.max(-1))
    joined = _joined((near < _NEAR_SHADOW) & (linear.mean(-1) > _SHADOW * level) | blown, area)
    radius = max(1, round(_RIM * min(area.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    return cv2.dilate(joined.astype(np.uint8), kernel).astype(bool)


def _measure(
    linear: Array, area: Array, paper: Array, around: Array
) -> tuple[tuple[float, float, float] | None, float, str]:
    over = 1 - paper.sum() / area.sum()
    if over > MOST_CLIPPED:
        return None, 0.0, f"{100 * over:.0f} % of the paper are overexposed"
    pixels = linear[paper].astype(np.float64)
    median = np.median(pixels, axis=0)
    red, green, blue = (float(value) for value in median / median.sum())
    spread = float(np.percentile(recovery_error(np.maximum(linear[around], 1e-6), median), 68))
    tint = float(recovery_error(median, np.ones(3)))
    if tint > MOST_TINT:
        return None, spread, f"the even bright area is {tint:.0f} degrees from grey: rather coloured than white"
    if spread > MOST_SPREAD:
        return None, spread, f"the paper's colour varies by {spread:.1f} degrees: more than one light"
    return (red, green, blue), spread, ""
