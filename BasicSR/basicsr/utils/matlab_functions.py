"""MATLAB's bicubic ``imresize``, which low-resolution images of the super-resolution benchmarks were made with."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ImageOrTensor = TypeVar("ImageOrTensor", npt.NDArray[Any], Tensor)


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel (a = -0.5), zero outside [-2, 2]; for any shape."""
    near, near2 = x.abs(), x.abs() ** 2
    near3 = near2 * near
    inner = 1.5 * near3 - 2.5 * near2 + 1
    outer = -0.5 * near3 + 2.5 * near2 - 4 * near + 2
    return torch.where(near <= 1, inner, torch.where(near <= 2, outer, torch.zeros_like(x)))


def calculate_weights_indices(
    in_length: int, out_length: int, scale: float, kernel: str, kernel_width: float, antialiasing: bool
) -> tuple[Tensor, Tensor, int, int]:
    """Which input pixels make each output pixel along one axis, and with which weights.

    Args:
        in_length: Number of input pixels.
        out_length: Number of output pixels.
        scale: Enlargement; below 1 reduces.
        kernel: Only ``cubic``.
        kernel_width: Width of the kernel in input pixels, 4 for cubic.
        antialiasing: Widen the kernel when reducing.

    Returns:
        Weights ``(out_length, taps)``, indices ``(out_length, taps)`` into the padded input, and by how many mirrored
        pixels to pad the input before and after.

    Raises:
        NotImplementedError: For another kernel.
    """
    if kernel != "cubic":
        raise NotImplementedError(f"kernel '{kernel}' is not supported: use 'cubic'")
    shrink = scale if antialiasing and scale < 1 else 1.0
    kernel_width = kernel_width / shrink
    position = torch.arange(1, out_length + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1 / scale)
    taps = math.ceil(kernel_width) + 2
    indices = torch.floor(position - kernel_width / 2)[:, None] + torch.arange(taps, dtype=torch.float64)
    weights = shrink * cubic((position[:, None] - indices) * shrink)
    weights = weights / weights.sum(1, keepdim=True)
    # A first or last tap that no output pixel uses only costs time.
    used = (weights != 0).any(0).nonzero()
    span = slice(int(used.min()), int(used.max()) + 1)
    weights, indices = weights[:, span].contiguous(), indices[:, span].contiguous()
    before = max(0, 1 - int(indices.min()))
    after = max(0, int(indices.max()) - in_length)
    return weights, indices.long() + before - 1, before, after


@torch.no_grad()
def imresize(img: ImageOrTensor, scale: float, antialiasing: bool = True) -> ImageOrTensor:
    """Resize by bicubic interpolation as MATLAB does.

    Args:
        img: Array ``(H, W, C)`` or ``(H, W)``, or tensor ``(C, H, W)`` or ``(H, W)``; floating point in [0, 1].
        scale: Enlargement; below 1 reduces.
        antialiasing: Widen the kernel when reducing.

    Returns:
        float32 of the kind of the input, ``ceil(scale * size)`` pixels, neither rounded nor clamped.
    """
    if isinstance(img, Tensor):
        resized = _resize_axis(_resize_axis(img.float(), -2, scale, antialiasing), -1, scale, antialiasing)
        return resized
    tensor = torch.from_numpy(np.ascontiguousarray(img, dtype=np.float32))
    resized = _resize_axis(_resize_axis(tensor, 0, scale, antialiasing), 1, scale, antialiasing)
    return resized.numpy()


def _resize_axis(img: Tensor, axis: int, scale: float, antialiasing: bool) -> Tensor:
    in_length = img.shape[axis]
    weights, indices, before, after = calculate_weights_indices(
        in_length, math.ceil(in_length * scale), scale, "cubic", 4, antialiasing
    )
    # Padding by reflection is only another choice of input pixel: 0 1 2 becomes ... 1 0 | 0 1 2 | 2 1 ...
    mirrored = torch.arange(-before, in_length + after) % (2 * in_length)
    mirrored = torch.where(mirrored < in_length, mirrored, 2 * in_length - 1 - mirrored)
    source = mirrored[indices].to(img.device)
    weights = weights.to(img)
    shape = [1] * img.dim()
    shape[axis] = -1
    out = img.index_select(axis, source[:, 0]) * weights[:, 0].view(shape)
    for tap in range(1, weights.shape[1]):
        out.addcmul_(img.index_select(axis, source[:, tap]), weights[:, tap].view(shape))
    return out
