"""The option names of the recipe that people use for colour fine-tuning already: a file with them runs unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.basicsr.tiny_run import make_project, run_here, write_options
from tests.basicsr.upstream_files import NAFNET_OPTIONS, nafnet_shapes, state_dict

RECIPE = {
    "type": "ColorAwareLoss",
    "loss_weight": 1.0,
    "rgb_weight": 1.0,
    "cbcr_weight": 0.25,
    "chroma_threshold": 0.06,
    "mask_type": "hard",
    "mask_strength": 25.0,
    "eps": "1e-6",  # without a dot, so a text to YAML
}


@pytest.mark.parametrize("mask_type", ["hard", "sigmoid"])
def test_file_with_the_known_names_fine_tunes_an_official_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask_type: str
) -> None:
    make_project(tmp_path)
    torch.save({"params": state_dict(nafnet_shapes())}, tmp_path / "NAFNet.pth")
    options = write_options(
        tmp_path / "color.yml",
        model_type="ImageRestorationModel",
        plugins=["plugins.color_fidelity"],
        network_g=NAFNET_OPTIONS,
        path__pretrain_network_g="NAFNet.pth",
        train__pixel_opt={**RECIPE, "mask_type": mask_type},
        train__ema_decay=0,
        train__total_iter=4,
    )
    run_here(monkeypatch, tmp_path, options)
    (path,) = (tmp_path / "experiments" / "tiny").glob("train_*.log")
    text = path.read_text()
    assert "FINE-TUNING" in text and "pixel_opt/rgb: " in text and "pixel_opt/cbcr: " in text
