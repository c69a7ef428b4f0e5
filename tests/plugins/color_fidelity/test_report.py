"""What an evaluation is written as: tables, CSV, JSON and the self-contained page."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from plugins.color_fidelity.evaluation import Evaluation, Pair, evaluate, pictured
from plugins.color_fidelity.evaluation_files import tree_pairs
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import figure_table, markdown_table, worst_table, write_csv, write_json
from plugins.color_fidelity.report_data import as_script_json
from plugins.color_fidelity.report_html import write_html
from plugins.color_fidelity.report_images import difference_codes, encode, shrunk, side_for, thumbnail
from plugins.color_fidelity.report_pictures import PICTURE_LIMIT, fitted, picture_side
from plugins.color_fidelity.report_svg import Curve, line_chart, nice_ticks
from tests.plugins.color_fidelity.evaluation_kit import make_folder, make_run, save, target_image

VOID = {"meta", "img", "input", "br", "link"}


class Balance(HTMLParser):
    """Fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"unexpected </{tag}>"


@pytest.fixture
def result(tmp_path: Path) -> Evaluation:
    sets = ("held-out", "stress")
    base = make_run(tmp_path / "base", {100: 0.7, 200: 0.75}, sets=sets)
    color = make_run(tmp_path / "color", {100: 0.8, 200: 0.95}, sets=sets)
    inputs = make_folder(tmp_path / "lq", 0.5)
    return evaluate(tree_pairs("base <1>", base, lq=inputs) + tree_pairs("color", color))


def test_markdown_tables(result: Evaluation) -> None:
    text = markdown_table(result)
    assert "**held-out** (2 images)" in text and "| color @ 200 " in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table[:6]}) == 1
    assert re.search(r"color @ 200 .*\| +0 of 2 \|", text)
    turned = figure_table(result, "stress", ("psnr", "sat_ratio"))
    assert [cell.strip() for cell in turned.splitlines()[0].split("|")[1:-1]] == [
        "stress",
        "input",
        "base <1>",
        "color",
        "target",
    ]
    assert len(worst_table(result, "color", "stress", 1).splitlines()) == 3


def test_csv_has_a_line_an_image_row_and_iteration(result: Evaluation, tmp_path: Path) -> None:
    write_csv(result, tmp_path / "new" / "figures.csv")
    with (tmp_path / "new" / "figures.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(result.records) == 2 * (2 + 4 + 4 + 2)
    assert set(FIGURES) < set(lines[0])
    assert {line["iteration"] for line in lines if line["row"] == "color"} == {"100", "200"}
    assert [line["psnr"] for line in lines if line["row"] == "target"][0] == "inf"


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", np.full((16, 16, 3), 0.5))
    write_json(evaluate([Pair("ours", "val", "x", grey, grey)]), tmp_path / "figures.json")

    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is not JSON")

    data = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert data["images"][0]["figures"]["sat_ratio"] is None
    assert data["images"][0]["figures"]["psnr"] == "Infinity"
    assert {"mean", "median", "worst", "defined"} <= set(data["summaries"][0])


def test_json_holds_the_changes(result: Evaluation, tmp_path: Path) -> None:
    write_json(result, tmp_path / "figures.json")
    changes = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["changes"]
    assert [(c["row"], c["set"]) for c in changes] == [("color", "held-out"), ("color", "stress")]
    assert changes[0]["figures"]["sat_ratio"]["better"] == 2


def read_data(text: str, element: str = "data") -> dict[str, Any]:
    found = re.search(rf'<script type="application/json" id="{element}">(.*?)</script>', text, re.S)
    assert found is not None
    return dict(json.loads(found.group(1)))


def test_html_is_one_well_formed_file_that_needs_no_network(result: Evaluation, tmp_path: Path) -> None:
    write_html(result, tmp_path / "report.html", title="A & B", intro="Why <not>", worst=2)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Balance()
    page.feed(text)
    assert page.open == []
    assert all(link.startswith("data:") for link in page.links)
    assert "http" not in re.sub(r'http-equiv|"http://www.w3.org/2000/svg"', "", text)
    assert "A &amp; B" in text and "Why &lt;not&gt;" in text and "base &lt;1&gt;" in text and "base <1>" not in text
    assert text.count("<svg") == 2 * 8


def test_html_names_its_own_script_and_forbids_every_other(result: Evaluation, tmp_path: Path) -> None:
    write_html(result, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", text, re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_html_holds_the_figures_and_pictures_of_every_image(result: Evaluation, tmp_path: Path) -> None:
    write_html(result, tmp_path / "report.html", worst=2, worst_by="sat_ratio")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = read_data(text)
    labels = [version["label"] for version in data["versions"]]
    assert labels == ["input", "base <1> @ 100", "base <1> @ 200", "color @ 100", "color @ 200"]
    assert (data["current"], data["reference"], data["worst"]) == (4, 2, 2)
    assert [(image["set"], image["name"]) for image in data["images"]] == [
        (name, image) for name in ("held-out", "stress") for image in ("a", "b_2")
    ]
    place = list(FIGURES).index("sat_ratio")
    for image in data["images"]:
        for version, label in enumerate(labels):
            record = next(
                r
                for r in result.records
                if (r.pair.set, r.pair.image) == (image["set"], image["name"])
                and label == (r.pair.row if r.pair.iteration is None else f"{r.pair.row} @ {r.pair.iteration}")
            )
            assert image["values"][str(version)][place] == pytest.approx(record.figures["sat_ratio"], rel=1e-5)
    pictures = read_data(text, "pictures-0")
    assert sorted(pictures["pictures"]) == sorted(pictures["maps"]) == ["0", "1", "2", "3", "4"]
    assert base64.b64decode(pictures["target"])[8:12] == b"WEBP"


def test_html_pictures_do_not_depend_on_when_they_are_made(tmp_path: Path) -> None:
    pairs = tree_pairs("run", make_run(tmp_path / "run", {7: 0.8}))
    for name, side in (("early", picture_side), ("late", None)):
        write_html(evaluate(pairs, picture_side=side), tmp_path / f"{name}.html")
    early, late = ((tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("early", "late"))
    assert early == late


def test_html_without_runs_iterations_or_saturated_pixels(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", np.full((16, 16, 3), 0.5))
    write_html(evaluate([Pair("ours", "val", "x", grey, grey)]), tmp_path / "report.html")
    data = read_data((tmp_path / "report.html").read_text(encoding="utf-8"))
    values = dict(zip(FIGURES, data["images"][0]["values"]["0"], strict=True))
    assert values["sat_ratio"] is None and values["psnr"] == "Infinity"
    assert data["reference"] == -1


def test_file_names_cannot_become_markup(tmp_path: Path) -> None:
    name = "x</script><script>alert(1)</script>&\u2028"
    assert "<" not in as_script_json({"name": name}) and json.loads(as_script_json({"name": name})) == {"name": name}
    assert as_script_json([1.5, None]) == "[1.5,null]"


def test_pictures_shrink_until_the_page_is_small_enough(result: Evaluation) -> None:
    everything, left_out = fitted(result, "color")
    assert left_out == 0 and len(everything) == len(result.records)
    size = sum(len(shot.picture) + len(shot.difference) for shot in everything.values()) * 4 // 3
    fewer, left_out = fitted(result, "color", limit=size // 2)
    images = {(result.records[place].pair.set, result.records[place].pair.image) for place in fewer}
    assert len(images) == 4 - left_out and 0 < left_out < 4
    worst = max(result.select("color", "held-out"), key=lambda record: record.figures["de00_mean"])
    assert ("held-out", worst.pair.image) in images


def test_long_trainings_get_pictures_of_some_checkpoints() -> None:
    pairs = [Pair("run", "val", "x", Path("p"), Path("t"), None, iteration) for iteration in range(100, 2100, 100)]
    pairs += [Pair("other", "val", "x", Path("p"), Path("t"), None, 5)]
    found = sorted(pairs[place].iteration or 0 for place in pictured(pairs))
    assert found == [5, 100, 700, 1400, 2000]
    assert side_for(10, PICTURE_LIMIT) > side_for(627, PICTURE_LIMIT) == 480 > side_for(5000, PICTURE_LIMIT)


def test_difference_map_has_a_fixed_scale() -> None:
    difference = np.array([[0, 5, 10, 50]], np.float32)
    assert difference_codes(difference, 100).tolist() == [[0, 128, 255, 255]]


def test_thumbnails() -> None:
    deep = (target_image(0) * 65535).astype(np.uint16)
    small = thumbnail(deep, 16)
    assert small.shape == (12, 16, 3) and small.dtype == np.uint8
    assert thumbnail(small, 100) is small
    encoded = encode(small)
    assert shrunk(encoded, 16) is encoded
    decoded = cv2.imdecode(np.frombuffer(shrunk(encoded, 8), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (6, 8, 3)


def test_charts_leave_out_what_is_undefined() -> None:
    assert line_chart([Curve("x", 1, [(1, float("nan"))])], [], 2) == ""
    chart = line_chart([Curve("a&b", 1, [(1, 0.5), (2, float("nan")), (3, 0.7)])], [("input", float("nan"))], 2)
    assert chart.count("<circle") == 2 and "a&amp;b" in chart and "nan" not in chart
    assert nice_ticks(0, 10) == [0, 2.5, 5, 7.5, 10]
    assert nice_ticks(3, 3) == [3]


def test_labels_of_close_levels_do_not_cover_each_other() -> None:
    chart = line_chart([Curve("a", 1, [(0, 0.5), (9, 0.9)])], [("input", 1.009), ("target", 1.0)], 2)
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="end">(?:input|target)<', chart)]
    assert len(heights) == 2 and abs(heights[0] - heights[1]) >= 9
