"""The page of the recognition server in a browser: drop pictures, read the answers."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import uvicorn

from plugins.lego.serve import create_app
from tests.plugins.color_fidelity.browser_kit import Browser, find_browser
from tests.plugins.lego.lego_onnx_kit import BLUE, RED, encoded, made_model, plain

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium")

DROP = """(files => {
  const data = new DataTransfer();
  for (const [name, text] of files)
    data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name, {type: "image/png"}));
  document.getElementById("drop").dispatchEvent(
    new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
})"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(made_model(tmp_path / "made.onnx"), threads=1)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    start = time.monotonic()
    while not server.started:
        assert thread.is_alive() and time.monotonic() - start < 60
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)


def test_dropped_pictures_are_named_and_bad_ones_explained(port: int, tmp_path: Path) -> None:
    files = [(f"{n}.png", encoded(plain(color, 90, 120))) for n, color in (("red", RED), ("blue", BLUE))]
    sent = json.dumps([(name, base64.b64encode(content).decode()) for name, content in files])
    browser = Browser(tmp_path / "profile")
    try:
        browser.size(1000, 900)
        browser.open(f"http://127.0.0.1:{port}/")
        browser.wait("document.getElementById('model').textContent.includes('2 parts, 3 colours')")
        browser.run("document.getElementById('together').checked = true")
        browser.run(f"{DROP}({sent})")
        browser.wait("document.querySelectorAll('.card').length === 3")
        heads = browser.run("[...document.querySelectorAll('.head h2')].map(each => each.textContent)")
        assert heads[2:] == ["Part: Brick 3001 (3001)", "Colour: 4", "Part: Brick 3001 (3001)", "Colour: 1"]
        browser.wait("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
        browser.screenshot(tmp_path / "page.png", whole=True)
        browser.size(380, 700, mobile=True)
        browser.dark(True)
        assert browser.run("document.documentElement.scrollWidth") <= 380
        browser.screenshot(tmp_path / "small.png", whole=True)
        assert browser.complaints() == []
        browser.run(f"{DROP}({json.dumps([('a.png', base64.b64encode(b'text').decode())])})")
        browser.wait("!document.getElementById('error').hidden && document.getElementById('busy').hidden")
        assert "no JPEG, PNG or WebP" in browser.run("document.getElementById('error').textContent")
        assert all(f"127.0.0.1:{port}" in one or one.startswith(("blob:", "data:")) for one in browser.requests())
    finally:
        browser.close()
