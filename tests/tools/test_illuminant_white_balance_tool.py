"""tools/white_balance.py as it is typed."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image
from plugins.illuminant.checkpoint import IlluminantRecord, save_network
from plugins.illuminant.illuminant_cnn_arch import IlluminantCNN
from plugins.illuminant.illuminant_unet_arch import IlluminantUNet
from tests.plugins.illuminant.illuminant_map_kit import CENTROIDS, write_scenes

ROOT = Path(__file__).resolve().parents[2]
K = len(CENTROIDS)
WARM = "1.6,1,0.5"


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("white_balance_tool", ROOT / "tools" / "white_balance.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


def run(*arguments: object) -> int:
    return int(TOOL.main([str(argument) for argument in arguments]))


def grey_photo(light: tuple[float, ...], size: tuple[int, int] = (70, 90)) -> np.ndarray[Any, Any]:
    """A grey ramp under a light, sRGB in [0, 1]."""
    linear = np.linspace(0.05, 0.5, size[1])[None, :, None] * np.array(light) * np.ones((*size, 1))
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = grey_photo((1.6, 1.0, 0.5))
    exif = Image.Exif()
    exif[271] = "Maker"
    Image.fromarray(np.rint(photo * 255).astype(np.uint8)).save(folder / "a.jpg", quality=95, subsampling=0, exif=exif)
    cv2.imwrite(str(folder / "b.png"), np.rint(photo[..., ::-1] * 65535).astype(np.uint16))
    return folder


def weights(path: Path, net: torch.nn.Module, encoding: str = "srgb", **options: Any) -> Path:
    record = {"type": type(net).__name__, "num_classes": K, **options}
    save_network(path, net, IlluminantRecord(encoding, CENTROIDS, record, 72))
    return path


@pytest.mark.parametrize("how", [("--light", WARM), ("--method", "grey_world"), ("--method", "shades-of-grey")])
def test_grey_becomes_grey_and_files_keep_their_kind(photos: Path, tmp_path: Path, how: tuple[str, str]) -> None:
    out = tmp_path / "out"
    assert run(photos, *how, "-o", out) == 0
    deep, eight = read_image(out / "b.png"), read_image(out / "a.jpg")
    assert (deep.dtype, eight.dtype) == (np.uint16, np.uint8)
    assert np.ptp(read_image(photos / "b.png").astype(int), axis=2).max() > 10000
    assert np.ptp(deep.astype(int), axis=2).max() <= 300
    assert Image.open(out / "a.jpg").getexif()[271] == "Maker"
    assert read_image(out / "a_light.png").shape == (70, 90, 3)
    assert read_image(out / "a_compare.png").shape == (70, 3 * 90 + 2 * 8, 3)


def test_networks_answer_one_light_or_a_map(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cnn, unet = weights(tmp_path / "cnn.pth", IlluminantCNN(K)), IlluminantUNet(K, residual_light=True, width=8)
    maps = weights(tmp_path / "unet.pth", unet, residual_light=True, width=8)
    flat, lights = {}, {}
    for name, how in {
        "one": (cnn,), "class": (cnn, "--answer", "class"), "multi": (cnn, "--lights", "multi"), "unet": (maps,),
    }.items():  # fmt: skip
        assert run(photos / "b.png", "--weights", *how, "-o", tmp_path / name) == 0
        lights[name] = read_image(tmp_path / name / "b_light.png").astype(int)
        flat[name] = np.ptp(lights[name], axis=(0, 1)).max() == 0
    assert flat["one"] and flat["class"] and not flat["unet"]
    one = lights["class"][0, 0] / 255
    linear = np.where(one <= 0.04045, one / 12.92, ((one + 0.055) / 1.055) ** 2.4)
    nearest = CENTROIDS.array / CENTROIDS.array.max(1, keepdims=True)
    assert np.abs(nearest - linear).max(1).min() < 0.02


def test_scenes_with_a_truth_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path, {"train": 1, "test": 2})
    unet = weights(tmp_path / "unet.pth", IlluminantUNet(K, width=8), "linear", width=8)
    common = ("--masks", tmp_path / "masks", "--root", tmp_path, "--split", "test", "-o", tmp_path / "out")
    assert run(*common, "--weights", unet) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "errors.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == ["toy_Place2_12", "toy_Place3_12"]
    assert all(0 < float(row["single_mean"]) < float(row["mean"]) <= float(row["maximum"]) for row in rows)
    assert "2 scenes" in capsys.readouterr().out
    result = read_image(tmp_path / "out" / "toy_Place2_12.png")
    assert (result.dtype, result.shape) == (np.uint16, (48, 64, 3))
    assert read_image(tmp_path / "out" / "toy_Place2_12_compare.png").shape == (48, 4 * 64 + 3 * 8, 3)


def test_encodings_and_sensors_do_not_mix(photos: Path, tmp_path: Path) -> None:
    unet = weights(tmp_path / "unet.pth", IlluminantUNet(K, width=8), "linear", width=8)
    with pytest.raises(UserError, match="linear pictures; these are srgb"):
        run(photos, "--weights", unet, "-o", tmp_path / "o")
    with pytest.raises(UserError, match="sensor 'toy'"):
        run(photos / "b.png", "--weights", unet, "--encoding", "linear", "--sensor", "Nikon", "-o", tmp_path / "o")
    assert (
        run(photos / "b.png", "--weights", unet, "--encoding", "linear", "--sensor", "toy", "-o", tmp_path / "o") == 0
    )
    write_scenes(tmp_path, {"test": 1})
    srgb = weights(tmp_path / "srgb.pth", IlluminantUNet(K, width=8), width=8)
    with pytest.raises(UserError, match="srgb pictures; these are linear"):
        run("--masks", tmp_path / "masks", "--root", tmp_path, "--weights", srgb, "-o", tmp_path / "o")
    assert not (tmp_path / "o" / "errors.csv").exists()


def test_a_bad_photo_is_named_and_the_others_are_done(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "c.png").write_text("no picture")
    Image.new("L", (20, 20), 99).save(photos / "d.png")
    assert run(photos, "--light", WARM, "-o", tmp_path / "out", "--no-pictures") == 1
    told = capsys.readouterr().err
    assert "c.png" in told and "d.png" in told and "2 of 4" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{photos}", "--light", "1,0,1"), "three positive numbers"),
        (("{photos}", "--light", "red"), "three positive numbers"),
        (("{photos}", "--method", "magic"), "no such method"),
        (("{photos}", "--weights", "{photos}/none.pth"), "no such weights"),
        (("{photos}/none", "--light", WARM), "no such folder"),
        (("{photos}", "--light", WARM, "--white", "9"), "linear"),
        (("{photos}", "--light", WARM, "--split", "test"), "--split"),
        (("--light", WARM), "either photos"),
        (("--masks", "{photos}", "--light", WARM), "--root"),
        (("--masks", "{photos}", "--root", "{photos}", "--light", WARM), "manifest"),
    ],
)
def test_wrong_calls_are_user_errors(photos: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(*(text.format(photos=photos) for text in arguments), "-o", tmp_path / "out")


def test_photos_are_not_written_over(photos: Path) -> None:
    with pytest.raises(UserError, match="written over"):
        run(photos, "--light", WARM, "-o", photos)
    shown = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tools" / "white_balance.py"),
            str(photos),
            "--light",
            "x",
            "-o",
            str(photos / "o"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert shown.returncode == 2 and shown.stderr.startswith("error:") and "Traceback" not in shown.stderr
