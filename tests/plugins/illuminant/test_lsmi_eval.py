"""Evaluation on LSMI scenes: what belongs together, what is answered, what is drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import make_centroids
from plugins.illuminant.lsmi_eval import (
    NETWORK_ROW,
    EvalOptions,
    evaluate,
    markdown_table,
    mean_figures,
    region_answer,
    scene_answers,
    write_tables,
)
from plugins.illuminant.lsmi_eval_files import (
    Networks,
    Scene,
    choose_rows,
    make_scene,
    open_networks,
    read_scenes,
)
from plugins.illuminant.lsmi_mask_files import MaskFile, read_mask_file
from plugins.illuminant.lsmi_scores import FIGURES, TRIVIAL_ROWS, score
from plugins.illuminant.overlay import OverlayRow, class_colors, contact_sheet, paint
from tests.plugins.illuminant.lsmi_eval_kit import CENTROIDS, ordinal_network, write_network, write_scenes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def first_scene(files: tuple[Path, Path], side: int = 160) -> tuple[Scene, MaskFile]:
    masks, root = files
    rows = choose_rows(masks, None, 1)
    return next(read_scenes(masks, root, rows, side)), read_mask_file(masks / rows[0].npz)


class TruthNetwork(torch.nn.Module):
    """Answers with given shares."""

    def __init__(self, shares: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self.shares = torch.from_numpy(shares.astype(np.float32))
        self.seen: torch.Tensor | None = None

    def predict_shares(self, image: torch.Tensor) -> torch.Tensor:
        self.seen = image
        return self.shares.movedim(-1, 0)[None]


def networks(mask_network: torch.nn.Module | None = None, encoding: str = "linear") -> Networks:
    return Networks(ordinal_network(), encoding, mask_network, encoding, CENTROIDS.names)


def test_a_network_that_sees_warm_and_cool_beats_every_answer_that_looks_at_nothing(files: tuple[Path, Path]) -> None:
    scene, _ = first_scene(files)
    options = EvalOptions(("gradcam", "confidence"), ("none", "guided"), classes="all", top_k=8)
    result = next(evaluate(iter([scene]), 1, networks(TruthNetwork(scene.truth)), options, lambda *_: None))
    rows = result.figures
    assert list(rows)[: len(TRIVIAL_ROWS)] == list(TRIVIAL_ROWS)
    assert list(rows)[len(TRIVIAL_ROWS) :] == [
        "gradcam", "gradcam + guided", "confidence", "confidence + guided", NETWORK_ROW,
    ]  # fmt: skip
    for name in ("confidence", "confidence + guided"):
        blind = ("all ones", "uniform", "random", "global class")
        assert rows[name]["miou_shares"] > 0.6 > max(rows[row]["miou_shares"] for row in blind)
        assert rows[name]["soft_mae"] < min(rows[row]["soft_mae"] for row in blind)
        assert rows[name]["spearman"] > 0.6 and rows[name]["region_auc"] > 0.9
    assert rows[NETWORK_ROW]["miou_shares"] == 1 and rows[NETWORK_ROW]["soft_mae"] == pytest.approx(0, abs=1e-6)


def test_top2_leaves_the_other_classes_out(files: tuple[Path, Path]) -> None:
    scene, _ = first_scene(files)
    answers = scene_answers(scene, networks(), EvalOptions(("gradcam++",), ("none",)))
    answer = answers["gradcam++"]
    assert (answer.maps.max((1, 2)) > 0).sum() <= 2 and set(np.flatnonzero(answer.maps.max((1, 2)))) <= set(answer.top)
    np.testing.assert_allclose(answer.shares.sum(-1), 1, atol=1e-5)
    global_class = answers["global class"].shares
    assert (global_class[..., answer.top[0]] == 1).all()


def test_an_srgb_network_is_fed_the_srgb_curve(files: tuple[Path, Path]) -> None:
    scene, _ = first_scene(files)
    net = TruthNetwork(scene.truth)
    for encoding in ("linear", "srgb"):
        scene_answers(scene, Networks(None, "", net, encoding, CENTROIDS.names), EvalOptions())
        assert net.seen is not None
        fed = net.seen[0].numpy().transpose(1, 2, 0)
        bright = scene.image > 0.0031308
        expected = 1.055 * scene.image ** (1 / 2.4) - 0.055 if encoding == "srgb" else scene.image
        np.testing.assert_allclose(fed[bright], expected[bright], atol=1e-5)


def test_masks_shrink_over_their_valid_pixels(files: tuple[Path, Path]) -> None:
    whole, masks = first_scene(files)
    scene = make_scene("x", whole.image, masks, 120)
    assert scene.truth.shape == (75, 120, 5) and scene.image.shape == (75, 120, 3)
    np.testing.assert_allclose(scene.truth[scene.valid].sum(-1), 1, atol=1e-4)
    assert not scene.valid[:6, :6].any() and scene.truth[~scene.valid].max() == 0
    left, right = scene.truth[40, 5], scene.truth[40, 115]
    assert left[4] > 0.99 and right[0] > 0.99
    with pytest.raises(UserError, match="need 65 x 65"):
        make_scene("x", whole.image, masks, 100)


def test_networks_and_masks_must_belong_together(files: tuple[Path, Path], tmp_path: Path) -> None:
    _, masks = first_scene(files)
    linear, srgb = write_network(tmp_path / "a.pth"), write_network(tmp_path / "b.pth", "srgb")
    assert open_networks([linear], masks, False).class_encoding == "linear"
    assert open_networks([srgb], masks, True).class_encoding == "srgb"
    with pytest.raises(UserError, match="--encode-srgb encodes"):
        open_networks([srgb], masks, False)
    with pytest.raises(UserError, match="leave --encode-srgb out"):
        open_networks([linear], masks, True)
    with pytest.raises(UserError, match="second IlluminantCNN"):
        open_networks([linear, linear], masks, False)
    with pytest.raises(UserError, match="none given"):
        open_networks([], masks, False)
    turned = make_centroids(CENTROIDS.array[:, ::-1] ** 1.1, [1] * 5, "nikon")
    with pytest.raises(UserError, match="not those of the masks"):
        open_networks([write_network(tmp_path / "c.pth", centroids=turned)], masks, False)
    other = make_centroids(CENTROIDS.array, [1] * 5, "sony")
    with pytest.raises(UserError, match="sensor 'sony'"):
        open_networks([write_network(tmp_path / "d.pth", centroids=other)], masks, False)


def test_splits_and_limits(files: tuple[Path, Path]) -> None:
    masks, _ = files
    assert [row.split for row in choose_rows(masks, None, None)] == ["val", "test"]
    assert [row.image_id for row in choose_rows(masks, "test", 5)] == ["Place1_12"]
    assert len(choose_rows(masks, None, 1)) == 1
    with pytest.raises(UserError, match="there are: test, val"):
        choose_rows(masks, "train", None)


@pytest.mark.parametrize(
    "wrong", [{"methods": ("lime",)}, {"refinements": ("median",)}, {"classes": "best"}, {"methods": ()}]
)
def test_wrong_options_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="there are"):
        EvalOptions(**wrong)


def test_means_leave_out_what_has_no_meaning(tmp_path: Path) -> None:
    nothing = dict.fromkeys(FIGURES, float("nan"))
    some = dict.fromkeys(FIGURES, 0.75)
    tables = {"a": {"oracle": nothing, "gradcam": nothing}, "b": {"oracle": some, "gradcam": some}}
    means = mean_figures(list(tables.values()))
    assert means["gradcam"]["spearman"] == 0.75
    assert "0.750" in markdown_table(means) and "above 0.5 in 1 of 1 scenes" in region_answer(
        means, list(tables.values())
    )
    assert math.isnan(mean_figures([tables["a"]])["oracle"]["spearman"]) and " - " in markdown_table({"x": nothing})
    write_tables(tmp_path, tables, {"side": 9})
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["means"]["gradcam"]["soft_mae"] == 0.75 and content["by_scene"]["a"]["oracle"]["soft_mae"] is None
    lines = (tmp_path / "figures.csv").read_text().splitlines()
    assert lines[0] == "scene,row," + ",".join(FIGURES) and len(lines) == 5 and lines[4].startswith("b,gradcam,0.75")


def test_paint_shows_the_class_where_it_is_and_the_picture_elsewhere() -> None:
    picture, maps = np.full((4, 6, 3), 0.4), np.zeros((5, 4, 6))
    maps[0, :, :2], maps[4, :, 4:] = 1, 1
    painted = paint(picture, maps)
    assert painted[0, 0, 2] > painted[0, 0, 0] + 0.2 and painted[0, 5, 0] > painted[0, 5, 2] + 0.2
    assert np.ptp(painted[0, 2]) < 1e-6
    assert len({tuple(color) for color in class_colors(7)}) == 7 and class_colors(1).shape == (1, 3)


def test_contact_sheet_has_a_tile_for_every_answer(files: tuple[Path, Path]) -> None:
    scene, _ = first_scene(files)
    maps = scene.truth.transpose(2, 0, 1)
    row = OverlayRow("Plätze/1", scene.display, {"truth": maps, "gradcam": 0 * maps})
    one, two = contact_sheet([row], CENTROIDS.names), contact_sheet([row, row], CENTROIDS.names)
    assert one.dtype == np.uint8 and two.shape[0] > 1.7 * one.shape[0] and two.shape[1] == one.shape[1]
    assert score(scene_answers(scene, networks(), EvalOptions(("confidence",)))["oracle"], scene.truth, scene.valid)
