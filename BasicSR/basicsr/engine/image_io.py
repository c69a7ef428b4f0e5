"""The one image reader: what a file holds is kept or converted explicitly, and every conversion can be noted.

Decided here, once, for data sets, tools and reports:

- 8- and 16-bit samples keep their depth (``uint8`` / ``uint16``); ``to_float`` divides by 255 / 65535.
- Grey is expanded to three equal channels; alpha is dropped (not composited: a restoration target has no background).
- The EXIF orientation is applied, so a pair whose halves store it differently still lines up.
- An embedded ICC profile that is not sRGB is converted to sRGB (see ``basicsr.engine.icc``).
- CMYK is converted through its profile, or by Pillow's plain formula where there is none.

Pixels are RGB, rows first: ``(H, W, 3)``. A file that cannot be read raises a ``UserError`` that names it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from basicsr.engine import icc
from basicsr.engine import image_decoders as decoders
from basicsr.engine.errors import UserError
from basicsr.engine.image_decoders import Box

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
"""Endings (lower case) that count as image files."""

Note = Callable[[str, str], None]
"""Called as ``note(kind, name)`` when a file is converted on the way in; kinds are the keys of ``NOTE_TEXTS``."""

NOTE_TEXTS = {
    "16-bit": "16-bit samples are kept at 16 bit",
    "grey": "grey is expanded to three equal channels",
    "alpha": "the alpha channel is dropped",
    "exif-rotated": "the EXIF orientation is applied",
    "icc": "the embedded colour profile is not sRGB: pixels are converted to sRGB",
    "icc-unreadable": "the embedded colour profile cannot be used: pixels are taken as sRGB",
    "cmyk": "CMYK is converted to RGB",
    "frames": "of several frames or pages the first is used",
}

_ORIENTATION_TAG = 0x0112
_BITS_TAG, _PLANAR_TAG = 258, 284
_MODES_16 = ("I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about itself before its pixels are decoded; ``height`` and ``width`` of the upright image."""

    height: int
    width: int
    format: str
    mode: str
    orientation: int = 1
    icc_profile: bytes | None = field(default=None, repr=False)
    bit_depth: int = 8
    several_frames: bool = False

    @property
    def turn(self) -> int:
        """The orientation that is still to be applied to decoded pixels: decoders of TIFF do it by themselves."""
        return 1 if self.format == "TIFF" else self.orientation


def is_image_file(name: str) -> bool:
    """Whether a file name counts as an image: a known ending and not hidden (``.DS_Store``, ``._photo.jpg``)."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def image_names(folder: str | os.PathLike[str]) -> list[str]:
    """Names of a folder's image files, sorted; sub-folders, hidden files and files of other kinds are left out.

    A link that leads nowhere is in the list: whoever reads it gets an error with its name, and it is not lost silently.

    Raises:
        UserError: There is no such folder, or it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_image_file(entry.name) and _is_file(entry))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{os.fspath(folder)}: there is no such folder.") from error
    except OSError as error:
        raise UserError(f"{os.fspath(folder)}: the folder cannot be read: {error.strerror or error}.") from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True  # a link to itself


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return a file's content; ``UserError`` naming the file if that fails."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except OSError as error:
        raise UserError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}.") from error


def read_header(content: bytes, name: str) -> ImageHeader:
    """Parse the header of an encoded image without decoding its pixels.

    Args:
        content: The encoded file.
        name: File name or key, for the error message.

    Returns:
        The header.

    Raises:
        UserError: The content is empty or no image.
    """
    return _parse_header(io.BytesIO(content), name)


def read_file_header(path: str | os.PathLike[str]) -> ImageHeader:
    """``read_header`` of a file, of which only the beginning is read."""
    try:
        with open(path, "rb") as handle:
            return _parse_header(handle, os.fspath(path))
    except OSError as error:
        raise UserError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}.") from error


def _parse_header(stream: BinaryIO, name: str) -> ImageHeader:
    try:
        with Image.open(stream) as image:
            orientation = _orientation(image)
            width, height = _stored_size(image)
            profile = image.info.get("icc_profile")
            form, mode = image.format or "", image.mode
            deep = _is_deep(image)
            if form == "TIFF" and deep and getattr(image, "tag_v2", {}).get(_PLANAR_TAG, 1) != 1:
                raise UserError(f"{name}: not supported: 16-bit TIFF of separate planes. Save it interleaved.")
            # the further pictures of an MPO (a camera's JPEG) are its gain map, depth map or preview
            several = form != "MPO" and bool(getattr(image, "is_animated", False))
    except Image.DecompressionBombError as error:
        limit = f"{2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels"
        raise UserError(f"{name}: not supported: more than {limit} by its header. Scale down or remove it.") from error
    except UnidentifiedImageError as error:
        stream.seek(0)
        raise UserError(_not_an_image(stream.read(512), name)) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: the image header is damaged ({error}). Replace or remove the file.") from error
    if orientation not in range(1, 9):
        orientation = 1
    if orientation >= 5:
        height, width = width, height
    return ImageHeader(height, width, form, mode, orientation, profile or None, 16 if deep else 8, several)


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as stored; Pillow since 11.2 gives those of the upright image for TIFF."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    return image.size if tags is None else (int(tags[256]), int(tags[257]))


def _orientation(image: Image.Image) -> int:
    if image.format != "PNG":
        return int(image.getexif().get(_ORIENTATION_TAG, 1) or 1)
    # Pillow's getexif decodes a whole PNG to look for a late chunk; the usual early one is in ``info``.
    exif = Image.Exif()
    exif.load(image.info.get("exif") or b"")
    return int(exif.get(_ORIENTATION_TAG, 1) or 1)


def _is_deep(image: Image.Image) -> bool:
    """Whether samples have more than 8 bits. Pillow's mode does not say so for colour, its tile description does."""
    if image.format == "TIFF":
        return max(getattr(image, "tag_v2", {}).get(_BITS_TAG, (8,))) > 8
    if image.mode.startswith("I"):
        return True
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", [])]
    return any(";16" in raw for raw in raw_modes)


def decode_image(
    content: bytes, name: str, note: Note | None = None, box: Box | None = None, header: ImageHeader | None = None
) -> np.ndarray:
    """Decode an encoded image, or only a box of it.

    Cutting the box comes before every per-pixel conversion, and of a PNG only the rows down to the box are decoded, so
    ``decode_image(..., box=b)`` equals the box cut from the whole image and is cheaper.

    Args:
        content: The encoded file.
        name: File name or key, for error messages and notes.
        note: Called for every kind of conversion that the file needed.
        box: Top, left, height, width in the upright image; None for all of it.
        header: The file's header where the caller has read it already.

    Returns:
        ``(H, W, 3)`` RGB, uint8 or uint16, contiguous.

    Raises:
        UserError: The file is empty, no image, damaged or of a kind that cannot be used; or the box is outside it.
    """
    header = header or read_header(content, name)
    note = _ignore if note is None else note
    try:
        pixels = _decode_raw(content, header, _box_in_file(box, header, name))
    except decoders.UnsupportedError as error:
        raise UserError(f"{name}: not supported: {error}.") from error
    except decoders.DecodeError as error:
        raise UserError(f"{name}: the image is damaged: {error}. Replace or remove the file.") from error
    if header.several_frames:
        note("frames", name)
    if header.mode == "CMYK":
        note("cmyk", name)
        return _upright(_cmyk_to_rgb(pixels, header), header, note, name)
    if pixels.dtype == np.uint16:
        note("16-bit", name)
    pixels = _three_channels(pixels, header, note, name)
    if header.icc_profile is not None:
        pixels = _to_srgb(pixels, header.icc_profile, note, name)
    return _upright(pixels, header, note, name)


def read_image(path: str | os.PathLike[str], note: Note | None = None) -> np.ndarray:
    """Read an image file; see ``decode_image``."""
    return decode_image(read_bytes(path), os.fspath(path), note)


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Scale uint8 or uint16 pixels to float32 in [0, 1]; float input is returned as float32 unchanged."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255.0)
    if pixels.dtype == np.uint16:
        return pixels.astype(np.float32) / np.float32(65535.0)
    return pixels.astype(np.float32, copy=False)


def verify_image(content: bytes, name: str, note: Note | None = None) -> ImageHeader:
    """Decode all of an image and throw the pixels away; ``UserError`` for any damage that is found.

    Damage inside the compressed data of a JPEG that still has its end marker cannot be told from the picture.
    """
    header = read_header(content, name)
    decode_image(content, name, note, header=header)
    return header


def _ignore(kind: str, name: str) -> None:
    del kind, name


def _not_an_image(content: bytes, name: str) -> str:
    if not content:
        return f"{name}: the file is empty (0 bytes). Replace or remove it."
    start = content[:32]
    if start[:4] in (b"II*\0", b"MM\0*"):
        return f"{name}: not supported: TIFF samples of a kind that is not read. Save it with 8 or 16 bits a channel."
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start) or _is_text(content[:512]):
        text = start.decode("utf-8", "replace").split("\n")[0].strip()
        return f"{name}: not an image but text (it starts with {text!r}). Replace or remove it."
    return f"{name}: not an image that can be read (it starts with bytes {start[:8].hex(' ')}). Replace or remove it."


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _box_in_file(box: Box | None, header: ImageHeader, name: str) -> Box | None:
    """Carry a box of the upright image back to the stored, not yet rotated, image."""
    if box is None:
        return None
    top, left, height, width = box
    if top < 0 or left < 0 or height < 1 or width < 1 or top + height > header.height or left + width > header.width:
        raise UserError(f"{name}: the crop {box} (top, left, height, width) is outside {header.height}x{header.width}.")
    bottom_gap, right_gap = header.height - top - height, header.width - left - width
    return {
        1: (top, left, height, width),
        2: (top, right_gap, height, width),
        3: (bottom_gap, right_gap, height, width),
        4: (bottom_gap, left, height, width),
        5: (left, top, width, height),
        6: (right_gap, top, width, height),
        7: (right_gap, bottom_gap, width, height),
        8: (left, bottom_gap, width, height),
    }[header.turn]


def _upright(pixels: np.ndarray, header: ImageHeader, note: Note, name: str) -> np.ndarray:
    if header.orientation != 1:
        note("exif-rotated", name)
    if header.turn == 1:
        return np.ascontiguousarray(pixels)
    turned = {
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
        7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda p: p.transpose(1, 0, 2)[::-1],
    }[header.turn](pixels)
    return np.ascontiguousarray(turned)


def _decode_raw(content: bytes, header: ImageHeader, box: Box | None) -> np.ndarray:
    """Decode to ``(h, w)`` or ``(h, w, c)``, cut to ``box``, depth and channels as stored, colours as RGB."""
    if header.format in ("JPEG", "MPO"):
        return decoders.decode_jpeg(content, box)
    if header.format == "PNG":
        decoders.check_png(content)
        rows = decoders.decode_png_rows(content, box) if box is not None and header.bit_depth == 8 else None
        if rows is not None:
            return rows
    if header.format == "TIFF" and (header.bit_depth == 8 or header.mode == "CMYK"):
        return decoders.decode_by_pillow(content, box)
    return decoders.decode_other(content, box)


def _cmyk_to_rgb(pixels: np.ndarray, header: ImageHeader) -> np.ndarray:
    if header.icc_profile is not None:
        converted = icc.cmyk_to_srgb(pixels, header.icc_profile)
        if converted is not None:
            return converted
    return np.asarray(Image.fromarray(pixels, "CMYK").convert("RGB"))


def _three_channels(pixels: np.ndarray, header: ImageHeader, note: Note, name: str) -> np.ndarray:
    """From one to four channels to three."""
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        note("grey", name)
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    channels = pixels.shape[2]
    if channels == 2:
        note("grey", name)
        note("alpha", name)
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    if channels == 4:
        note("alpha", name)
    if header.mode in ("1", "L", "LA", *_MODES_16):
        note("grey", name)
    return pixels[:, :, :3]


def _to_srgb(pixels: np.ndarray, profile: bytes, note: Note, name: str) -> np.ndarray:
    try:
        converter = icc.converter(profile)
    except icc.ProfileError:
        note("icc-unreadable", name)
        return pixels
    if converter is None:
        return pixels
    note("icc", name)
    return converter(pixels)


def note_text(kind: str, name: str) -> str:
    """A sentence for the log: what was done to ``name`` and files like it."""
    return f"{name}: {NOTE_TEXTS[kind]} (said once; applies to every file of this kind)"


def encode_png(pixels: np.ndarray, compress_level: int = 1) -> bytes:
    """Encode ``(H, W, 3)`` RGB uint8/uint16 pixels as PNG."""
    done, data = cv2.imencode(
        ".png", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, compress_level]
    )
    if not done:
        raise UserError(f"PNG encoding of an array of shape {pixels.shape}, type {pixels.dtype} failed.")
    result: Any = data.tobytes()
    return result
