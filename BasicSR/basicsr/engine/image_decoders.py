"""Decoding encoded images, as little of them as a crop needs, and finding out that they are damaged.

A PNG is one compressed stream of filtered rows from top to bottom, so decoding stops where the crop ends; its chunks'
checksums are compared first (W3C PNG specification, second edition, section 5), because a partial decode does not reach
the checksum of the stream. JPEGs are decoded whole, and only the crop is copied out.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WHOLE_IMAGE_SHARE = 0.9
_PILLOW_MODES = {"1": "L", "L": "L", "LA": "LA", "PA": "RGBA", "RGBA": "RGBA", "CMYK": "CMYK"}

Box = tuple[int, int, int, int]
"""``(top, left, height, width)`` in pixels of the image as stored."""


class DecodeError(ValueError):
    """The image is damaged or of a kind that is not supported; the message says how."""


class UnsupportedError(DecodeError):
    """The image is of a kind that is not supported; the message says which."""


def cut(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """The box of an array, as a view."""
    if box is None:
        return pixels
    top, left, height, width = box
    return pixels[top : top + height, left : left + width]


def bgr_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's channel order to the usual one; grey and alpha stay where they are."""
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return pixels
    return pixels[:, :, ::-1] if pixels.shape[2] == 3 else pixels[:, :, [2, 1, 0, 3]]


def check_png(content: bytes) -> None:
    """Check that all chunks of a PNG are there and that their checksums are right.

    Raises:
        DecodeError: The file is truncated or a checksum differs.
    """
    view, position = memoryview(content), len(PNG_SIGNATURE)
    while position + 12 <= len(content):
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + 12 + length
        if end > len(content):
            break
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DecodeError(f"wrong checksum in the {bytes(view[position + 4 : position + 8])!r} data")
        if view[position + 4 : position + 8] == b"IEND":
            return
        position = end
    raise DecodeError("the PNG data ends early (truncated)")


def decode_png_rows(content: bytes, box: Box) -> np.ndarray | None:
    """Decode a PNG down to the bottom of a box and cut the box out.

    Args:
        content: The whole file, checked.
        box: What is wanted.

    Returns:
        ``(h, w)`` or ``(h, w, c)`` uint8, colours as RGB, or None where decoding the whole image is the better or only
        way (interlaced, palette, transparency key, other than 8 bits, nearly all rows wanted).

    Raises:
        DecodeError: The compressed data is wrong.
    """
    top, left, height, width = box
    with _opened(content) as image:
        bottom = top + height
        if bottom >= _WHOLE_IMAGE_SHARE * image.size[1] or image.mode not in ("L", "LA", "RGB", "RGBA"):
            return None
        if not isinstance(image, ImageFile.ImageFile) or image.info.get("interlace"):
            return None
        if "transparency" in image.info or len(image.tile) != 1:
            return None
        tile: Any = image.tile[0]
        codec, extents, offset, arguments = tile
        raw_mode = arguments if isinstance(arguments, str) else str(arguments[0])
        if codec != "zip" or raw_mode != image.mode or tuple(extents) != (0, 0, *image.size):
            return None
        rows = (0, 0, image.size[0], bottom)
        # A named tuple since Pillow 11, a plain one before.
        part: Any = tile._replace(extents=rows) if hasattr(tile, "_replace") else (codec, rows, offset, arguments)
        image.tile = [part]
        return _crop(image, (left, top, left + width, bottom))


def decode_jpeg(content: bytes, box: Box | None) -> np.ndarray:
    """Decode a JPEG and cut the box out, in Pillow's channel order: ``(h, w)`` grey, ``(h, w, 3)`` RGB, 4 for CMYK.

    Raises:
        DecodeError: The data is truncated or wrong.
    """
    if not _jpeg_is_complete(content):
        raise DecodeError("the JPEG data ends early (truncated: no end marker)")
    with _opened(content) as image:
        if box is None:
            return _crop(image, (0, 0, *image.size))
        top, left, height, width = box
        return _crop(image, (left, top, left + width, top + height))


def decode_other(content: bytes, box: Box | None) -> np.ndarray:
    """Decode with OpenCV, depth and channels as stored, colours as RGB; Pillow is the second try, at 8 bit.

    Raises:
        DecodeError: Neither can decode it, or the samples are neither uint8 nor uint16.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DecodeError(str(error).strip().splitlines()[-1]) from error
    if pixels is None:
        return decode_by_pillow(content, box)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnsupportedError(f"samples of type {pixels.dtype}; save it with 8 or 16 bits a channel")
    return cut(bgr_to_rgb(pixels), box)


def decode_by_pillow(content: bytes, box: Box | None) -> np.ndarray:
    """Decode at 8 bit with Pillow: ``(h, w)`` grey, ``(h, w, 2 to 4)`` with alpha, RGB, CMYK; a TIFF comes upright.

    OpenCV is no choice for a TIFF of 8 bit: it multiplies the colours by the alpha channel.

    Raises:
        DecodeError: The data is wrong, or its samples have more than 8 bits.
    """
    with _opened(content) as image:
        if image.mode.startswith(("I", "F")):
            raise UnsupportedError(f"samples of Pillow's mode {image.mode}; save it with 8 or 16 bits a channel")
        transparent = "transparency" in image.info and image.mode in ("P", "RGB")
        mode = "RGBA" if transparent else _PILLOW_MODES.get(image.mode, "RGB")
        return cut(_crop(image, (0, 0, *image.size), mode), box)


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content))
    except (OSError, SyntaxError, ValueError) as error:
        raise DecodeError(str(error)) from error


def _crop(image: Image.Image, area: tuple[int, int, int, int], mode: str | None = None) -> np.ndarray:
    try:
        part = image.crop(area)
        return np.asarray(part.convert(mode) if mode else part)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DecodeError(str(error)) from error


def _jpeg_is_complete(content: bytes) -> bool:
    """Whether an end marker follows the last start of scan (a thumbnail's own end marker comes before it)."""
    if content.endswith(b"\xff\xd9"):
        return True
    scan = content.rfind(b"\xff\xda")
    return scan >= 0 and content.find(b"\xff\xd9", scan) >= 0
