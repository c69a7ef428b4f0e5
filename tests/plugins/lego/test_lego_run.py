"""From folders of pictures to a trained classifier with train.py's pipeline, and what its weights file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from basicsr.engine.checkpoint import load_weights
from basicsr.engine.errors import UserError
from plugins.lego.lego_classifier_arch import LegoClassifier
from plugins.lego.lego_dataset import LegoDataset
from plugins.lego.lego_resize import prepare_image
from tests.basicsr.tiny_run import run_here
from tests.plugins.lego.lego_kit import make_sources
from tools.prepare_lego import main as prepare_main

PLUGINS = ["plugins.classification", "plugins.lego"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_sources(tmp_path_factory.mktemp("run"))
    arguments = ["--out", str(root / "set"), "--workers", "1", "--b200c", str(root / "b200c")]
    for source in ("legacy", "real"):
        arguments += [f"--{source}", str(root / source), f"--{source}-colors", "ldraw"]
    assert prepare_main(arguments) == 0
    return root / "set" / "manifest.csv"


def make_options(root: Path, data: Path, **changes: Any) -> Path:
    common = {"type": "LegoDataset", "manifest": str(data), "image_size": 32}
    options: dict[str, Any] = {
        "name": "bricks",
        "model_type": "LegoModel",
        "plugins": PLUGINS,
        "num_gpu": 0,
        "manual_seed": 1,
        "datasets": {
            "train": {
                "name": "t", **common, "batch_size_per_gpu": 8, "num_worker_per_gpu": 0, "epoch_size": 48,
                "augment": {"background": 0.2, "dropout": 0, "rotate90": 0, "affine": 0},
                "curriculum": [
                    {"until_epoch": 2, "legacy": 0.5, "real": 0.5}, {"legacy": 0.2, "b200c": 0.1, "real": 0.7}
                ],
            },
            "val": {"name": "Val", **common, "batch_size_per_gpu": 8},
        },
        "network_g": {
            "type": "LegoClassifier", "num_parts": 3, "num_colors": 3, "backbone": "resnet18", "hidden": 32,
            "freeze_backbone_ratio": 0.0, "freeze_backbone_epochs": 1, "color_input": "both", "dropout": 0.0,
        },
        "train": {
            "total_epoch": 5,
            "warmup_epoch": 0.5,
            "optim_g": {"type": "AdamW", "lr": 2e-3, "weight_decay": 0.01},
            "backbone_lr_factor": 0.5,
            "layer_decay": 0.9,
            "scheduler": {"type": "WholeRunCosineLR", "eta_min": 1e-5},
            "lego_opt": {"type": "LegoLoss"},
        },
        "val": {
            "val_epoch": 5,
            "save_img": True,
            "best_file": "best.pth",
            "metrics": {
                f"{head}_accuracy": {"type": "calculate_accuracy", "head": head, "better": "higher"}
                for head in ("part", "color")
            },
        },
        "logger": {"print_freq": 5, "save_checkpoint_epoch": 5, "use_tb_logger": False},
    }  # fmt: skip
    for section, values in changes.items():
        for key, value in values.items():
            options[section][key] = {**options[section][key], **value} if isinstance(value, dict) else value
    path = root / "bricks.yml"
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    return path


def test_bricks_are_learnt_and_the_weights_file_says_all_that_is_needed(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch, tmp_path, make_options(tmp_path, data))
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "train.total_epoch 5 = 30 iterations" in text
    assert "The backbone is trained from at iteration 7" in text
    assert "until epoch 2: legacy 50%, real 50% of 48 images" in text
    weights = load_weights(tmp_path / "experiments" / "bricks" / "models" / "best.pth")
    record = weights["record"]
    assert [row["id"] for row in record["parts"]] == ["3001", "3003", "3024"]
    assert [row["name"] for row in record["colors"]] == ["Blue", "Red", "Yellow"]
    assert record["input"]["size"] == 32 and record["color_scheme"] == "ldraw" and len(record["mean"]) == 3
    # The record alone is enough to build the network and to feed it.
    network = {key: value for key, value in record["network"].items() if key != "type"}
    net = LegoClassifier(**network).eval()
    net.load_state_dict(weights["params"])
    held = LegoDataset({"manifest": str(data), "image_size": 32, "phase": "val", "split": "test"})
    from basicsr.engine.image_io import read_image

    images = np.stack([prepare_image(read_image(path), record["input"]) for path in held.paths])
    with torch.no_grad():
        color = net(torch.from_numpy(images))["color"].argmax(1).numpy()
    assert (color == held.color_labels).mean() > 0.8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network_g": {"num_parts": 4}}, "network_g.num_parts: 4, but the class file holds 3"),
        ({"datasets": {"val": {"image_size": 40}}}, "datasets.val.image_size: 40, but datasets.train.image_size is 32"),
        ({"train": {"layer_decay": 0}}, "layer_decay 0.0 above 0"),
        ({"train": {"backbone_lr_faktor": 0.1}}, "did you mean 'backbone_lr_factor'"),
        ({"datasets": {"train": {"epoch_size": 5000}}}, "epoch_size is 5000"),
    ],
)
def test_mistakes_stop_before_training(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        run_here(monkeypatch, tmp_path, make_options(tmp_path, data, **changes))


def test_rates_fall_with_depth_and_the_paused_backbone_has_none(tmp_path: Path, data: Path) -> None:
    from basicsr.engine.plugins import load_plugins
    from basicsr.models import build_model

    load_plugins(PLUGINS)
    opt = yaml.safe_load(make_options(tmp_path, data).read_text())
    opt.update(is_train=True, dist=False, rank=0, world_size=1)
    opt["path"] = {"models": str(tmp_path)}
    opt["train"].update(total_iter=30, warmup_iter=3)
    model = build_model(opt)
    model.update_learning_rate(6, 3)
    assert model.get_current_learning_rate()[0] > 0 and not any(model.get_current_learning_rate()[1:])
    model.update_learning_rate(7, 3)
    rates = model.get_current_learning_rate()
    assert all(later < before for before, later in zip(rates, rates[1:], strict=False))
    assert rates[1] == pytest.approx(0.5 * rates[0], rel=0.01) and rates[3] == pytest.approx(0.81 * rates[1], rel=0.02)


def test_weights_of_other_classes_are_refused(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"lego": 1, "parts": [{"id": "3001"}, {"id": "3024"}, {"id": "3003"}], "colors": []}
    torch.save({"params": {"a": torch.zeros(1)}, "record": record}, tmp_path / "old.pth")
    path = make_options(tmp_path, data)
    options = {**yaml.safe_load(path.read_text()), "path": {"pretrain_network_g": str(tmp_path / "old.pth")}}
    path.write_text(yaml.safe_dump(options))
    with pytest.raises(UserError, match="parts are numbered otherwise .* number 1 is 3024, here 3003"):
        run_here(monkeypatch, tmp_path, path)
