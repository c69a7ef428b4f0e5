"""Photo files in and out with everything that is not the picture kept: depth, alpha, EXIF, colour profile.

Unlike the training data's reader (``basicsr.engine.image_io``), which makes everything three channels of sRGB, this one
keeps what the file is. Pixels stay in the file's own RGB space and its profile goes into the copy: converting a wide
gamut to sRGB would clip the very colours that are to be kept.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import tifffile
from PIL import ExifTags, Image

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import ImageHeader, decode_image, read_bytes, to_float, verify_image
from plugins.color_science import apply_to_arrays, rgb_to_ycbcr

OUTPUT_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
JPEG_QUALITY = 95
SHEET_WIDTH = 1600
_ORIENTATION = int(ExifTags.Base.Orientation)
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0, "optimize": True},
    "PNG": {"compress_level": 4},
    "TIFF": {},  # a compressed one could not hold the EXIF directory
}
_PILLOW_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}
# The camera's top-level tags that a 16-bit TIFF can carry: description, make, model, artist, copyright.
_TIFF_TEXT_TAGS = (270, 271, 272, 315, 33432)


@dataclass(frozen=True)
class Photo:
    """A photo and what came with it.

    Attributes:
        rgb: (H, W, 3) uint8 or uint16, upright, in the colour space of ``icc_profile`` (None: sRGB).
        grey: Whether the file has one channel of colour; ``rgb`` then has three equal ones.
        alpha: (H, W) of the same type, or None.
        exif: The EXIF block with the orientation reset, or None.
        icc_profile: The embedded profile, or None.
        dpi: Resolution, or None.
        several_frames: Whether the file holds further frames or pages, which are not read.
    """

    rgb: np.ndarray
    grey: bool = False
    alpha: np.ndarray | None = None
    exif: bytes | None = field(default=None, repr=False)
    icc_profile: bytes | None = field(default=None, repr=False)
    dpi: tuple[float, float] | None = None
    several_frames: bool = False

    def as_float(self) -> np.ndarray:
        """(H, W, 3) float32 in [0, 1]."""
        return to_float(self.rgb)

    def with_pixels(self, rgb: np.ndarray) -> "Photo":
        """The same photo with other pixels: (H, W, 3) floats are clipped to [0, 1] and rounded to the photo's depth."""
        top = np.iinfo(self.rgb.dtype).max
        pixels = np.clip(rgb, 0.0, 1.0)
        if self.grey:
            pixels = np.repeat(apply_to_arrays(rgb_to_ycbcr, pixels)[..., :1], 3, axis=2)
        return replace(self, rgb=np.rint(np.clip(pixels, 0.0, 1.0) * top).astype(self.rgb.dtype))

    def scaled_down(self, max_side: int | None) -> "Photo":
        """The same photo with its longer side at most ``max_side`` pixels, by areas; None leaves every size."""
        height, width = self.rgb.shape[:2]
        if max_side is None or max(height, width) <= max_side:
            return self
        scale = max_side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        rgb = cv2.resize(self.rgb, size, interpolation=cv2.INTER_AREA)
        alpha = None if self.alpha is None else cv2.resize(self.alpha, size, interpolation=cv2.INTER_AREA)
        return replace(self, rgb=rgb, alpha=alpha, exif=_exif_of_size(self.exif, size))


def read_photo(path: Path) -> Photo:
    """Read a photo upright, at its own depth and in its own colour space.

    Raises:
        UserError: The file cannot be read, is no image or is damaged; the message names it.
    """
    content = read_bytes(path)
    header = verify_image(content, str(path))
    exif, dpi = _exif(content)
    planes = _stored_planes(content, header)
    if planes is None:  # of a kind that becomes plain sRGB: a CMYK profile, say, does not fit RGB pixels
        rgb = decode_image(content, str(path), header=header)
        return Photo(rgb, exif=exif, dpi=dpi, several_frames=header.several_frames)
    planes = _upright(planes, header.turn)
    channels = planes.shape[2]
    rgb = np.repeat(planes[..., :1], 3, axis=2) if channels <= 2 else planes[..., :3]
    alpha = np.ascontiguousarray(planes[..., -1]) if channels in (2, 4) else None
    return Photo(np.ascontiguousarray(rgb), channels <= 2, alpha, exif, header.icc_profile, dpi, header.several_frames)


def _stored_planes(content: bytes, header: ImageHeader) -> np.ndarray | None:
    """(H, W, 1 to 4) uint8 or uint16 as stored: grey or RGB, perhaps with alpha. None for other kinds of file.

    Pillow has no deep colour, and OpenCV multiplies the colours of an 8-bit TIFF by its alpha: each reads what it can.
    """
    if header.bit_depth > 8:
        deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if deep is None or deep.dtype != np.uint16:
            return None
        planes = deep.reshape(*deep.shape[:2], -1)
        return planes if planes.shape[2] <= 2 else planes[..., [2, 1, 0, 3][: planes.shape[2]]]
    if header.mode in _PILLOW_MODES:
        with Image.open(io.BytesIO(content)) as image:
            transparent = header.mode in ("P", "RGB") and "transparency" in image.info
            eight = np.asarray(image.convert("RGBA" if transparent else _PILLOW_MODES[header.mode]))
            return eight.reshape(*eight.shape[:2], -1)
    return None


def _exif(content: bytes) -> tuple[bytes | None, tuple[float, float] | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as image:
            exif, dpi = image.getexif(), image.info.get("dpi")
            if not exif:
                return None, dpi
            exif.get_ifd(ExifTags.IFD.Exif)  # read now, so that it is written again
            exif.get_ifd(ExifTags.IFD.GPSInfo)
            if _ORIENTATION in exif:
                exif[_ORIENTATION] = 1
            return exif.tobytes(), dpi


def _exif_of_size(block: bytes | None, size: tuple[int, int]) -> bytes | None:
    """An EXIF block whose tags of width and height, where it has them, say ``size``."""
    if block is None:
        return None
    exif = Image.Exif()
    exif.load(block)
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    exif.get_ifd(ExifTags.IFD.GPSInfo)
    names = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
    for tag, value in zip(names, size, strict=True):
        if tag in tags:
            tags[tag] = value
    return exif.tobytes()


def _upright(planes: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation, 1 to 8, to (H, W, C)."""
    if orientation >= 5:
        planes = planes.transpose(1, 0, 2)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return planes[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def write_photo(path: Path, photo: Photo) -> None:
    """Write a photo, whole or not at all: JPEG (quality 95, 4:4:4, always 8 bit, no alpha), PNG or TIFF (8 or 16 bit).

    Raises:
        UserError: The suffix is none of these, or the disk refuses.
    """
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise UserError(f"{path}: cannot write '{suffix}' files; use one of {', '.join(OUTPUT_SUFFIXES)}")
    if suffix in (".jpg", ".jpeg"):
        eight = photo if photo.rgb.dtype == np.uint8 else replace(photo, rgb=_eight_bits(photo.rgb))
        write_atomic(path, lambda file: _write_pillow(file, replace(eight, alpha=None), "JPEG"))
    elif photo.rgb.dtype == np.uint8:
        write_atomic(path, lambda file: _write_pillow(file, photo, "PNG" if suffix == ".png" else "TIFF"))
    else:
        deep = photo
        if photo.grey and photo.alpha is not None:  # few readers know deep grey with alpha; its profile is a grey one
            deep = replace(photo, grey=False, icc_profile=None)
        write_atomic(path, lambda file: file.write(_png_16(deep) if suffix == ".png" else _tiff_16(deep)))


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels / 257.0).astype(np.uint8)


def _stacked(photo: Photo) -> np.ndarray:
    """(H, W) or (H, W, C): the channels that the file shall have."""
    colour = photo.rgb[..., :1] if photo.grey else photo.rgb
    planes = colour if photo.alpha is None else np.concatenate([colour, photo.alpha[..., None]], axis=2)
    return np.ascontiguousarray(planes[..., 0] if planes.shape[2] == 1 else planes)


def _write_pillow(file: IO[bytes], photo: Photo, form: str) -> None:
    settings = _SETTINGS[form]
    extra = {"exif": photo.exif, "icc_profile": photo.icc_profile, "dpi": photo.dpi}
    image = Image.fromarray(_stacked(photo))
    image.save(file, format=form, **settings, **{key: value for key, value in extra.items() if value is not None})


def _png_16(photo: Photo) -> bytes:
    """A 16-bit PNG by OpenCV, with the chunks it does not write put in after the header."""
    planes = _stacked(photo)
    if planes.ndim == 3:
        planes = planes[..., [2, 1, 0, 3][: planes.shape[2]]]
    done, data = cv2.imencode(".png", np.ascontiguousarray(planes), [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not done:
        raise UserError(f"PNG encoding of an array of shape {planes.shape} failed")
    encoded = bytes(data.tobytes())
    header_end = 8 + 25  # signature and IHDR
    chunks = b""
    if photo.icc_profile is not None:
        chunks += _png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc_profile))
    if photo.exif is not None:
        chunks += _png_chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    return encoded[:header_end] + chunks + encoded[header_end:]


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _tiff_16(photo: Photo) -> bytes:
    """A 16-bit TIFF. The EXIF sub-directory does not go into it, the camera's top-level tags do."""
    planes = _stacked(photo)
    options: dict[str, Any] = {
        "photometric": "minisblack" if photo.grey else "rgb",
        "compression": "zlib",
        "iccprofile": photo.icc_profile,
        "metadata": None,
        "software": False,
        "extratags": _tiff_tags(photo.exif),
    }
    if photo.alpha is not None:
        options.update(extrasamples=["unassalpha"], planarconfig="contig")
    if photo.dpi is not None:
        options.update(resolution=photo.dpi, resolutionunit="inch")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, planes, **options)
    return buffer.getvalue()


def _tiff_tags(exif: bytes | None) -> list[tuple[int, int, int, str, bool]]:
    tags = Image.Exif()
    if exif is not None:
        tags.load(exif)
    return [(tag, 2, 0, str(tags[tag]), True) for tag in _TIFF_TEXT_TAGS if tag in tags]


def write_sheet(path: Path, before: Photo, after: Photo) -> None:
    """Write a JPEG with two versions of a photo side by side, each at most 1,600 pixels wide, with a white gap."""
    images = [_small(photo.rgb) for photo in (before, after)]
    gap = np.full((images[0].shape[0], max(4, images[0].shape[1] // 100), 3), 255, dtype=np.uint8)
    sheet = Photo(np.concatenate([images[0], gap, images[1]], axis=1), icc_profile=before.icc_profile)
    write_photo(path, sheet)


def _small(rgb: np.ndarray) -> np.ndarray:
    eight = rgb if rgb.dtype == np.uint8 else np.rint(rgb / 257.0).astype(np.uint8)
    image = Image.fromarray(eight)
    if image.width > SHEET_WIDTH:
        height = max(1, round(image.height * SHEET_WIDTH / image.width))
        image = image.resize((SHEET_WIDTH, height), Image.Resampling.LANCZOS)
    return np.asarray(image)
