from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from basicsr.engine.cli import run_main
from tests.plugins.lego.lego_render_kit import write_library

pytest.importorskip("numba")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ldraw(tmp_path: Path) -> Path:
    return write_library(tmp_path / "ldraw")


def call(ldraw: Path, out: Path, *more: str) -> int:
    plain = ["--ldraw", str(ldraw), "--out", str(out), "--size", "24", "--quality", "plain", "--colors", "4,47"]
    spec = importlib.util.spec_from_file_location("render_lego", ROOT / "tools" / "render_lego.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return run_main(lambda: module.main([*plain, *more]))


def pictures(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.jpg"))}


def test_any_number_of_processes_gives_the_same_pictures_and_a_stopped_run_goes_on(ldraw: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert call(ldraw, one, "--jobs", "1", "--count", "3") == 0
    assert call(ldraw, two, "--jobs", "2", "--count", "1") == 0
    whole = pictures(one)
    assert len(whole) == 12
    kept = two / "9001/4/000000.jpg"
    before = kept.stat().st_mtime_ns
    cut = two / "9002/47/000000.jpg"
    cut.write_bytes(cut.read_bytes()[:100])
    assert call(ldraw, two, "--jobs", "2", "--count", "3") == 0
    assert pictures(two) == whole
    assert kept.stat().st_mtime_ns == before
    assert (one / "renders.csv").read_text() == (two / "renders.csv").read_text()
    rows = list(csv.DictReader((one / "renders.csv").open()))
    assert [row["path"] for row in rows] == sorted(whole, key=lambda name: (name.split("/")[0], len(name), name))
    assert {(row["source"], row["split"], row["piece"]) for row in rows} == {("render", "train", "")}
    assert (one / "contact_sheet.png").is_file()


def test_other_settings_are_refused_by_name(ldraw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert call(ldraw, out, "--jobs", "1", "--count", "1", "--parts", "9002") == 0
    assert call(ldraw, out, "--jobs", "1", "--count", "1", "--seed", "8") == 2
    assert "seed: 0, not 8" in capsys.readouterr().err
    (out / "settings.json").write_text("[")
    assert call(ldraw, out, "--jobs", "1", "--count", "1") == 2
    assert "settings.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--parts", "9001,77"], "has no part 77"),
        (["--parts", ","], "names no part"),
        (["--colors", "4,99999"], "99999"),
        (["--colors", "shiny"], "shiny"),
        (["--jobs", "0"], "--jobs 0"),
        (["--size", "4"], "16 to 2048"),
        (["--backgrounds", "nowhere"], "no folder of background photos"),
        (["--white-balance-error", "3"], "white-balance-error"),
    ],
)
def test_bad_arguments(
    ldraw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], what: str
) -> None:
    assert call(ldraw, tmp_path / "out", *more) == 2
    assert what in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_is_left_alone(ldraw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.txt").write_text("x")
    assert call(ldraw, tmp_path / "mine") == 2
    assert "not empty" in capsys.readouterr().err


def test_a_list_of_parts_and_a_broken_part(ldraw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = tmp_path / "parts.txt"
    listed.write_text("# mine\n9002.dat  # the plate\n\n")
    assert call(ldraw, tmp_path / "out", "--parts", str(listed), "--count", "1", "--jobs", "1") == 0
    assert set(pictures(tmp_path / "out")) == {"9002/4/000000.jpg", "9002/47/000000.jpg"}
    write_library(ldraw, parts__9009="0 x\n3 16 0 0\n")
    assert call(ldraw, tmp_path / "two", "--parts", "9009", "--count", "1", "--jobs", "1") == 2
    assert "9009.dat, line 2" in capsys.readouterr().err
