"""Pictures for illuminant estimation: linear raw or sRGB, said by the caller and never guessed."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import ImageHeader, decode_image, read_bytes, read_header

Array = np.ndarray[Any, Any]

ENCODINGS = ("srgb", "linear")
_JPEG = ("JPEG", "MPO")


def check_encoding(encoding: str, where: str) -> None:
    """Refuse what is neither ``srgb`` nor ``linear``; ``where`` begins the message."""
    if encoding not in ENCODINGS:
        raise UserError(f"{where}: encoding must be srgb (pictures) or linear (raw), got '{encoding}'.")


def read_pixels(path: str | Path, encoding: str, short_side: int | None = None) -> Array:
    """Read an image as its file holds it, or reduced.

    Args:
        path: The file.
        encoding: ``srgb``: a colour profile is converted to sRGB. ``linear``: values are left as they are; a JPEG is
            refused, because a JPEG is never linear.
        short_side: Reduce, by averaging areas, to this many pixels on the shorter side; smaller images stay.

    Returns:
        (H, W, 3) RGB, uint8 or uint16.

    Raises:
        UserError: The file cannot be read, or cannot be of this encoding.
    """
    check_encoding(encoding, str(path))
    content = read_bytes(path)
    header = read_header(content, str(path))
    if encoding == "linear":
        if header.format in _JPEG:
            raise UserError(
                f"{path}: a JPEG is sRGB, not linear: set encoding: srgb, or give the raw data as PNG/TIFF."
            )
        header = dataclasses.replace(header, icc_profile=None)  # sensor values have no colour space to convert from
    pixels = _reduced_jpeg(content, header, str(path), short_side)
    if pixels is None:
        pixels = decode_image(content, str(path), header=header)
    return pixels if short_side is None else shrink(pixels, short_side)


def _reduced_jpeg(content: bytes, header: ImageHeader, name: str, short_side: int | None) -> Array | None:
    """A JPEG decoded at a half, quarter or eighth of its size, several times faster; None where that does not apply."""
    plain = header.format in _JPEG and header.mode in ("RGB", "L") and header.icc_profile is None
    if short_side is None or not plain or min(header.height, header.width) < 2 * short_side:
        return None
    factor = max(f for f in (2, 4, 8) if f == 2 or min(header.height, header.width) >= f * short_side)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (-(-image.width // factor), -(-image.height // factor)))
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: the image is damaged: {error}. Replace or remove the file.") from error


def shrink(pixels: Array, short_side: int) -> Array:
    """Reduce (H, W, 3) to ``short_side`` pixels on the shorter side by averaging areas; never enlarges."""
    height, width = pixels.shape[:2]
    share = short_side / min(height, width)
    if share >= 1:
        return pixels
    size = (max(short_side, round(width * share)), max(short_side, round(height * share)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def check_levels(encoding: str, black: float, white: float | None, where: str) -> None:
    """Refuse levels that cannot be: for sRGB at all, or black not below white.

    Raises:
        UserError: Beginning with ``where``.
    """
    if encoding == "srgb" and (black != 0 or white is not None):
        raise UserError(f"{where}: black and white levels belong to linear images; leave them out with encoding: srgb.")
    if black < 0 or not np.isfinite(black):
        raise UserError(f"{where}: black must not be negative, got {black}.")
    if white is not None and not white > black:
        raise UserError(f"{where}: white must be greater than black, got black {black} and white {white}.")


def to_unit(pixels: Array, encoding: str, black: float = 0, white: float | None = None, where: str = "image") -> Array:
    """Scale (H, W, 3) pixels to float32 in [0, 1]: by the levels of a linear image, by the whole range of an sRGB one.

    Raises:
        UserError: The levels do not fit the encoding or the pixels.
    """
    check_levels(encoding, black, white, where)
    top = float(np.iinfo(pixels.dtype).max)
    if white is not None and white > top:
        raise UserError(f"{where}: white is {white:g}, but the image has {pixels.dtype.itemsize * 8} bits.")
    limit = top if white is None else float(white)
    if limit <= black:
        raise UserError(f"{where}: black is {black:g}, but the brightest possible value is {limit:g}.")
    scaled = (pixels.astype(np.float32) - np.float32(black)) * np.float32(1 / (limit - black))
    return np.clip(scaled, 0, 1, out=scaled)


def read_light_image(path: str | Path, encoding: str, black: float = 0, white: float | None = None) -> Array:
    """Read an image in its own encoding.

    Args:
        path: 8- or 16-bit PNG, TIFF, JPEG, ...
        encoding: ``linear``: (v - black) / (white - black), clipped. ``srgb``: v divided by its range.
        black: Black level of a linear image, in the file's units; it is subtracted here.
        white: Saturation level of a linear image. None: the range of 8 or 16 bits.

    Returns:
        (H, W, 3) float32 RGB in [0, 1], not converted: see :func:`to_linear`.

    Raises:
        UserError: The file cannot be read, or the encoding or the levels cannot be right.
    """
    return to_unit(read_pixels(path, encoding), encoding, black, white, str(path))


def to_linear(image: Array, encoding: str) -> Array:
    """Linear light of an image (..., 3) in [0, 1]; a linear one is returned as it is (IEC 61966-2-1 for sRGB)."""
    check_encoding(encoding, "to_linear")
    if encoding == "linear":
        return image
    return np.where(image <= 0.04045, image / 12.92, ((np.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4)


def from_linear(image: Array, encoding: str) -> Array:
    """Inverse of :func:`to_linear`."""
    check_encoding(encoding, "from_linear")
    if encoding == "linear":
        return image
    curve = 1.055 * np.maximum(image, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(image <= 0.0031308, image * 12.92, curve)
