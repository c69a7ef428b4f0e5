"""The files of numbers that LSMI consists of, read without trust: TIFF, npy, npz, json."""

from __future__ import annotations

import io
import json
import logging
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_bytes

Array = np.ndarray[Any, Any]

_TIFF_ERRORS = (
    tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError,
    OverflowError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
_NPY_ERRORS = (OSError, ValueError, KeyError, TypeError, EOFError, SyntaxError, OverflowError, MemoryError)

# What tifffile finds wrong with a damaged file is told by the exceptions below; its log would say it a second time.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def read_tiff(path: Path) -> Array:
    """Read a picture's samples as they lie in the file.

    The orientation tag is not applied: LSMI's mixtures and chart positions belong to the stored rows.

    Returns:
        (H, W, 3), RGB, uint8 or uint16.

    Raises:
        UserError: The file is missing, damaged, or not such a picture.
    """
    content = read_bytes(path)
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            if not len(file.pages):
                raise ValueError("it holds no picture")
            pixels = _pixels(file.pages.first, content)
    except _TIFF_ERRORS as error:
        if content[:4] not in (b"II*\0", b"MM\0*"):
            raise UserError(f"{path}: not a TIFF file ({len(content)} bytes).") from error
        raise UserError(f"{path}: damaged, or a kind of TIFF that is not read ({_short(error)}).") from error
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: {pixels.shape} {pixels.dtype}: expected H x W x 3 samples of 8 or 16 bits.")
    return pixels


def _pixels(page: Any, content: bytes) -> Array:
    if len(content) < max(start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise ValueError("cut short")
    try:
        return np.asarray(page.asarray())
    except (ValueError, RuntimeError):
        # LZW, which OpenCV writes, needs a package of its own in tifffile.
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.ndim != 3 or decoded.shape[2] != 3 or decoded.shape != page.shape:
            raise
        return np.ascontiguousarray(decoded[:, :, ::-1])


def tiff_bytes(pixels: Array) -> bytes:
    """Encode (H, W, 3) RGB samples as an uncompressed TIFF."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb", metadata=None)
    return buffer.getvalue()


def read_npy(path: Path, channels: int | None = None) -> Array:
    """Read an array of real numbers, never a pickled object.

    Args:
        path: The ``.npy`` file.
        channels: Size of the last axis that the file must have; (H, W, channels).

    Raises:
        UserError: The file is missing, damaged, holds objects or text, or is of another shape.
    """
    content = read_bytes(path)
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (*_NPY_ERRORS, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable npy file ({_short(error)}).") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        kind = getattr(values, "dtype", type(values).__name__)
        raise UserError(f"{path}: holds {kind}, expected an array of numbers.")
    if channels is not None and (values.ndim != 3 or values.shape[2] != channels or not values.size):
        raise UserError(f"{path}: shape {values.shape}, expected (H, W, {channels}).")
    return values


def read_npz(path: Path) -> dict[str, Array]:
    """Read all arrays of an npz file, never a pickled object.

    Raises:
        UserError: The file is missing, damaged, holds objects, or is something else.
    """
    content = read_bytes(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise ValueError("a single array")
            return {key: archive[key] for key in archive.files}
    except (*_NPY_ERRORS, AttributeError, zipfile.BadZipFile, NotImplementedError, zlib.error) as error:
        raise UserError(f"{path}: not a readable npz file ({_short(error)}).") from error


def npy_bytes(values: Array) -> bytes:
    """Encode an array as an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """Encode arrays as a compressed npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for key, values in arrays.items():
            # A fixed date: numpy.savez writes the hour of the call.
            entry = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, npy_bytes(np.asarray(values)))
    return buffer.getvalue()


def read_json(path: Path) -> dict[str, Any]:
    """Read a json file that holds a mapping.

    Raises:
        UserError: The file is missing, no json, or holds something else.
    """
    try:
        content = json.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a json file ({_short(error)}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected a mapping.")
    return content


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
