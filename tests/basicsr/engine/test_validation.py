"""Validation: figures, files, log, TensorBoard, best values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from basicsr.engine.best_metrics import BestMetrics
from basicsr.engine.validation import prefetched, shard
from basicsr.engine.validation_images import thumbnail, to_image
from basicsr.engine.validation_report import SetResult, log_text, summarise
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import METRIC_REGISTRY
from tests.basicsr.models.model_kit import KitSet, loader, logged, options


def identity(folder: Path | None = None, **changes: Any) -> Any:
    """A model whose network returns its input."""
    model: Any = build_model(options(folder, **changes))
    with torch.no_grad():
        model.net_g.body.weight.zero_()
        model.net_g.body.bias.zero_()
        for channel in range(3):
            model.net_g.body.weight[channel, channel, 1, 1] = 1
    return model


class Board:
    def __init__(self) -> None:
        self.scalars: dict[str, tuple[float, int]] = {}
        self.images: dict[str, np.ndarray[Any, Any]] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars[tag] = (value, step)

    def add_image(self, tag: str, image: Any, step: int, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.images[tag] = image


def calculate_kit(img: Any, img2: Any, value: str = "max", **kwargs: Any) -> float:
    return {
        "max": float(img.max()),
        "nan": math.nan,
        "float": float(img.dtype == np.float32),
        "blue": float(img[0, 0, 0]),
    }[value]


if "calculate_kit" not in METRIC_REGISTRY:
    METRIC_REGISTRY.register(calculate_kit)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 3.0], SetResult(2.0, 2)),
        ([1.0, math.inf, 3.0], SetResult(2.0, 2, infinite=1)),
        ([math.nan, 4.0], SetResult(4.0, 1, undefined=1)),
        ([math.inf, math.inf], SetResult(math.inf, 0, infinite=2)),
    ],
)
def test_an_infinite_value_does_not_poison_a_mean(values: list[float], expected: SetResult) -> None:
    assert summarise(values) == expected


def test_nothing_but_undefined_is_undefined() -> None:
    assert math.isnan(summarise([math.nan]).mean) and math.isnan(summarise([math.inf, -math.inf]).mean)


def test_log_block_has_upstreams_form() -> None:
    best = {"psnr": {"better": "higher", "val": 31.5, "iter": 4}}
    text = log_text("Set5", {"psnr": 30.123456, "ssim": 0.9}, best, {"psnr": summarise([30.0, math.inf]).note})
    assert text == (
        "Validation Set5\n\t # psnr: 30.1235\tBest: 31.5000 @ 4 iter\t(of 2 images 1 infinite, not in the mean)\n"
        "\t # ssim: 0.9000\n"
    )


def test_equal_images_do_not_hide_the_others(tmp_path: Path) -> None:
    model = identity(tmp_path)
    data = KitSet(3)
    original = data[1]
    data.__class__ = type(
        "Mixed",
        (KitSet,),
        {"__getitem__": lambda self, i: {**original, "lq": original["gt"]} if i else KitSet.__getitem__(self, 0)},
    )
    with logged() as messages:
        model.validation(loader(data), 1, None, False)
    assert math.isfinite(model.metric_results["psnr"]) and "of 3 images 2 infinite" in messages[-1]


def test_best_value_and_checkpoint_follow_better_and_the_first_metric() -> None:
    opt = options(datasets={"val": {"name": "A"}, "val_2": {"name": "B"}})
    opt["val"]["metrics"] = {"psnr": {"type": "x"}, "de": {"type": "y", "better": "lower"}}
    best = BestMetrics(opt)
    for name in ("A", "B"):
        best.begin(name)
    best.update("A", "de", 2.0, 1)
    best.update("B", "psnr", 9.0, 1)
    assert not best.improved and best.watched() == ("A", "psnr")
    best.update("A", "psnr", 30.0, 1)
    assert best.improved
    best.improved = False
    best.update("A", "psnr", 29.0, 2)
    best.update("A", "psnr", math.nan, 3)
    best.update("A", "de", 1.0, 2)
    best.update("A", "de", 3.0, 3)
    assert not best.improved
    assert best.results["A"]["psnr"] == {"better": "higher", "val": 30.0, "iter": 1}
    assert best.results["A"]["de"] == {"better": "lower", "val": 1.0, "iter": 2}


@pytest.mark.parametrize(
    ("chosen", "expected"), [("de", ("A", "de")), ("B/psnr", ("B", "psnr")), (None, ("A", "psnr"))]
)
def test_best_metric_option(chosen: str | None, expected: tuple[str, str]) -> None:
    opt = options(
        val__best_metric=chosen, datasets={"train": {"name": "T"}, "val": {"name": "A"}, "val_2": {"name": "B"}}
    )
    opt["val"]["metrics"] = {"psnr": {"type": "x"}, "de": {"type": "y"}}
    assert BestMetrics(opt).watched() == expected


def test_best_weights_are_due_once_and_written(tmp_path: Path) -> None:
    model = identity(tmp_path)
    model.validation(loader(KitSet()), 2, None, False)
    assert model.best_checkpoint_due and model.best_metric_results["Kit"]["psnr"]["iter"] == 2
    model.save_best(0, 2)
    assert not model.best_checkpoint_due and (tmp_path / "models" / "net_g_best.pth").is_file()


def test_two_sets_with_equal_image_names_do_not_overwrite_each_other(tmp_path: Path) -> None:
    model = identity(tmp_path, datasets={"val": {"name": "A"}, "val_2": {"name": "B"}})
    for name in ("A", "B"):
        model.validation(loader(KitSet(1, name)), 4, None, True)
    assert sorted(path.relative_to(tmp_path / "visualization").as_posix() for path in tmp_path.rglob("*.png")) == [
        "A/0/0_4.png",
        "B/0/0_4.png",
    ]


def test_one_set_keeps_upstreams_folders_and_the_file_holds_the_output(tmp_path: Path) -> None:
    model = identity(tmp_path, datasets={"val": {"name": "A"}}, val__save_gt=True)
    data = KitSet(1)
    model.validation(loader(data), 4, None, True)
    folder = tmp_path / "visualization" / "0"
    assert sorted(path.name for path in folder.iterdir()) == ["0_4.png", "0_4_gt.png"]
    expected = (data[0]["lq"].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    assert np.array_equal(cv2.imread(str(folder / "0_4.png")), expected)


def test_testing_names_files_by_suffix_or_experiment(tmp_path: Path) -> None:
    model = identity(tmp_path, is_train=False, val__save_gt=True)
    model.validation(loader(KitSet(1)), "kit", None, True)
    model.opt["val"]["suffix"] = "x4"
    with logged() as messages:
        model.validation(loader(KitSet(1)), "kit", None, True)
    names = sorted(path.relative_to(tmp_path / "visualization").as_posix() for path in tmp_path.rglob("*.png"))
    assert names == ["Kit/0_kit.png", "Kit/0_kit_gt.png", "Kit/0_x4.png", "Kit/0_x4_gt.png"]
    assert "Best" not in messages[-1]


def test_tensorboard_gets_figures_and_side_by_side_images_of_the_first_ones() -> None:
    model, board = identity(val__tb_images=2), Board()
    model.validation(loader(KitSet()), 7, board, False)
    assert board.scalars["metrics/Kit/psnr"] == (model.metric_results["psnr"], 7)
    assert {tag: image.shape for tag, image in board.images.items()} == {
        "validation/Kit/0": (12, 42, 3),
        "validation/Kit/1": (14, 42, 3),
    }


def test_previews_are_scaled_down_and_the_input_to_the_outputs_size() -> None:
    big = torch.rand(3, 1024, 256)
    preview = thumbnail({"lq": big[:, ::4, ::4], "result": big, "gt": big})
    assert preview.shape == (512, 3 * 128, 3) and preview.dtype == np.uint8


def test_metrics_see_8_bit_bgr_or_exact_floats() -> None:
    model = identity()
    model.opt["val"]["metrics"] = {
        "f": {"type": "calculate_kit", "value": "float"},
        "b": {"type": "calculate_kit", "value": "blue"},
    }
    data = KitSet(1)
    blue = float(data[0]["lq"][2, 0, 0]) * 255
    model.validation(loader(data), 1, None, False)
    assert model.metric_results == {"f": 0.0, "b": round(blue)}
    model.opt["val"]["use_image"] = False
    model.validation(loader(data), 1, None, False)
    assert model.metric_results["f"] == 1.0 and model.metric_results["b"] == pytest.approx(blue, abs=1e-3)
    model.opt["val"]["rgb2bgr"] = False
    model.validation(loader(data), 1, None, False)
    assert model.metric_results["b"] == pytest.approx(float(data[0]["lq"][0, 0, 0]) * 255, abs=1e-3)
    assert to_image(torch.full((3, 2, 2), 2.0), exact=True).max() == 255


def test_grids_and_self_ensemble_change_nothing_for_a_pointwise_network() -> None:
    plain, data = identity(), KitSet(2)
    plain.validation(loader(data), 1, None, False)
    for val in ({"grids": True, "crop_size_h": 6, "crop_size_w": 6, "max_minibatch": 2}, {"self_ensemble": True}):
        model = identity()
        model.opt["val"].update(val)
        model.validation(loader(data), 1, None, False)
        assert model.metric_results["psnr"] == pytest.approx(plain.metric_results["psnr"], rel=1e-6)


def test_a_set_without_targets_gets_images_but_no_comparison(tmp_path: Path) -> None:
    model = identity(tmp_path)
    model.validation(loader(KitSet(1)), 1, None, False)
    with logged() as messages:
        model.validation(loader(KitSet(2, "Bare", target=False)), 1, None, True)
    assert math.isnan(model.metric_results["psnr"]) and any("no" in m and "target" in m for m in messages)
    assert len(list(tmp_path.rglob("*.png"))) == 2 and not hasattr(model, "gt")


def test_a_network_that_puts_out_nan_is_reported_and_scores_badly() -> None:
    model = identity()
    with torch.no_grad():
        model.net_g.body.bias.fill_(float("nan"))
    with logged() as messages:
        model.validation(loader(KitSet(1)), 1, None, False)
    assert any("not finite" in message for message in messages) and model.metric_results["psnr"] < 10


def test_validating_does_not_change_the_training(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    model: SRModel = identity(tmp_path)
    torch.set_rng_state(state)
    before = torch.rand(3)
    torch.set_rng_state(state)
    model.validation(loader(KitSet()), 1, None, False)
    assert torch.equal(torch.rand(3), before) and model.net_g.training


def test_the_pass_over_a_set_without_metrics_works() -> None:
    model = identity()
    model.opt["val"]["metrics"] = None
    model.validation(loader(KitSet(1)), 1, None, False)
    assert not hasattr(model, "metric_results") and not model.best_checkpoint_due


def test_shares_of_all_processes_are_the_whole_set() -> None:
    whole = loader(KitSet(5))
    assert shard(whole, 0, 1) is whole
    shares = [[batch["lq_path"][0] for batch in shard(whole, rank, 2)] for rank in (0, 1)]
    assert shares == [["/data/0.png", "/data/2.png", "/data/4.png"], ["/data/1.png", "/data/3.png"]]


def test_workers_read_where_the_options_ask_for_them() -> None:
    with_workers = shard(loader(KitSet(3)), 0, 1, workers=1)
    assert with_workers.num_workers == 1 and shard(with_workers, 0, 1, workers=0).num_workers == 1
    model = identity()
    model.opt["val"]["num_worker"] = 1
    model.validation(loader(KitSet(3)), 1, None, False)
    assert model.metric_results["psnr"] > 0


def test_prefetching_hands_errors_on() -> None:
    def broken() -> Any:
        yield 1
        raise OSError("/data/x.png: damaged")

    batches = prefetched(broken())
    assert next(batches) == 1
    with pytest.raises(OSError, match="x.png"):
        next(batches)
