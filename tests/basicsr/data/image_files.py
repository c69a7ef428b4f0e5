"""Image files for the data tests, one of every kind that a folder of photos may hold."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms


def photo(seed: int = 0, height: int = 48, width: int = 64, top: int = 256) -> np.ndarray:
    """Smooth random ``(h, w, 3)`` RGB uint8, no two seeds alike."""
    small = np.random.default_rng(seed).integers(0, top, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return np.ascontiguousarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def write(path: Path, rgb: np.ndarray, **pil_arguments: object) -> Path:
    """Write uint8/uint16 RGB, grey or RGBA; Pillow's writer where it has the depth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if rgb.dtype == np.uint16:
        channels = rgb if rgb.ndim == 2 else rgb[..., [2, 1, 0, 3][: rgb.shape[2]]]
        assert cv2.imwrite(str(path), channels)
    else:
        Image.fromarray(rgb).save(path, **pil_arguments)
    return path


def make_pairs(folder: Path, count: int, scale: int = 1, height: int = 48, width: int = 64) -> Path:
    """``folder/{gt,lq}/0000.png ...``."""
    for i in range(count):
        gt = photo(i, height, width)
        write(folder / "gt" / f"{i:04d}.png", gt)
        write(folder / "lq" / f"{i:04d}.png", gt[::scale, ::scale] // 2)
    return folder


def exif_jpeg(path: Path, rgb: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return write(path, rgb, exif=exif, quality=95, subsampling=0)


def cmyk_jpeg(path: Path, rgb: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).convert("CMYK").save(path, quality=95)
    return path


def truncate(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def flip_byte(path: Path, position: float = 0.5) -> Path:
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 0xFF
    path.write_bytes(bytes(content))
    return path


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _s15(value: float) -> bytes:
    return int(round(value * 65536)).to_bytes(4, "big", signed=True)


def matrix_profile(primaries: list[list[float]], gamma: float) -> bytes:
    """An ICC v2 display profile: D50-adapted primaries (columns R, G, B of XYZ) and one gamma."""
    tags: list[tuple[bytes, bytes]] = []
    text = b"test profile"
    tags.append((b"desc", b"desc\0\0\0\0" + (len(text) + 1).to_bytes(4, "big") + text + b"\0" + b"\0" * 78))
    tags.append((b"wtpt", b"XYZ \0\0\0\0" + _s15(0.9642) + _s15(1.0) + _s15(0.8249)))
    for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
        tags.append((name, b"XYZ \0\0\0\0" + b"".join(_s15(row[i]) for row in primaries)))
    curve = b"curv\0\0\0\0" + (1).to_bytes(4, "big") + int(round(gamma * 256)).to_bytes(2, "big") + b"\0\0"
    tags.extend((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC"))
    tags.append((b"cprt", b"text\0\0\0\0none\0"))
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags:
        data += b"\0" * (-len(data) % 4)
        table += name + (offset + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data
    size = offset + len(body)
    header = (
        size.to_bytes(4, "big") + b"lcms" + bytes([2, 0x40, 0, 0]) + b"mntrRGB XYZ " + b"\x07\xe4\0\1\0\1" + b"\0" * 6
    )
    header += b"acsp" + b"\0" * 28 + _s15(0.9642) + _s15(1.0) + _s15(0.8249)
    header += b"\0" * (128 - len(header))
    return header + len(tags).to_bytes(4, "big") + table + body


# D50-adapted primaries of Adobe RGB (1998) and Display P3 (the columns are R, G, B)
ADOBE_RGB = matrix_profile(
    [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]], 563 / 256
)


def encode(rgb: np.ndarray, form: str = "PNG", **arguments: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, form, **arguments)
    return stream.getvalue()
