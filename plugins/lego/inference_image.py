"""An encoded picture of unknown origin to upright RGB pixels, or a reason why not. Needs numpy and Pillow only.

What is read is what the training reads: EXIF orientation applied, other colour profiles converted to sRGB, grey
expanded, alpha dropped, 16 bit cut to 8.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

Array = np.ndarray[Any, Any]

MAX_BYTES = 12 * 2**20
MAX_PIXELS = 26_000_000
FORMATS = ("JPEG", "PNG", "WEBP")

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, OverflowError, IndexError, KeyError, struct.error, zlib.error
)  # fmt: skip
# What Pillow's parsers raise on made-up headers; all of them mean that the file is damaged.
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# The filters of warnings belong to the whole process.
_warnings_lock = threading.Lock()


class ImageError(ValueError):
    """A picture that is not looked at; the message says why."""


class ImageTypeError(ImageError):
    """It is no JPEG, PNG or WebP."""


class ImageDamagedError(ImageError):
    """It is empty, truncated, or its content makes no sense."""


class ImageSizeError(ImageError):
    """It has too many bytes or pixels."""


class ImageFramesError(ImageError):
    """It is an animation."""


def read_picture(content: bytes, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Array:
    """Decode a picture.

    Args:
        content: An encoded JPEG, PNG or WebP picture.
        max_pixels: Most pixels, by its header: nothing is decoded before that is known.
        max_bytes: Most bytes.

    Returns:
        (H, W, 3) uint8, sRGB, upright.

    Raises:
        ImageTypeError: Something else.
        ImageSizeError: Too many bytes or pixels.
        ImageFramesError: Several frames. (Those of a camera's MPO are its own previews: the first is used.)
        ImageDamagedError: Empty, truncated or damaged.
    """
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise ImageTypeError(f"a picture is given as the bytes of its file, not as {type(content).__name__}")
    content = bytes(content)
    if not content:
        raise ImageDamagedError("the picture is empty: 0 bytes")
    if len(content) > max_bytes:
        raise ImageSizeError(f"the picture has more than {max_bytes / 2**20:.0f} MB; scale it down")
    kind = format_of(content)
    if kind is None:
        raise ImageTypeError("the picture is no JPEG, PNG or WebP file")
    if kind == "WEBP":
        _check_size(*_webp_size(content), max_pixels)  # Pillow would make room for the canvas on opening
    with _opened(content, kind) as image:
        _check_size(*image.size, max_pixels)
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise ImageFramesError("the picture is an animation; send one frame")
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: half pictures would be recognised")
        try:
            image.load()
        except MemoryError as error:
            raise ImageSizeError("the picture does not fit into memory; scale it down") from error
        except _BOMB as error:
            raise ImageSizeError(f"the picture is far too large ({error})") from error
        except _DAMAGED as error:
            raise ImageDamagedError(f"the picture is truncated or damaged ({error})") from error
        turn = _TURNS.get(_orientation(image))
        rgb = _as_rgb(image)
    return np.asarray(rgb if turn is None else rgb.transpose(turn))


def format_of(content: bytes) -> str | None:
    """JPEG, PNG or WEBP by the first bytes; None for anything else."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    return "WEBP" if content.startswith(b"RIFF") and content[8:12] == b"WEBP" else None


@contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Make Pillow's warning of a bomb an error, and keep its remarks on odd tags to itself."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _opened(content: bytes, kind: str) -> Image.Image:
    with _pillow_warnings():
        try:
            return Image.open(io.BytesIO(content), formats=(kind,))
        except _BOMB as error:
            raise ImageSizeError("the picture has far too many pixels; scale it down") from error
        except UnidentifiedImageError as error:
            raise ImageDamagedError(f"the header of the {kind} picture is damaged") from error
        except _DAMAGED as error:
            raise ImageDamagedError(f"the header of the {kind} picture is damaged ({error})") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageDamagedError("the picture has no pixels")
    if width * height > max_pixels:
        raise ImageSizeError(
            f"the picture has {width} x {height} pixels, more than {max_pixels / 1e6:g} megapixels; scale it down"
        )


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height by the header (RFC 9649, section 2)."""
    if len(content) < 30:
        raise ImageDamagedError("the header of the WEBP picture is damaged")
    chunk = content[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ImageDamagedError("the header of the WEBP picture is damaged")


def _orientation(image: Image.Image) -> int:
    exif = Image.Exif()
    with _pillow_warnings():
        try:
            exif.load(image.info.get("exif") or b"")
            return int(exif.get(_ORIENTATION, 1) or 1)
        except _DAMAGED:
            return 1  # a damaged tag is no tag


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "L", "CMYK"):
        plain = image.convert("RGB") if image.mode == "RGBA" else image
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # as if there were none
    return image.convert("RGB")
