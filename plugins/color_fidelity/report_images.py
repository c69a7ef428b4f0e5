"""Pictures inside a report: scaled-down, encoded, and ΔE maps on a fixed colour scale."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from plugins.color_science import fast_delta_e00

MAP_LIMIT = 20.0
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
_QUALITY = 84


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """An RGB image (uint8 or uint16) as uint8 with its longer side at most ``side`` pixels."""
    scaled = _shrink(image, side)
    return scaled if scaled.dtype == np.uint8 else np.rint(scaled / 257.0).astype(np.uint8)


def difference_map(pred: np.ndarray, target: np.ndarray, side: int) -> np.ndarray:
    """ΔE00 of two images, averaged and then coloured from 0 (dark) to ``MAP_LIMIT`` (bright): (h, w, 3) uint8."""
    difference = _shrink(fast_delta_e00(pred, target), side)
    codes = np.clip(difference * (255 / MAP_LIMIT), 0, 255).astype(np.uint8)
    return np.asarray(_color_table()[codes])


def data_uri(image: np.ndarray, quality: int = _QUALITY) -> str:
    """An RGB uint8 image as a WebP ``data:`` address.

    Raises:
        UserError: If this OpenCV cannot write WebP.
    """
    done, data = cv2.imencode(".webp", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise UserError("the installed OpenCV cannot write WebP images: install opencv-python from PyPI")
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _shrink(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _color_table() -> np.ndarray:
    anchors = np.array([[int(color[k : k + 2], 16) for k in (1, 3, 5)] for color in MAP_COLORS], np.float64)
    position = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(position, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)
