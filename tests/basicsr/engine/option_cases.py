"""A right option file for the tests of the check, and a way to spoil it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from basicsr.engine.options_check import Report
from basicsr.engine.options_merge import load_options
from basicsr.engine.options_sections import check_options

REMOVE = object()
Checks = Callable[..., Report]

GOOD: dict[str, Any] = {
    "name": "good",
    "model_type": "SRModel",
    "plugins": [],
    "scale": 1,
    "num_gpu": 0,
    "datasets": {
        "train": {
            "name": "pairs",
            "type": "PairedImageDataset",
            "dataroot_gt": "data/gt",
            "dataroot_lq": "data/lq",
            "io_backend": {"type": "disk"},
            "gt_size": 16,
            "use_hflip": True,
            "use_rot": True,
            "batch_size_per_gpu": 2,
            "num_worker_per_gpu": 0,
        },
        "val": {
            "name": "held_out",
            "type": "PairedImageDataset",
            "dataroot_gt": "data/gt",
            "dataroot_lq": "data/lq",
            "io_backend": {"type": "disk"},
        },
    },
    "network_g": {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]},
    "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
    "train": {
        "total_iter": 100,
        "warmup_iter": -1,
        "optim_g": {"type": "AdamW", "lr": 1e-3, "betas": [0.9, 0.9]},
        "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [100], "restart_weights": [1], "eta_min": 1e-7},
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0},
    },
    "val": {"val_freq": 50, "save_img": False, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}},
    "logger": {"print_freq": 10, "save_checkpoint_freq": 50, "use_tb_logger": False},
}


def make_check(root: Path) -> Checks:
    """A function that checks GOOD with changes: ``a__b__c=value``; REMOVE takes a key out."""
    for folder in ("gt", "lq"):
        (root / "data" / folder).mkdir(parents=True)

    def run(is_train: bool = True, paths: bool = False, force: tuple[str, ...] = (), **changes: Any) -> Report:
        opt = copy.deepcopy(GOOD)
        for dotted, value in changes.items():
            *parents, last = dotted.split("__")
            section = opt
            for parent in parents:
                section = section.setdefault(parent, {})
            if value is REMOVE:
                del section[last]
            else:
                section[last] = value
        file = root / "x.yml"
        file.write_text(yaml.dump(opt, sort_keys=False), encoding="utf-8")
        return check_options(load_options(file, force), root, is_train, paths)

    return run


def messages(report: Report) -> list[str]:
    return [f"{problem.key}: {problem.message}" for problem in report.errors]


def only(report: Report) -> str:
    """The one error of a report."""
    assert len(report.errors) == 1, messages(report)
    return messages(report)[0]
