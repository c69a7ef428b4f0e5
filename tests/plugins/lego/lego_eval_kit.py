"""A classifier that learnt for seconds, in a weights file as a LegoModel writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from basicsr.engine.checkpoint import save_weights
from plugins.lego.lego_classifier_arch import LegoClassifier
from plugins.lego.lego_eval import labels_of, read_rgb8
from plugins.lego.lego_manifest import COLOR_NAMES, PART_NAMES, read_classes, read_manifest
from plugins.lego.lego_resize import input_recipe, prepare_image


def write_weights(path: Path, manifest: Path, size: int = 32, steps: int = 12, most: int = 400) -> Path:
    """Train the heads of a small network on (some of) the manifest's training images and write it."""
    torch.manual_seed(0)
    parts, colors = (read_classes(manifest.parent / name) for name in (PART_NAMES, COLOR_NAMES))
    options: dict[str, Any] = {
        "num_parts": len(parts), "num_colors": len(colors), "backbone": "resnet18", "hidden": 32, "dropout": 0.0,
        "freeze_backbone_ratio": 0.0, "color_input": "lab" if len(colors) else "features",
    }  # fmt: skip
    net = LegoClassifier(**options)
    records = [record for record in read_manifest(manifest) if record.split == "train"]
    records = records[:: max(1, len(records) // most)]
    recipe = input_recipe(size)
    images = torch.from_numpy(
        np.stack([prepare_image(read_rgb8(manifest.parent / one.path), recipe) for one in records])
    )
    labels = {head: torch.from_numpy(v) for head, v in labels_of(records, {"part": parts, "color": colors})[0].items()}
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    net.train()
    order = np.random.default_rng(0)
    for _ in range(steps):
        batch = order.integers(len(images), size=16)
        output = net(images[batch])
        known = {head: labels[head][batch] >= 0 for head in output}
        losses = [
            functional.cross_entropy(output[head][known[head]], labels[head][batch][known[head]])
            for head in output
            if known[head].any()
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    record = {
        "lego": 1, "parts": parts.rows(), "colors": colors.rows(), "color_scheme": "ldraw", "input": recipe,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        "network": {"type": "LegoClassifier", **options},
    }  # fmt: skip
    save_weights(path, {"params": net.state_dict()}, record)
    return path
