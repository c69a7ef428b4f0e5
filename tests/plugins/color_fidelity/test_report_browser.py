"""The report in a real browser: sorted, filtered, compared and zoomed by mouse and keyboard, without any request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from plugins.color_fidelity.evaluation import Evaluation, evaluate
from plugins.color_fidelity.evaluation_files import tree_pairs
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report_html import write_html
from tests.plugins.color_fidelity.browser_kit import Browser, find_browser
from tests.plugins.color_fidelity.evaluation_kit import faded, make_folder, make_run, save, target_image

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome on this machine")

NAMES = ("kitchen", "hall_2", "b<img src=x onerror=fail()>", "bath")
SATS = {"kitchen": 0.9, "hall_2": 0.6, NAMES[2]: 0.75, "bath": 0.97}
SETS = ("interior", "stress")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("images")
    base = make_run(folder / "base", {100: 0.7, 200: 0.8}, names=NAMES, sets=SETS)
    color = make_run(folder / "color", {300: 1.0}, names=NAMES, sets=SETS)
    for set_name in SETS:
        for seed, name in enumerate(NAMES):
            path = color / "visualization" / set_name / name / f"{name}_300.png"
            save(path, faded(target_image(seed), SATS[name] - (0.02 if set_name == "stress" else 0)))
    inputs = make_folder(folder / "lq", 0.5, names=NAMES)
    pairs = tree_pairs("base", base, lq=inputs) + tree_pairs("color", color)
    return evaluate(pairs, reference="base")


@pytest.fixture(scope="module")
def browser(result: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    write_html(result, folder / "report.html", title="T <1>", worst=0)
    program = Browser(folder / "profile")
    program.size(1300, 900)
    program.page = folder / "report.html"
    yield program
    program.close()
    shutil.rmtree(folder / "profile", ignore_errors=True)


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    browser.events.clear()
    browser.open("about:blank")
    browser.open(browser.page.as_uri())
    yield browser
    assert browser.complaints() == []
    assert [address for address in browser.requests() if not address.startswith("about:")] == [browser.page.as_uri()]
    assert browser.run("typeof fail") == "undefined" and browser.run("document.querySelector('[onerror]')") is None


def choose(page: Browser, element: str, value: object) -> None:
    page.run(
        f"(e => {{ e.value = {json.dumps(str(value))}; e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : "
        f"'input')); }})(document.getElementById('{element}'))"
    )


def click(page: Browser, selector: str) -> None:
    """A real click in the middle of an element."""
    box = page.run(
        f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
        f" return [b.x + b.width / 2, b.y + b.height / 2]; }})(document.querySelector({json.dumps(selector)}))"
    )
    page.mouse("mousePressed", *box, button="left", buttons=1, clickCount=1)
    page.mouse("mouseReleased", *box, button="left", clickCount=1)


def cards(page: Browser) -> list[str]:
    return list(page.run("[...document.querySelectorAll('.card')].map(c => c.getAttribute('aria-label'))"))


def figure(key: str) -> int:
    return list(FIGURES).index(key)


def texts(page: Browser, selector: str) -> list[str]:
    return list(page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"))


def test_sorts_by_any_figure_and_by_name(page: Browser) -> None:
    choose(page, "pick-set", "interior")
    choose(page, "sort-key", figure("sat_ratio"))
    assert cards(page) == ["hall_2", NAMES[2], "kitchen", "bath"]
    click(page, "#sort-way")
    assert cards(page) == ["bath", "kitchen", NAMES[2], "hall_2"]
    choose(page, "sort-key", "name")
    assert cards(page) == [NAMES[2], "bath", "hall_2", "kitchen"]
    choose(page, "sort-key", figure("de00_mean"))
    choose(page, "sort-of", "change")
    assert cards(page)[0] == "hall_2" and "worse" in texts(page, ".card h3")[0]
    choose(page, "worst", 2)
    page.wait("document.querySelectorAll('.card').length === 2")


def test_sorts_the_table_by_its_headings(page: Browser) -> None:
    choose(page, "pick-set", "stress")
    click(page, "#view-table")
    click(page, f"#table [data-column='{figure('sat_ratio')}'] button")
    assert texts(page, "#table tbody th") == ["hall_2", NAMES[2], "kitchen", "bath"]
    click(page, "#table [data-column='name'] button")
    assert texts(page, "#table tbody th") == [NAMES[2], "bath", "hall_2", "kitchen"]
    assert page.run("document.querySelector('#table [aria-sort]').dataset.column") == "name"


def test_filters_by_name_set_range_and_loss(page: Browser, result: Evaluation) -> None:
    assert page.run("document.getElementById('count').textContent") == "8 of 8 images"
    click(page, "#open-filters")
    choose(page, "find", "HALL")
    page.wait("document.querySelectorAll('.card').length === 2")
    click(page, "#reset")
    assert len(cards(page)) == 8
    choose(page, "only", "worse")
    worse = {r.pair.image for r in result.select("color", "stress") if SATS[r.pair.image] - 0.02 < 0.8}
    assert set(cards(page)) == worse == {"hall_2", NAMES[2]}
    choose(page, "only", "")
    click(page, "#add-range")
    page.run(
        f"(row => {{ const [f] = row.querySelectorAll('select'); f.value = '{figure('sat_ratio')}';"
        " f.dispatchEvent(new Event('change')); })(document.querySelector('#ranges .line'))"
    )
    page.run(
        "(i => { i.value = '0.85'; i.dispatchEvent(new Event('input')); })(document.querySelector('#ranges input'))"
    )
    page.wait("document.querySelectorAll('.card').length === 4")
    assert set(cards(page)) == {"kitchen", "bath"}
    assert "Means over 4 images" in texts(page, "#summary-note")[0]


def test_runs_are_switched_and_compared_as_python_does(page: Browser, result: Evaluation) -> None:
    choose(page, "pick-set", "interior")
    row = page.run("[...document.querySelectorAll('#runs tbody tr')].map(r => [...r.cells].map(c => c.innerText))")
    names = [cells[0].splitlines()[0] for cells in row]
    assert names == ["input", "base @ 200", "color @ 300"]
    mean = result.summary("color", "interior").mean
    assert row[2][1].splitlines()[0] == f"{mean['psnr']:.2f}"
    change = result.change("color", "interior", "sat_ratio")
    tile = texts(page, ".tile")[0]
    assert f"{change.better} better, {change.worse} worse" in tile
    ends = page.run("(c => [c.low, c.high])(report.compare('color @ 300', 'base @ 200', 'sat_ratio'))")
    assert ends == pytest.approx([change.low, change.high], abs=0.15 * (change.high - change.low))
    click(page, "#iterations")
    assert len(texts(page, "#runs tbody tr")) == 4
    click(page, "#swap")
    assert page.run("document.getElementById('pick-a').selectedOptions[0].text") == "base @ 200"
    assert f"{result.summary('base', 'interior').mean['sat_ratio']:.3f}" in texts(page, ".tile .value")[0]


def viewer_state(page: Browser) -> dict[str, Any]:
    return dict(
        page.run(
            "({open: document.getElementById('viewer').open, split: Number(document.getElementById('handle')"
            ".getAttribute('aria-valuenow')), clip: getComputedStyle(document.getElementById('pane-right')).clipPath,"
            " transforms: [...document.querySelectorAll('#stage canvas')].map(c => c.style.transform),"
            " name: document.getElementById('viewer-name').textContent, tags: [...document.querySelectorAll('.tag')]"
            ".map(t => t.textContent)})"
        )
    )


def test_slider_moves_by_mouse_and_keyboard(page: Browser) -> None:
    choose(page, "sort-key", "name")
    click(page, ".card [data-cell='p0'] .picture")
    page.wait("document.querySelector('#pane-left canvas').width > 1")
    assert viewer_state(page)["open"] and viewer_state(page)["tags"] == ["input", "target"]
    box = page.run("(b => [b.x, b.y, b.width, b.height])(document.getElementById('stage').getBoundingClientRect())")
    middle = box[1] + box[3] / 2
    page.drag((box[0] + box[2] / 2, middle), (box[0] + box[2] / 4, middle))
    state = viewer_state(page)
    assert state["split"] == 25 and "25" in state["clip"]
    page.press("ArrowRight", 39)
    assert viewer_state(page)["split"] == 27
    page.press("End", 35)
    assert viewer_state(page)["split"] == 100
    first = viewer_state(page)["name"]
    page.press("PageDown", 34)
    assert viewer_state(page)["name"] != first or viewer_state(page)["name"] == NAMES[2]
    page.press("Escape", 27)
    page.wait("!document.getElementById('viewer').open")


def test_any_two_pictures_are_compared_and_zoomed_together(page: Browser) -> None:
    choose(page, "pick-set", "stress")
    click(page, ".card [data-cell='p3'] .picture")
    choose(page, "left", "p2")
    choose(page, "right", "m3")
    assert viewer_state(page)["tags"] == ["base @ 200", "ΔE map of color @ 300"]
    click(page, "#mode-beside")
    page.press("+", 187, "+")
    state = viewer_state(page)
    assert "scale(1.5)" in state["transforms"][0] and state["transforms"][0] == state["transforms"][1]
    box = page.run("(b => [b.x, b.y, b.width, b.height])(document.getElementById('pane-left').getBoundingClientRect())")
    center = (box[0] + box[2] / 2, box[1] + box[3] / 2)
    page.drag(center, (center[0] - 40, center[1]))
    moved = viewer_state(page)["transforms"]
    assert moved[0] == moved[1] != state["transforms"][0]
    page.wait("document.getElementById('readout').textContent.includes('color @ 300')")
    assert page.run("location.hash").startswith("#stress/")


def test_a_dot_of_the_scatter_leads_to_its_image(page: Browser) -> None:
    assert len(texts(page, "#chart .mark")) == 8
    choose(page, "x-key", figure("psnr"))
    choose(page, "y-key", figure("sat_ratio"))
    label = page.run("document.querySelector('#chart .mark').getAttribute('aria-label')")
    page.run("document.querySelector('#chart .mark').focus()")
    page.press("Enter", 13)
    page.wait("document.getElementById('viewer').open")
    assert label.startswith(viewer_state(page)["name"])
    click(page, "#close")
    choose(page, "chart-kind", "histogram")
    choose(page, "x-key", figure("sat_ratio"))
    click(page, "#chart .column:not(.pale)")
    assert len(texts(page, "#ranges .line")) == 1 and 0 < len(cards(page)) < 8


def test_pictures_are_attached_when_they_come_near(page: Browser) -> None:
    page.run("document.querySelector('.card').scrollIntoView()")
    page.wait(
        "document.querySelector('.card').dataset.full && !document.querySelector('.card:last-child').dataset.full"
    )
    page.wait("[...document.querySelectorAll('.card[data-full] img')].every(i => i.complete && i.naturalWidth > 0)")
    page.run("document.querySelector('.card:last-child').scrollIntoView()")
    page.wait("document.querySelector('.card:last-child').dataset.full")
    # Read from a copy: reading the page's own canvas again and again makes Chromium complain on the console.
    copy = "const o = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true})"
    read = "o.drawImage(c, 2, 2, 1, 1, 0, 0, 1, 1); return [...o.getImageData(0, 0, 1, 1).data].slice(0, 3)"
    colors = f"(c => {{ {copy}; {read}; }})(document.querySelector('.card canvas'))"
    page.run("document.querySelector('.card').scrollIntoView()")
    page.wait("document.querySelector('.card canvas') && document.querySelector('.card canvas').width > 1")
    page.wait(f"new Set({colors}).size > 1")  # on the colour scale, not grey, once it has been drawn


def test_the_change_map_shows_where_a_run_is_nearer_to_the_target(page: Browser) -> None:
    choose(page, "pick-set", "interior")
    for name, nearer in (("bath", True), ("hall_2", False)):
        choose(page, "find", name)
        page.wait(f"document.querySelector('.card').getAttribute('aria-label') === '{name}'")
        click(page, ".card [data-cell='target'] .map")
        page.wait("document.getElementById('viewer').open && document.querySelector('#pane-left canvas').width > 1")
        assert viewer_state(page)["tags"] == ["color @ 300 against base @ 200", "color @ 300"]
        red, _, blue = page.run(
            "(c => { const copy = document.createElement('canvas').getContext('2d', {willReadFrequently: true});"
            " copy.drawImage(c, 0, 0); const p = copy.getImageData(0, 0, c.width, c.height).data; let s = [0, 0, 0];"
            " for (let k = 0; k < p.length; k++) { if (k % 4 < 3) s[k % 4] += p[k]; } return s; })"
            "(document.querySelector('#pane-left canvas'))"
        )
        assert (blue > red) == nearer
        click(page, "#close")


def test_narrow_window_and_dark_mode(page: Browser) -> None:
    page.size(380, 800, mobile=True)
    page.dark(True)
    assert page.run("document.documentElement.scrollWidth") <= 380
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    click(page, "#theme")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(247, 247, 245)"
    page.dark(False)
    page.size(1300, 900)


def test_every_control_has_a_name(page: Browser) -> None:
    nameless = page.run(
        "[...document.querySelectorAll('button, select, input')].filter(e => !(e.getAttribute('aria-label') || "
        "e.textContent.trim() && e.tagName === 'BUTTON' || e.closest('label'))).map(e => e.outerHTML)"
    )
    assert nameless == []
