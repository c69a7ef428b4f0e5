"""Photo files in and out: pixels upright with 8 bits, and everything beside them (EXIF, colour profile, alpha) kept.

The model looks at sRGB. What is corrected and written are the file's own pixels in their own colour space, whose
profile goes into the copy: converting a wide gamut to sRGB would clip it.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from basicsr.engine import icc, image_io
from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import ImageHeader, decode_image, read_header

OUTPUT_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 4},
}
_ORIENTATION = int(ExifTags.Base.Orientation)


@dataclass(frozen=True)
class PhotoFile:
    """A photo and what came with it.

    Attributes:
        rgb: (H, W, 3) uint8, upright, in the colour space of ``icc_profile`` (None: sRGB).
        alpha: (H, W) uint8, or None.
        exif: The EXIF block with the orientation reset, or None.
        icc_profile: The embedded profile, or None.
        dpi: Resolution, or None.
        notes: What reading had to change, in words.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    exif: bytes | None = field(default=None, repr=False)
    icc_profile: bytes | None = field(default=None, repr=False)
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    def with_pixels(self, rgb: np.ndarray) -> PhotoFile:
        """The same photo with other pixels of the same size."""
        return replace(self, rgb=rgb)

    def srgb(self) -> np.ndarray:
        """(H, W, 3) uint8 in sRGB: what the model and a screen expect."""
        if self.icc_profile is None:
            return self.rgb
        return to_srgb(self.rgb, self.icc_profile)


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a photo for the functions of this package: ``img_rgb = read_image(path)[..., ::-1]``.

    Args:
        path: A photo of any kind that the engine reads: 8 or 16 bit, grey, with alpha, CMYK.

    Returns:
        (H, W, 3) uint8, **BGR**, upright, sRGB.

    Raises:
        UserError: The file cannot be read, is no image or is damaged; the message names it.
    """
    return np.ascontiguousarray(eight_bits(image_io.read_image(path))[..., ::-1])


def read_photo(content: bytes, name: str) -> PhotoFile:
    """Decode a photo with what came with it.

    Args:
        content: The encoded file.
        name: For messages.

    Raises:
        UserError: It is empty, no image or damaged; the message names it.
    """
    header = read_header(content, name)
    notes: list[str] = []
    keeps_profile = header.mode in ("RGB", "RGBA") and header.bit_depth == 8
    # With its profile taken away the decoder leaves the pixels in their own space.
    shown = replace(header, icc_profile=None) if keeps_profile else header
    rgb = decode_image(content, name, lambda kind, _: notes.append(kind), header=shown)
    exif, dpi = _exif(content)
    texts = tuple(image_io.NOTE_TEXTS[kind] for kind in notes if kind not in ("alpha", "16-bit", "exif-rotated"))
    if rgb.dtype != np.uint8:
        texts = (*texts, "16-bit samples are rounded to 8 bit")
    profile = header.icc_profile if keeps_profile else None
    return PhotoFile(eight_bits(rgb), _alpha(content, header), exif, profile, dpi, texts)


def read_small_srgb(content: bytes, name: str, smallest_side: int) -> np.ndarray:
    """Decode a photo in sRGB for a network, which needs no more than a few hundred pixels.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size (part of the format: means over blocks of pixels), the smallest
    that leaves ``smallest_side``. Every other file is decoded whole.

    Args:
        content: The encoded file.
        name: For messages.
        smallest_side: Pixels that the shorter side shall keep.

    Returns:
        (H, W, 3) uint8, RGB, upright, sRGB.

    Raises:
        UserError: It is empty, no image or damaged; the message names it.
    """
    header = read_header(content, name)
    scale = min(8, min(header.height, header.width) // smallest_side)
    if header.format not in ("JPEG", "MPO") or header.mode not in ("RGB", "L") or scale < 2:
        return eight_bits(decode_image(content, name, header=header))
    end = content.rstrip(b"\0\r\n ")[-2:]
    if end != b"\xff\xd9" and b"\xff\xd9" not in content[len(content) // 2 :]:
        raise UserError(f"{name}: the image is damaged: the JPEG data ends early. Replace or remove the file.")
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            image.draft("RGB", (width // scale, height // scale))
            turned = ImageOps.exif_transpose(image) if header.turn != 1 else image
            pixels = np.asarray(turned.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: the image is damaged: {error}. Replace or remove the file.") from error
    return pixels if header.icc_profile is None else to_srgb(pixels, header.icc_profile)


def to_srgb(rgb: np.ndarray, profile: bytes) -> np.ndarray:
    """Pixels of a profile's colour space in sRGB; unchanged where the profile is sRGB or cannot be read."""
    try:
        converter = icc.converter(profile)
    except icc.ProfileError:
        return rgb
    return rgb if converter is None else converter(rgb)


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """uint8 as it is, uint16 divided by 257 and rounded."""
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257.0).astype(np.uint8)


def encode_photo(photo: PhotoFile, suffix: str) -> bytes:
    """A photo as the content of a JPEG (quality 95, 4:4:4, no alpha) or PNG file.

    Raises:
        UserError: The suffix is of another format.
    """
    form = OUTPUT_FORMATS.get(suffix.lower())
    if form is None:
        raise UserError(f"cannot write '{suffix}' files; use one of {', '.join(OUTPUT_FORMATS)}")
    planes = photo.rgb
    if photo.alpha is not None and form == "PNG":
        planes = np.concatenate([photo.rgb, photo.alpha[..., None]], axis=2)
    extra = {"exif": photo.exif, "icc_profile": photo.icc_profile, "dpi": photo.dpi}
    buffer = io.BytesIO()
    given = {key: value for key, value in extra.items() if value is not None}
    Image.fromarray(np.ascontiguousarray(planes)).save(buffer, form, **_SETTINGS[form], **given)
    return buffer.getvalue()


def write_photo(path: Path, photo: PhotoFile) -> None:
    """Write a photo, whole or not at all; see :func:`encode_photo`.

    Raises:
        UserError: The suffix is of another format, or the disk refuses.
    """
    content = encode_photo(photo, path.suffix)
    write_atomic(path, lambda file: file.write(content))


def _alpha(content: bytes, header: ImageHeader) -> np.ndarray | None:
    if header.mode != "RGBA" or header.bit_depth != 8 or header.format == "TIFF":
        return None
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).getchannel("A"))


def _exif(content: bytes) -> tuple[bytes | None, tuple[float, float] | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged tags; the picture was read before
        with Image.open(io.BytesIO(content)) as image:
            exif, dpi = image.getexif(), image.info.get("dpi")
            if not exif:
                return None, dpi
            exif.get_ifd(ExifTags.IFD.Exif)  # read now, so that they are written again
            exif.get_ifd(ExifTags.IFD.GPSInfo)
            if _ORIENTATION in exif:
                exif[_ORIENTATION] = 1
            return exif.tobytes(), dpi
