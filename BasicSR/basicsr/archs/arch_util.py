"""Blocks and helpers that architectures share, under their upstream names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from basicsr.archs.norm import LayerNorm2d

__all__ = [
    "LayerNorm2d",
    "ResidualBlockNoBN",
    "Upsample",
    "default_init_weights",
    "flow_warp",
    "make_layer",
    "pixel_unshuffle",
    "resize_flow",
    "to_1tuple",
    "to_2tuple",
    "to_3tuple",
    "to_4tuple",
    "to_ntuple",
    "trunc_normal_",
]


@torch.no_grad()
def default_init_weights(
    module_list: nn.Module | Iterable[nn.Module], scale: float = 1, bias_fill: float = 0, **kwargs: Any
) -> None:
    """Kaiming-normal weights for convolutions and linear layers, ones for batch norms.

    Args:
        module_list: A module or several; their sub-modules too.
        scale: Factor on the weights of convolutions and linear layers; small values keep residual blocks near identity.
        bias_fill: Value of the biases.
        **kwargs: For ``torch.nn.init.kaiming_normal_``.
    """
    roots = [module_list] if isinstance(module_list, nn.Module) else module_list
    for module in (each for root in roots for each in root.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, **kwargs)
            module.weight.mul_(scale)
        elif isinstance(module, _BatchNorm):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            module.bias.fill_(bias_fill)


def make_layer(basic_block: Callable[..., nn.Module], num_basic_block: int, **kwarg: Any) -> nn.Sequential:
    """``num_basic_block`` blocks in a row, each made with the same keyword arguments."""
    return nn.Sequential(*[basic_block(**kwarg) for _ in range(num_basic_block)])


class ResidualBlockNoBN(nn.Module):
    """``x + res_scale * conv(relu(conv(x)))``: EDSR's residual block.

    Args:
        num_feat: Channels.
        res_scale: Factor of the residual.
        pytorch_init: Keep PyTorch's initial weights instead of small Kaiming-normal ones.
    """

    def __init__(self, num_feat: int = 64, res_scale: float = 1, pytorch_init: bool = False) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, 1, 1, bias=True)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1, bias=True)
        self.relu = nn.ReLU(inplace=True)
        if not pytorch_init:
            default_init_weights([self.conv1, self.conv2], 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.relu(self.conv1(x))) * self.res_scale


class Upsample(nn.Sequential):
    """Learnt upsampling: convolution and pixel shuffle, by 2 as often as needed, or by 3 once.

    Args:
        scale: A power of two, or 3.
        num_feat: Channels.
    """

    def __init__(self, scale: int, num_feat: int) -> None:
        if scale == 3:
            steps = [3]
        elif scale > 0 and scale & (scale - 1) == 0:
            steps = [2] * (scale.bit_length() - 1)
        else:
            raise ValueError(f"scale {scale} is not supported. Supported scales: 2^n and 3.")
        layers: list[nn.Module] = []
        for step in steps:
            layers += [nn.Conv2d(num_feat, step * step * num_feat, 3, 1, 1), nn.PixelShuffle(step)]
        super().__init__(*layers)


def flow_warp(
    x: Tensor,
    flow: Tensor,
    interp_mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = True,
) -> Tensor:
    """Sample an image at the places an optical flow points to.

    Args:
        x: ``(N, C, H, W)``.
        flow: ``(N, H, W, 2)``: offsets to the right and down, in pixels.
        interp_mode: ``nearest``, ``bilinear`` or ``bicubic``.
        padding_mode: ``zeros``, ``border`` or ``reflection``.
        align_corners: As in ``torch.nn.functional.grid_sample``.

    Returns:
        ``(N, C, H, W)``.

    Raises:
        ValueError: If the sizes differ.
    """
    height, width = x.shape[-2:]
    if flow.shape[1:3] != x.shape[-2:]:
        raise ValueError(f"flow of {tuple(flow.shape[1:3])} pixels does not fit an image of {(height, width)}")
    rows, columns = torch.meshgrid(
        torch.arange(height, device=x.device, dtype=x.dtype),
        torch.arange(width, device=x.device, dtype=x.dtype),
        indexing="ij",
    )
    across = 2.0 * (columns + flow[..., 0]) / max(width - 1, 1) - 1.0
    down = 2.0 * (rows + flow[..., 1]) / max(height - 1, 1) - 1.0
    grid = torch.stack((across, down), dim=3)
    return F.grid_sample(x, grid, mode=interp_mode, padding_mode=padding_mode, align_corners=align_corners)


def resize_flow(
    flow: Tensor,
    size_type: str,
    sizes: Sequence[float],
    interp_mode: str = "bilinear",
    align_corners: bool = False,
) -> Tensor:
    """Resize an optical flow and its offsets with it.

    Args:
        flow: ``(N, 2, H, W)``: offsets to the right and down, in pixels.
        size_type: ``ratio`` or ``shape``: what ``sizes`` holds.
        sizes: Two factors, or the height and width to produce.
        interp_mode: As in ``torch.nn.functional.interpolate``.
        align_corners: As in ``torch.nn.functional.interpolate``.

    Returns:
        ``(N, 2, H', W')``.

    Raises:
        ValueError: For another ``size_type``.
    """
    height, width = flow.shape[-2:]
    if size_type == "ratio":
        out_height, out_width = int(height * sizes[0]), int(width * sizes[1])
    elif size_type == "shape":
        out_height, out_width = int(sizes[0]), int(sizes[1])
    else:
        raise ValueError(f"Size type should be ratio or shape, but got type {size_type}.")
    scale = flow.new_tensor([out_width / width, out_height / height]).view(1, 2, 1, 1)
    return F.interpolate(flow * scale, size=(out_height, out_width), mode=interp_mode, align_corners=align_corners)


def pixel_unshuffle(x: Tensor, scale: int) -> Tensor:
    """``(N, C, scale * H, scale * W)`` to ``(N, scale² * C, H, W)``; the inverse of pixel shuffle."""
    return F.pixel_unshuffle(x, scale)


def _no_grad_trunc_normal_(tensor: Tensor, mean: float, std: float, a: float, b: float) -> Tensor:
    return nn.init.trunc_normal_(tensor, mean, std, a, b)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """Fill with normally distributed values, none outside ``[a, b]``.

    Args:
        tensor: The tensor to fill.
        mean: Mean of the distribution before truncation.
        std: Standard deviation before truncation.
        a: Smallest value.
        b: Largest value.

    Returns:
        ``tensor``.
    """
    return _no_grad_trunc_normal_(tensor, mean, std, a, b)


def _ntuple(n: int) -> Callable[[Any], Any]:
    """A function that repeats a value ``n`` times and lets an iterable pass."""

    def parse(x: Any) -> Any:
        return x if isinstance(x, Iterable) else (x,) * n

    return parse


to_1tuple = _ntuple(1)
to_2tuple = _ntuple(2)
to_3tuple = _ntuple(3)
to_4tuple = _ntuple(4)
to_ntuple = _ntuple
