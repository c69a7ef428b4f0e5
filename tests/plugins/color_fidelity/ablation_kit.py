"""A sheet small enough for tests: two rows, a network of a few hundred weights, photos of a few pixels."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from plugins.color_fidelity.ablation import Sheet, load_sheet
from tests.basicsr.tiny_run import OPTIONS, make_project

ROOT = Path(__file__).resolve().parents[3]


def make_sheet(root: Path, rows: dict[str, dict[str, Any]], common: dict[str, Any] | None = None) -> Path:
    """Write photos and a sheet whose rows inherit from ``_base.yml``; returns the sheet's folder."""
    if not (root / "data").exists():
        make_project(root, images=4, size=16)
    folder = root / "sheet"
    folder.mkdir(exist_ok=True)
    base = copy.deepcopy(OPTIONS)
    base["model_type"], base["plugins"] = "ImageRestorationModel", ["plugins.color_fidelity"]
    for dataset in base["datasets"].values():
        for kind in ("dataroot_gt", "dataroot_lq"):
            dataset[kind] = str(root / dataset[kind])
    base["path"]["experiments_root"] = str(root / "experiments")
    base["train"] |= {"total_iter": 2, "warmup_iter": -1, "ema_decay": 0.5}
    base["val"]["val_freq"], base["logger"]["print_freq"] = 2, 1
    (folder / "_base.yml").write_text(yaml.safe_dump(base, sort_keys=False))
    for name, changes in rows.items():
        text = yaml.safe_dump({"base": "_base.yml", "name": f"Tiny_{name}", **changes}, sort_keys=False)
        (folder / f"{name}.yml").write_text(text)
    if common is not None:
        (folder / "_common.yml").write_text(yaml.safe_dump({"ablation": common}, sort_keys=False))
    return folder


def tiny_sheet(root: Path, rows: dict[str, dict[str, Any]], common: dict[str, Any] | None = None, **more: Any) -> Sheet:
    """The sheet of :func:`make_sheet`, read."""
    return load_sheet(make_sheet(root, rows, common), ROOT, root / "out", **more)


ROWS: dict[str, dict[str, Any]] = {
    "own": {},
    "chroma": {"train": {"chroma_opt": {"type": "ChromaMagnitudeLoss", "loss_weight": 0.5}}},
}
