"""Scenes, and how model and weights files are found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.engine.errors import UserError
from basicsr.engine.torchvision_compat import import_torchvision
from plugins.diagnostic import classify_image, load_diagnostic_model, model_files, read_image, scenes
from plugins.diagnostic.scene_words import CORRECTION_KEYS, SCENES, preset_of, scene_of_labels, scene_words
from tests.plugins.diagnostic.diagnostic_api_kit import camera_exif, good_photo, jpeg_of, save_random_model

PHOTO = good_photo(64)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(model_files.MODEL_VARIABLE, raising=False)
    monkeypatch.delenv(scenes.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(model_files, "_folders", lambda: [tmp_path])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def save_classifier(path: Path, label: str) -> Path:
    """Random weights whose answer is always this label."""
    import_torchvision()
    from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

    state = mobilenet_v2(weights=None).state_dict()
    state["classifier.1.weight"].zero_()
    state["classifier.1.bias"].zero_()[MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"].index(label)] = 20.0
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def test_every_word_is_a_label_and_speaks_of_one_scene() -> None:
    import_torchvision()
    from torchvision.models import MobileNet_V2_Weights

    labels = MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    words = [word for entries in scene_words().values() for word in entries]
    assert set(words) <= set(labels) and len(words) == len(set(words))
    found = dict(zip(labels, scene_of_labels(labels), strict=True))
    wanted = {"tabby": "Animal", "alp": "Landscape", "groom": "Portrait", "pizza": "Food", "palace": "Urban"}
    wanted |= {"minivan": "Vehicle", "daisy": "Plant", "abacus": "Generic"}
    assert {label: found[label] for label in wanted} == wanted
    assert set(found.values()) == set(SCENES)


def test_presets_are_mild_and_generic_is_none() -> None:
    for scene in SCENES:
        preset = preset_of(scene)
        assert tuple(preset) == CORRECTION_KEYS
        assert all(0.95 <= preset[key] <= 1.08 for key in CORRECTION_KEYS[:-1]) and preset["hue_shift"] == 0
    assert list(preset_of("Generic").values()) == [1, 1, 1, 1, 1, 0]


def test_without_weights_the_scene_is_named_unknown() -> None:
    assert classify_image(PHOTO) == {"scene": "Generic", "score": 0.0, "scene_corrections": preset_of("Generic")}


@pytest.mark.parametrize("way", ["argument", "variable", "cache"])
def test_weights_come_from_argument_variable_or_cache(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "hub" / "checkpoints" if way == "cache" else tmp_path
    path = save_classifier(folder / scenes.CACHED_NAMES[0], "daisy")
    if way == "variable":
        monkeypatch.setenv(scenes.WEIGHTS_VARIABLE, str(path))
    found = classify_image(PHOTO, path if way == "argument" else None)
    assert found["scene"] == "Plant" and found["score"] > 0.99 and found["scene_corrections"] == preset_of("Plant")


def test_a_replaced_file_is_read_again_and_an_unsure_answer_is_generic(tmp_path: Path) -> None:
    path = save_classifier(tmp_path / "net.pth", "daisy")
    assert classify_image(PHOTO, path)["scene"] == "Plant"
    save_classifier(path, "pizza")
    os.utime(path, (1, 1))
    assert classify_image(PHOTO, path)["scene"] == "Food"
    save_classifier(path, "abacus")
    os.utime(path, (2, 2))
    unsure = classify_image(PHOTO, path)
    assert unsure["scene"] == "Generic" and unsure["score"] > 0.9


def test_named_scene_weights_must_be_there_and_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone.pth"):
        classify_image(PHOTO, tmp_path / "gone.pth")
    monkeypatch.setenv(scenes.WEIGHTS_VARIABLE, str(tmp_path / "off.pth"))
    with pytest.raises(UserError, match="BASICSR_SCENE_WEIGHTS.*off.pth"):
        classify_image(PHOTO)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="text.pth"):
        classify_image(PHOTO, tmp_path / "text.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="other.pth"):
        classify_image(PHOTO, tmp_path / "other.pth")


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_diagnostic_model()
    for part in ("train.py -opt options/diagnostic_cnn.yml", "diagnostic_model.pth", "BASICSR_DIAGNOSTIC_MODEL"):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="nowhere.pth"):
        load_diagnostic_model(tmp_path / "nowhere.pth")


def test_the_model_is_found_cached_and_read_again_when_it_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = save_random_model(tmp_path / model_files.MODEL_FILE)
    net = load_diagnostic_model(device="cpu")
    assert load_diagnostic_model(path, "cpu") is net and not net.training
    monkeypatch.setenv(model_files.MODEL_VARIABLE, str(path))
    assert load_diagnostic_model(device="cpu") is net
    os.utime(path, (5, 5))
    assert load_diagnostic_model(device="cpu") is not net
    found = net.diagnose(torch.zeros(1, 3, 224, 224))
    assert found.estimate.shape == (1, 4)


def test_a_model_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="model.pth"):
        load_diagnostic_model(path)
    torch.save({"params": {"a": torch.zeros(1)}}, path)
    with pytest.raises(UserError, match="model.pth"):
        load_diagnostic_model(path)


def test_an_image_is_read_upright_as_bgr_of_8_bits(tmp_path: Path) -> None:
    red = np.zeros((20, 40, 3), np.uint8)
    red[:, :20, 0] = 255
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_of(red, 98, exif=camera_exif(6), subsampling=0))
    image = read_image(path)
    assert image.shape == (40, 20, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert image[:15, :, 2].mean() > 230 and image[25:].mean() < 5 and image[..., 0].mean() < 5
    with pytest.raises(UserError, match="b.jpg"):
        read_image(tmp_path / "b.jpg")
