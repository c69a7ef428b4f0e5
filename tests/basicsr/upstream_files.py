"""Writes files in the very form in which upstream BasicSR 1.4.2 and NAFNet leave them, without either being there.

Names, nesting and types were read off real files of theirs (MSRResNet and EDSR trained for eight iterations).
"""

from __future__ import annotations

import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# The keys of upstream's MSRResNet(num_feat=4, num_block=1, upscale=2) and their shapes.
MSRRESNET = {
    "conv_first.weight": (4, 3, 3, 3),
    "conv_first.bias": (4,),
    "body.0.conv1.weight": (4, 4, 3, 3),
    "body.0.conv1.bias": (4,),
    "body.0.conv2.weight": (4, 4, 3, 3),
    "body.0.conv2.bias": (4,),
    "upconv1.weight": (16, 4, 3, 3),
    "upconv1.bias": (16,),
    "conv_hr.weight": (4, 4, 3, 3),
    "conv_hr.bias": (4,),
    "conv_last.weight": (3, 4, 3, 3),
    "conv_last.bias": (3,),
}
MSRRESNET_OPTIONS = {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "upscale": 2}
NAFNET_OPTIONS = {"type": "NAFNet", "width": 2, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}


def nafnet_shapes(width: int = 2) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of NAFNet's own ``NAFNet(width, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1])``."""

    def block(prefix: str, c: int) -> dict[str, tuple[int, ...]]:
        convolutions = {"conv1": (2 * c, c), "conv2": (2 * c, 1, 3), "conv3": (c, c), "sca.1": (c, c)}
        convolutions |= {"conv4": (2 * c, c), "conv5": (c, c)}
        shapes: dict[str, tuple[int, ...]] = {f"{prefix}.beta": (1, c, 1, 1), f"{prefix}.gamma": (1, c, 1, 1)}
        for name, (out, inp, *size) in convolutions.items():
            edge = size[0] if size else 1
            shapes |= {f"{prefix}.{name}.weight": (out, inp, edge, edge), f"{prefix}.{name}.bias": (out,)}
        for name in ("norm1", "norm2"):
            shapes |= {f"{prefix}.{name}.weight": (c,), f"{prefix}.{name}.bias": (c,)}
        return shapes

    return {
        "intro.weight": (width, 3, 3, 3),
        "intro.bias": (width,),
        "ending.weight": (3, width, 3, 3),
        "ending.bias": (3,),
        **block("encoders.0.0", width),
        **block("decoders.0.0", width),
        **block("middle_blks.0", 2 * width),
        "ups.0.0.weight": (4 * width, 2 * width, 1, 1),
        "downs.0.weight": (2 * width, width, 2, 2),
        "downs.0.bias": (2 * width,),
    }


def state_dict(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> OrderedDict[str, Tensor]:
    """Weights of those shapes; another seed, other weights."""
    generator = torch.Generator().manual_seed(seed)
    return OrderedDict((key, 0.1 * torch.randn(shape, generator=generator)) for key, shape in shapes.items())


def training_state(shapes: dict[str, tuple[int, ...]], iteration: int = 8) -> dict[str, Any]:
    """What upstream writes as ``<iteration>.state``: Adam and MultiStepRestartLR, and nothing else."""
    moments = {
        index: {"step": torch.tensor(float(iteration)), "exp_avg": torch.zeros(shape), "exp_avg_sq": torch.zeros(shape)}
        for index, shape in enumerate(shapes.values())
    }
    group = {"lr": 0.00025, "betas": (0.9, 0.99), "eps": 1e-08, "weight_decay": 0, "amsgrad": False}
    group |= {"initial_lr": 0.001, "params": list(range(len(shapes)))}
    scheduler = {"milestones": Counter({3: 1, 6: 1}), "gamma": 0.5, "restarts": (0,), "restart_weights": (1,)}
    scheduler |= {"base_lrs": [0.001], "last_epoch": iteration - 1, "_step_count": iteration, "_last_lr": [0.00025]}
    optimizer = {"state": moments, "param_groups": [group]}
    return {"epoch": 1, "iter": iteration, "optimizers": [optimizer], "schedulers": [scheduler]}


def experiment(folder: Path, shapes: dict[str, tuple[int, ...]], iteration: int = 8, ema: bool = True) -> Path:
    """Write ``models/`` and ``training_states/`` of an upstream run and return the weights' file."""
    sections = {"params": state_dict(shapes), **({"params_ema": state_dict(shapes, seed=1)} if ema else {})}
    for name in ("models", "training_states"):
        (folder / name).mkdir(parents=True)
    for label in (str(iteration), "latest"):
        torch.save(sections, folder / "models" / f"net_g_{label}.pth")
    torch.save(training_state(shapes, iteration), folder / "training_states" / f"{iteration}.state")
    return folder / "models" / f"net_g_{iteration}.pth"


def as_if_saved_on_cuda(path: Path) -> None:
    """Rewrite a file as if its tensors had been on the first GPU: only the location tag in the pickle differs."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    tag = b"X\x03\x00\x00\x00cpu"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            if name.endswith("/data.pkl"):
                if tag not in content:
                    raise ValueError(f"{path}: no location tag in it")
                content = content.replace(tag, b"X\x06\x00\x00\x00cuda:0")
            archive.writestr(name, content)
