"""Decode only the first rows of a PNG: inflating stops where the crop ends.

A PNG is one compressed stream of filtered rows from top to bottom. The rows down to the crop's bottom edge are
inflated, wrapped as a PNG of that height with stored (not compressed) data, and handed to the ordinary decoder, which
undoes the filters. Format: W3C PNG specification, second edition, sections 5 (chunks), 7, 9 (filters) and 11.2.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_WHOLE_IMAGE_SHARE = 0.9


class PngError(ValueError):
    """The PNG is damaged; the message says how."""


def _chunks(content: bytes) -> list[tuple[bytes, int, int]]:
    """List ``(type, data start, data length)``; raises ``PngError`` where the file ends before a chunk does."""
    position, found = len(SIGNATURE), []
    while position < len(content):
        if position + 12 > len(content):
            raise PngError("the PNG data ends early (truncated)")
        length = int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        if position + 12 + length > len(content):
            raise PngError("the PNG data ends early (truncated)")
        found.append((kind, position + 8, length))
        position += 12 + length
        if kind == b"IEND":
            return found
    raise PngError("the PNG data ends early (truncated: no end chunk)")


def check_png(content: bytes) -> None:
    """Check that all chunks are there and that their checksums are right.

    Raises:
        PngError: The file is truncated or a checksum differs.
    """
    view = memoryview(content)
    for kind, start, length in _chunks(content):
        _check_sum(view, kind, start, length)


def _check_sum(view: memoryview, kind: bytes, start: int, length: int) -> None:
    stored = int.from_bytes(view[start + length : start + length + 4], "big")
    if zlib.crc32(view[start - 4 : start + length]) != stored:
        raise PngError(f"wrong checksum in the {kind.decode('latin-1')} data")


def decode_png_rows(content: bytes, rows: int) -> np.ndarray | None:
    """Decode the first ``rows`` rows.

    Args:
        content: The whole PNG file.
        rows: How many rows are wanted, from the top.

    Returns:
        ``(rows, W[, C])`` in OpenCV's channel order, or None where decoding the whole image is the better way
        (interlaced, palette, transparency key, fewer than 8 bits, or nearly all rows wanted).

    Raises:
        PngError: The part of the file that was needed is damaged, or the file is truncated.
    """
    chunks = _chunks(content)
    if not chunks or chunks[0][0] != b"IHDR" or chunks[0][2] != 13:
        raise PngError("the first chunk is not a valid header")
    start = chunks[0][1]
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", content[start : start + 13])
    plain = depth in (8, 16) and colour in _CHANNELS and not interlace and all(kind != b"tRNS" for kind, *_ in chunks)
    if not plain or rows >= _WHOLE_IMAGE_SHARE * height:
        return None
    needed = rows * (1 + width * _CHANNELS[colour] * depth // 8)
    filtered = _inflate(content, chunks, needed)
    header = struct.pack(">IIBBBBB", width, rows, depth, colour, 0, 0, 0)
    image = b"".join(
        (SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(filtered, 0)), _chunk(b"IEND", b""))
    )
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise PngError("its rows cannot be decoded")
    return pixels


def _inflate(content: bytes, chunks: list[tuple[bytes, int, int]], needed: int) -> bytes:
    view, stream, parts, got = memoryview(content), zlib.decompressobj(), [], 0
    for kind, start, length in chunks:
        if kind != b"IDAT":
            continue
        _check_sum(view, kind, start, length)
        try:
            parts.append(stream.decompress(view[start : start + length], needed - got))
        except zlib.error as error:
            raise PngError(f"its compressed data is wrong ({error})") from error
        got += len(parts[-1])
        if got >= needed:
            return b"".join(parts)
    raise PngError("the compressed data ends early (truncated)")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
