"""Losses, metrics, model and validation of illuminant maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basicsr.data import build_dataloader, build_dataset
from basicsr.engine.errors import UserError
from basicsr.models import build_model
from plugins.illuminant import illuminant_map_model, illuminant_mask_dataset  # noqa: F401 - register
from plugins.illuminant.checkpoint import IlluminantRecord, load_network, save_network
from plugins.illuminant.illuminant_cnn_arch import IlluminantCNN
from plugins.illuminant.illuminant_map_loss import IlluminantAngleLoss, ShareCrossEntropyLoss, angle_map
from plugins.illuminant.illuminant_map_metric import (
    calculate_map_error,
    calculate_share_mae,
    calculate_single_light_error,
)
from plugins.illuminant.illuminant_unet_arch import light_of_output
from tests.plugins.illuminant.illuminant_map_kit import CENTROIDS, write_scenes

K = len(CENTROIDS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lsmi")
    write_scenes(folder, {"train": 3, "val": 2}, (40, 48))
    return folder


def shares(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, K, 6, 7, generator=generator).mul(2).softmax(1)


def test_right_shares_cost_nothing_and_wrong_ones_something() -> None:
    truth, valid = shares(), torch.ones(2, 1, 6, 7)
    loss = ShareCrossEntropyLoss()
    assert float(loss(truth.log(), truth, truth, valid)) == pytest.approx(0, abs=1e-6)
    assert float(loss(torch.zeros_like(truth), truth, truth, valid)) > 0.1
    logits = torch.randn(2, K + 2, 6, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(logits, truth, truth, valid), logits)
    expected = (logits[:, :K].softmax(1) - truth) / (2 * 42)
    torch.testing.assert_close(gradient[:, :K], expected.detach(), atol=1e-6, rtol=1e-4)
    assert not gradient[:, K:].any()


def test_unknown_pixels_and_other_light_do_not_count() -> None:
    truth, valid = shares(), torch.ones(2, 1, 6, 7)
    valid[:, :, :3] = 0
    logits = torch.zeros_like(truth)
    loss = ShareCrossEntropyLoss()
    before = float(loss(logits, truth, truth, valid))
    spoilt = logits.clone()
    spoilt[:, 0, :3] = 50
    assert float(loss(spoilt, truth, truth, valid)) == pytest.approx(before)
    # half of the light belongs to no class everywhere: the same answer is right
    assert float(loss(truth.log(), truth, truth * 0.5, valid)) == pytest.approx(0, abs=1e-6)
    assert float(loss(logits, truth, truth * 0, valid * 0)) == 0


def test_angle_loss_is_the_angle_and_its_gradient_is_finite() -> None:
    centroids = torch.tensor(CENTROIDS.rgb).float()
    output = torch.cat([shares().log(), torch.zeros(2, 2, 6, 7)], 1).requires_grad_()
    truth = light_of_output(output, centroids).detach()
    valid = torch.ones(2, 1, 6, 7)
    loss = IlluminantAngleLoss()
    right = loss(output, truth, valid, centroids)
    assert float(right.detach()) < 1e-3
    (gradient,) = torch.autograd.grad(right, output)
    assert torch.isfinite(gradient).all()
    a, b = np.array([1.0, 1, 1]), np.array([1.5, 1, 0.5])
    expected = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    maps = [torch.tensor(v).float().view(1, 3, 1, 1) for v in (a, b)]
    assert float(angle_map(*maps)) == pytest.approx(expected, abs=1e-3)
    valid[:, :, 1:] = 0
    moved = truth.clone()
    moved[:, 0, 1:] *= 3
    assert float(loss(output, moved, valid, centroids).detach()) < 1e-3


def test_metrics_look_at_known_pixels() -> None:
    rng = np.random.default_rng(0)
    truth = np.concatenate([rng.random((8, 9, 3)) + 0.2, rng.random((8, 9, K))], 2)
    answer = truth.copy()
    answer[..., 3:] += 0.25
    truth[:2] = np.nan
    answer[:2] = 7.0
    assert calculate_map_error(answer, truth) < 1e-4
    assert calculate_share_mae(answer, truth) == pytest.approx(0.25)
    mean, largest = (calculate_single_light_error(answer, truth, stat=stat) for stat in ("mean", "max"))
    assert 1 < mean < largest
    assert np.isnan(calculate_share_mae(answer, truth * np.nan))
    with pytest.raises(UserError, match="IlluminantMapModel"):
        calculate_map_error(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="stat"):
        calculate_map_error(answer, truth, stat="least")  # type: ignore[arg-type]


def options(root: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    base = {"type": "IlluminantMaskDataset", "dataroot": str(root), "dataroot_masks": f"{root}/masks"}
    sets = {
        phase: {"name": phase, "phase": phase, "split": phase, "encoding": "linear", **base}
        for phase in ("train", "val")
    }
    sets["train"].update(image_size=32, relight_prob=0.5, batch_size_per_gpu=3, num_worker_per_gpu=0)
    metrics = {
        "angle": {"type": "calculate_map_error", "better": "lower"},
        "single": {"type": "calculate_single_light_error", "better": "lower"},
        "mae": {"type": "calculate_share_mae", "better": "lower"},
    }
    return {
        "name": "maps", "model_type": "IlluminantMapModel", "is_train": True, "num_gpu": 0, "dist": False, "scale": 1,
        "datasets": sets,
        "network_g": {
            "type": "IlluminantUNet", "num_classes": K, "residual_light": True, "encoder_scale": 2, "width": 8,
        },
        "path": {"root": str(root), **dict.fromkeys(("models", "training_states", "visualization"), str(folder))},
        "train": {
            "total_iter": 2, "optim_g": {"type": "Adam", "lr": 2e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [100]},
            "share_opt": {"type": "ShareCrossEntropyLoss"},
            "angle_opt": {"type": "IlluminantAngleLoss", "loss_weight": 0.1},
        },
        "val": {"metrics": metrics, "save_img": True, "save_gt": True, "tb_images": 1},
        "logger": {"use_tb_logger": True},
        **changes,
    }  # fmt: skip


class Board:
    def __init__(self) -> None:
        self.images: dict[str, Any] = {}

    def add_scalar(self, *_: Any) -> None: ...

    def add_image(self, tag: str, image: Any, step: int, dataformats: str) -> None:
        self.images[tag] = image


def test_training_learns_validates_and_writes_what_loads_again(root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    opt = options(root, tmp_path)
    model = build_model(opt)
    data = build_dataset(opt["datasets"]["train"])
    batch = torch.utils.data.default_collate([data[index] for index in range(3)])
    logs = []
    for step in range(1, 9):
        model.feed_data(dict(batch))
        model.optimize_parameters(step)
        logs.append(model.get_current_log())
    assert set(logs[0]) == {"share_opt", "angle_opt", "l_total"}
    assert logs[-1]["l_total"] < 0.8 * logs[0]["l_total"]
    val = build_dataset(opt["datasets"]["val"])
    board = Board()
    model.validation(build_dataloader(val, opt["datasets"]["val"]), 8, board, True)
    assert set(model.metric_results) == {"angle", "single", "mae"}
    assert all(np.isfinite(value) for value in model.metric_results.values())
    names = {path.name for path in (tmp_path / "Place4_12").iterdir()}
    assert names == {f"Place4_12_8{end}.png" for end in ("", "_gt", "_light", "_gt_light")}
    assert [image.shape for image in board.images.values()] == [(40, 4 * 48 + 3 * 8, 3)]
    model.save(0, 8)
    net, record = load_network(tmp_path / "net_g_8.pth", "linear", "toy")
    assert (record.size, record.network["residual_light"]) == (32, True)
    image = val[0]["lq"][None]
    torch.testing.assert_close(net(image), model.get_bare_model(model.net_g).eval()(image))


def test_features_of_other_pictures_are_refused(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "cnn.pth"
    record = IlluminantRecord("srgb", CENTROIDS, {"type": "IlluminantCNN", "num_classes": K}, 64)
    save_network(file, IlluminantCNN(K), record)
    network = {"type": "IlluminantUNet", "num_classes": K, "features": str(file), "width": 8}
    with pytest.raises(UserError, match=r"cnn\.pth.*encoding"):
        build_model(options(root, tmp_path, network_g=network))
    save_network(file, IlluminantCNN(K), IlluminantRecord("linear", CENTROIDS, record.network, 64))
    model = build_model(options(root, tmp_path, network_g=network))
    assert "features" not in model.checkpoint_record()["network"]


def test_what_does_not_fit_is_refused(root: Path, tmp_path: Path) -> None:
    network = {"type": "IlluminantUNet", "num_classes": 4, "width": 8}
    with pytest.raises(UserError, match="num_classes"):
        build_model(options(root, tmp_path, network_g=network))
    mixed = options(root, tmp_path)
    mixed["datasets"]["val"]["encoding"] = "srgb"
    with pytest.raises(UserError, match=r"val\.encoding"):
        build_model(mixed)
    lossless = options(root, tmp_path)
    del lossless["train"]["share_opt"], lossless["train"]["angle_opt"]
    with pytest.raises(UserError, match="no loss"):
        build_model(lossless)
    wrong = options(root, tmp_path)
    wrong["val"]["metrics"] = {"psnr": {"type": "calculate_psnr"}}
    model = build_model(wrong)
    val = build_dataset(wrong["datasets"]["val"])
    with pytest.raises(UserError, match="psnr"):
        model.validation(build_dataloader(val, wrong["datasets"]["val"]), 1, None)
