"""tools/eval_lsmi.py: from files to tables and sheets, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from basicsr.engine.cli import run_main
from tests.plugins.illuminant.lsmi_eval_kit import write_network, write_scenes
from tools.eval_lsmi import main


def arguments(folder: Path, *more: str) -> list[str]:
    names = ("--weights", "net.pth", "--masks", "masks", "--root", "lsmi", "--output", "out")
    paths = [name if name.startswith("--") else str(folder / name) for name in names]
    return [*paths, "--methods", "confidence", "--side", "120", *more]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scenes(tmp_path)
    write_network(tmp_path / "net.pth")
    return tmp_path


def test_tables_and_sheets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, "--refine", "none")) == 0
    shown = capsys.readouterr().out
    for text in (
        "2 scenes",
        "| oracle ",
        "| confidence ",
        "Do different classes light up different regions? (2 scenes",
    ):
        assert text in shown
    figures = json.loads((folder / "out" / "figures.json").read_text())
    assert figures["scenes"] == 2 and figures["means"]["oracle"]["miou_shares"] == 1
    assert len((folder / "out" / "figures.csv").read_text().splitlines()) == 1 + 2 * 7
    sheet = cv2.imread(str(folder / "out" / "overlays_01.png"))
    assert sheet is not None and sheet.shape[0] > 300


def test_no_overlays_one_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, "--overlays", "0", "--split", "val", "--refine", "none")) == 0
    assert "1 scenes" in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["figures.csv", "figures.json"]


@pytest.mark.parametrize("what", ["image", "mask", "weights", "root", "manifest", "split", "output"])
def test_what_is_wrong_is_named(folder: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    more: tuple[str, ...] = ()
    broken = {
        "image": folder / "lsmi" / "nikon" / "Place1_12.tiff",
        "mask": folder / "masks" / "test" / "Place1_12.npz",
        "weights": folder / "net.pth",
        "manifest": folder / "masks" / "manifest.csv",
    }
    if what in broken:
        broken[what].write_text("no such thing")
    elif what == "root":
        (folder / "lsmi").rename(folder / "elsewhere")
    elif what == "output":
        (folder / "out").write_text("a file")
    else:
        more = ("--split", "train")
    assert run_main(lambda: main(arguments(folder, "--refine", "none", *more))) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ") and (str(broken[what]) if what in broken else str(folder)) in message
    assert not (folder / "out").is_dir()
