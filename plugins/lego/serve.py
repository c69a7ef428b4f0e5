"""The recognition server: pictures in, parts and colours out, and a page to try it.

``POST /v1/predict`` takes one picture as the request's body, or up to eight as files of a form; ``?together=true`` also
names the one brick that all of them show. ``GET /v1/health`` and ``GET /v1/info`` tell how it is and what it knows.
Nothing is written, and nothing of a request becomes a path.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from plugins.lego.inference import ClassifierLoader, joined
from plugins.lego.inference_image import (
    ImageDamagedError,
    ImageError,
    ImageFramesError,
    ImageSizeError,
    ImageTypeError,
)
from plugins.lego.serve_uploads import IMAGE_TYPES, ServeLimits, check_type, pictures_of, read_body
from plugins.local_server.request_guard import LOOPBACK, Refusal, RequestGuard

_ASSETS = Path(__file__).with_name("serve_assets")
_FILES = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
_STATUS: dict[type[ImageError], int] = {
    ImageDamagedError: 400,
    ImageTypeError: 415,
    ImageFramesError: 415,
    ImageSizeError: 422,
}


class Recognizer:
    """What the routes do.

    Args:
        classifier: The model; its own limits are those of ``limits``.
        limits: What one server takes on.
    """

    def __init__(self, classifier: ClassifierLoader, limits: ServeLimits) -> None:
        self.classifier, self.limits = classifier, limits
        self._slots, self._waiting = asyncio.Semaphore(limits.at_once), 0
        # A decoded photo takes far more room than its file: one at a time.
        self._one = threading.Lock()
        self._started, self._answered = time.monotonic(), 0

    def health(self) -> dict[str, Any]:
        """That it is there."""
        return {"status": "ok", "seconds_up": round(time.monotonic() - self._started, 1), "answered": self._answered}

    def info(self) -> dict[str, Any]:
        """The model and the limits."""
        info, limits = self.classifier.info, self.limits
        return {
            "model": self.classifier.path.name,
            "precision": info.facts.get("precision"),
            "version": info.facts.get("basicsr_version"),
            "checkpoint_sha256": info.facts.get("checkpoint_sha256"),
            "classes": info.classes,
            "color_scheme": info.facts.get("color_scheme"),
            "input": info.recipe,
            "temperature": info.temperature,
            "unknown_below": self.classifier.thresholds,
            "limits": {
                "images": limits.images, "image_bytes": limits.image_bytes,
                "request_bytes": limits.request_bytes, "pixels": limits.pixels,
            },
            "types": list(IMAGE_TYPES),
        }  # fmt: skip

    async def predict(self, request: Request, together: bool) -> dict[str, Any]:
        """Read a request and answer it."""
        kind = request.headers.get("content-type", "")
        check_type(kind)
        if self._waiting >= self.limits.waiting:
            raise Refusal(503, "too many requests are waiting; try again")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            declared = request.headers.get("content-length", "")
            reading = read_body(request.stream(), declared, self.limits.request_bytes)
            try:
                body = await asyncio.wait_for(reading, self.limits.upload_seconds)
            except asyncio.TimeoutError as error:
                raise Refusal(408, "the upload took too long") from error
            except ClientDisconnect as error:
                raise Refusal(400, "the upload was broken off") from error
            return await run_in_threadpool(self._answer, pictures_of(body, kind, self.limits), together)
        finally:
            self._slots.release()

    def _answer(self, pictures: list[bytes], together: bool) -> dict[str, Any]:
        start, rows = time.perf_counter(), []
        for number, content in enumerate(pictures, start=1):
            with self._one:
                try:
                    rows.append(self.classifier.probabilities(self.classifier.prepare(content)[None]))
                except ImageError as error:
                    raise Refusal(_STATUS.get(type(error), 400), f"picture {number}: {error}") from error
        self._answered += 1
        return {
            "images": [self.classifier.decide(row).as_dict() for row in rows],
            "together": self.classifier.decide(joined(rows)).as_dict() if together else None,
            "milliseconds": round(1000 * (time.perf_counter() - start), 1),
        }


def create_app(
    model: Path, limits: ServeLimits | None = None, threads: int = 0, hosts: tuple[str, ...] = LOOPBACK
) -> RequestGuard:
    """The ASGI application.

    Args:
        model: File of ``tools/export_onnx.py``.
        limits: What one server takes on.
        threads: Of the network.
        hosts: Names that it may be called, without port.

    Raises:
        ModelFileError: The model cannot be used.
    """
    limits = limits or ServeLimits()
    classifier = ClassifierLoader(model, threads, max_pixels=limits.pixels, max_bytes=limits.image_bytes)
    recognizer = Recognizer(classifier, limits)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def predict(request: Request, together: str = "false") -> Any:
        if together not in ("true", "false"):
            raise Refusal(422, "together is true or false")
        return await recognizer.predict(request, together == "true")

    for place, (name, kind) in _FILES.items():
        app.add_api_route(f"/{place}", _asset(_ASSETS / name, kind), methods=["GET"])
    app.add_api_route("/v1/health", recognizer.health, methods=["GET"])
    app.add_api_route("/v1/info", recognizer.info, methods=["GET"])
    app.add_api_route("/v1/predict", predict, methods=["POST"], response_model=None)
    app.add_exception_handler(Refusal, _refused)
    return RequestGuard(app, hosts)


def _asset(path: Path, kind: str) -> Any:
    content = path.read_bytes()

    def serve() -> Response:
        return Response(content, media_type=kind)

    return serve


def _refused(request: Request, error: Exception) -> Response:
    del request
    if not isinstance(error, Refusal):
        raise error
    return JSONResponse({"error": error.message}, status_code=error.status)
