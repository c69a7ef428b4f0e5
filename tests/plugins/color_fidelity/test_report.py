"""What an evaluation is written as: tables, CSV, JSON and the self-contained page."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from plugins.color_fidelity import report_html
from plugins.color_fidelity.evaluation import Evaluation, Pair, evaluate
from plugins.color_fidelity.evaluation_files import tree_pairs
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import figure_table, markdown_table, worst_table, write_csv, write_json
from plugins.color_fidelity.report_html import write_html
from plugins.color_fidelity.report_images import data_uri, difference_map, thumbnail
from plugins.color_fidelity.report_svg import Curve, line_chart, nice_ticks, shift_chart
from tests.plugins.color_fidelity.evaluation_kit import make_folder, make_run, save, target_image

VOID = {"meta", "img", "input", "br"}


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


def test_html_is_one_well_formed_file_that_needs_no_network(result: Evaluation, tmp_path: Path) -> None:
    write_html(result, tmp_path / "report.html", title="A & B", intro="Why <not>", worst=2)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Balance()
    page.feed(text)
    assert page.open == []
    assert page.links and all(link.startswith("data:") for link in page.links)
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    assert "A &amp; B" in text and "Why &lt;not&gt;" in text and "base &lt;1&gt;" in text and "base <1>" not in text
    assert text.count('class="sheet"') == 4
    assert text.count("<svg") == 2 * (8 + 2)
    assert text.count("data-target") >= 4


def test_html_without_runs_iterations_or_saturated_pixels(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", np.full((16, 16, 3), 0.5))
    write_html(evaluate([Pair("ours", "val", "x", grey, grey)]), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "n/a" in text and "nan" not in re.sub(r"data:[^\"]*", "", text).lower().replace("isnan", "").replace(
        "nan :", ""
    )


def test_html_shrinks_its_pictures_to_stay_small(
    result: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = []
    build = report_html.build_html

    def spy(*args: object) -> str:
        sides.append(args[-1])
        return build(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(report_html, "build_html", spy)
    monkeypatch.setattr(report_html, "SIZE_LIMIT", 10)
    write_html(result, tmp_path / "report.html", worst=1)
    assert sides == sorted(sides, reverse=True) and len(sides) == 4


def test_difference_map_has_a_fixed_scale() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    far = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    assert difference_map(grey, grey, 8)[0, 0].tolist() == [0, 0, 4]
    assert difference_map(far, grey, 8)[0, 0].tolist() == [252, 255, 164]


def test_thumbnails() -> None:
    deep = (target_image(0) * 65535).astype(np.uint16)
    small = thumbnail(deep, 16)
    assert small.shape == (12, 16, 3) and small.dtype == np.uint8
    assert thumbnail(small, 100) is small
    assert data_uri(small).startswith("data:image/webp;base64,")


def test_charts_leave_out_what_is_undefined() -> None:
    assert line_chart([Curve("x", 1, [(1, float("nan"))])], [], 2) == ""
    chart = line_chart([Curve("a&b", 1, [(1, 0.5), (2, float("nan")), (3, 0.7)])], [("input", float("nan"))], 2)
    assert chart.count("<circle") == 2 and "a&amp;b" in chart and "nan" not in chart
    assert shift_chart([], 1.0, 2) == ""
    assert nice_ticks(0, 10) == [0, 2.5, 5, 7.5, 10]
    assert nice_ticks(3, 3) == [3]


def test_labels_of_close_levels_do_not_cover_each_other() -> None:
    chart = line_chart([Curve("a", 1, [(0, 0.5), (9, 0.9)])], [("input", 1.009), ("target", 1.0)], 2)
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="end">(?:input|target)<', chart)]
    assert len(heights) == 2 and abs(heights[0] - heights[1]) >= 9
