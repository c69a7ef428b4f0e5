"""tools/make_synthetic_lsmi.py and tools/prepare_lsmi_masks.py, from nothing to masks, and what they refuse."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from basicsr.engine.cli import run_main
from plugins.illuminant.centroids import angle_degrees, read_centroids
from plugins.illuminant.lsmi_mask_files import illuminant_map, read_manifest, read_mask_file, read_scene_image
from plugins.illuminant.lsmi_synthetic_files import read_truth_file
from tests.plugins.illuminant.lsmi_kit import centroids, make, photos

ROOT = Path(__file__).resolve().parents[2]


def load_tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE, PREPARE = load_tool("make_synthetic_lsmi"), load_tool("prepare_lsmi_masks")


def call(tool: Any, *arguments: object) -> tuple[int, str]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        status = run_main(lambda: tool.main([str(part) for part in arguments]))
    return status, text.getvalue()


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A data set in the raw layout and centroids."""
    make(tmp_path, layouts=("raw",))
    centroids(tmp_path / "c.json")
    return tmp_path


def prepare(folder: Path, *arguments: object) -> tuple[int, str]:
    return call(PREPARE, folder / "set", "--centroids", folder / "c.json", *arguments)


def test_from_nothing_to_masks_that_can_be_read(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 3)
    status, text = call(MAKE, tmp_path / "set", "--scenes", 3, "--size", 40, "--photos", folder, "--layout", "both")
    assert status == 0 and "3 scenes (2 train, 1 val, 0 test)" in text
    centroids(tmp_path / "c.json")
    status, text = prepare(tmp_path, "--layout", "preprocessed", "--single", "--jobs", 2)
    assert status == 0, text
    out = tmp_path / "set" / "masks"
    assert read_centroids(out / "centroids.json") == centroids()
    rows = read_manifest(out)
    assert {row.lights for row in rows} >= {1, 2} and f"{len(rows)} pictures of 3 scenes" in text
    sheet = cv2.imread(str(out / "preview.png"))
    assert sheet.shape[1] > 1000 and len(np.unique(sheet)) > 50
    for row in rows:
        masks = read_mask_file(out / row.npz)
        assert (masks.image_id, masks.split, masks.camera, masks.hard) == (row.image_id, row.split, "nikon", row.hard)
        valid = masks.valid
        assert row.valid_share == pytest.approx(valid.mean(), abs=1e-4)
        assert row.other_share == pytest.approx(masks.other[valid].mean(), abs=1e-4)
        np.testing.assert_allclose(row.class_shares, masks.mask[valid].mean(0), atol=1e-4)
        assert row.classes == tuple(masks.class_names[n] for n in masks.light_class)
        picture = read_scene_image(tmp_path / "set", row)
        truth = read_truth_file(tmp_path / "set", "nikon", row.image_id).cut()
        assert np.abs(picture - np.clip(truth.linear, 0, 1))[valid].mean() < 0.02
        light = illuminant_map(masks.mixture, masks.lights)[valid]
        assert angle_degrees(light, truth.illuminant[valid]).max() < 1e-3


def test_a_second_call_keeps_what_is_there_and_makes_what_is_missing(given: Path) -> None:
    assert prepare(given)[0] == 0
    masks = given / "set" / "masks"
    before = {path: path.read_bytes() for path in masks.rglob("*") if path.is_file()}
    gone = sorted(masks.rglob("*.npz"))[0]
    gone.unlink()
    status, text = prepare(given)
    count = len(list(masks.rglob("*.npz")))
    assert status == 0 and f"{count - 1} were there before" in text
    assert {path: path.read_bytes() for path in masks.rglob("*") if path.is_file()} == before


def test_masks_of_other_centroids_or_settings_are_not_mixed(given: Path) -> None:
    assert prepare(given)[0] == 0
    before = (given / "set" / "masks" / "manifest.csv").read_bytes()
    content = json.loads((given / "c.json").read_text())
    content["rgb"][0] = [0.1, 0.45, 0.45]
    (given / "c.json").write_text(json.dumps(content))
    status, text = prepare(given)
    assert status == 2 and "other centroids" in text
    centroids(given / "c.json")
    assert "outlier_degrees" in prepare(given, "--outlier-degrees", 5)[1]
    assert (given / "set" / "masks" / "manifest.csv").read_bytes() == before
    (given / "set" / "masks" / "settings.json").unlink()
    assert "unknown origin" in prepare(given)[1]


def test_broken_files_are_counted_and_named_and_the_rest_goes_on(given: Path) -> None:
    place = given / "set" / "nikon" / "Place1"
    (place / "Place1_12.npy").write_bytes(b"nothing")
    status, text = prepare(given)
    assert status == 0 and "broken                1 pictures" in text
    assert text.count("Place1_12.npy") == 1 and "not a readable npy" in text
    rows = read_manifest(given / "set" / "masks")
    assert all(row.image_id != "Place1_12" for row in rows) and rows
    for path in (given / "set" / "nikon").rglob("*.npy"):
        path.unlink()
    status, text = prepare(given, "--out", given / "none")
    assert status == 2 and "none of" in text


def test_a_choice_of_splits_a_limit_and_a_smaller_size(given: Path) -> None:
    status, text = prepare(given, "--split", "val", "--size", 20, "--limit", 1)
    assert status == 0, text
    (row,) = read_manifest(given / "set" / "masks")
    masks = read_mask_file(given / "set" / "masks" / row.npz)
    assert row.split == "val" and masks.size == (15, 20)
    assert read_scene_image(given / "set", masks).shape == (15, 20, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--centroids", "no.json"), "no.json"),
        (("--black", "1"), "needed together"),
        (("--black", "9", "--white", "3"), "black < white"),
        (("--cameras", "sony"), "holds no picture"),
        (("--split", "unlisted"), "holds no picture"),
        (("--outlier-degrees", "-1"), "--outlier-degrees -1"),
        (("--layout", "preprocessed"), "no folder of LSMI's"),
        (("--out", "c.json"), "cannot be written"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(
    given: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(given)
    status, text = prepare(given, *arguments)
    assert status == 2 and text.startswith("error:") and message in text and "Traceback" not in text
    assert not (given / "set" / "masks").exists()
