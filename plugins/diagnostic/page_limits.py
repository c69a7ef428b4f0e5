"""What one server of the local page takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        upload_bytes: Largest upload.
        pixels: Most pixels of a photo, by its header, before it is decoded.
        kept_photos: Photos that are kept for the slider and the download; the oldest go first.
        kept_bytes: Their memory together.
        uploads_at_once: Uploads that are in memory at the same time; further ones wait.
        upload_seconds: How long one may take, so that a slow one does not keep the others waiting for ever.
    """

    upload_bytes: int = 40 * 2**20
    pixels: int = 60_000_000
    kept_photos: int = 8
    kept_bytes: int = 256 * 2**20
    uploads_at_once: int = 2
    upload_seconds: float = 120.0
