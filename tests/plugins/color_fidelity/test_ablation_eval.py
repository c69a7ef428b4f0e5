"""Judging: what is measured is what would be saved; the cache; averaged weights; networks with context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.archs.nafnet_arch import NAFNet
from basicsr.engine.checkpoint import save_weights
from basicsr.engine.image_io import read_image
from basicsr.utils.registry import ARCH_REGISTRY
from plugins.color_fidelity import ablation_eval
from plugins.color_fidelity.ablation import BASELINE_ROW, INPUT_ROW
from plugins.color_fidelity.ablation_eval import Entrant, Judge, Judged, entrants
from plugins.color_fidelity.fidelity import measure
from tests.plugins.color_fidelity.ablation_kit import ROWS, tiny_sheet

NETWORK = {"type": "NAFNet", "width": 2, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}
CPU = torch.device("cpu")


def weights(path: Path, network: dict[str, Any] = NETWORK, ema: bool = True) -> Path:
    torch.manual_seed(1)
    plain, averaged = build_network(network), build_network(network)
    for net in (plain, averaged):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    save_weights(path, {"params": plain.state_dict(), **({"params_ema": averaged.state_dict()} if ema else {})})
    return path


def judge(root: Path, *everyone: Entrant, **options: Any) -> tuple[list[Judged], list[str]]:
    said: list[str] = []
    return Judge(tiny_sheet(root, ROWS), CPU, said.append, **options).judge(everyone), said


def test_figures_are_those_of_the_saved_images(tmp_path: Path) -> None:
    run = Entrant("own", 0, "own_s0", weights(tmp_path / "w.pth"), NETWORK)
    (found,), _ = judge(tmp_path, run, jobs=2, save=tmp_path / "images")
    assert list(found.images) == ["0", "1", "2"] and (found.set, found.section) == ("Val", "params_ema")
    for name, figures in found.images.items():
        saved = read_image(tmp_path / "images" / "own_s0" / "Val" / f"{name}.png")
        target = read_image(tmp_path / "data" / "val_gt" / f"{name}.png")
        np.testing.assert_equal(figures, measure(saved, target))


def test_images_of_one_name_in_two_folders_are_two_images() -> None:
    assert ablation_eval.image_names(["/gt/a/1.png", "/gt/a/2.png", "/gt/a/1.png"]) == ["1", "2", "1"]
    assert ablation_eval.image_names(["/gt/a/1.png", "/gt/b/1.png"]) == ["a/1.png", "b/1.png"]
    assert ablation_eval.image_names(["/gt/1.png", "/gt/1.jpg"]) == ["1.png", "1.jpg"]


def test_input_row_measures_the_untouched_input(tmp_path: Path) -> None:
    (found,), _ = judge(tmp_path, Entrant(INPUT_ROW, None, INPUT_ROW))
    expected = measure(*(read_image(tmp_path / "data" / kind / "1.png") for kind in ("val_lq", "val_gt")))
    np.testing.assert_equal(found.images["1"], expected)


def test_second_judgement_is_read_from_the_cache_until_weights_or_photos_change(tmp_path: Path) -> None:
    run = Entrant("own", 0, "own_s0", weights(tmp_path / "w.pth"), NETWORK)
    (first,), said = judge(tmp_path, run)
    assert len(said) == 1
    (second,), said = judge(tmp_path, run)
    np.testing.assert_equal(second, first)
    assert said == []
    weights(tmp_path / "w.pth", ema=False)
    (third,), said = judge(tmp_path, run)
    assert len(said) == 1 and third.section == "params" and third.checksum != first.checksum
    image = tmp_path / "data" / "val_lq" / "0.png"
    cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
    assert len(judge(tmp_path, run)[1]) == 1


def test_weights_that_do_not_fit_are_left_out_and_named(tmp_path: Path) -> None:
    runs = [Entrant("own", 0, "own_s0", weights(tmp_path / "w.pth"), {**NETWORK, "width": 4})]
    runs.append(Entrant(INPUT_ROW, None, INPUT_ROW))
    found, said = judge(tmp_path, *runs)
    assert [item.row for item in found] == [INPUT_ROW]
    assert any("own_s0 is left out" in line and "does not fit" in line for line in said)


class ContextNet(NAFNet):
    """A network that needs the whole photo: its answer depends on the mean of everything it is given."""

    def forward(self, inp: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        mean = (inp if context is None else context).mean(dim=(2, 3), keepdim=True)
        return super().forward((inp - mean).abs())


def test_networks_with_context_get_the_whole_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "ContextNet", ContextNet)
    network = {**NETWORK, "type": "ContextNet"}
    run = Entrant("own", 0, "own_s0", weights(tmp_path / "w.pth", network), network)
    judge(tmp_path, run, save=tmp_path / "images")
    net = ContextNet(width=2, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1]).eval()
    net.load_state_dict(torch.load(tmp_path / "w.pth")["params_ema"])
    lq = torch.from_numpy(read_image(tmp_path / "data" / "val_lq" / "2.png")).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = (net(lq)[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    saved = read_image(tmp_path / "images" / "own_s0" / "Val" / "2.png")
    assert np.abs(saved.astype(int) - expected).max() <= 1


def test_baseline_is_what_all_start_from_unless_named_or_switched_off(tmp_path: Path) -> None:
    start = weights(tmp_path / "start.pth")
    rows = {name: {**item, "path": {"pretrain_network_g": str(start)}} for name, item in ROWS.items()}
    options = {"own": {"network_g": NETWORK, "path": {"param_key_g": "params"}}}

    def baseline(settings: dict[str, Any]) -> Entrant | None:
        sheet = tiny_sheet(tmp_path, rows, settings)
        return next((e for e in entrants(sheet, options, []) if e.row == BASELINE_ROW), None)

    assert baseline({}) == Entrant(BASELINE_ROW, None, BASELINE_ROW, start, NETWORK, "params")
    other = baseline({"baseline": str(tmp_path / "other.pth")})
    assert other is not None and (other.weights, other.param_key) == (tmp_path / "other.pth", "params_ema")
    assert baseline({"baseline": False}) is None
    keyed = baseline({"param_key": "params_ema"})
    assert keyed is not None and keyed.param_key == "params_ema"


def test_sixteen_bit_targets_keep_their_depth() -> None:
    deep = torch.full((3, 2, 2), 0.5003)
    assert ablation_eval._pixels(deep).dtype == np.float32
    assert ablation_eval._pixels(torch.full((3, 2, 2), 127 / 255)).dtype == np.uint8
