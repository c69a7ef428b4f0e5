"""The local page: drop a photo, see the diagnosis, compare, move the weight, download.

An upload is the request's body itself, not a form: its type is then never one that a foreign form can send, and its
bytes are counted as they come. Nothing of the request becomes a path.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from PIL import Image
from starlette.requests import ClientDisconnect

from plugins.diagnostic.filters_sheet import filter_text
from plugins.diagnostic.model_files import missing_model_text
from plugins.diagnostic.page_limits import Limits
from plugins.diagnostic.page_photos import TYPES, KeptPhoto, PhotoShelf, full_copy, screen_jpeg, take_photo
from plugins.diagnostic.photo_advice import Adviser, advice_record
from plugins.local_server.request_guard import LOOPBACK, Refusal, RequestGuard

_ASSETS = Path(__file__).with_name("page_assets")
_FILES = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}


class Page:
    """What the routes do.

    Args:
        adviser: The networks; without a model only presets are shown, and the page says so.
        limits: What one server takes on.
        knows_scenes: Whether the scene classifier's weights are there.
    """

    def __init__(self, adviser: Adviser, limits: Limits, knows_scenes: bool) -> None:
        self.adviser, self.limits, self.knows_scenes = adviser, limits, knows_scenes
        self.shelf = PhotoShelf(limits)
        self._uploads = asyncio.Semaphore(limits.uploads_at_once)
        # A whole photo takes a few hundred megabytes while it is corrected; two at a time would be two photos' worth.
        self._full = threading.BoundedSemaphore(1)

    def status(self) -> dict[str, Any]:
        """What the page has to know before a photo comes."""
        has_model = self.adviser.model is not None
        return {
            "model": has_model,
            "model_help": "" if has_model else missing_model_text(),
            "scenes": self.knows_scenes,
            "upload_bytes": self.limits.upload_bytes,
            "types": list(TYPES),
        }

    async def upload(self, request: Request) -> dict[str, Any]:
        """Take a photo; its token and first advice."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in TYPES:
            raise Refusal(415, "drop a JPEG, PNG or WebP photo")
        async with self._uploads:
            try:
                content = await asyncio.wait_for(self._body(request), self.limits.upload_seconds)
            except asyncio.TimeoutError as error:
                raise Refusal(408, "the upload took too long") from error
            except ClientDisconnect as error:
                raise Refusal(400, "the upload was broken off") from error
            photo = await run_in_threadpool(take_photo, content, kind, self.adviser, self.limits)
            token = self.shelf.put(photo)
        return {"token": token, "width": photo.size[0], "height": photo.size[1], **self.advice(photo, 0.6)}

    async def _body(self, request: Request) -> bytes:
        limit = self.limits.upload_bytes
        message = f"the file is larger than {limit / 2**20:.0f} MB"
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise Refusal(413, message)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > limit:  # the header may be missing or lie
                raise Refusal(413, message)
        return bytes(body)

    def advice(self, photo: KeptPhoto, weight: float) -> dict[str, Any]:
        """The advice for the page."""
        used = weight if self.adviser.model is not None else 0.0
        advice = photo.findings.advice(used)
        filters = [filter_text(entry) for entry in advice.recommended_filters]
        return {"weight": used, "advice": advice_record(advice), "filters": filters, "notes": list(photo.notes)}

    def corrected(self, photo: KeptPhoto, weight: float) -> bytes:
        """The whole photo corrected."""
        with self._full:
            return full_copy(photo, weight if self.adviser.model is not None else 0.0)

    def shown(self, photo: KeptPhoto, weight: float) -> bytes:
        """The photo at the size of a screen, corrected."""
        return screen_jpeg(photo, weight if self.adviser.model is not None else 0.0)


def create_app(
    adviser: Adviser, limits: Limits | None = None, hosts: tuple[str, ...] = LOOPBACK, knows_scenes: bool = False
) -> RequestGuard:
    """The ASGI application.

    Args:
        adviser: The networks.
        limits: What one server takes on.
        hosts: Names that it may be called, without port.
        knows_scenes: Whether the scene classifier's weights are there.
    """
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    page = Page(adviser, limits or Limits(), knows_scenes)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for place, (name, kind) in _FILES.items():
        app.add_api_route(f"/{place}", _asset(_ASSETS / name, kind), methods=["GET"])
    app.add_api_route("/status", page.status, methods=["GET"])
    app.add_exception_handler(Refusal, _refusal)
    _photo_routes(app, page)
    return RequestGuard(app, hosts)


def _photo_routes(app: FastAPI, page: Page) -> None:
    async def upload(request: Request) -> Any:
        return await page.upload(request)

    def advice(token: str, weight: str = "0.6") -> Any:
        return page.advice(page.shelf.get(token), _weight(weight))

    def before(token: str) -> Response:
        return Response(screen_jpeg(page.shelf.get(token), None), media_type="image/jpeg")

    def after(token: str, weight: str = "0.6") -> Response:
        return Response(page.shown(page.shelf.get(token), _weight(weight)), media_type="image/jpeg")

    def corrected(token: str, weight: str = "0.6") -> Response:
        photo = page.shelf.get(token)
        kind = "image/png" if photo.suffix == ".png" else "image/jpeg"
        headers = {"content-disposition": "attachment"}  # a name in it would win over the one the page gives
        return Response(page.corrected(photo, _weight(weight)), media_type=kind, headers=headers)

    app.add_api_route("/photos", upload, methods=["POST"], response_model=None)
    for name, function in (("advice", advice), ("before", before), ("after", after), ("corrected", corrected)):
        app.add_api_route(f"/photos/{{token}}/{name}", function, methods=["GET"], response_model=None)


def _asset(path: Path, kind: str) -> Any:
    content = path.read_bytes()

    def serve() -> Response:
        return Response(content, media_type=kind)

    return serve


def _weight(text: str) -> float:
    """A weight from the address, from 0 to 1.

    Raises:
        Refusal: 422.
    """
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1:
        raise Refusal(422, "weight must be a number from 0 to 1")
    return weight


def _refusal(request: Request, error: Exception) -> Response:
    del request
    if not isinstance(error, Refusal):
        raise error
    return JSONResponse({"error": error.message}, status_code=error.status)
