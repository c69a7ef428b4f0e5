"""Pictures inside a report: scaled down, encoded, and ΔE maps on a fixed scale."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from basicsr.engine.errors import UserError

MAP_LIMIT = 10.0
"""ΔE00 at the bright end of the scale: the same in every report, so that maps can be compared."""

MAP_COLORS = (
    "#000004",
    "#1b0c41",
    "#4a0c6b",
    "#781c6d",
    "#a52c60",
    "#cf4446",
    "#ed6925",
    "#fb9b06",
    "#f7d13d",
    "#fcffa4",
)
"""The scale from 0 to ``MAP_LIMIT``, evenly spaced: rising in lightness, so that it reads in grey as well."""

SIDES = (1280, 960, 720, 480, 360, 280, 200, 140)
"""Longer sides of pictures, in pixels, from which one is chosen by the number of pictures."""

_QUALITY = 80
_BYTES_A_PIXEL = 0.13
"""Of a photograph at this quality and its share of a ΔE map, on the small side: an excess is corrected later."""


@dataclass(frozen=True)
class Shot:
    """Encoded pictures of a measured image.

    Attributes:
        picture: WebP, scaled down.
        difference: WebP of the ΔE map of the same size; grey, 255 is ``MAP_LIMIT`` and more. Empty for a target.
    """

    picture: bytes
    difference: bytes


def side_for(pictures: int, limit: int) -> int:
    """The largest of ``SIDES`` with which so many pictures of photographs take about ``limit`` bytes in a page."""
    for side in SIDES:
        if pictures * side * side * 2 / 3 * _BYTES_A_PIXEL * 4 / 3 <= limit:
            return side
    return SIDES[-1]


def make_shot(pred: np.ndarray, difference: np.ndarray | None, side: int) -> Shot:
    """Encode an image and its ΔE map.

    Args:
        pred: (H, W, 3) RGB, uint8 or uint16.
        difference: (H, W) float32, ΔE00; None for a target.
        side: Longer side of the pictures.

    Raises:
        UserError: If this Pillow cannot write WebP.
    """
    codes = None if difference is None else difference_codes(difference, side)
    return Shot(encode(thumbnail(pred, side)), b"" if codes is None else encode(codes))


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """An RGB image (uint8 or uint16) as uint8 with its longer side at most ``side`` pixels."""
    scaled = _shrink(image, side)
    return scaled if scaled.dtype == np.uint8 else np.rint(scaled / 257.0).astype(np.uint8)


def difference_codes(difference: np.ndarray, side: int) -> np.ndarray:
    """ΔE00, averaged, as (h, w) uint8 in which 255 stands for ``MAP_LIMIT`` and more. Colours are given in the page."""
    return np.asarray(np.clip(np.rint(_shrink(difference, side) * (255 / MAP_LIMIT)), 0, 255).astype(np.uint8))


def colored(codes: np.ndarray) -> np.ndarray:
    """:func:`difference_codes` in the colours of the scale, (h, w, 3) uint8 RGB."""
    anchors = np.array([[int(color[k : k + 2], 16) for k in (1, 3, 5)] for color in MAP_COLORS], np.float64)
    place = np.linspace(0, len(anchors) - 1, 256)
    table = np.stack([np.interp(place, np.arange(len(anchors)), anchors[:, k]) for k in range(3)], axis=1)
    return np.asarray(np.rint(table).astype(np.uint8)[codes])


def encode(image: np.ndarray, quality: int = _QUALITY) -> bytes:
    """An RGB or grey uint8 image as WebP.

    Raises:
        UserError: If this Pillow cannot write WebP.
    """
    buffer = io.BytesIO()
    try:
        # Method 2 takes half the time of the usual one for pictures that are a twentieth larger.
        Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=2)
    except (KeyError, OSError) as error:
        raise UserError("the installed Pillow cannot write WebP images: install pillow from PyPI") from error
    return buffer.getvalue()


def shrunk(encoded: bytes, side: int) -> bytes:
    """An encoded picture made smaller; itself where it is small enough."""
    image = np.asarray(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR))
    if max(image.shape[:2]) <= side:
        return encoded
    return encode(np.ascontiguousarray(_shrink(image, side)[:, :, ::-1]))


def as_text(encoded: bytes) -> str:
    """Base64, as a ``data:`` address holds it."""
    return base64.b64encode(encoded).decode("ascii")


def _shrink(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
