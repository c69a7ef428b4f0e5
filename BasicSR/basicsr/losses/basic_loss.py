"""Pixel losses."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.losses.loss_util import as_float, check_reduction, weighted_loss
from basicsr.losses.perceptual import PerceptualLoss
from basicsr.utils.color_util import rgb2ycbcr_pt
from basicsr.utils.registry import LOSS_REGISTRY

__all__ = [
    "CharbonnierLoss",
    "L1Loss",
    "MSELoss",
    "PSNRLoss",
    "PerceptualLoss",
    "WeightedTVLoss",
    "charbonnier_loss",
    "l1_loss",
    "mse_loss",
]


@weighted_loss
def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Absolute difference."""
    return F.l1_loss(pred, target, reduction="none")


@weighted_loss
def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Squared difference."""
    return F.mse_loss(pred, target, reduction="none")


@weighted_loss
def charbonnier_loss(pred: Tensor, target: Tensor, eps: float = 1e-12) -> Tensor:
    """``sqrt(difference² + eps)``."""
    return torch.sqrt((pred - target) ** 2 + eps)


@LOSS_REGISTRY.register()
class L1Loss(nn.Module):
    """Mean absolute error.

    Args:
        loss_weight: Factor of the loss.
        reduction: ``none``, ``mean`` or ``sum``.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduction = check_reduction(reduction)

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None, **kwargs: Any) -> Tensor:
        """``pred`` and ``target`` ``(N, C, H, W)``; ``weight`` of that shape or with one channel."""
        return self.loss_weight * l1_loss(pred, target, weight, reduction=self.reduction)


@LOSS_REGISTRY.register()
class MSELoss(nn.Module):
    """Mean squared error.

    Args:
        loss_weight: Factor of the loss.
        reduction: ``none``, ``mean`` or ``sum``.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduction = check_reduction(reduction)

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None, **kwargs: Any) -> Tensor:
        """``pred`` and ``target`` ``(N, C, H, W)``; ``weight`` of that shape or with one channel."""
        return self.loss_weight * mse_loss(pred, target, weight, reduction=self.reduction)


@LOSS_REGISTRY.register()
class CharbonnierLoss(nn.Module):
    """A smooth mean absolute error, ``sqrt(difference² + eps)`` (Lai et al., CVPR 2017, LapSRN).

    Args:
        loss_weight: Factor of the loss.
        reduction: ``none``, ``mean`` or ``sum``.
        eps: Squared width of the smooth part, in squared units of the image.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", eps: float = 1e-12) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduction = check_reduction(reduction)
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None, **kwargs: Any) -> Tensor:
        """``pred`` and ``target`` ``(N, C, H, W)``; ``weight`` of that shape or with one channel."""
        return self.loss_weight * charbonnier_loss(pred, target, weight, eps=self.eps, reduction=self.reduction)


@LOSS_REGISTRY.register()
class PSNRLoss(nn.Module):
    """Minus the PSNR in dB, averaged over the batch: negative values are normal (NAFNet's pixel loss).

    Args:
        loss_weight: Factor of the loss.
        reduction: Only ``mean``.
        toY: Compare BT.601 luma instead of RGB.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", toY: bool = False) -> None:
        super().__init__()
        if reduction != "mean":
            raise ValueError(f"PSNRLoss: reduction must be 'mean', got '{reduction}'")
        self.loss_weight = loss_weight
        self.toY = toY

    def forward(self, pred: Tensor, target: Tensor, **kwargs: Any) -> Tensor:
        """``pred`` and ``target`` ``(N, C, H, W)`` in [0, 1], RGB if ``toY``. Returns ``10 log10(mse + 1e-8)``."""
        pred, target = as_float(pred), as_float(target)
        if self.toY:
            pred, target = rgb2ycbcr_pt(pred, y_only=True), rgb2ycbcr_pt(target, y_only=True)
        mse = (pred - target).square().mean(dim=(1, 2, 3))
        return self.loss_weight * 10 / math.log(10) * torch.log(mse + 1e-8).mean()


@LOSS_REGISTRY.register()
class WeightedTVLoss(L1Loss):
    """Total variation: mean absolute difference of neighbouring pixels, vertical plus horizontal.

    Args:
        loss_weight: Factor of the loss.
        reduction: ``mean`` or ``sum``.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"Unsupported reduction mode: {reduction}. Supported ones are: mean | sum")
        super().__init__(loss_weight=loss_weight, reduction=reduction)

    def forward(
        self, pred: Tensor, target: Tensor | None = None, weight: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """Total variation of ``pred``.

        Args:
            pred: ``(N, C, H, W)``.
            target: Not used; accepted because every loss is called with one. As upstream's second argument is the
                weight, a weight given by position must be given by name here.
            weight: ``(N, 1, H, W)`` or the shape of ``pred``.
        """
        above = None if weight is None else weight[:, :, :-1, :]
        left = None if weight is None else weight[:, :, :, :-1]
        vertical = super().forward(pred[:, :, :-1, :], pred[:, :, 1:, :], weight=above)
        horizontal = super().forward(pred[:, :, :, :-1], pred[:, :, :, 1:], weight=left)
        return vertical + horizontal
