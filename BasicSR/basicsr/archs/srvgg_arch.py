"""The compact VGG-style network of Real-ESRGAN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register(suffix="basicsr")
class SRVGGNetCompact(nn.Module):
    """Plain convolutions at the input's size and one pixel shuffle, added to the enlarged input.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output.
        num_feat: Channels inside.
        num_conv: Number of convolutions between the first and the last.
        upscale: Enlargement.
        act_type: ``relu``, ``prelu`` or ``leakyrelu``.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_conv: int = 16,
        upscale: int = 4,
        act_type: str = "prelu",
    ) -> None:
        super().__init__()
        self.upscale = upscale
        self.body = nn.ModuleList()
        channels = num_in_ch
        for _ in range(num_conv + 1):
            self.body += [nn.Conv2d(channels, num_feat, 3, 1, 1), _activation(act_type, num_feat)]
            channels = num_feat
        self.body.append(nn.Conv2d(channels, num_out_ch * upscale * upscale, 3, 1, 1))
        self.upsampler = nn.PixelShuffle(upscale)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, num_in_ch, H, W)`` to ``(N, num_out_ch, upscale * H, upscale * W)``."""
        out = x
        for layer in self.body:
            out = layer(out)
        return self.upsampler(out) + F.interpolate(x, scale_factor=float(self.upscale), mode="nearest")


def _activation(act_type: str, channels: int) -> nn.Module:
    if act_type == "relu":
        return nn.ReLU(inplace=True)
    if act_type == "prelu":
        return nn.PReLU(num_parameters=channels)
    if act_type == "leakyrelu":
        return nn.LeakyReLU(negative_slope=0.1, inplace=True)
    raise ValueError(f"SRVGGNetCompact: act_type must be relu, prelu or leakyrelu, got '{act_type}'")
