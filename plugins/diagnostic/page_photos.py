"""The photos that people dropped on the page: checked before they are decoded, and kept for a while within bounds."""

from __future__ import annotations

import io
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import NOTE_TEXTS, read_header
from plugins.diagnostic.filters_sheet import shrunk
from plugins.diagnostic.page_limits import Limits
from plugins.diagnostic.photo_advice import Adviser, Findings
from plugins.diagnostic.photo_files import PhotoFile, encode_photo, read_photo, read_small_srgb
from plugins.diagnostic.preview import generate_preview
from plugins.local_server.request_guard import Refusal

SCREEN_SIDE = 1280
"""Longer side of what the page shows."""
TYPES = {"image/jpeg": ("JPEG", "MPO"), "image/png": ("PNG",), "image/webp": ("WEBP",)}
"""Types of upload, and the formats that Pillow may try for them."""
_NAME = "the photo"
_SCREEN_QUALITY = 88


@dataclass(frozen=True)
class KeptPhoto:
    """A photo that was looked at.

    Attributes:
        content: The file as it came.
        suffix: Of the corrected copy.
        screen: (h, w, 3) uint8 sRGB, as large as the page shows it.
        size: Width and height of the whole photo, upright.
        findings: What was seen.
        notes: What reading had to change.
    """

    content: bytes
    suffix: str
    screen: np.ndarray
    size: tuple[int, int]
    findings: Findings
    notes: tuple[str, ...] = ()

    @property
    def memory(self) -> int:
        """Bytes that it takes."""
        return len(self.content) + self.screen.nbytes


class PhotoShelf:
    """Photos by an unguessable token, the oldest of which make room for new ones.

    Args:
        limits: How many, how large.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self._lock = limits, threading.Lock()
        self._photos: OrderedDict[str, KeptPhoto] = OrderedDict()

    def put(self, photo: KeptPhoto) -> str:
        """Keep a photo; the token under which it is found."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._photos[token] = photo
            while len(self._photos) > 1 and (len(self._photos) > self._limits.kept_photos or self._too_much()):
                self._photos.popitem(last=False)
        return token

    def get(self, token: str) -> KeptPhoto:
        """The photo of a token.

        Raises:
            Refusal: 404: it was never here, or has made room for others.
        """
        with self._lock:
            if token not in self._photos:
                raise Refusal(404, "this photo is not kept any more; drop it again")
            self._photos.move_to_end(token)
            return self._photos[token]

    def _too_much(self) -> bool:
        return sum(photo.memory for photo in self._photos.values()) > self._limits.kept_bytes

    def __len__(self) -> int:
        return len(self._photos)


def take_photo(content: bytes, kind: str, adviser: Adviser, limits: Limits) -> KeptPhoto:
    """Check, decode and diagnose an upload.

    Args:
        content: The upload.
        kind: Its declared type, a key of ``TYPES``.
        adviser: The networks.
        limits: For the number of pixels.

    Raises:
        Refusal: 400: damaged; 415: something else than it says; 422: too many pixels.
    """
    check_header(content, kind, limits)
    try:
        header = read_header(content, _NAME)
        small = read_small_srgb(content, _NAME, SCREEN_SIDE // 2)
        findings = adviser.look_at_file(content, _NAME)
    except UserError as error:
        raise Refusal(400, str(error)) from error
    notes = (NOTE_TEXTS["frames"],) if header.several_frames else ()
    suffix = ".png" if header.format == "PNG" else ".jpg"
    return KeptPhoto(content, suffix, shrunk(small, SCREEN_SIDE), (header.width, header.height), findings, notes)


def check_header(content: bytes, kind: str, limits: Limits) -> None:
    """Refuse what is no image of this kind, or has too many pixels; nothing is decoded.

    Raises:
        Refusal: 400, 415 or 422.
    """
    if not content:
        raise Refusal(400, "the upload is empty")
    if not _starts_right(content, kind):
        raise Refusal(415, "the file is not what it says; drop a JPEG, PNG or WebP photo")
    try:
        with Image.open(io.BytesIO(content), formats=TYPES[kind]) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal(422, _too_large(limits)) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise Refusal(400, "the photo's header is damaged") from error
    if width * height > limits.pixels:
        raise Refusal(422, _too_large(limits))
    if min(width, height) < 1:
        raise Refusal(400, "the photo has no pixels")


def screen_jpeg(photo: KeptPhoto, weight: float | None) -> bytes:
    """What the page shows: the photo as it is (None), or corrected at a ``fusion_weight``."""
    pixels = photo.screen if weight is None else generate_preview(photo.screen, photo.findings.advice(weight))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_SCREEN_QUALITY)
    return buffer.getvalue()


def full_copy(photo: KeptPhoto, weight: float) -> bytes:
    """The whole photo corrected, with EXIF and colour profile, in its own format (WebP becomes JPEG).

    A JPEG or PNG that needs nothing comes back to the byte.

    Raises:
        Refusal: 400: it is damaged beyond what the preview needed.
    """
    advice = photo.findings.advice(weight)
    if not advice.recommended_filters and not _starts_right(photo.content, "image/webp"):
        return photo.content
    try:
        whole: PhotoFile = read_photo(photo.content, _NAME)
    except UserError as error:
        raise Refusal(400, str(error)) from error
    return encode_photo(whole.with_pixels(generate_preview(whole.rgb, advice)), photo.suffix)


def _starts_right(content: bytes, kind: str) -> bool:
    if kind == "image/jpeg":
        return content.startswith(b"\xff\xd8\xff")
    if kind == "image/png":
        return content.startswith(b"\x89PNG\r\n\x1a\n")
    return content.startswith(b"RIFF") and content[8:12] == b"WEBP"


def _too_large(limits: Limits) -> str:
    return f"the photo has more than {limits.pixels / 1e6:.0f} megapixels; scale it down"
