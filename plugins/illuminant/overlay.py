"""Contact sheets of class maps: the picture, the truth and each answer in the colours of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.image_io import encode_png
from plugins.illuminant.light_images import from_linear

Array = np.ndarray[Any, Any]

# From cool to warm; others are drawn between them.
_RAMP = np.array([(30, 70, 255), (0, 200, 255), (60, 210, 90), (255, 205, 0), (255, 55, 20)], dtype=np.float64)
_PAPER, _INK = 255, (30, 30, 30)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE, _GAP = 18, 4
_STRENGTH = 0.75


@dataclass(frozen=True)
class OverlayRow:
    """One line of a sheet.

    Attributes:
        name: Written above it.
        picture: (H, W, 3) linear in [0, 1].
        maps: (K, H, W) in [0, 1] by column title.
    """

    name: str
    picture: Array
    maps: Mapping[str, Array]


def class_colors(count: int) -> Array:
    """(count, 3) sRGB in [0, 1], from blue (cool) to red (warm)."""
    place = np.linspace(0, len(_RAMP) - 1, count) if count > 1 else np.zeros(1)
    return np.stack([np.interp(place, np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)], 1) / 255


def paint(picture: Array, maps: Array) -> Array:
    """Lay class maps in their colours over the grey picture.

    Where several classes light up at once their colours mix, so identical maps show one mixed colour; where none does
    the picture stays grey.

    Args:
        picture: (H, W, 3) linear in [0, 1].
        maps: (K, H, W) in [0, 1].

    Returns:
        (H, W, 3) sRGB in [0, 1].
    """
    gray = from_linear(picture @ np.array([0.2126, 0.7152, 0.0722]), "srgb")[..., None]
    total = maps.sum(0)[..., None]
    color = np.einsum("khw,kc->hwc", maps, class_colors(len(maps))) / np.maximum(total, 1e-6)
    alpha = _STRENGTH * maps.max(0)[..., None]
    # The picture's light and dark shine through the colour.
    painted: Array = (1 - alpha) * gray + alpha * color * (0.35 + 0.65 * gray)
    return painted.clip(0, 1)


def contact_sheet(rows: Sequence[OverlayRow], class_names: Sequence[str], width: int = 1800) -> Array:
    """One line a scene: the picture, then its maps; a legend of the classes on top.

    Args:
        rows: At least one; the columns are those of the first.
        class_names: K names.
        width: Of the sheet, pixels, about: a tile has from 120 to 260.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    titles = list(rows[0].maps)
    tile = min(260, max(120, width // (len(titles) + 1) - _GAP))
    width = max((tile + _GAP) * (len(titles) + 1) + _GAP, _GAP + 130 * len(class_names))
    parts = [_legend(class_names, width), _headings(["picture", *titles], tile, width)]
    for row in rows:
        tiles = [from_linear(row.picture, "srgb"), *(paint(row.picture, row.maps[title]) for title in titles)]
        parts += [_caption(row.name, width), _line_of(tiles, tile, width)]
    return np.concatenate(parts)


def write_sheet(path: Path, sheet: Array) -> None:
    """Write a sheet as PNG, whole or not at all."""
    content = encode_png(sheet, compress_level=6)
    write_atomic(path, lambda file: file.write(content))


def _line_of(tiles: Sequence[Array], tile: int, width: int) -> Array:
    height = max(1, round(tiles[0].shape[0] * tile / tiles[0].shape[1]))
    line = np.full((height + _GAP, width, 3), _PAPER, np.uint8)
    for place, one in enumerate(tiles):
        way = cv2.INTER_AREA if one.shape[1] > tile else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(one, dtype=np.float32), (tile, height), interpolation=way)
        left = _GAP + place * (tile + _GAP)
        line[:height, left : left + tile] = np.round(small.clip(0, 1) * 255)
    return line


def _headings(titles: Sequence[str], tile: int, width: int) -> Array:
    strip = np.full((_LINE, width, 3), _PAPER, np.uint8)
    for place, title in enumerate(titles):
        _write(strip, title, _GAP + place * (tile + _GAP), tile)
    return strip


def _caption(text: str, width: int) -> Array:
    strip = np.full((_LINE, width, 3), _PAPER, np.uint8)
    _write(strip, text, _GAP, width - 2 * _GAP)
    return strip


def _legend(names: Sequence[str], width: int) -> Array:
    strip = np.full((_LINE + _GAP, width, 3), _PAPER, np.uint8)
    for place, (name, color) in enumerate(zip(names, class_colors(len(names)), strict=True)):
        left = _GAP + place * 130
        strip[_GAP : _GAP + 12, left : left + 12] = np.round(color * 255)
        _write(strip, name, left + 16, 130 - 20)
    return strip


def _write(strip: Array, text: str, left: int, room: int) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV draws no other letters
    size = cv2.getTextSize(plain, _FONT, 0.42, 1)[0][0]
    scale = 0.42 * min(1.0, room / max(size, 1))
    cv2.putText(strip, plain, (left, 13), _FONT, scale, _INK, 1, cv2.LINE_AA)
