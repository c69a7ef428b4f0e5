"""Made-up scenes: the form on disk, the truth beside them, the same bytes again, and the faults on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.lsmi_layout import CAMERAS, RAW, Levels
from plugins.illuminant.lsmi_synthetic import SyntheticOptions, make_synthetic, read_lights, scene_splits, split_photos
from plugins.illuminant.lsmi_synthetic_files import read_truth_file
from tests.plugins.illuminant.lsmi_kit import make, photos


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made"), cameras=("galaxy", "nikon", "sony"))


def places(root: Path, camera: str) -> dict[str, Any]:
    return json.loads((root / camera / "meta.json").read_text())


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_raw_layout_is_as_published(made: Path, camera: str) -> None:
    meta = places(made, camera)
    splits = json.loads((made / camera / "split.json").read_text())
    assert sorted(sum(splits.values(), [])) == sorted(meta) == [f"Place{n}" for n in range(1, 5)]
    assert {info["NumOfLights"] for info in meta.values()} == {2, 3}
    for place, info in meta.items():
        names = ("1", "12") if info["NumOfLights"] == 2 else ("1", "12", "13", "123")
        assert place in splits[f"{'two' if info['NumOfLights'] == 2 else 'three'}_illum_train"] + sum(
            (splits[key] for key in splits if "train" not in key), []
        )
        for name in names:
            path = made / camera / place / f"{place}_{name}.tiff"
            pixels = tifffile.imread(path)
            assert pixels.shape == (40, 53, 3) and pixels.dtype == np.uint16
            assert pixels.max() <= CAMERAS[camera].white
            assert cv2.imread(str(path.with_suffix(".jpg"))).shape == (40, 53, 3)
            if name != "1":
                mixture = np.load(path.with_suffix(".npy"))
                assert mixture.shape == (40, 53, len(name)) and mixture.dtype == np.float64
                known = (mixture != -1).all(-1)
                np.testing.assert_allclose(mixture[known].sum(-1), 1, atol=1e-12)
        assert not (made / camera / place / f"{place}_1.npy").exists()
        for number in range(1, info["NumOfLights"] + 1):
            assert info[f"Light{number}"][1] == 1
        corners = np.array(list(info["MCCCoord"].values()))
        assert corners.shape == (3, 4, 2) and corners.max() > 53  # pixels of the full resolution


@pytest.mark.parametrize("name", ["1", "12"])
def test_the_picture_is_the_truth_with_black_level_noise_and_clipping(made: Path, name: str) -> None:
    for camera, levels in CAMERAS.items():
        for place in places(made, camera):
            truth = read_truth_file(made, camera, f"{place}_{name}")
            pixels = tifffile.imread(made / camera / place / f"{place}_{name}.tiff").astype(float)
            linear = (pixels - levels.black) / (levels.white - levels.black)
            off = np.abs(linear - np.clip(truth.linear, 0, 1))
            assert off.mean() < 0.02 and off.max() > 1e-5
            assert (pixels.min() < levels.black + 0.2 * levels.white) or levels.black == 0


def test_light_2_is_the_difference_of_two_pictures(made: Path) -> None:
    for place in places(made, "sony"):
        one, pair = (read_truth_file(made, "sony", f"{place}_{name}") for name in ("1", "12"))
        second = pair.linear - one.linear
        green = second[..., 1] / pair.linear[..., 1]
        np.testing.assert_allclose(green, pair.mixture[..., 1], atol=1e-4)
        np.testing.assert_allclose(pair.lights[0], one.lights[0])
        chart = second[one.charts].sum(0)
        assert np.isfinite(angle_degrees(chart, pair.lights[1]))
        ratio = pair.lights / pair.lights[:, 1:2]
        np.testing.assert_allclose(pair.illuminant, pair.mixture @ ratio, atol=1e-6)


def test_the_preprocessed_layout_is_the_middle_square_without_black(made: Path) -> None:
    splits = json.loads((made / "nikon_40" / "split.json").read_text())
    for key, listed in splits.items():
        split = key.rsplit("_", 1)[1]
        for place in listed:
            folder = made / "nikon_40" / split
            pixels = tifffile.imread(folder / f"{place}_12.tiff")
            raw = tifffile.imread(made / "nikon" / place / f"{place}_12.tiff")[:, 6:46].astype(int)
            truth = read_truth_file(made, "nikon", f"{place}_12").cut()
            if split == "train":
                mask = cv2.imread(str(folder / f"{place}_mask.png"), cv2.IMREAD_UNCHANGED)
                assert set(np.unique(mask)) == {0, 1}
                np.testing.assert_array_equal(mask == 0, truth.charts)
                raw[mask == 0] = 0
            else:
                assert not (folder / f"{place}_mask.png").exists()
            np.testing.assert_array_equal(pixels, np.clip(raw - 600, 0, None))
            mixture = np.load(folder / f"{place}_12.npy")
            assert mixture.shape == (40, 40, 2) and mixture.min() >= 0
            assert np.load(folder / f"{place}_12_illum.npy").shape == (40, 40, 3)
            assert tifffile.imread(folder / f"{place}_12_gt.tiff").shape == (40, 40, 3)
    assert all("MCCCoord" not in info for info in places(made, "nikon_40").values())


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_seed_gives_the_same_bytes_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    first = make(tmp_path / "a", scenes=2)
    second = make(tmp_path / "b", scenes=2)
    whole = contents(first)
    settings = "truth/settings.json"  # names the folder of photographs
    assert {k: v for k, v in whole.items() if k != settings} == {
        k: v for k, v in contents(second).items() if k != settings
    }
    for path in (first / "truth" / "nikon" / "Place2.json", first / "nikon" / "Place2" / "Place2_1.tiff"):
        path.unlink()
    (first / "nikon" / "Place2" / "Place2_12.npy").write_bytes(b"half")
    make(tmp_path / "a", scenes=2)
    assert contents(first) == whole
    make(tmp_path / "a", scenes=3)
    grown = contents(first)
    assert (
        "nikon/Place3/Place3_12.npy" in grown
        and grown["nikon/Place1/Place1_1.tiff"] == whole["nikon/Place1/Place1_1.tiff"]
    )
    assert (
        contents(make(tmp_path / "c", scenes=2, seed=4))["nikon/Place1/Place1_1.tiff"]
        != whole["nikon/Place1/Place1_1.tiff"]
    )


def test_no_photograph_is_in_two_splits() -> None:
    for count in range(1, 12):
        names = [str(number) for number in range(count)]
        parts = split_photos(names, 0)
        assert sorted(sum(parts.values(), [])) == sorted(names) and parts["train"]
        assert (count < 3) == (not all(parts.values()))
        splits = scene_splits(40, parts)
        assert set(splits) == {name for name, part in parts.items() if part}
        assert splits.count("train") >= 0.65 * 40


def test_wrong_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.png").write_text("no picture")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    (tmp_path / "lights.csv").write_text("r,g,b\n0,0,0\n1,-1,2\nnan,1,1\n")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"scenes": 0}, "at least one scene"), ({"size": 8}, "--size 8"), ({"three": 1.5}, "--three"),
        ({"cameras": ("leica",)}, "leica"), ({"cameras": ()}, "at least"), ({"faults": ("x",)}, "--fault x"),
        ({"photos": tmp_path / "no"}, "no such folder"), ({"photos": tmp_path / "empty"}, "holds no picture"),
        ({"photos": tmp_path / "text"}, r"a\.png"), ({"lights": tmp_path / "lights.csv"}, "no light"),
        ({"lights": tmp_path / "other.csv"}, "columns r, g, b"), ({"lights": tmp_path / "none.csv"}, r"none\.csv"),
        ({"levels": Levels(10, 10)}, "levels 10"), ({"out": tmp_path / "full"}, "not empty"),
        ({"out": tmp_path / "full" / "thesis.txt"}, "not a folder|cannot be written"),
    ]  # fmt: skip
    for changes, message in cases:
        settings: dict[str, Any] = {"out": tmp_path / "out", "scenes": 1, "size": 40, "photos": folder} | changes
        with pytest.raises(UserError, match=message):
            make_synthetic(SyntheticOptions(**settings))
        assert not (tmp_path / "out" / "nikon").exists()


def test_a_folder_made_with_other_settings_is_not_mixed(tmp_path: Path) -> None:
    make(tmp_path, scenes=1, layouts=(RAW,))
    with pytest.raises(UserError, match="seed"):
        make(tmp_path, scenes=1, layouts=(RAW,), seed=9)


def test_lights_are_read_and_failed_measurements_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lights.csv"
    path.write_text("place,r,g,b\na,2,1,1\nb,0,1,1\nc,1,1,2\n")
    np.testing.assert_allclose(read_lights(path), [[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]])
    path.write_text("r,g,b\n1,2\n")
    with pytest.raises(UserError, match="columns"):
        read_lights(path)
