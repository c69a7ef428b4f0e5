"""The option files that come with the project: all pass the strict check, and the demo's comparison is fair."""

from pathlib import Path
from typing import Any

import pytest

from basicsr.engine.options_merge import load_options
from basicsr.engine.options_sections import check_options

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path for path in (ROOT / "options").rglob("*.yml") if "color" in path.name or "nafnet" in path.name)


def plain(name: str) -> dict[str, Any]:
    return dict(load_options(ROOT / "options" / name).root.plain())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_option_file_passes_strict_check(path: Path) -> None:
    report = check_options(load_options(path), ROOT, True, paths=False)
    assert not report.errors


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_option_file_has_relative_paths_only(path: Path) -> None:
    assert not [line for line in path.read_text(encoding="utf-8").splitlines() if ": /" in line]


def test_baseline_is_what_the_plan_records() -> None:
    opt = plain("nafnet_fast.yml")
    network, train, data = opt["network_g"], opt["train"], opt["datasets"]["train"]
    assert (network["width"], network["middle_blk_num"]) == (32, 12)
    assert (network["enc_blk_nums"], network["dec_blk_nums"]) == ([2, 2, 4, 8], [2, 2, 2, 2])
    assert (data["gt_size"], data["batch_size_per_gpu"], data["dataset_enlarge_ratio"]) == (256, 20, 50)
    assert data["use_hflip"] and data["use_rot"]
    assert train["optim_g"] == {"type": "AdamW", "lr": 1e-3, "weight_decay": 1e-4, "betas": [0.9, 0.9]}
    assert train["scheduler"]["periods"] == [12000] and train["scheduler"]["eta_min"] == 1e-7
    assert (train["total_iter"], train["warmup_iter"], train["grad_clip"]) == (12000, 200, 0.01)
    assert train["pixel_opt"]["type"] == "L1Loss" and train["perceptual_opt"]["perceptual_weight"] == 0.1


def test_continued_baseline_and_fine_tune_differ_only_in_loss_and_crops() -> None:
    own, color = plain("demo/nafnet_demo_continued.yml"), plain("demo/nafnet_demo_color_ft.yml")
    for key in ("network_g", "path", "manual_seed", "num_gpu", "model_type", "scale"):
        assert own[key] == color[key], key
    assert {k: v for k, v in own["train"].items() if k != "pixel_opt"} == {
        k: v for k, v in color["train"].items() if k != "pixel_opt"
    }
    allowed = {"type", "meta_info_file", "chroma_crop_prob", "jitter_prob"}
    first, second = own["datasets"]["train"], color["datasets"]["train"]
    assert {k: v for k, v in first.items() if k not in allowed} == {k: v for k, v in second.items() if k not in allowed}
    assert color["datasets"]["train"]["jitter_prob"] == 0.0
    for entry in ("val", "val_2"):
        assert own["datasets"][entry] == color["datasets"][entry]
