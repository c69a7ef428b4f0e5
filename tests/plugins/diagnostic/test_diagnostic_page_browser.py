"""The page in a real browser: a photo is chosen, judged, compared, weighed and downloaded."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from plugins.diagnostic.estimate import Estimate
from plugins.diagnostic.photo_advice import Adviser
from tests.plugins.color_fidelity.browser_kit import Browser, find_browser
from tests.plugins.diagnostic.diagnostic_api_kit import ToldNetwork, good_photo, jpeg_of, spoilt
from tests.plugins.diagnostic.diagnostic_page_kit import serving

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome on this machine")

TRUTH = Estimate(-1.0, -0.2, 0.25, -0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    large = cv2.resize(good_photo(240), (640, 480))
    (place / "my holiday.jpg").write_bytes(jpeg_of(spoilt(large, TRUTH)))
    (place / "notes.txt").write_text("text")
    (place / "broken.jpg").write_bytes(jpeg_of(large)[:5000])
    return place


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BASICSR_SCENE_WEIGHTS", raising=False)
        patch.setattr("torch.hub.get_dir", lambda: "/nowhere")
        program = Browser(folder / "profile")
        program.size(1280, 900)
        yield program
        program.close()
        shutil.rmtree(folder / "profile", ignore_errors=True)


def choose(browser: Browser, path: Path) -> None:
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    field = browser.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=field, files=[str(path)])


def level(browser: Browser, name: str) -> float:
    """Mean level of a picture of the page."""
    script = f"""(() => {{ const i = document.getElementById('{name}'), c = document.createElement('canvas');
      c.width = c.height = 32; const g = c.getContext('2d'); g.drawImage(i, 0, 0, 32, 32);
      const d = g.getImageData(0, 0, 32, 32).data; let s = 0;
      for (let k = 0; k < d.length; k += 4) s += d[k] + d[k + 1] + d[k + 2]; return s / 3072; }})()"""
    return float(browser.run(script))


def set_range(browser: Browser, name: str, value: float) -> None:
    script = f"(() => {{ const s = document.getElementById('{name}'); s.value = '{value}'; "
    browser.run(script + "s.dispatchEvent(new Event('input', { bubbles: true })); })()")


def open_page(browser: Browser, port: int) -> None:
    browser.events.clear()
    browser.open("about:blank")
    browser.open(f"http://127.0.0.1:{port}/")


def test_a_photo_is_judged_compared_weighed_and_downloaded(browser: Browser, folder: Path) -> None:
    with serving(Adviser(ToldNetwork(TRUTH))) as port:
        open_page(browser, port)
        choose(browser, folder / "my holiday.jpg")
        browser.wait("!document.getElementById('result').hidden && document.querySelectorAll('.bar').length === 7", 60)
        words = browser.run("document.getElementById('words').innerText")
        assert "too dark" in words and "cool (blue)" in words and "too pale" in words
        dark, bright = level(browser, "before"), level(browser, "after")
        assert bright > dark + 10
        gamma = float(browser.run("document.querySelector('#numbers dd').innerText"))

        set_range(browser, "weight", 1)
        browser.wait(f"parseFloat(document.querySelector('#numbers dd').innerText) > {gamma + 0.05}", 60)
        assert level(browser, "after") > bright + 3
        set_range(browser, "weight", 0)
        browser.wait("document.querySelector('#numbers dd').innerText === '1.000'", 60)
        assert abs(level(browser, "after") - dark) < 1.5

        set_range(browser, "split", 20)
        assert browser.run("document.getElementById('before').style.clipPath") in ("inset(0px 80% 0px 0px)",)
        boxes = "['before', 'after'].map((n) => document.getElementById(n).getBoundingClientRect().toJSON())"
        before, after = browser.run(boxes)
        assert before == after and before["width"] > 400

        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        browser.run("document.getElementById('download').click()")
        start, target = time.monotonic(), folder / "my holiday_corrected.jpg"
        while not target.exists():
            assert time.monotonic() - start < 60
            time.sleep(0.05)
        addresses = browser.requests()
        assert browser.complaints() == []
        assert all(name.startswith((f"http://127.0.0.1:{port}/", "about:")) for name in addresses)


def test_what_cannot_be_read_is_said_on_the_page(browser: Browser, folder: Path) -> None:
    with serving(Adviser(None)) as port:
        open_page(browser, port)
        browser.wait("!document.getElementById('help').hidden")
        assert "train.py" in browser.run("document.getElementById('help').innerText")
        assert browser.run("document.getElementById('weight-row').hidden")
        choose(browser, folder / "notes.txt")
        browser.wait("document.getElementById('error').innerText.includes('JPEG, PNG or WebP')")
        choose(browser, folder / "broken.jpg")
        browser.wait("document.getElementById('error').innerText.includes('damaged')", 60)
        assert browser.run("document.getElementById('result').hidden && document.getElementById('busy').hidden")
        choose(browser, folder / "my holiday.jpg")
        browser.wait("!document.getElementById('result').hidden", 60)
        assert browser.run("document.getElementById('error').hidden")
        assert not browser.run("document.getElementById('no-diagnosis').hidden")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, folder: Path, width: int) -> None:
    with serving(Adviser(ToldNetwork(TRUTH))) as port:
        browser.size(width, 800, mobile=width < 500)
        open_page(browser, port)
        choose(browser, folder / "my holiday.jpg")
        browser.wait("!document.getElementById('result').hidden", 60)
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
        browser.size(1280, 900)
