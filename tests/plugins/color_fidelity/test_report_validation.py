"""What a colour run's validation gives to TensorBoard, set by set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from basicsr.models import build_model
from plugins.color_fidelity import fidelity_metric  # noqa: F401
from plugins.color_fidelity.report_images import colored
from tests.basicsr.models.model_kit import loader, options

SIZE = (24, 30)
METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 0, "better": "higher"},
    "de00_p95": {"type": "calculate_delta_e00", "stat": "p95", "better": "lower"},
    "sat_ratio": {"type": "calculate_sat_ratio", "better": "higher"},
    "hue": {"type": "calculate_hue_error", "better": "lower"},
}


class Colors(torch.utils.data.Dataset[dict[str, Any]]):
    """Images of one colour; the network returns its input, which is ``errors[k]`` from the target."""

    def __init__(self, name: str, errors: list[float]) -> None:
        self.opt = {"name": name, "phase": "val"}
        self.errors = errors

    def __len__(self) -> int:
        return len(self.errors)

    def __getitem__(self, index: int) -> dict[str, Any]:
        gt = torch.tensor([0.7, 0.4, 0.3]).view(3, 1, 1).expand(3, *SIZE)
        lq = gt + self.errors[index] * torch.tensor([-1.0, 0.3, 0.5]).view(3, 1, 1)
        return {"lq": lq, "gt": gt, "lq_path": f"lq/{index}.png", "gt_path": f"gt/{index}.png"}


class Board:
    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}
        self.images: dict[str, np.ndarray[Any, Any]] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars[tag] = value

    def add_image(self, tag: str, image: Any, step: int, dataformats: str) -> None:
        self.images[tag] = image


def model(tb_images: int = 2) -> Any:
    opt = options(None, model_type="ImageRestorationModel", val__tb_images=tb_images, val__best_metric="de00_p95")
    opt["val"]["metrics"] = METRICS
    built: Any = build_model(opt)
    with torch.no_grad():
        built.net_g.body.weight.zero_()
        built.net_g.body.bias.zero_()
        for channel in range(3):
            built.net_g.body.weight[channel, channel, 1, 1] = 1
    return built


def test_every_set_gets_every_colour_figure() -> None:
    built, board = model(), Board()
    for name, errors in (("held-out", [0.0, 0.05]), ("stress", [0.1, 0.2])):
        built.validation(loader(Colors(name, errors)), 5, board, False)
    assert set(board.scalars) == {f"metrics/{name}/{label}" for name in ("held-out", "stress") for label in METRICS}
    assert board.scalars["metrics/stress/sat_ratio"] < board.scalars["metrics/held-out/sat_ratio"] < 1


def test_previews_end_in_the_difference_map_and_the_worst_images_get_a_sheet() -> None:
    built, board = model(), Board()
    built.validation(loader(Colors("stress", [0.0, 0.02, 0.2, 0.01, 0.1])), 5, board, False)
    assert sorted(board.images) == ["validation/stress/0", "validation/stress/1", "worst/stress"]
    height, width = SIZE
    first = board.images["validation/stress/0"]
    assert first.shape == (height, 4 * width, 3) and first[5, -5].tolist() == colored(np.zeros(1, np.uint8))[0].tolist()
    sheet = board.images["worst/stress"]
    assert sheet.shape == (2 * (height + 26), 4 * width, 3)
    tops = [sheet[26 + height // 2, -5], sheet[2 * 26 + height + height // 2, -5]]
    assert tops[0].tolist() == [252, 255, 164]  # 0.2 is off the scale
    output = [sheet[top, width + 5, 0] for top in (30, 2 * 26 + height + 4)]
    assert output == pytest.approx([255 * 0.5, 255 * 0.6], abs=1)


def test_no_previews_where_none_are_asked_for() -> None:
    built, board = model(tb_images=0), Board()
    built.validation(loader(Colors("stress", [0.0, 0.2])), 5, board, False)
    assert board.images == {} and len(board.scalars) == len(METRICS)
