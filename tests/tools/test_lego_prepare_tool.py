"""tools/prepare_lego.py as somebody at a shell uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from basicsr.engine.cli import run_main
from plugins.lego.lego_manifest import read_manifest
from tests.plugins.lego.lego_kit import make_sources
from tools.prepare_lego import main


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("tool"), pieces=6)


def call(*arguments: object) -> int:
    return run_main(lambda: main([str(item) for item in arguments]))


def test_writes_all_files_and_says_what_to_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = root / "set"
    sources = ("--legacy", root / "legacy", "--legacy-colors", "ldraw", "--b200c", root / "b200c")
    assert call("--out", out, *sources, "--workers", 1) == 0
    shown = capsys.readouterr()
    assert (
        "num_parts: 3" in shown.out and "num_colors: 3" in shown.out and "legacy   train        18      3" in shown.out
    )
    assert {path.name for path in out.iterdir()} == {
        "manifest.csv", "part_names.json", "color_names.json", "issues.csv", "images_per_part.png"
    }  # fmt: skip
    assert json.loads((out / "color_names.json").read_text())[1] == {
        "index": 1, "id": "4", "name": "Red", "rgb": "#B40000"
    }  # fmt: skip
    records = read_manifest(out / "manifest.csv")
    assert all((out / record.path).is_file() for record in records) and len(records) == 27
    assert call("--out", out, *sources) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert call("--out", out, *sources, "--force", "--dry-run") == 0


def test_renders_are_read_by_their_table(root: Path) -> None:
    renders = root / "legacy"
    rows = ["path,source,part,color,piece,split,sha1,pose", "3001/4/0.png,render,3001,4,,train,,0.1"]
    (root / "renders").mkdir()
    (root / "renders" / "renders.csv").write_text("\n".join(rows))
    (root / "renders" / "3001").symlink_to(renders / "3001")
    assert call("--out", root / "rendered", "--renders", root / "renders", "--workers", 1) == 0
    (record,) = read_manifest(root / "rendered" / "manifest.csv")
    assert (record.source, record.part, record.color, record.split) == ("render", "3001", 4, "train")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no source: give at least one of"),
        (("--real", "/nowhere"), "/nowhere: there is no such folder or table"),
        (("--real", "real"), "--real-colors ldraw, rebrickable, bricklink or name"),
        (("--b200c", "b200c", "--targets", "empty.txt"), "there is no part in the list"),
        (("--b200c", "b200c", "--targets", "other.txt"), "no image is of a listed part"),
        (("--b200c", "b200c", "--targets", "b200c"), "cannot be read"),
        (("--b200c", "b200c", "--colors", "4,red"), "--colors: colour 'red' is no ldraw number"),
        (("--b200c", "b200c", "--val", "0.8", "--test", "0.4"), "add up to at most 1"),
        (("--b200c", "b200c", "--aliases", "other.txt"), "the header lacks part, class"),
        (("--b200c", "set"), "no image found"),
    ],
)
def test_mistakes_are_explained_and_nothing_is_written(
    root: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "empty.txt").write_text("# nothing\n")
    (root / "other.txt").write_text("77777\n")
    (root / "set").mkdir(exist_ok=True)
    named = [str(root / item) if (root / item).exists() and item else item for item in arguments]
    assert call("--out", root / "none", "--workers", 1, *named) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and not (root / "none").exists()


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "python tools/prepare_lego.py --out" in shown and "15 %" not in shown
