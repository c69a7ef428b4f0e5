"""Photos of things on white paper, and the tool that measures on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import angle_degrees, make_centroids
from plugins.illuminant.checkpoint import IlluminantRecord, save_network
from plugins.illuminant.eval_samples import PaperSet, dataset_samples, read_groups
from plugins.illuminant.illuminant_cnn_arch import IlluminantCNN
from tests.basicsr.tiny_run import ROOT, environment

LIGHT = np.array([0.38, 0.34, 0.28])


def write_photo(path: Path, seed: int) -> None:
    """A dark red and a green thing on paper under a warm light, with a little noise."""
    rng = np.random.default_rng(seed)
    linear = np.full((240, 320, 3), 0.7) * np.linspace(0.85, 1, 320)[None, :, None]
    linear[60:160, 80:150] = (0.35, 0.03, 0.03)
    linear[90:180, 190:260] = (0.02, 0.25, 0.05)
    linear = linear * LIGHT / LIGHT.max() + rng.normal(0, 0.002, linear.shape)
    srgb = np.clip(linear, 0, 1) ** (1 / 2.2)
    cv2.imwrite(str(path), (srgb[..., ::-1] * 255).round().astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        write_photo(folder / f"{index}.png", index)
    cv2.imwrite(str(folder / "noise.png"), np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    return folder


def test_truth_is_the_papers_colour_and_no_paper_is_shown(photos: Path) -> None:
    paper = PaperSet(photos, {"0.png": "lamp"}, size=64)
    found = list(paper.samples())
    assert [sample.name for sample in found] == ["0.png", "1.png", "2.png"]
    assert found[0].group == "lamp" and found[1].group == ""
    assert set(paper.refused) == {"noise.png", "broken.jpg"}
    for sample in found:
        assert angle_degrees(sample.light, LIGHT) < 2
        assert sample.image.shape == (64, 64, 3) and sample.mask is not None
        assert sample.image[sample.mask].max() < 0.7  # the paper is brighter in every channel but the things' own
        assert sample.image.mean(-1).max() < 0.5


def test_a_table_of_groups_with_one_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("file\na.png\n")
    with pytest.raises(UserError, match="g.csv: every line needs two fields"):
        read_groups(tmp_path / "g.csv")
    with pytest.raises(UserError, match="none.csv: cannot be read"):
        read_groups(tmp_path / "none.csv")


def test_an_entry_that_is_no_illuminant_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / "o.yml").write_text("datasets: {val: {type: PairedImageDataset, name: x}}\n")
    with pytest.raises(UserError, match="datasets.val is no IlluminantDataset; the file has val"):
        next(dataset_samples(tmp_path / "o.yml", "val", tmp_path))


def run_tool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "eval_illuminant.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)


def test_the_tool_prints_a_table_and_writes_answers_and_plot(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lights = np.array([[0.2, 0.3, 0.5], LIGHT, [0.6, 0.3, 0.1]])
    classes = make_centroids(lights, [1, 1, 1], "sRGB", ("Cool", "Neutral", "Warm"))
    options = {"type": "IlluminantCNN", "num_classes": 3, "pool": "avg"}
    weights = tmp_path / "w.pth"
    network = IlluminantCNN(3, "avg")
    save_network(weights, network, IlluminantRecord("srgb", classes, options, 65))
    done = run_tool("--weights", weights, "--paper", photos, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "3 pictures, 2 left out" in done.stdout and "shades-of-grey" in done.stdout
    assert len((tmp_path / "out" / "answers.csv").read_text().splitlines()) == 4
    assert (tmp_path / "out" / "errors.png").stat().st_size > 5000
    save_network(weights, network, IlluminantRecord("linear", classes, options, 65))
    refused = run_tool("--weights", weights, "--paper", photos, "--out", tmp_path / "out2")
    assert refused.returncode == 2 and "photos on paper are sRGB" in refused.stderr
    assert not (tmp_path / "out2").exists()
