"""SRResNet as modified for ESRGAN: residual blocks without batch norm, bilinear base."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import ResidualBlockNoBN, default_init_weights, make_layer
from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class MSRResNet(nn.Module):
    """A modified SRResNet (Ledig et al., CVPR 2017) that adds its output to the bilinearly enlarged input.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output; with an enlargement it must match the input's or be broadcast from it.
        num_feat: Channels inside.
        num_block: Number of residual blocks.
        upscale: Enlargement: 1, 2, 3 or 4.
    """

    def __init__(
        self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: int = 16, upscale: int = 4
    ) -> None:
        super().__init__()
        if upscale not in (1, 2, 3, 4):
            raise ValueError(f"MSRResNet: upscale must be 1, 2, 3 or 4, got {upscale}")
        self.upscale = upscale
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.body = make_layer(ResidualBlockNoBN, num_block, num_feat=num_feat)
        step = 2 if upscale == 4 else upscale
        if upscale > 1:
            self.upconv1 = nn.Conv2d(num_feat, num_feat * step * step, 3, 1, 1)
            self.pixel_shuffle = nn.PixelShuffle(step)
        if upscale == 4:
            self.upconv2 = nn.Conv2d(num_feat, num_feat * 4, 3, 1, 1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.1, inplace=True)
        small = [self.conv_first, *([self.upconv1] if upscale > 1 else []), self.conv_hr, self.conv_last]
        default_init_weights([*small, *([self.upconv2] if upscale == 4 else [])], 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, num_in_ch, H, W)`` to ``(N, num_out_ch, upscale * H, upscale * W)``."""
        out = self.body(self.lrelu(self.conv_first(x)))
        if self.upscale > 1:
            out = self.lrelu(self.pixel_shuffle(self.upconv1(out)))
        if self.upscale == 4:
            out = self.lrelu(self.pixel_shuffle(self.upconv2(out)))
        out = self.conv_last(self.lrelu(self.conv_hr(out)))
        if self.upscale == 1:
            return out + x
        return out + F.interpolate(x, scale_factor=float(self.upscale), mode="bilinear", align_corners=False)
