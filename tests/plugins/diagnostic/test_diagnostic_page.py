"""The local page over HTTP: what it answers, what it refuses, and that its memory is bounded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from plugins.diagnostic import page_photos
from plugins.diagnostic.estimate import Estimate
from plugins.diagnostic.page_limits import Limits
from plugins.diagnostic.page_photos import PhotoShelf, check_header, take_photo
from plugins.diagnostic.photo_advice import Adviser
from plugins.local_server.request_guard import Refusal, RequestGuard, host_name
from tests.plugins.diagnostic.diagnostic_api_kit import (
    ToldNetwork,
    camera_exif,
    good_photo,
    jpeg_of,
    png_of,
    spoilt,
)
from tests.plugins.diagnostic.diagnostic_page_kit import ask, serving, told

PHOTO = good_photo(120)
TRUTH = Estimate(-1.0, 0.0, 0.0, -0.3)
DARK = spoilt(PHOTO, TRUTH)
LIMITS = Limits(upload_bytes=300_000, pixels=1_000_000, kept_photos=3)


@pytest.fixture(autouse=True, scope="module")
def no_scene_weights() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BASICSR_SCENE_WEIGHTS", raising=False)
        patch.setattr("torch.hub.get_dir", lambda: "/nowhere")
        yield


@pytest.fixture(scope="module")
def port(no_scene_weights: None) -> Iterator[int]:
    with serving(Adviser(ToldNetwork(TRUTH)), LIMITS) as number:
        yield number


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has this size and holds one row at most."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(100))]
    parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def decoded(answer: tuple[int, dict[str, str], bytes]) -> np.ndarray:
    assert answer[0] == 200
    with Image.open(io.BytesIO(answer[2])) as image:
        return np.asarray(image.convert("RGB"))


def test_a_photo_goes_in_and_comes_out_better(port: int) -> None:
    content = jpeg_of(DARK[:80], 96, exif=camera_exif(6))
    found = told(ask(port, "/photos", content))
    assert (found["width"], found["height"]) == (80, 120)
    assert found["weight"] == 0.6 and found["advice"]["exposure"]["underexposed_probability"] > 0.9
    assert any(text.startswith("exposure +") for text in found["filters"])
    place = f"/photos/{found['token']}"
    full = told(ask(port, f"{place}/advice?weight=1"))["advice"]["final_params"]
    assert full["gamma"] > found["advice"]["final_params"]["gamma"] > 1
    levels = [decoded(ask(port, f"{place}/{name}")).mean() for name in ("before", "after?weight=0.3", "after?weight=1")]
    assert levels[0] < levels[1] < levels[2]
    assert np.ptp([decoded(ask(port, f"{place}/after?weight=0")).mean(), levels[0]]) < 1
    answer = ask(port, f"{place}/corrected?weight=1")
    assert answer[1]["content-disposition"] == "attachment" and answer[1]["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer[2])) as image:
        assert image.size == (80, 120) and image.getexif()[0x010F] == "Maker" and image.getexif()[0x0112] == 1
    upright = np.rot90(PHOTO[:80], -1)
    assert np.abs(decoded(answer).astype(float) - upright).mean() < 6


def test_a_png_stays_png_and_webp_becomes_jpeg(port: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(DARK).save(buffer, "WEBP")
    for content, kind, wanted in ((png_of(DARK), "image/png", "PNG"), (buffer.getvalue(), "image/webp", "JPEG")):
        token = told(ask(port, "/photos", content, kind))["token"]
        with Image.open(io.BytesIO(ask(port, f"/photos/{token}/corrected?weight=1")[2])) as image:
            assert image.format == wanted and np.asarray(image).mean() > DARK.mean() + 10


def test_every_answer_has_the_security_headers(port: int) -> None:
    for path in ("/", "/page.js", "/page.css", "/status", "/nothing", "/docs", "/openapi.json"):
        status, headers, body = ask(port, path)
        assert status == (200 if path in ("/", "/page.js", "/page.css", "/status") else 404), path
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert b"http://" not in body and b"https://" not in body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:PORT", "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    ],
)
def test_other_pages_and_names_are_refused(port: int, headers: dict[str, str], status: int) -> None:
    sent = {name: value.replace("PORT", str(port)) for name, value in headers.items()}
    assert ask(port, "/photos", jpeg_of(DARK), **sent)[0] == status
    if "Host" in sent:
        assert ask(port, "/status", **sent)[0] == status


def test_names_of_hosts_are_read_without_port() -> None:
    names = {"LocalHost:80": "localhost", "[::1]:8000": "::1", "127.0.0.1": "127.0.0.1", "a:b:c": "a", "": ""}
    assert {name: host_name(name) for name in names} == names
    scope: dict[str, Any] = {"method": "GET", "headers": [(b"host", b"localhost"), (b"host", b"localhost")]}
    guard = RequestGuard(None)  # type: ignore[arg-type]
    assert guard.fault(scope) and guard.fault({"method": "GET", "headers": []})


def pieces(total: int) -> Iterator[bytes]:
    """An upload without a length."""
    yield b"\xff\xd8\xff"
    for _ in range(total // 1000):
        yield bytes(1000)


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "kind", "status", "message"),
    [
        (bytes(300_001), "image/jpeg", 413, "larger than"),
        (b"GIF89a", "image/gif", 415, "JPEG, PNG or WebP"),
        (b"{}", "application/json", 415, "JPEG, PNG or WebP"),
        (b"hello", "image/jpeg", 415, "not what it says"),
        (png_of(DARK), "image/jpeg", 415, "not what it says"),
        (jpeg_of(DARK), None, 415, "JPEG, PNG or WebP"),
        (b"", "image/jpeg", 400, "empty"),
        (jpeg_of(DARK)[:-900], "image/jpeg", 400, "damaged"),
        (jpeg_of(DARK)[:40], "image/jpeg", 400, "damaged"),
        (png_of(DARK)[:-2000], "image/png", 400, "damaged"),
        (png_header(5000, 5000), "image/png", 422, "megapixels"),
        (png_header(12_000, 12_000), "image/png", 422, "megapixels"),
        (png_header(60_000, 60_000), "image/png", 422, "megapixels"),
        (png_header(0, 100), "image/png", 400, ""),
    ],
)
def test_bad_uploads_are_told_what_is_wrong(
    port: int, content: bytes, kind: str | None, status: int, message: str
) -> None:
    answer = ask(port, "/photos", content, kind)
    assert answer[0] == status and message in told(answer)["error"]


def test_an_upload_without_a_length_is_counted(port: int) -> None:
    try:
        status = ask(port, "/photos", pieces(2_000_000))[0]
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server closed while it was still sent
    assert status == 413


def test_nothing_of_a_request_becomes_a_path_and_weights_are_checked(port: int) -> None:
    for token in ("nothing", "..%2f..%2fetc%2fpasswd", "%00"):
        assert ask(port, f"/photos/{token}/before")[0] == 404
    token = told(ask(port, "/photos", jpeg_of(DARK)))["token"]
    for weight in ("2", "-1", "nan", "x", ""):
        answer = ask(port, f"/photos/{token}/after?weight={weight}")
        assert answer[0] == 422 and "weight" in told(answer)["error"]


def test_the_oldest_photos_make_room(port: int) -> None:
    tokens = [told(ask(port, "/photos", jpeg_of(DARK)))["token"] for _ in range(5)]
    assert len(set(tokens)) == 5
    assert [ask(port, f"/photos/{token}/before")[0] for token in tokens] == [404, 404, 200, 200, 200]
    limits = Limits(kept_bytes=200_000)
    shelf, adviser = PhotoShelf(limits), Adviser(None)
    photos = [take_photo(jpeg_of(DARK), "image/jpeg", adviser, limits) for _ in range(6)]
    for photo in photos:
        shelf.put(photo)
    assert 1 <= len(shelf) <= 200_000 // photos[0].memory


def test_many_at_once_are_all_served_few_at_a_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.diagnostic import page

    real, now, most = page_photos.take_photo, [0], [0]

    def counted(*given: Any) -> Any:
        now[0] += 1
        most[0] = max(most[0], now[0])
        try:
            return real(*given)
        finally:
            now[0] -= 1

    monkeypatch.setattr(page, "take_photo", counted)
    content = jpeg_of(cv2.resize(DARK, (400, 300)))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(port, "/photos", content)[0], range(8)))
    assert answers == [200] * 8 and 1 <= most[0] <= LIMITS.uploads_at_once


def test_without_a_model_it_says_so_and_changes_nothing() -> None:
    with serving(Adviser(None)) as number:
        status = told(ask(number, "/status"))
        assert status["model"] is False and "train.py" in status["model_help"]
        found = told(ask(number, "/photos", jpeg_of(DARK)))
        assert found["weight"] == 0 and found["advice"]["exposure"]["confidence"] == 0
        place = f"/photos/{found['token']}"
        assert ask(number, f"{place}/after?weight=1")[2] == ask(number, f"{place}/before")[2]
        assert ask(number, f"{place}/corrected?weight=1")[2] == jpeg_of(DARK)


def test_an_animation_gives_its_first_frame_and_says_so() -> None:
    frames = [Image.fromarray(np.full((40, 40, 3), value, np.uint8)) for value in (30, 220)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    photo = take_photo(buffer.getvalue(), "image/webp", Adviser(None), Limits())
    assert abs(photo.screen.mean() - 30) < 3 and "first" in photo.notes[0]


def test_a_header_is_checked_before_the_pixels() -> None:
    with pytest.raises(Refusal) as caught:
        check_header(png_header(8000, 8000), "image/png", Limits())
    assert caught.value.status == 422
    check_header(png_header(7000, 7000), "image/png", Limits())
