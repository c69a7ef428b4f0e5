"""The option files, and a short training through the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from basicsr.engine.checkpoint import load_weights
from plugins.diagnostic.diagnostic_cnn_arch import DiagnosticCNN
from tests.basicsr.tiny_run import run_here

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["diagnostic_cnn", "diagnostic_photos", "diagnostic_fivek_ft", "demo/diagnostic_cnn"])
def test_option_files_start_but_for_the_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The planned batch, workers, precision and epochs; and no key that the engine refuses."""
    from basicsr.engine.errors import UserError
    from basicsr.utils.options import parse_options

    monkeypatch.setenv("PHOTOS", str(tmp_path / "photos"))
    monkeypatch.setenv("FIVEK", str(tmp_path / "fivek"))
    monkeypatch.setattr("sys.argv", ["train.py", "-opt", str(ROOT / "options" / f"{name}.yml")])
    with pytest.raises((UserError, SystemExit)) as caught:
        parse_options(str(tmp_path))  # an empty project: there are no data, whatever was made in this one
    lines = [line for line in (str(caught.value) + capsys.readouterr().err).splitlines() if ".yml:" in line]
    assert lines and all("no such f" in line for line in lines), lines


def test_the_plan_is_in_the_file() -> None:
    options = yaml.safe_load((ROOT / "options" / "diagnostic_cnn.yml").read_text())
    train = options["datasets"]["train"]
    assert (train["batch_size_per_gpu"], train["num_worker_per_gpu"]) == (128, 16)
    assert options["train"]["total_epoch"] == 30 and options["precision"] in ("bf16", "fp16")


def test_a_short_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        patches = cv2.resize(rng.uniform(0, 255, (4, 5, 3)).astype(np.float32), (60, 48))
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), patches.clip(0, 255).astype(np.uint8))
    data: dict[str, Any] = {"type": "DegradedPhotoDataset", "dataroot": str(tmp_path / "photos"), "image_size": 32}
    options = yaml.safe_load((ROOT / "options" / "diagnostic_cnn.yml").read_text())
    options["datasets"] = {
        "train": {"name": "t", **data, "split": "train", "batch_size_per_gpu": 4, "num_worker_per_gpu": 0},
        "val": {"name": "v", **data, "split": "test", "copies": 2},
    }
    options.update(name="short", num_gpu=0, precision="fp32", network_g={"type": "DiagnosticCNN"})
    options["train"].update(total_epoch=None, total_iter=2, warmup_iter=-1)
    options["val"].update(val_epoch=None, val_freq=2, save_img=True)
    options["logger"] = {"print_freq": 1, "save_checkpoint_freq": 2, "use_tb_logger": False}
    path = tmp_path / "short.yml"
    path.write_text(yaml.safe_dump(options))
    run_here(monkeypatch, tmp_path, path)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert "# white_balance_angle:" in text and "diagnostic_opt/render" in text
    models = tmp_path / "experiments" / "short" / "models"
    weights = load_weights(models / "diagnostic_model.pth")
    assert weights["record"]["task"] == "photo diagnostics" and weights["record"]["size"] == 32
    DiagnosticCNN().load_state_dict(weights["params_ema"])
    assert {p.name.split("_")[1] for p in (tmp_path / "experiments/short/visualization/v").glob("*.png")} == {
        "exposure",
        "saturation",
    }
