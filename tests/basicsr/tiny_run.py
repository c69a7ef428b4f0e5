"""A training run small enough for tests: eight tiny photographs, a network of a few hundred weights."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "BasicSR" / "basicsr" / "train.py"

OPTIONS: dict[str, Any] = {
    "name": "tiny",
    "model_type": "SRModel",
    "plugins": [],
    "scale": 1,
    "num_gpu": 0,
    "manual_seed": 3,
    "datasets": {
        "train": {
            "name": "Train",
            "type": "PairedImageDataset",
            "dataroot_gt": "data/gt",
            "dataroot_lq": "data/lq",
            "io_backend": {"type": "disk"},
            "gt_size": 8,
            "use_hflip": True,
            "use_rot": True,
            "batch_size_per_gpu": 2,
            "num_worker_per_gpu": 0,
        },
        "val": {
            "name": "Val",
            "type": "PairedImageDataset",
            "dataroot_gt": "data/val_gt",
            "dataroot_lq": "data/val_lq",
            "io_backend": {"type": "disk"},
        },
    },
    "network_g": {"type": "NAFNet", "width": 2, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]},
    "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
    "train": {
        "total_iter": 12,
        "warmup_iter": 3,
        "ema_decay": 0.9,
        "optim_g": {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]},
        "scheduler": {"type": "MultiStepLR", "milestones": [5, 9], "gamma": 0.5},
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
    },
    "val": {
        "val_freq": 4,
        "save_img": False,
        "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0, "test_y_channel": False}},
    },
    "logger": {"print_freq": 1, "save_checkpoint_freq": 3, "use_tb_logger": False},
}


def make_project(root: Path, images: int = 8, size: int = 12) -> Path:
    """Write the image folders of a project into ``root`` and return it."""
    rng = np.random.default_rng(0)
    for prefix, count in (("", images), ("val_", 3)):
        for index in range(count):
            gt = cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), (size, size))
            lq = np.clip(gt * 0.6 + 20, 0, 255).astype(np.uint8)
            for kind, image in (("gt", gt), ("lq", lq)):
                folder = root / "data" / f"{prefix}{kind}"
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f"{index}.png"), image)
    return root


def write_options(path: Path, **changes: Any) -> Path:
    """Write :data:`OPTIONS` with changes; a key ``a__b`` goes into section ``a``."""
    options = copy.deepcopy(OPTIONS)
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = options
        for section in sections:
            place = place[section]
        place[last] = value
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    return path


def environment() -> dict[str, str]:
    """Environment of a child process that runs our code."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "PYTHONPATH": f"{ROOT / 'BasicSR'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}


def run_here(monkeypatch: Any, root: Path, options: Path, *flags: str, pipeline: str = "train") -> None:
    """Train or test in this process, as a third-party ``train.py`` would."""
    import importlib

    monkeypatch.setattr(sys, "argv", [f"{pipeline}.py", "-opt", str(options), *flags])
    module = importlib.import_module(f"basicsr.{pipeline}")
    getattr(module, f"{pipeline}_pipeline")(str(root))
