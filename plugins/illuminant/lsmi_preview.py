"""A sheet to look at: pictures beside the masks of their classes of light."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.illuminant.lsmi_arrays import Array
from plugins.illuminant.lsmi_mask_files import ManifestRow, MaskFile, read_mask_file, read_scene_image

SHOWN = 12
_THUMB = 190
_GAP, _CAPTION = 6, 30
_ANCHORS = np.array([[40, 70, 230], [90, 180, 255], [225, 225, 225], [255, 170, 40], [225, 40, 20]], dtype=np.float64)
_OTHER = np.array([255, 0, 255], dtype=np.float64)
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_TITLES = ("picture", "classes", "other", "valid")


def class_colors(count: int) -> Array:
    """Colours of the classes from cool (blue) to warm (red), (count, 3) float64 in [0, 255]."""
    places = np.linspace(0, len(_ANCHORS) - 1, count)
    return np.stack([np.interp(places, range(len(_ANCHORS)), channel) for channel in _ANCHORS.T], -1)


def paint(masks: MaskFile) -> Array:
    """The classes' shares as colours, other in magenta, not valid in black; (H, W, 3) uint8."""
    colors = masks.mask @ class_colors(len(masks.class_names)) + masks.other[..., None] * _OTHER
    return np.asarray(np.clip(np.round(colors), 0, 255), dtype=np.uint8)


def display(linear: Array) -> Array:
    """A linear picture for the eye: green as it is, red and blue as strong on average, bright, gamma; uint8."""
    means = linear.mean((0, 1)) + 1e-6
    balanced = linear * (means[1] / means)
    balanced = balanced / max(1e-6, float(np.percentile(balanced, 99)))
    return np.asarray(255 * np.clip(balanced, 0, 1) ** (1 / 2.2) + 0.5, dtype=np.uint8)


def choose(rows: Sequence[ManifestRow], count: int = SHOWN) -> list[ManifestRow]:
    """Rows from all over the manifest, with hard ones among them where there are some."""
    hard, easy = [row for row in rows if row.hard], [row for row in rows if not row.hard]
    half = max(count // 2, count - len(easy))
    chosen = _spread(hard, min(half, len(hard)))
    chosen += _spread(easy, min(count - len(chosen), len(easy)))
    return sorted(chosen, key=rows.index)


def _spread(rows: Sequence[ManifestRow], count: int) -> list[ManifestRow]:
    return [rows[index * len(rows) // count] for index in range(count)]


def write_preview(path: Path, root: Path, folder: Path, rows: Sequence[ManifestRow]) -> int:
    """Write the sheet.

    Args:
        path: The PNG file.
        root: The data set's folder.
        folder: The masks' folder.
        rows: The manifest.

    Returns:
        How many pictures it shows; one that cannot be read is left out.
    """
    strips = []
    for row in choose(rows):
        try:
            masks = read_mask_file(folder / row.npz)
            picture = read_scene_image(root, masks)
        except UserError:  # the table of problems is the place for it
            continue
        strips.append(_strip(row, masks, picture))
    if not strips:
        return 0
    legend = _legend(rows[0], strips[0].width * 2 + 3 * _GAP)
    height, lines = max(strip.height for strip in strips), -(-len(strips) // 2)
    sheet = Image.new("RGB", (legend.width, legend.height + lines * (height + _GAP) + _GAP), _PAPER)
    sheet.paste(legend, (0, 0))
    for index, strip in enumerate(strips):
        left, top = _GAP + (index % 2) * (strips[0].width + _GAP), legend.height + index // 2 * (height + _GAP)
        sheet.paste(strip, (left, top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomic(path, lambda file: file.write(buffer.getvalue()))
    return len(strips)


def _strip(row: ManifestRow, masks: MaskFile, picture: Array) -> Image.Image:
    other = np.repeat((255 * np.clip(masks.other, 0, 1)).astype(np.uint8)[..., None], 3, -1)
    valid = np.repeat((255 * masks.valid).astype(np.uint8)[..., None], 3, -1)
    panels = [_thumb(part) for part in (display(picture), paint(masks), other, valid)]
    height, width = max(panel.shape[0] for panel in panels), _THUMB * len(panels) + _GAP * (len(panels) - 1)
    strip = Image.new("RGB", (width, height + _CAPTION), _PAPER)
    for index, panel in enumerate(panels):
        strip.paste(Image.fromarray(panel), (index * (_THUMB + _GAP), _CAPTION))
    lights = ", ".join(f"{name} {degrees:.1f}°" for name, degrees in zip(row.classes, row.degrees, strict=True))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(11)
    head = f"{row.camera} {row.image_id} ({row.split})" + ("  HARD" if row.hard else "")
    pen.text((0, 1), head, fill=_INK, font=font)
    pen.text((0, 14), f"{lights}; {'; '.join(row.flags)}".rstrip("; "), fill=_INK, font=font)
    return strip


def _thumb(pixels: Array) -> Array:
    height, width = pixels.shape[:2]
    scale = _THUMB / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    result = np.full((size[1], _THUMB, 3), 255, np.uint8)
    result[:, : size[0]] = shrunk
    return result


def _legend(row: ManifestRow, width: int) -> Image.Image:
    count = len(row.class_shares)
    legend = Image.new("RGB", (width, 26), _PAPER)
    pen, font = ImageDraw.Draw(legend), ImageFont.load_default(12)
    pen.text((_GAP, 6), f"{' | '.join(_TITLES)}     classes from cool to warm:", fill=_INK, font=font)
    left = 350
    for color in [*class_colors(count), _OTHER]:
        pen.rectangle((left, 6, left + 22, 20), fill=tuple(int(part) for part in color), outline=_INK)
        left += 26
    pen.text((left + 4, 6), "other (magenta); black: not valid", fill=_INK, font=font)
    return legend
