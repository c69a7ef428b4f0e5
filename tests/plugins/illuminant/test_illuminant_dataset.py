"""IlluminantDataset: labels follow the light, validation is fixed, classes are balanced, bad input is named."""

from __future__ import annotations

import json
import logging
import pickle
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from basicsr.data import build_dataset
from basicsr.engine.errors import UserError
from plugins.color_science.illuminants import cct_to_linear_srgb
from plugins.illuminant.centroids import Centroids, angle_degrees, make_centroids
from plugins.illuminant.illuminant_dataset import IlluminantDataset
from plugins.illuminant.light_images import from_linear, to_linear

CENTRES = cct_to_linear_srgb(np.array([15000.0, 7500.0, 5000.0, 3300.0, 2400.0]))
CLASSES: Centroids = make_centroids(CENTRES, [1] * 5, "sRGB")


def write_image(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), image[:, :, ::-1])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six grey walls, four under class 1 and one each under 2 and 4, with truth.csv and centroids.json."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = ["image,r,g,b"]
    for number, k in enumerate([1, 1, 1, 1, 2, 4]):
        light = CENTRES[k] / CENTRES[k].max() * 0.6
        texture = np.random.default_rng(number).uniform(0.5, 1, (60, 90, 1))
        write_image(folder / f"p{number}.png", np.rint(255 * from_linear(texture * light, "srgb")).astype(np.uint8))
        rows.append(f"p{number},{light[0]},{light[1]},{light[2]}")
    (tmp_path / "truth.csv").write_text("\n".join(rows))
    (tmp_path / "centroids.json").write_text(json.dumps(CLASSES.as_dict()))
    return folder


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "walls",
        "type": "IlluminantDataset",
        "dataroot": str(folder),
        "truth": str(folder.parent / "truth.csv"),
        "centroids": str(folder.parent / "centroids.json"),
        "encoding": "srgb",
        "image_size": 24,
        "phase": "val",
    } | changes


def sample_under(dataset: IlluminantDataset, index: int, seed: int) -> dict[str, Any]:
    random.seed(seed)
    return dataset[index]


def grey_of(sample: dict[str, Any]) -> np.ndarray:
    """The light that grey walls show."""
    return to_linear(sample["image"].numpy(), "srgb").mean((1, 2))


def test_validation_shows_the_photos_as_they_are(photos: Path) -> None:
    dataset = build_dataset(options(photos))
    assert isinstance(dataset, IlluminantDataset)
    assert [dataset[i]["labels"]["illuminant"] for i in range(6)] == [1, 1, 1, 1, 2, 4]
    assert dataset.class_counts.tolist() == [0, 4, 1, 0, 1]
    sample = dataset[5]
    assert sample["image"].shape == (3, 24, 24) and sample["image"].dtype == torch.float32
    assert sample["lq_path"].endswith("p5.png") and float(sample["light"].sum()) == pytest.approx(1)
    for index in range(6):
        assert angle_degrees(grey_of(dataset[index]), dataset[index]["light"].numpy()) < 0.3
    assert dataset.record_fields()["encoding"] == "srgb" and dataset.record_fields()["size"] == 24


@pytest.mark.parametrize("balance", ["none", "draw"])
def test_label_and_light_follow_a_new_light(photos: Path, balance: str) -> None:
    np.savetxt(photos.parent / "lights.csv", CENTRES, delimiter=",")
    changes = {"phase": "train", "relight_prob": 1.0, "relight_lights": str(photos.parent / "lights.csv")}
    dataset = IlluminantDataset(options(photos, balance=balance, **changes))
    seen = set()
    for seed in range(40):
        sample = sample_under(dataset, seed % 6, seed)
        assert angle_degrees(grey_of(sample), sample["light"].numpy()) < 0.6
        label = sample["labels"]["illuminant"]
        assert angle_degrees(sample["light"].numpy(), CENTRES[label]) < 1e-4
        seen.add(label)
    assert len(seen) == 5
    assert dataset.class_counts.sum() == pytest.approx(6, abs=2)


def test_chance_is_the_seed_s_alone_and_survives_pickling(photos: Path) -> None:
    dataset = IlluminantDataset(options(photos, phase="train", relight_prob=0.5, cache_mb=0))
    first = sample_under(dataset, 0, 7)
    copy = pickle.loads(pickle.dumps(dataset))
    again = sample_under(copy, 0, 7)
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["light"], again["light"])
    assert not torch.equal(first["image"], sample_under(dataset, 0, 8)["image"])
    cached = IlluminantDataset(options(photos, phase="train", relight_prob=0.5, cache_mb=64))
    for _ in range(2):
        assert torch.equal(sample_under(cached, 0, 7)["image"], first["image"])


def test_fixed_lights_are_a_function_of_the_index(photos: Path) -> None:
    dataset = IlluminantDataset(options(photos, fixed_relight=4, balance="draw"))
    assert len(dataset) == 24
    random.seed(1)
    first = [dataset[i] for i in range(24)]
    random.seed(2)
    backwards = [dataset[i] for i in reversed(range(24))][::-1]
    for a, b in zip(first, backwards, strict=True):
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["light"], b["light"])
    assert [Path(s["lq_path"]).stem for s in first[:8]] == ["p0"] * 4 + ["p1"] * 4
    assert len({s["labels"]["illuminant"] for s in first}) == 3
    other = IlluminantDataset(options(photos, fixed_relight=4, balance="draw", relight_seed=5))
    assert any(not torch.equal(other[i]["light"], first[i]["light"]) for i in range(24))


def test_repeat_gives_rare_classes_as_many_samples(photos: Path) -> None:
    dataset = IlluminantDataset(options(photos, phase="train", balance="repeat"))
    assert dataset.class_counts.tolist() == [0, 4, 4, 0, 4] and len(dataset) == 12
    labels = [sample_under(dataset, i, i)["labels"]["illuminant"] for i in range(12)]
    assert np.bincount(labels, minlength=5).tolist() == [0, 4, 4, 0, 4]


def test_neutral_photos_get_sampled_lights(photos: Path) -> None:
    changes: dict[str, Any] = {"neutral": True, "truth": None}
    plain = IlluminantDataset(options(photos, **changes))
    assert plain[0]["light"].tolist() == pytest.approx([1 / 3] * 3)
    train = IlluminantDataset(options(photos, phase="train", relight_prob=1.0, balance="draw", **changes))
    labels = {sample_under(train, 0, seed)["labels"]["illuminant"] for seed in range(40)}
    assert labels == {0, 1, 2, 3, 4}


def test_linear_photos_have_their_levels(photos: Path) -> None:
    folder = photos.parent / "raw"
    folder.mkdir()
    value = 2048 + 0.5 * CENTRES[2] / CENTRES[2].max() * (16383 - 2048)
    write_image(folder / "a.png", np.tile(value, (50, 50, 1)).astype(np.uint16))
    (folder / "a.wp").write_text(" ".join(map(str, CENTRES[2])))
    dataset = IlluminantDataset(options(folder, truth=None, encoding="linear", black=2048, white=16383))
    sample = dataset[0]
    assert sample["labels"]["illuminant"] == 2
    assert sample["image"].numpy().max() == pytest.approx(0.5, abs=1e-4)
    assert angle_degrees(sample["image"].numpy().mean((1, 2)), CENTRES[2]) < 0.05


def test_a_split_names_its_photos(photos: Path) -> None:
    listed = photos.parent / "split.txt"
    listed.write_text("p4\np0.png\n")
    dataset = IlluminantDataset(options(photos, list_file=str(listed)))
    assert [dataset[i]["labels"]["illuminant"] for i in range(2)] == [2, 1]
    listed.write_text("p4\nnobody\n")
    with pytest.raises(UserError, match="1 of 2 names.*nobody"):
        IlluminantDataset(options(photos, list_file=str(listed)))


def test_outliers_are_dropped_kept_or_a_sign_of_wrong_centroids(
    photos: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    truth = photos.parent / "truth.csv"
    green = "0.1,0.8,0.1"
    lines = truth.read_text().splitlines()
    truth.write_text("\n".join([lines[0], f"p0,{green}", *lines[2:]]))
    assert len(IlluminantDataset(options(photos))) == 5
    assert "1 of 6" in caplog.text and "p0.png" in caplog.text
    assert len(IlluminantDataset(options(photos, outlier="keep"))) == 6
    truth.write_text("\n".join([lines[0], *[f"p{i},{green}" for i in range(4)], *lines[5:]]))
    with pytest.raises(UserError, match="4 of 6 photos.*centroids are those of the sensor 'sRGB'"):
        IlluminantDataset(options(photos))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoding": "raw"}, "encoding must be srgb"),
        ({"black": 5}, "belong to linear"),
        ({"encoding": "linear", "black": 9, "white": 3}, "white must be greater"),
        ({"neutral": True}, "not both"),
        ({"neutral": True, "truth": None, "encoding": "linear"}, "need relight_lights"),
        ({"crop_scale": [0.9, 0.3]}, "crop_scale"),
        ({"exposure_range": [0, 1]}, "exposure_range"),
        ({"relight_prob": 2}, "relight_prob"),
        ({"phase": "train", "fixed_relight": 2}, "fixed_relight"),
        ({"phase": "train", "balance": "draw"}, "relight_prob is 0"),
        ({"balance": "even"}, "balance must be"),
        ({"outlier": "error"}, "outlier must be"),
        ({"image_size": 0}, "image_size"),
        ({"cache_mb": -1}, "cache_mb"),
        ({"truth": "/nowhere.csv"}, "nowhere.csv"),
        ({"centroids": "/nowhere.json"}, "nowhere.json"),
        ({"dataroot": "/nowhere"}, "no such folder"),
    ],
)
def test_wrong_options_are_named(photos: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        IlluminantDataset(options(photos, **changes))


def test_a_damaged_photo_is_named_when_it_is_read(photos: Path) -> None:
    (photos / "p3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="p3.png"):
        IlluminantDataset(options(photos))[3]
