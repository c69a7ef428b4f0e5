"""A classifier with two heads trained by train.py's pipeline on squares of two colours and two places."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from basicsr.engine.checkpoint import load_weights
from basicsr.engine.errors import UserError
from tests.basicsr.tiny_run import run_here

PLUGIN = """
import torch
from torch import nn
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY

@DATASET_REGISTRY.register()
class Squares{N}(torch.utils.data.Dataset):
    def __init__(self, opt):
        self.opt = opt

    def __len__(self):
        return 16

    def __getitem__(self, index):
        color, place = index % 2, index // 2 % 2
        image = torch.zeros(3, 8, 8)
        image[2 * color, :, 4 * place : 4 * place + 4] = 1
        known = -1 if index % 5 == 4 and self.opt["phase"] == "train" else color
        return {{"image": image, "labels": {{"color": known, "place": place}}, "lq_path": f"{{index}}.png"}}

@ARCH_REGISTRY.register()
class TwoHeads{N}(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.color, self.place = nn.Linear(192, 8), nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, image):
        hidden = torch.tanh(self.body(image.flatten(1)))
        return {{"color": self.color(hidden), "place": self.place(hidden)}}
"""


def make_options(tmp_path: Path, number: str, **train: Any) -> Path:
    (tmp_path / f"squares_{number}.py").write_text(PLUGIN.format(N=number))
    metrics = {
        f"{head}_accuracy": {"type": "calculate_accuracy", "head": head, "better": "higher"}
        for head in ("color", "place")
    }
    options = {
        "name": "squares",
        "model_type": "ClassificationModel",
        "plugins": ["plugins.classification", f"squares_{number}"],
        "num_gpu": 0,
        "manual_seed": 1,
        "datasets": {
            "train": {"name": "t", "type": f"Squares{number}", "batch_size_per_gpu": 4, "num_worker_per_gpu": 0},
            "val": {"name": "Val", "type": f"Squares{number}"},
        },
        "network_g": {"type": f"TwoHeads{number}"},
        "train": {
            "total_epoch": 10,
            "optim_g": {"type": "Adam", "lr": 0.02},
            "scheduler": {"type": "ReduceLROnPlateau", "patience": 1},
            "color_opt": {"type": "HeadCrossEntropyLoss", "head": "color"},
            "place_opt": {"type": "HeadCrossEntropyLoss", "head": "place", "loss_weight": 0.5},
            **train,
        },
        "val": {"val_epoch": 5, "save_img": True, "metrics": metrics, "best_file": "best_squares.pth"},
        "logger": {"print_freq": 5, "save_checkpoint_epoch": 5, "use_tb_logger": True},
    }
    path = tmp_path / "squares.yml"
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    return path


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def test_both_heads_learn_and_the_set_is_measured(
    on_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch, on_path, make_options(on_path, "1"))
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "train.total_epoch 10 = 40 iterations" in text
    assert "# color_accuracy: 1.0000" in text and "# place_accuracy: 1.0000" in text
    run = on_path / "experiments" / "squares"
    assert {"color", "place"} == {path.name.split("_")[1] for path in (run / "visualization" / "Val").glob("*_40.png")}
    assert load_weights(run / "models" / "best_squares.pth")["params"]["body.weight"].shape == (8, 192)


def test_accumulated_chunks_give_the_same_weights(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk of four holds as many known samples as the others, so the mean of means is the mean."""
    weights = []
    for number, accum, batch in (("2", 1, 16), ("3", 2, 8)):
        root = on_path / number
        root.mkdir()
        monkeypatch.setattr(sys, "path", [*sys.path, str(root)])
        options = yaml.safe_load(make_options(root, number, accum_iter=accum).read_text())
        options["datasets"]["train"]["batch_size_per_gpu"] = batch
        del options["train"]["color_opt"]
        (root / "squares.yml").write_text(yaml.safe_dump(options))
        run_here(monkeypatch, root, root / "squares.yml")
        weights.append(load_weights(root / "experiments" / "squares" / "models" / "net_g_latest.pth")["params"])
    for key, value in weights[0].items():
        assert torch.allclose(value, weights[1][key], atol=1e-5), key


@pytest.mark.parametrize("key", ["grids", "self_ensemble"])
def test_restoration_options_are_refused(on_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    path = make_options(on_path, f"4{key.replace('_', '')}")
    options = yaml.safe_load(path.read_text())
    options["val"].update({key: True, "crop_size_h": 8, "crop_size_w": 8})
    path.write_text(yaml.safe_dump(options))
    with pytest.raises(UserError, match=f"val.{key}"):
        run_here(monkeypatch, on_path, path)
