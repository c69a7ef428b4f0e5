"""The recognition server, in this process: what it answers, what it refuses, and that bad uploads leave it well."""

from __future__ import annotations

import asyncio
import json
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("fastapi")

from plugins.lego import serve
from plugins.lego.serve_uploads import ServeLimits, parts_of, read_body
from plugins.local_server.request_guard import Refusal, RequestGuard
from tests.plugins.lego.lego_onnx_kit import BLUE, RED, encoded, made_model, plain, png_header

ASGI = Any
LIMITS = ServeLimits(images=3, image_bytes=200_000, request_bytes=500_000, pixels=1_000_000, upload_seconds=0.5)


async def asked(
    app: ASGI, path: str, body: bytes | list[bytes] | None = None, kind: str | None = "image/png", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request: GET, or POST where there is a body; a list is sent in parts and without a length."""
    place, _, query = path.partition("?")
    parts = [] if body is None else [body] if isinstance(body, bytes) else list(body)
    sent = {"host": "localhost:7862", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if isinstance(body, bytes):
        sent.setdefault("content-length", str(len(body)))
    if body is not None and kind is not None:
        sent["content-type"] = kind
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET" if body is None else "POST",
        "path": place, "raw_path": place.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7862),
    }  # fmt: skip
    answer: dict[str, Any] = {"body": b""}
    asked_for = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked_for
        asked_for += 1
        if asked_for <= len(parts):
            return {"type": "http.request", "body": parts[asked_for - 1], "more_body": asked_for < len(parts)}
        if body is None or parts:
            return {"type": "http.disconnect"}
        await asyncio.sleep(30)  # a client that says no more
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
            answer["headers"] = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer["body"] += message.get("body", b"")

    await app(scope, receive, send)
    return answer["status"], answer["headers"], answer["body"]


def ask(app: ASGI, *args: Any, **named: Any) -> tuple[int, Any]:
    """Status and JSON of one request."""
    status, _, body = asyncio.run(asked(app, *args, **named))
    return status, json.loads(body)


def form(*files: bytes, kind: str = "image/png", mark: bytes = b"MARK") -> bytes:
    """A form with files."""
    head = b'--%s\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: %s\r\n\r\n'
    return b"".join(head % (mark, kind.encode()) + one + b"\r\n" for one in files) + b"--" + mark + b"--\r\n"


FORM = "multipart/form-data; boundary=MARK"
RED_PNG, BLUE_PNG = encoded(plain(RED)), encoded(plain(BLUE))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_model(tmp_path_factory.mktemp("model") / "made.onnx")


@pytest.fixture
def app(model: Path) -> Iterator[RequestGuard]:
    yield serve.create_app(model, LIMITS, threads=1)


def test_a_picture_as_the_body_is_named(app: RequestGuard) -> None:
    status, answer = ask(app, "/v1/predict", RED_PNG)
    assert status == 200 and answer["images"][0]["color_id"] == "4" and answer["together"] is None
    assert ask(app, "/v1/health")[1]["answered"] == 1


def test_several_pictures_come_as_a_form_and_may_be_one_brick(app: RequestGuard) -> None:
    status, answer = ask(app, "/v1/predict?together=true", form(RED_PNG, BLUE_PNG, BLUE_PNG), FORM)
    assert status == 200 and [one["color_id"] for one in answer["images"]] == ["4", "1", "1"]
    assert answer["together"]["color_id"] == "1"
    assert ask(app, "/v1/predict?together=perhaps", RED_PNG)[0] == 422


def test_info_says_what_the_model_knows(app: RequestGuard) -> None:
    status, info = ask(app, "/v1/info")
    assert status == 200 and info["classes"]["part"][1]["id"] == "3003" and info["color_scheme"] == "ldraw"
    assert info["limits"]["images"] == 3 and info["input"]["size"] == 16


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"", "image/png"),
        (400, RED_PNG[:40], "image/png"),
        (415, b"text", "image/png"),
        (415, RED_PNG, "text/plain"),
        (415, RED_PNG, None),
        (415, form(RED_PNG, kind="text/html"), FORM),
        (413, b"\x89PNG\r\n\x1a\n" + b"0" * 200_000, "image/png"),
        (413, b"0" * 500_001, "image/png"),
        (413, [b"0" * 300_000, b"0" * 300_000], "image/png"),
        (413, form(*[RED_PNG] * 4), FORM),
        (413, b"--MARK\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" * 99 + b"--MARK--", FORM),
        (422, png_header(2000, 2000), "image/png"),
        (422, png_header(60_000, 60_000), "image/png"),
        (422, form(RED_PNG, png_header(2000, 2000)), FORM),
        (400, form(RED_PNG), "multipart/form-data"),
        (400, form(RED_PNG), "multipart/form-data; boundary=OTHER"),
        (400, form(RED_PNG)[:-40], FORM),
        (400, form(), FORM),
        (400, b"--MARK\r\nno headers", FORM),
    ],
    ids=str(list(range(19)))[1:-1].split(", "),
)
def test_bad_requests_have_their_status_and_a_reason(
    app: RequestGuard, status: int, body: Any, kind: str | None
) -> None:
    got, answer = ask(app, "/v1/predict", body, kind)
    assert got == status and len(answer["error"]) > 10
    assert ask(app, "/v1/predict", RED_PNG)[0] == 200


def test_too_much_is_not_read_to_its_end() -> None:
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield b"0" * 1000

    with pytest.raises(Refusal) as caught:
        asyncio.run(read_body(endless(), "", 5000))
    assert caught.value.status == 413 and taken == 6
    with pytest.raises(Refusal):
        asyncio.run(read_body(endless(), "5001", 5000))
    assert taken == 6


def test_a_slow_upload_gives_its_place_back(app: RequestGuard) -> None:
    assert ask(app, "/v1/predict", [])[0] == 408
    assert ask(app, "/v1/predict", RED_PNG)[0] == 200


def test_more_than_can_wait_are_sent_away(model: Path) -> None:
    limits = ServeLimits(at_once=1, waiting=1, upload_seconds=0.3)
    app = serve.create_app(model, limits, threads=1)

    async def crowd() -> list[int]:
        answers = await asyncio.gather(*(asked(app, "/v1/predict", []) for _ in range(4)))
        return sorted(answer[0] for answer in answers)

    assert asyncio.run(crowd()) == [408, 408, 503, 503]


def test_foreign_pages_and_names_are_refused(app: RequestGuard) -> None:
    for headers in (
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
    ):
        assert ask(app, "/v1/predict", RED_PNG, **headers)[0] == 403
    assert ask(app, "/v1/predict", RED_PNG, origin="http://localhost:7862", sec_fetch_site="same-origin")[0] == 200
    assert ask(app, "/v1/health", host="evil.example")[0] == 403


def test_the_page_is_its_own(app: RequestGuard) -> None:
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        status, headers, body = asyncio.run(asked(app, path))
        assert status == 200 and headers["content-type"].startswith(kind)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert b"http://" not in body and b"https://" not in body and b"innerHTML" not in body


def test_a_form_with_the_mark_inside_a_picture_and_fields_is_taken_apart() -> None:
    field = b'--MARK\r\nContent-Disposition: form-data; name="together"\r\n\r\ntrue\r\n'
    content = b"\x00--MARK inside\r\n\r\n"
    assert parts_of(field + form(content, b""), 'multipart/form-data; boundary="MARK"', 3) == [content, b""]


def malformed(count: int) -> Iterator[tuple[bytes, str]]:
    """Truncated, changed and made-up uploads."""
    rng = random.Random(0)
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    good = [encoded(noise, form, **{"quality": 80}) for form in ("PNG", "JPEG", "WEBP")]
    kinds = ["image/png", "image/jpeg", "image/webp", FORM, "application/octet-stream", ""]
    for number in range(count):
        content = bytearray(rng.choice(good))
        way = number % 5
        if way == 0:
            content = content[: rng.randrange(len(content))]
        elif way == 1:
            for _ in range(rng.randrange(1, 40)):
                content[rng.randrange(len(content))] = rng.randrange(256)
        elif way == 2:
            content = content[:20] + bytearray(rng.randbytes(rng.randrange(300)))
        elif way == 3:
            content = bytearray(png_header(rng.randrange(2**20), rng.randrange(2**20)))
        else:
            content = bytearray(form(bytes(content[: rng.randrange(200)])))[: rng.randrange(1, 400)]
        yield bytes(content), FORM if way == 4 else rng.choice(kinds)


def test_a_thousand_malformed_uploads_leave_it_answering(app: RequestGuard) -> None:
    async def all_of_them() -> list[int]:
        statuses = []
        for number, (body, kind) in enumerate(malformed(1000)):
            if number == 200:  # by then everything that is made once is there
                start.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            status, _, answer = await asked(app, "/v1/predict", body, kind)
            assert status == 200 or json.loads(answer)["error"]
            statuses.append(status)
        statuses.append((await asked(app, "/v1/predict", RED_PNG))[0])
        return statuses

    start: list[int] = []
    statuses = asyncio.run(all_of_them())
    assert set(statuses) <= {200, 400, 413, 415, 422} and statuses[-1] == 200
    assert statuses.count(400) > 100 and statuses.count(422) > 50  # each kind was met
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start[0]) / 1024
    assert grown < 32, f"{grown:.0f} MB"
