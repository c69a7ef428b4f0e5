"""Pictures of the advice: before beside after, and a sheet with each recommended filter by itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plugins.diagnostic.advice import CorrectionAdvice
from plugins.diagnostic.corrections import parameters_of_filter
from plugins.diagnostic.preview import generate_preview

TILE_SIDE = 480
SIDE_BY_SIDE = 1600
_GAP, _CAPTION = 16, 30
_PAPER, _INK = (247, 247, 245), (28, 30, 33)


def before_after(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Two versions of a photo beside each other (above each other if it is wide), each at most 1600 pixels wide.

    Args:
        before: (H, W, 3) uint8 RGB.
        after: The same size.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    pictures = [_captioned(shrunk(image, SIDE_BY_SIDE), text) for image, text in ((before, "before"), (after, "after"))]
    wide = before.shape[1] > 1.6 * before.shape[0]
    return _grid(pictures, 1 if wide else 2)


def filters_sheet(image: np.ndarray, advice: CorrectionAdvice) -> np.ndarray:
    """The photo as it is, with each recommended filter alone, and with all of them.

    Args:
        image: (H, W, 3) uint8 RGB.
        advice: What to show.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    small = shrunk(image, TILE_SIDE)
    tiles = [_captioned(small, "as it is" if advice.recommended_filters else "as it is: nothing to correct")]
    for entry in advice.recommended_filters:
        alone = dataclasses.replace(advice, final_params=parameters_of_filter(entry))
        tiles.append(_captioned(generate_preview(small, alone), filter_text(entry)))
    if len(advice.recommended_filters) > 1:
        tiles.append(_captioned(generate_preview(small, advice), "all together"))
    return _grid(tiles, min(len(tiles), 3))


def filter_text(entry: dict[str, Any]) -> str:
    """A recommended filter in a few words."""
    params = entry["params"]
    if entry["name"] == "saturation":
        return f"saturation x{params['factor']:.2f}"
    if entry["name"] == "white_balance":
        return "white balance " + " ".join(f"{name}{params[f'gain_{name}']:.2f}" for name in "rgb")
    if entry["name"] == "exposure":
        return f"exposure {params['ev']:+.2f} EV"
    return f"hue {360 * params['turns']:+.0f} deg"


def shrunk(image: np.ndarray, longest: int) -> np.ndarray:
    """The photo with its longer side at most ``longest`` pixels, by areas."""
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    height, width = image.shape[:2]
    paper = Image.new("RGB", (max(width, 260), height + _CAPTION), _PAPER)
    paper.paste(Image.fromarray(image), (0, _CAPTION))
    ImageDraw.Draw(paper).text((2, 4), text, fill=_INK, font=ImageFont.load_default(18))
    return np.asarray(paper)


def _grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.empty((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), np.uint8)
    sheet[:] = _PAPER
    for number, tile in enumerate(tiles):
        top = _GAP + (number // columns) * (height + _GAP)
        left = _GAP + (number % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet
