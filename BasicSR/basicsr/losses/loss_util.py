"""Reduction and weighting that all element-wise losses share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCTIONS = ("none", "mean", "sum")


def check_reduction(reduction: str) -> str:
    """Return ``reduction`` if it is one of none, mean and sum.

    Raises:
        ValueError: If it is anything else.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"Unsupported reduction mode: {reduction}. Supported ones are: {list(REDUCTIONS)}")
    return reduction


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """Reduce an element-wise loss.

    Args:
        loss: Any shape.
        reduction: ``none``, ``mean`` or ``sum``.

    Returns:
        ``loss`` itself for ``none``, else a scalar.

    Raises:
        ValueError: For another reduction.
    """
    check_reduction(reduction)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def weight_reduce_loss(loss: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Multiply an element-wise loss by a weight, then reduce it.

    Args:
        loss: ``(N, C, H, W)``.
        weight: ``(N, C, H, W)`` or ``(N, 1, H, W)``, or none for an unweighted loss.
        reduction: ``none``, ``mean`` (divided by the sum of the weights, not by the number of elements) or ``sum``.

    Returns:
        ``(N, C, H, W)`` for ``none``, else a scalar.

    Raises:
        ValueError: For another reduction, or a weight whose shape does not fit.
    """
    if weight is None:
        return reduce_loss(loss, reduction)
    check_reduction(reduction)
    if weight.dim() != loss.dim() or weight.size(1) not in (1, loss.size(1)):
        raise ValueError(
            f"weight of shape {tuple(weight.shape)} does not fit a loss of shape {tuple(loss.shape)}: it needs the "
            "same number of dimensions and one channel or as many as the loss"
        )
    loss = loss * weight
    if reduction != "mean":
        return reduce_loss(loss, reduction)
    total_weight = weight.sum() if weight.size(1) > 1 else weight.sum() * loss.size(1)
    return loss.sum() / total_weight


def as_float(x: Tensor) -> Tensor:
    """``x`` in float32 if it is in half precision: squares and sums of half-precision values overflow or vanish."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def weighted_loss(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give an element-wise loss ``f(pred, target, **kwargs)`` the arguments ``weight`` and ``reduction``.

    Example:
        >>> @weighted_loss
        ... def l1(pred, target):
        ...     return (pred - target).abs()
        >>> pred, target = torch.tensor([[0., 2., 3.]]), torch.tensor([[1., 1., 1.]])
        >>> l1(pred, target)
        tensor(1.3333)
        >>> l1(pred, target, weight=torch.tensor([[1., 0., 1.]]), reduction='sum')
        tensor(3.)
    """

    @functools.wraps(loss_func)
    def wrapper(
        pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean", **kwargs: Any
    ) -> Tensor:
        loss = loss_func(as_float(pred), as_float(target), **kwargs)
        return weight_reduce_loss(loss, weight, reduction)

    return wrapper


def get_local_weights(residual: Tensor, ksize: int) -> Tensor:
    """Variance of a residual in the window around each pixel.

    Args:
        residual: ``(N, C, H, W)``.
        ksize: Edge of the window, odd.

    Returns:
        Unbiased variance, ``(N, C, H, W)``; the border is continued by reflection.
    """
    pad = (ksize - 1) // 2
    padded = F.pad(residual, (pad, pad, pad, pad), mode="reflect")
    windows = padded.unfold(2, ksize, 1).unfold(3, ksize, 1)
    return torch.var(windows, dim=(-1, -2), unbiased=True)


def get_refined_artifact_map(img_gt: Tensor, img_output: Tensor, img_ema: Tensor, ksize: int) -> Tensor:
    """Where a GAN's output shows artifacts: the pixel weights of LDL (Liang, Zeng, Zhang, CVPR 2022).

    Args:
        img_gt: Ground truth ``(N, C, H, W)``.
        img_output: The network's output, same shape.
        img_ema: The output of the averaged network, same shape.
        ksize: Edge of the window of the local variance, odd.

    Returns:
        Weights ``(N, 1, H, W)``; zero where the output is closer to the ground truth than the averaged network's.
    """
    residual_ema = (img_gt - img_ema).abs().sum(dim=1, keepdim=True)
    residual_sr = (img_gt - img_output).abs().sum(dim=1, keepdim=True)
    patch_level = torch.var(residual_sr, dim=(-1, -2, -3), keepdim=True).pow(1 / 5)
    overall = patch_level * get_local_weights(residual_sr, ksize)
    return torch.where(residual_sr < residual_ema, torch.zeros_like(overall), overall)
