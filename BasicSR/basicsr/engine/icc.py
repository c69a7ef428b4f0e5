"""ICC profiles of image files, converted to sRGB.

RGB profiles made of a matrix and tone curves (Display P3, Adobe RGB, ProPhoto, Rec. 2020 and all camera profiles of
that kind) are evaluated here in floating point, so 16-bit files keep their depth. Profiles of other kinds (tables,
grey, CMYK) go through Pillow's LittleCMS at 8 bit. Reference: ICC.1:2022, sections 8.3 and 10.6 (curveType), 10.18
(parametricCurveType).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

Converter = Callable[[np.ndarray], np.ndarray]

# Inverse of the sRGB primaries adapted to D50 (the profile connection space), from IEC 61966-2-1 with Bradford.
_SRGB_FROM_XYZ_D50 = np.linalg.inv(
    np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])
)
_SAME_AS_SRGB = 2.5 / 255


class ProfileError(ValueError):
    """The profile is damaged or of a kind that cannot be used for these pixels."""


def describe(profile: bytes) -> str:
    """The profile's own name, or ``unreadable profile``."""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        return name.strip() or "unnamed profile"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "unreadable profile"


def is_srgb(profile: bytes) -> bool:
    """Whether pixels under this profile are sRGB for all practical purposes (a colour grid moves by less than 2.5/255).

    Raises:
        ProfileError: The profile cannot be used.
    """
    return converter(profile) is None


@lru_cache(maxsize=32)
def converter(profile: bytes) -> Converter | None:
    """Build the conversion of ``(h, w, 3)`` uint8 or uint16 RGB pixels to sRGB of the same type.

    Args:
        profile: The embedded ICC profile of an RGB or grey file (grey pixels: three equal channels).

    Returns:
        The conversion, or None where the profile is sRGB.

    Raises:
        ProfileError: The profile is damaged or of a kind that cannot be used.
    """
    space = profile[16:20]
    if space == b"RGB ":
        try:
            convert: Converter = _matrix_converter(profile)
        except ProfileError:
            convert = _table_converter(profile, "RGB")
    elif space == b"GRAY":
        convert = _table_converter(profile, "L")
    else:
        raise ProfileError(f"a profile of colour space {space!r} does not fit RGB or grey pixels")
    grid = _colour_grid(grey=space == b"GRAY")
    moved = np.abs(convert(grid).astype(np.float64) - grid) / 255
    return None if moved.max() < _SAME_AS_SRGB else convert


def cmyk_to_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray | None:
    """Convert ``(h, w, 4)`` uint8 CMYK through its profile; None where the profile cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = Image.fromarray(pixels, "CMYK")
        done = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if done is None else np.asarray(done)


def _colour_grid(grey: bool) -> np.ndarray:
    if grey:
        return np.repeat(np.arange(0, 256, 15, dtype=np.uint8)[None, :, None], 3, axis=2)
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)


def _matrix_converter(profile: bytes) -> Converter:
    tags = _tags(profile)
    if not all(name in tags for name in (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")):
        raise ProfileError("no matrix and tone curves")
    to_xyz = np.stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
    matrix = (_SRGB_FROM_XYZ_D50 @ to_xyz).astype(np.float32)
    curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    tables: dict[int, np.ndarray] = {}

    def convert(pixels: np.ndarray) -> np.ndarray:
        top = 255 if pixels.dtype == np.uint8 else 65535
        if top not in tables:
            codes = np.linspace(0.0, 1.0, top + 1)
            tables[top] = np.stack([curve(codes) for curve in curves]).astype(np.float32)
        linear = np.stack([tables[top][c][pixels[..., c]] for c in range(3)], axis=-1)
        encoded = _srgb_encode(np.clip(linear @ matrix.T, 0.0, 1.0))
        return np.rint(encoded * top).astype(pixels.dtype)

    return convert


def _srgb_encode(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, linear to encoded."""
    low = linear <= 0.0031308
    return np.where(low, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def _table_converter(profile: bytes, mode: str) -> Converter:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ProfileError(str(error)) from error

    def convert(pixels: np.ndarray) -> np.ndarray:
        eight = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257.0).astype(np.uint8)
        plane = np.ascontiguousarray(eight[..., 0] if mode == "L" else eight)
        done = np.asarray(ImageCms.applyTransform(Image.fromarray(plane, mode), transform))
        return done if pixels.dtype == np.uint8 else done.astype(np.uint16) * 257

    return convert


def _tags(profile: bytes) -> dict[bytes, bytes]:
    if len(profile) < 132:
        raise ProfileError("the profile is shorter than its header")
    count = int.from_bytes(profile[128:132], "big")
    tags = {}
    for i in range(min(count, 100)):
        entry = profile[132 + 12 * i : 144 + 12 * i]
        if len(entry) < 12:
            raise ProfileError("the tag table ends early")
        name, offset, size = struct.unpack(">4sII", entry)
        tags[name] = profile[offset : offset + size]
    return tags


def _fixed(data: bytes) -> np.ndarray:
    """s15Fixed16Number."""
    return np.frombuffer(data, ">i4").astype(np.float64) / 65536


def _xyz(tag: bytes) -> np.ndarray:
    if tag[:4] != b"XYZ " or len(tag) < 20:
        raise ProfileError("a primary is missing")
    return _fixed(tag[8:20])


def _curve(tag: bytes) -> Callable[[np.ndarray], np.ndarray]:
    if tag[:4] == b"curv" and len(tag) >= 12:
        count = int.from_bytes(tag[8:12], "big")
        values = np.frombuffer(tag[12 : 12 + 2 * count], ">u2").astype(np.float64)
        if values.size != count:
            raise ProfileError("a tone curve ends early")
        if count == 0:
            return lambda x: x
        if count == 1:
            return lambda x: x ** (values[0] / 256)
        return lambda x: np.interp(x, np.linspace(0.0, 1.0, count), values / 65535)
    if tag[:4] == b"para" and len(tag) >= 16:
        kind = int.from_bytes(tag[8:10], "big")
        needed = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}.get(kind)
        if needed is None or len(tag) < 12 + 4 * needed:
            raise ProfileError("an unknown parametric tone curve")
        return _parametric(kind, [float(v) for v in _fixed(tag[12 : 12 + 4 * needed])])
    raise ProfileError("an unknown tone curve")


def _parametric(kind: int, p: list[float]) -> Callable[[np.ndarray], np.ndarray]:
    """ICC.1:2022 table 68, functions 0 to 4, written as one: (a x + b)^g + e above d, c x + f below."""
    g = p[0]
    a, b = (p[1], p[2]) if kind else (1.0, 0.0)
    c, d, e, f = 0.0, (-b / a if kind and a else 0.0), 0.0, 0.0
    if kind == 2:
        e = f = p[3]
    elif kind >= 3:
        c, d = p[3], p[4]
        if kind == 4:
            e, f = p[5], p[6]
    return lambda x: np.where(x >= d, np.maximum(a * x + b, 0.0) ** g + e, c * x + f)
