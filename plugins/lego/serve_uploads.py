"""What the recognition server takes on, and how uploads are read."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from plugins.local_server.request_guard import Refusal

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
FORM = "multipart/form-data"
_ANY_FILE = "application/octet-stream"
_BOUNDARY = re.compile(r"""boundary=(?:"([^"\r\n]{1,70})"|([^\s;,"]{1,70}))""", re.IGNORECASE)
_PART_HEADERS = 4096


@dataclass(frozen=True)
class ServeLimits:
    """What one server takes on.

    Attributes:
        images: Most pictures of a request.
        image_bytes: Largest picture.
        request_bytes: Largest request.
        pixels: Most pixels of a picture, by its header, before it is decoded.
        at_once: Requests whose bytes are in memory at the same time; further ones wait unread.
        waiting: Requests that may wait; more are sent away with 503.
        upload_seconds: How long an upload may take, so that a slow one does not keep the others waiting for ever.
    """

    images: int = 8
    image_bytes: int = 12 * 2**20
    request_bytes: int = 32 * 2**20
    pixels: int = 26_000_000
    at_once: int = 2
    waiting: int = 32
    upload_seconds: float = 60.0


async def read_body(stream: AsyncIterator[bytes], declared: str, limit: int) -> bytes:
    """Read a request's body, counting.

    Args:
        stream: Its parts.
        declared: The ``Content-Length`` header, which may be missing or lie.
        limit: Most bytes.

    Raises:
        Refusal: 413.
    """
    message = f"the request is larger than {limit / 2**20:g} MB"
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise Refusal(413, message)
    body = bytearray()
    async for part in stream:
        body += part
        if len(body) > limit:
            raise Refusal(413, message)
    return bytes(body)


def media_type(header: str) -> str:
    """The type in a ``Content-Type`` header, in small letters, without its parameters."""
    return header.partition(";")[0].strip().lower()


def check_type(header: str) -> None:
    """Refuse what is neither a picture nor a form, before its body is read.

    Raises:
        Refusal: 415.
    """
    kind = media_type(header)
    if kind not in (*IMAGE_TYPES, FORM):
        raise Refusal(415, f"send {', '.join(IMAGE_TYPES)}, or several of them as {FORM}; not '{kind[:60]}'")


def pictures_of(body: bytes, header: str, limits: ServeLimits) -> list[bytes]:
    """The pictures of a request: its body, or the files of its form.

    Raises:
        Refusal: 400: no form, or no picture; 413: too many or too large ones; 415: a part of another type.
    """
    check_type(header)
    pictures = parts_of(body, header, limits.images) if media_type(header) == FORM else [body]
    if not pictures:
        raise Refusal(400, "the form has no picture")
    for number, picture in enumerate(pictures, start=1):
        if len(picture) > limits.image_bytes:
            raise Refusal(413, f"picture {number} is larger than {limits.image_bytes / 2**20:g} MB")
    return pictures


def parts_of(body: bytes, header: str, most: int) -> list[bytes]:
    """The files of a ``multipart/form-data`` body (RFC 7578); fields that are no files are left out.

    Raises:
        Refusal: 400, 413 or 415.
    """
    found = _BOUNDARY.search(header)
    if found is None:
        raise Refusal(400, "the form has no boundary")
    mark = b"\r\n--" + (found[1] or found[2]).encode("latin-1", "replace")
    whole = b"\r\n" + body
    files: list[bytes] = []
    place = whole.find(mark)
    if place < 0:
        raise Refusal(400, "the form is damaged: its boundary does not occur")
    for _ in range(4 * most + 1):  # a form of countless empty fields is none of ours
        start = place + len(mark)
        if whole[start : start + 2] == b"--":
            return files
        place = whole.find(mark, start)
        if place < 0:
            raise Refusal(400, "the form is truncated: it has no end")
        content = _file_of(whole, start, place)
        if content is not None:
            files.append(content)
        if len(files) > most:
            raise Refusal(413, f"a request has at most {most} pictures")
    raise Refusal(413, "the form has too many fields")


def _file_of(whole: bytes, start: int, end: int) -> bytes | None:
    """The content of a part that is a file, None for another one."""
    blank = whole.find(b"\r\n\r\n", start, min(end, start + _PART_HEADERS))
    if blank < 0:
        raise Refusal(400, "the form is damaged: a part without headers")
    lines = whole[start:blank].decode("latin-1").lower().split("\r\n")
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "filename" not in headers.get("content-disposition", ""):
        return None
    kind = media_type(headers.get("content-type", _ANY_FILE))
    if kind not in (*IMAGE_TYPES, _ANY_FILE):
        raise Refusal(415, f"a part of the form is '{kind[:60]}'; send {', '.join(IMAGE_TYPES)}")
    return whole[blank + 4 : end]
