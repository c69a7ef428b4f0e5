"""Networks, losses and data so small that a model trains in a moment."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY


def _register(registry: Any, cls: type) -> None:
    if cls.__name__ not in registry:
        registry.register(cls)


class KitNet(nn.Module):
    """A convolution, optionally with batch norm, an unused parameter, several stages, or enlargement."""

    def __init__(self, norm: bool = False, unused: bool = False, stages: int = 1, scale: int = 1) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.norm = nn.BatchNorm2d(3 * scale**2) if norm else nn.Identity()
        self.grow = nn.PixelShuffle(scale)
        self.spare = nn.Parameter(torch.zeros(2)) if unused else None
        self.stages = stages

    def forward(self, image: Tensor) -> Any:
        output = self.grow(self.norm(self.body(image)))
        return [output * (k + 1) / self.stages for k in range(self.stages)] if self.stages > 1 else output


class KitPartsLoss(nn.Module):
    """A loss with named parts."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, **context: Any) -> dict[str, Tensor]:
        red = (pred[:, 0] - target[:, 0]).abs().mean()
        blue = (pred[:, 2] - target[:, 2]).square().mean()
        return {"total": self.loss_weight * (red + blue), "red": red, "blue": blue}


class KitPairLoss(nn.Module):
    """A loss that returns (perceptual, style), as PerceptualLoss does, and takes no keyword."""

    def __init__(self, style: bool = True) -> None:
        super().__init__()
        self.style = style

    def forward(self, x: Tensor, gt: Tensor) -> tuple[Tensor, Tensor | None]:
        return (x.mean() - gt.mean()).abs(), (x.std() - gt.std()).abs() if self.style else None


for _net in (KitNet,):
    _register(ARCH_REGISTRY, _net)
for _loss in (KitPartsLoss, KitPairLoss):
    _register(LOSS_REGISTRY, _loss)


OPTIONS: dict[str, Any] = {
    "name": "kit",
    "model_type": "SRModel",
    "scale": 1,
    "num_gpu": 0,
    "dist": False,
    "is_train": True,
    "network_g": {"type": "KitNet"},
    "path": {"pretrain_network_g": None, "strict_load_g": True},
    "train": {
        "total_iter": 20,
        "optim_g": {"type": "Adam", "lr": 1e-2, "betas": [0.9, 0.99]},
        "scheduler": {"type": "MultiStepLR", "milestones": [10], "gamma": 0.5},
        "pixel_opt": {"type": "L1Loss"},
    },
    "val": {"save_img": False, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}},
}


def options(folder: Path | None = None, **changes: Any) -> dict[str, Any]:
    """:data:`OPTIONS` with changes (``a__b`` goes into section ``a``) and the folders of a run."""
    opt = copy.deepcopy(OPTIONS)
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = opt
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    if folder is not None:
        opt["path"].update({key: str(folder / key) for key in ("models", "training_states", "visualization")})
    return opt


def batch(count: int = 4, size: int = 8, seed: int = 0, scale: int = 1) -> dict[str, Any]:
    """A batch of random pairs whose input is a darkened target."""
    generator = torch.Generator().manual_seed(seed)
    gt = torch.rand(count, 3, size * scale, size * scale, generator=generator)
    paths = [f"/data/{seed}_{index}.png" for index in range(count)]
    return {"gt": gt, "lq": gt[..., ::scale, ::scale] * 0.5, "gt_path": paths, "lq_path": paths}


class KitSet(torch.utils.data.Dataset[dict[str, Any]]):
    """Images of several sizes."""

    def __init__(self, count: int = 3, name: str = "Kit", target: bool = True, equal: bool = False) -> None:
        self.opt = {"name": name}
        self.count, self.target, self.equal = count, target, equal

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        gt = torch.rand(3, 12 + 2 * index, 14, generator=generator)
        sample: dict[str, Any] = {"lq": gt if self.equal else gt * 0.5, "lq_path": f"/data/{index}.png"}
        return {**sample, "gt": gt, "gt_path": f"/data/{index}.png"} if self.target else sample


def loader(dataset: KitSet) -> Any:
    """The set, image by image."""
    return torch.utils.data.DataLoader(dataset, batch_size=1)


def train(model: Any, steps: int, start: int = 1, count: int = 4) -> None:
    """Make steps, every one on its own batch."""
    for current_iter in range(start, start + steps):
        model.update_learning_rate(current_iter)
        model.feed_data(batch(count, seed=current_iter))
        model.optimize_parameters(current_iter)


def weights(model: Any) -> dict[str, Tensor]:
    """Copies of the network's tensors."""
    return {key: value.clone() for key, value in model.get_bare_model(model.net_g).state_dict().items()}


@contextmanager
def logged() -> Iterator[list[str]]:
    """The messages of the engine's log."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("basicsr"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
