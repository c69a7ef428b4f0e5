"""tools/eval_lego.py from a manifest and a weights file to tables, files and the page."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.engine.checkpoint import load_weights
from basicsr.engine.errors import UserError
from plugins.lego.lego_classifier_arch import LegoClassifier
from plugins.lego.lego_dataset import LegoDataset
from plugins.lego.lego_eval import read_rgb8
from plugins.lego.lego_resize import prepare_image
from tests.plugins.color_fidelity.browser_kit import Browser, find_browser
from tests.plugins.lego.lego_eval_kit import write_weights
from tests.plugins.lego.lego_kit import make_sources
from tools.eval_lego import main
from tools.prepare_lego import main as prepare_main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_sources(tmp_path_factory.mktemp("eval"))
    arguments = ["--out", str(root / "set"), "--workers", "1", "--b200c", str(root / "b200c")]
    for source in ("legacy", "real"):
        arguments += [f"--{source}", str(root / source), f"--{source}-colors", "ldraw"]
    assert prepare_main(arguments) == 0
    manifest = root / "set" / "manifest.csv"
    write_weights(root / "net.pth", manifest)
    call = ["--weights", str(root / "net.pth"), "--manifest", str(manifest), "--device", "cpu"]
    assert main([*call, "--out", str(root / "out"), "--write-temperature", str(root / "calibrated.pth")]) == 0
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_answer_is_what_the_network_says(made: Path) -> None:
    rows = rows_of(made / "out" / "answers.csv")
    data = LegoDataset(
        {"manifest": str(made / "set" / "manifest.csv"), "split": "test", "phase": "val", "image_size": 32}
    )
    assert [str(made / "set" / row["path"]) for row in rows] == data.paths
    record = load_weights(made / "net.pth")["record"]
    # The very input that training and validation see.
    assert np.array_equal(prepare_image(read_rgb8(Path(data.paths[0])), record["input"]), data[0]["image"].numpy())
    net = LegoClassifier(**{key: value for key, value in record["network"].items() if key != "type"}).eval()
    net.load_state_dict(load_weights(made / "net.pth")["params"])
    with torch.no_grad():
        outputs = net(torch.stack([data[index]["image"] for index in range(len(data))]))
    figures = json.loads((made / "out" / "figures.json").read_text())
    for head, classes, labels in (("part", data.parts, data.part_labels), ("color", data.colors, data.color_labels)):
        answers = [classes.ids[number] for number in outputs[head].argmax(1).tolist()]
        assert [row[f"{head}_answer"] for row in rows] == answers
        right = (outputs[head].argmax(1).numpy() == labels).mean()
        own = next(m for m in figures["methods"] if (m["head"], m["method"], m["per"]) == (head, "network", "image"))
        assert own["figures"]["top1"] == pytest.approx(right)
        assert right == np.mean([row[f"{head}_rank"] == "1" for row in rows])
    assert len(figures["answers"]) == len(rows) and figures["split"] == "test"
    methods = {(row["head"], row["method"]) for row in figures["methods"]}
    assert ("color", "nearest median Lab, background made white") in methods and ("part", "commonest class") in methods


def test_pieces_are_whole_and_the_matrix_is_a_picture(made: Path) -> None:
    answers, pieces = (rows_of(made / "out" / name) for name in ("answers.csv", "pieces.csv"))
    views = {head: sum(int(row["views"]) for row in pieces if row["head"] == head) for head in ("part", "color")}
    assert views == {"part": len(answers), "color": len(answers)}
    assert read_rgb8(made / "out" / "confusion_color.png").shape[2] == 3


def test_the_page_needs_nothing_from_elsewhere(made: Path) -> None:
    page = (made / "out" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "://" not in page
    script = re.search(r"<script>(.*)</script>", page, re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "nearest median Lab" in page and "calibration error" in page and "$" not in page.replace(script[1], "")


def test_the_temperature_goes_into_a_copy_and_changes_no_answer(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, copy = load_weights(made / "net.pth"), load_weights(made / "calibrated.pth")
    fitted = copy["record"].pop("temperature")
    assert set(fitted) == {"part", "color"} and all(value > 0 for value in fitted.values())
    assert "temperature" not in plain["record"] and copy["record"] == plain["record"]
    assert all(torch.equal(value, copy["params"][key]) for key, value in plain["params"].items())
    call = ["--manifest", str(made / "set" / "manifest.csv"), "--device", "cpu", "--no-baselines"]
    assert main([*call, "--weights", str(made / "calibrated.pth"), "--out", str(tmp_path / "again")]) == 0
    assert f"with temperature {fitted['part']:.3f}" in capsys.readouterr().out
    first, second = (rows_of(folder / "answers.csv") for folder in (made / "out", tmp_path / "again"))
    assert first == second


def test_synthetic_images_are_counted_only_when_asked_for_and_said(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--weights", str(made / "net.pth"), "--manifest", str(made / "set" / "manifest.csv"), "--device", "cpu"]
    call += ["--out", str(tmp_path / "out"), "--split", "train", "--no-baselines"]
    with pytest.raises(UserError, match="--source b200c,legacy,real to count them"):
        main(call)
    assert not (tmp_path / "out").exists()
    assert main([*call, "--source", "legacy,b200c"]) == 0
    shown = capsys.readouterr().out
    assert "27 of the 27 images are synthetic" in shown and "no temperature was fitted" in shown
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "27 of the 27 images are synthetic" in page and not (tmp_path / "out" / "pieces.csv").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--weights": "nowhere.pth"}, "nowhere.pth: no such weights file"),
        ({"--weights": "text.pth"}, "text.pth: damaged"),
        ({"--weights": "foreign.pth"}, "it does not say which parts and colours"),
        ({"--weights": "poor.pth"}, "its record is damaged: input, network missing"),
        ({"--manifest": "nowhere.csv"}, "nowhere.csv: cannot be read"),
        ({"--source": "reel"}, "there are legacy, b200c, real, render"),
        ({"--source": " , "}, "there are legacy"),
        ({"--write-temperature": "net.pth"}, "name another file than --weights"),
        ({"--out": "text.pth"}, "text.pth"),
    ],
)
def test_mistakes_are_named(made: Path, tmp_path: Path, change: dict[str, str], words: str) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"params": {"a": torch.zeros(1)}}, tmp_path / "foreign.pth")
    torch.save({"params": {}, "record": {"lego": 1, "parts": [], "colors": []}}, tmp_path / "poor.pth")
    shutil.copy(made / "net.pth", tmp_path)
    call = {"--weights": "net.pth", "--manifest": str(made / "set" / "manifest.csv"), "--out": "out", **change}
    files = ("--weights", "--out", "--write-temperature")
    call = {key: str(tmp_path / value) if key in files else value for key, value in call.items()}
    with pytest.raises(UserError, match=re.escape(words)):
        main([part for pair in call.items() for part in pair] + ["--device", "cpu"])
    assert not (tmp_path / "out").exists()


def test_a_lost_image_is_named_and_nothing_is_written(made: Path, tmp_path: Path) -> None:
    text = (made / "set" / "manifest.csv").read_text().replace("../real", str(tmp_path))
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        main(["--weights", str(made / "net.pth"), "--manifest", str(tmp_path / "manifest.csv"), "--device", "cpu",
              "--out", str(tmp_path / "out")])  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip("no Chromium or Chrome on this machine")
    program = Browser(tmp_path_factory.mktemp("profile"))
    yield program
    program.close()


def test_the_page_sorts_finds_and_changes_its_light(made: Path, browser: Browser) -> None:
    browser.open((made / "out" / "report.html").as_uri())
    table = "document.getElementById('classes-color')"
    column = f"Array.from({table}.tBodies[0].rows).map(function (row) {{ return row.cells[0].textContent; }})"
    names = sorted(browser.run(column))
    assert len(names) > 1 and set(names) <= {"Blue", "Red", "Yellow"}
    for wanted in (names, names[::-1]):
        browser.run(f"{table}.querySelector('th button').click()")
        assert browser.run(column) == wanted
    browser.run("(function () { const i = document.querySelector('[data-filters=classes-color]'); i.value = 'yel';"
                " i.dispatchEvent(new Event('input')); })()")  # fmt: skip
    assert browser.run(f"{table}.querySelectorAll('tbody tr:not([hidden])').length") == 1
    color = "getComputedStyle(document.body).backgroundColor"
    before = browser.run(color)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(color) != before
    browser.size(390, 800)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth + 1")
    assert browser.complaints() == []
