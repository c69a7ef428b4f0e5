"""IlluminantModel trained by train.py's pipeline, its weights files, and the table beside the classical methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import Centroids, make_centroids
from plugins.illuminant.checkpoint import load_network, read_record
from plugins.illuminant.classic_methods import METHODS
from plugins.illuminant.illuminant_eval import (
    MIXTURE,
    NETWORK,
    ORACLE,
    LitSample,
    answer_all,
    by_group,
    markdown_table,
    rows,
    text_table,
    without_masked,
    write_answers,
)
from plugins.illuminant.illuminant_metric import answered_lights, calculate_centroid_angle
from plugins.illuminant.illuminant_plot import write_error_plot
from tests.basicsr.tiny_run import run_here

LIGHTS = np.array([[0.2, 0.3, 0.5], [0.4, 0.34, 0.26], [0.6, 0.3, 0.1]])


def centroids(sensor: str = "sRGB") -> Centroids:
    return make_centroids(LIGHTS, [5, 5, 5], sensor, ("Cool", "Neutral", "Warm"))


def make_project(root: Path, sensor: str = "sRGB") -> dict[str, Any]:
    """Grey textures and lights to show them under."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        for index in range(4):
            grey = cv2.resize(rng.integers(40, 220, (9, 9), dtype=np.uint8), (80, 80))
            cv2.imwrite(str(root / split / f"{index}.png"), np.repeat(grey[..., None], 3, 2))
    (root / "centroids.json").write_text(json.dumps(centroids(sensor).as_dict()))
    spread = LIGHTS[rng.integers(0, 3, 60)] * rng.uniform(0.95, 1.05, (60, 3))
    np.savetxt(root / "lights.csv", spread, delimiter=",", header="r,g,b", comments="")
    common = {
        "type": "IlluminantDataset",
        "neutral": True,
        "encoding": "srgb",
        "centroids": "centroids.json",
        "relight_lights": "lights.csv",
        "image_size": 65,
    }
    return {
        "name": "lights",
        "model_type": "IlluminantModel",
        "plugins": ["plugins.classification", "plugins.illuminant"],
        "num_gpu": 0,
        "manual_seed": 2,
        "datasets": {
            "train": {
                "name": "t",
                "dataroot": "train",
                "relight_prob": 1.0,
                "balance": "draw",
                "batch_size_per_gpu": 12,
                "num_worker_per_gpu": 0,
                **common,
            },
            "val": {"name": "Val", "dataroot": "val", "fixed_relight": 3, **common},
        },
        "network_g": {"type": "IlluminantCNN", "num_classes": 3, "pool": "avg", "statistics": True},
        "train": {
            "total_iter": 60,
            "optim_g": {"type": "Adam", "lr": 2e-3},
            "scheduler": {"type": "ReduceLROnPlateau", "patience": 3},
            "class_opt": {"type": "HeadCrossEntropyLoss", "head": "illuminant"},
        },
        "val": {
            "val_freq": 20,
            "best_file": "best_lights.pth",
            "metrics": {
                "accuracy": {"type": "calculate_accuracy", "head": "illuminant"},
                "angle": {"type": "calculate_centroid_angle", "better": "lower", "statistic": "worst25"},
            },
        },
        "logger": {"print_freq": 10, "save_checkpoint_freq": 60, "use_tb_logger": False},
    }


def write(root: Path, options: dict[str, Any]) -> Path:
    path = root / "lights.yml"
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    return path


def test_learns_the_light_of_grey_textures_and_says_what_it_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = make_project(tmp_path)
    monkeypatch.chdir("/")  # relative paths start at the project's root, wherever the command is typed
    run_here(monkeypatch, tmp_path, write(tmp_path, options))
    shown = "".join(capsys.readouterr())
    best = float(shown.rsplit("# accuracy: ", 1)[1].split("Best: ")[1].split()[0])
    assert best >= 0.9, shown[-600:]
    weights = tmp_path / "experiments" / "lights" / "models" / "best_lights.pth"
    network, record = load_network(weights, "srgb", "sRGB")
    assert record.centroids == centroids() and record.size == 65 and record.network["pool"] == "avg"
    assert network(torch.rand(1, 3, 65, 65)).shape == (1, 3)
    with pytest.raises(UserError, match="trained on srgb pictures; these are linear"):
        load_network(weights, "linear")
    with pytest.raises(UserError, match="those of the sensor 'sRGB'"):
        load_network(weights, sensor="Nikon D810")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda o: o["network_g"].update(num_classes=5), "network_g.num_classes: 5"),
        (lambda o: o["datasets"]["val"].update(encoding="linear"), "datasets.val.encoding: linear"),
        (lambda o: o["datasets"]["train"].update(centroids="none.json"), "none.json"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, text: str) -> None:
    options = make_project(tmp_path)
    change(options)
    with pytest.raises(UserError) as caught:
        run_here(monkeypatch, tmp_path, write(tmp_path, options))
    assert text in str(caught.value)


def test_weights_of_another_sensor_are_not_taken_to_start_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = make_project(tmp_path / "one")
    options["train"]["total_iter"] = 1
    run_here(monkeypatch, tmp_path / "one", write(tmp_path / "one", options))
    weights = tmp_path / "one" / "experiments" / "lights" / "models" / "net_g_latest.pth"
    assert read_record(weights).centroids.sensor == "sRGB"
    other = make_project(tmp_path / "two", "Nikon D810")
    other["path"] = {"pretrain_network_g": str(weights)}
    with pytest.raises(UserError, match="sensor 'sRGB', this run's are 'Nikon D810'"):
        run_here(monkeypatch, tmp_path / "two", write(tmp_path / "two", other))


class AlwaysRight(nn.Module):
    """Knows the mean colour of grey pictures, which is their light."""

    def forward(self, image: Tensor) -> Tensor:
        light = (image**2.2).mean((2, 3)).double()
        light = light / light.norm(dim=1, keepdim=True)
        directions = torch.from_numpy(centroids().array)
        directions = directions / directions.norm(dim=1, keepdim=True)
        return 500 * light @ directions.T


def samples(masked: bool = False) -> list[LitSample]:
    rng = np.random.default_rng(1)
    found = []
    for index, light in enumerate(np.repeat(LIGHTS, 4, 0) * rng.uniform(0.97, 1.03, (12, 3))):
        grey = rng.uniform(0.2, 0.8, (24, 24, 1))
        image = ((grey * light / light.max()) ** (1 / 2.2)).astype(np.float32)
        mask = None
        if masked:
            mask = np.ones((24, 24), bool)
            mask[:, 12:] = False
            image[:, 12:] = (0.1, 0.9, 0.1)
        found.append(LitSample(f"p{index}", image, light / light.sum(), mask, "lamp" if index < 6 else "sun"))
    return found


@pytest.mark.parametrize("masked", [False, True])
def test_a_network_that_is_right_errs_like_the_right_class(tmp_path: Path, masked: bool) -> None:
    answers = answer_all(samples(masked), AlwaysRight(), "srgb", centroids())
    table = {row.method: row for row in rows(answers, centroids())}
    assert table[NETWORK].accuracy == 1 and table[NETWORK].angles == table[ORACLE].angles
    assert set(METHODS) < set(table)
    assert table["grey-world"].angles.mean < 2  # the pictures are grey; the masked half is green
    assert table["no correction"].angles.mean > 10
    groups = {name: count for name, count, _ in by_group(answers, centroids())}
    assert groups == {"lamp": 6, "sun": 6}
    assert text_table(list(table.values())).count("\n") == len(table)
    assert markdown_table(list(table.values())).count("|\n") == len(table) + 1
    write_answers(answers, centroids(), tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 13
    write_error_plot(answers, "title", tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")).shape[0] > 300


def test_masked_pixels_become_the_mean_of_the_others() -> None:
    image = np.zeros((2, 2, 3), np.float32)
    image[0] = 0.5
    mask = np.array([[True, True], [False, False]])
    assert (without_masked(image, mask) == 0.5).all()
    with pytest.raises(ValueError, match="masked out"):
        without_masked(image, np.zeros((2, 2), bool))


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(UserError, match="no picture"):
        answer_all([], AlwaysRight(), "srgb", centroids())


def test_answer_by_class_and_by_mixture() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25]]))
    rgb = centroids().array
    assert np.allclose(answered_lights(logits, rgb), rgb[:1])
    assert np.allclose(answered_lights(logits, rgb, "mixture"), [[0.5, 0.25, 0.25]] @ rgb)
    data = {"light": rgb[:1], "centroids": rgb}
    assert calculate_centroid_angle({"illuminant": logits}, data) == pytest.approx(0)
    with pytest.raises(UserError, match="light"):
        calculate_centroid_angle({"illuminant": logits}, {"centroids": rgb})
    assert MIXTURE != NETWORK
