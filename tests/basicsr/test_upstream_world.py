"""What somebody brings along who used upstream BasicSR or NAFNet until today: option files, weights, folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml

from basicsr.engine import checkpoint
from basicsr.engine.errors import UserError
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from tests.basicsr.tiny_run import make_project, run_here
from tests.basicsr.upstream_files import MSRRESNET, NAFNET_OPTIONS, experiment, nafnet_shapes, state_dict

# An option file as upstream's users have it, with the tags and empty values of theirs.
UPSTREAM_SR = """
name: up_sr
model_type: SRModel
scale: 2
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: T
    type: PairedImageDataset
    dataroot_gt: data/gt
    dataroot_lq: data/lq
    filename_tmpl: '{}'
    io_backend:
      type: disk
    gt_size: 8
    use_hflip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
  val:
    name: V
    type: PairedImageDataset
    dataroot_gt: data/val_gt
    dataroot_lq: data/val_lq
    io_backend:
      type: disk
network_g: {type: MSRResNet, num_in_ch: 3, num_out_ch: 3, num_feat: 4, num_block: 1, upscale: 2}
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~
train:
  ema_decay: 0.9
  optim_g:
    type: Adam
    lr: !!float 2e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: CosineAnnealingRestartLR
    periods: [4]
    restart_weights: [1]
    eta_min: !!float 1e-7
  total_iter: 4
  warmup_iter: -1
  pixel_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
val:
  val_freq: !!float 4
  save_img: false
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 2
      test_y_channel: false
logger:
  print_freq: 2
  save_checkpoint_freq: !!float 4
  use_tb_logger: false
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""

# The keys of NAFNet's own training files: LMDB, use_flip, PSNRLoss, a true cosine, eight GPUs.
NAFNET = """
name: NAFNet-tiny
model_type: ImageRestorationModel
scale: 1
num_gpu: 8
manual_seed: 10
datasets:
  train:
    name: SIDD
    type: PairedImageDataset
    dataroot_gt: ./data/gt.lmdb
    dataroot_lq: ./data/lq.lmdb
    filename_tmpl: '{}'
    io_backend:
      type: lmdb
    gt_size: 8
    use_flip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 0
    batch_size_per_gpu: 4
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
  val:
    name: SIDD_val
    type: PairedImageDataset
    dataroot_gt: ./data/val_gt.lmdb
    dataroot_lq: ./data/val_lq.lmdb
    io_backend:
      type: lmdb
network_g:
  type: NAFNet
  width: 2
  enc_blk_nums: [1]
  middle_blk_num: 1
  dec_blk_nums: [1]
path:
  pretrain_network_g: NAFNet-tiny.pth
  strict_load_g: true
  resume_state: ~
train:
  optim_g:
    type: AdamW
    lr: !!float 1e-3
    weight_decay: 0.
    betas: [0.9, 0.9]
  scheduler:
    type: TrueCosineAnnealingLR
    T_max: 3
    eta_min: !!float 1e-7
  total_iter: 3
  warmup_iter: -1 # no warm up
  pixel_opt:
    type: PSNRLoss
    loss_weight: 1
    reduction: mean
val:
  val_freq: !!float 2e4
  save_img: false
  use_image: false
  metrics:
    psnr: # metric name, can be arbitrary
      type: calculate_psnr
      crop_border: 0
      test_y_channel: false
    ssim:
      type: calculate_ssim
      crop_border: 0
      test_y_channel: false
logger:
  print_freq: 200
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: false
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Pairs at scale 2, an upstream experiment ``up_sr`` of eight iterations, and the option file it was made with."""
    make_project(tmp_path)
    for path in tmp_path.glob("data/*lq/*.png"):
        image = cv2.imread(str(path))
        cv2.imwrite(str(path), cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    experiment(tmp_path / "experiments" / "up_sr", MSRRESNET)
    (tmp_path / "sr.yml").write_text(UPSTREAM_SR)
    return tmp_path


def log(root: Path, name: str) -> str:
    return "".join(path.read_text() for path in sorted((root / "experiments" / name).glob("train_*.log")))


def start(monkeypatch: Any, root: Path, *changes: str, name: str = "more", flags: tuple[str, ...] = ()) -> str:
    """Run the user's file unchanged, changes on the command line, and return the log."""
    run_here(monkeypatch, root, root / "sr.yml", *flags, "--force_yml", f"name={name}", *changes)
    return log(root, name)


@pytest.mark.parametrize("key", ["params", "params_ema"])
def test_upstream_weights_are_fine_tuned_and_their_folder_is_left_alone(
    project: Path, monkeypatch: Any, key: str
) -> None:
    before = {path: path.read_bytes() for path in project.glob("experiments/up_sr/*/*")}
    weights = "path:pretrain_network_g=experiments/up_sr/models/net_g_8.pth"
    text = start(monkeypatch, project, weights, f"path:param_key_g={key}")
    assert "FINE-TUNING" in text and f"param key: [{key}]" in text and "iter:       4" in text
    trained = checkpoint.load_weights(project / "experiments" / "more" / "models" / "net_g_latest.pth")
    for section, state in trained.items():
        assert set(state) == set(MSRRESNET)
        moved = max(
            float((state[name] - state_dict(MSRRESNET, int(key != "params"))[name]).abs().max()) for name in state
        )
        assert section != "params" or 0 < moved < 2e-3, "four steps of Adam at 2e-4 from upstream's weights"
    assert before == {path: path.read_bytes() for path in project.glob("experiments/up_sr/*/*")}


def test_without_training_the_weights_come_out_as_they_went_in(project: Path, monkeypatch: Any) -> None:
    weights = "path:pretrain_network_g=experiments/up_sr/models/net_g_8.pth"
    start(monkeypatch, project, weights, "train:optim_g:lr=0", "train:scheduler:eta_min=0")
    trained = checkpoint.load_weights(project / "experiments" / "more" / "models" / "net_g_4.pth")
    for name, value in state_dict(MSRRESNET).items():
        assert torch.equal(trained["params"][name], value)
    # The average goes on from upstream's average.
    first, average = state_dict(MSRRESNET)["conv_last.bias"], state_dict(MSRRESNET, 1)["conv_last.bias"]
    expected = first + 0.9**4 * (average - first)
    torch.testing.assert_close(trained["params_ema"]["conv_last.bias"], expected)


@pytest.mark.parametrize("way", ["resume_state", "auto_resume"])
def test_upstream_state_is_refused_before_anything_is_touched(project: Path, monkeypatch: Any, way: str) -> None:
    before = sorted(project.rglob("*"))
    with pytest.raises(UserError) as error:
        if way == "auto_resume":
            start(monkeypatch, project, name="up_sr", flags=("--auto_resume",))
        else:
            start(monkeypatch, project, "path:resume_state=experiments/up_sr/training_states/8.state")
    weights = project / "experiments" / "up_sr" / "models" / "net_g_8.pth"
    assert "a state of the original BasicSR" in str(error.value)
    assert f"pretrain_network_g: {weights}" in str(error.value)
    assert sorted(project.rglob("*")) == before


def test_the_refusals_advice_works_under_the_old_name_too(project: Path, monkeypatch: Any) -> None:
    weights = project / "experiments" / "up_sr" / "models" / "net_g_8.pth"
    text = start(monkeypatch, project, f"path:pretrain_network_g={weights}", name="up_sr")
    assert "FINE-TUNING" in text
    (archived,) = (project / "experiments").glob("up_sr_archived_*")
    assert (archived / "training_states" / "8.state").is_file()
    # The weights' path is gone with the folder, and the run still goes on from its own checkpoint.
    text = start(
        monkeypatch,
        project,
        f"path:pretrain_network_g={weights}",
        "train:total_iter=6",
        "train:scheduler:periods=[6]",
        name="up_sr",
        flags=("--auto_resume",),
    )
    assert "RESUMING this run after iteration 4" in text and "iter:       6" in text


def test_nafnets_own_kind_of_file_fine_tunes_an_official_checkpoint(tmp_path: Path, monkeypatch: Any) -> None:
    make_project(tmp_path)
    for folder in sorted((tmp_path / "data").iterdir()):
        names = sorted(path.name for path in folder.iterdir())
        make_lmdb_from_imgs(str(folder), f"{folder}.lmdb", names, [Path(name).stem for name in names])
    torch.save({"params": state_dict(nafnet_shapes())}, tmp_path / "NAFNet-tiny.pth")
    (tmp_path / "nafnet.yml").write_text(NAFNET)
    run_here(monkeypatch, tmp_path, tmp_path / "nafnet.yml")
    text = log(tmp_path, "NAFNet-tiny")
    assert "FINE-TUNING" in text and "# psnr:" in text and "# ssim:" in text and "num_gpu: 8" in text
    trained = checkpoint.load_weights(tmp_path / "experiments" / "NAFNet-tiny" / "models" / "net_g_latest.pth")
    assert list(trained) == ["params"] and set(trained["params"]) == set(nafnet_shapes())
    assert yaml.safe_load(NAFNET)["network_g"] == NAFNET_OPTIONS
