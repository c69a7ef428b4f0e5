"""Numerically safe building blocks: full-precision evaluation and powers with finite gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Make a tensor function compute in float32 or better, with autocast off.

    Colour formulas square small numbers and raise large ones to the seventh power, which half precision cannot hold.
    float16 and bfloat16 arguments become float32, float64 stays float64; the result is float32 or float64.

    Args:
        function: A function of one or more floating-point tensors.

    Returns:
        The wrapped function. It raises ``TypeError`` for integer tensors: their range is not known here.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        device = tensors[0].device.type if tensors else "cpu"
        with torch.autocast(device_type=device, enabled=False):
            return function(*[_upcast(arg) for arg in args], **kwargs)  # type: ignore[arg-type]

    return wrapped


def _upcast(arg: object) -> object:
    if not isinstance(arg, Tensor):
        return arg
    if not arg.is_floating_point():
        raise TypeError(f"expected a floating-point tensor with values in [0, 1], got {arg.dtype}; divide by its range")
    return arg.float() if arg.dtype in (torch.float16, torch.bfloat16) else arg


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root of ``x >= 0`` whose gradient is 0 (not infinite) at 0; negative rounding errors count as 0."""
    tiny = torch.finfo(x.dtype).tiny
    positive = x > tiny
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


def safe_hypot(u: Tensor, v: Tensor, eps: float = 0.0) -> Tensor:
    """Length of the vector (u, v), or ``sqrt(u² + v² + eps²)``; with ``eps`` 0 the gradient at the origin is 0."""
    square = u * u + v * v
    return safe_sqrt(square) if eps == 0.0 else (square + eps * eps).sqrt()


def safe_pow(x: Tensor, exponent: float, floor: float) -> Tensor:
    """``max(x, floor) ** exponent``: the clamp keeps the branch not taken by ``torch.where`` finite backwards too."""
    return x.clamp(min=floor) ** exponent


def split_channels(image: Tensor, name: str = "image") -> tuple[Tensor, Tensor, Tensor]:
    """The three planes (..., H, W) of an image (..., 3, H, W).

    Raises:
        ValueError: If the third dimension from the right is not 3.
    """
    if image.dim() < 3 or image.shape[-3] != 3:
        raise ValueError(f"{name} must have shape (..., 3, H, W), got {tuple(image.shape)}")
    first, second, third = image.unbind(-3)
    return first, second, third


def mix_channels(image: Tensor, matrix: tuple[tuple[float, ...], ...], name: str = "image") -> Tensor:
    """Apply a 3×3 matrix to the channels of an image (..., 3, H, W).

    Written as sums, not as a matrix product, because products may run in TF32 or bfloat16 on some devices.
    """
    first, second, third = split_channels(image, name)
    return torch.stack([row[0] * first + row[1] * second + row[2] * third for row in matrix], dim=-3)
