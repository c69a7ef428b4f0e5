"""EDSR (Lim et al.: "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import ResidualBlockNoBN, Upsample, make_layer
from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class EDSR(nn.Module):
    """Residual blocks without batch norm, then learnt upsampling.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output.
        num_feat: Channels inside.
        num_block: Number of residual blocks.
        upscale: Enlargement: a power of two, or 3.
        res_scale: Factor of each residual; 0.1 keeps wide networks stable.
        img_range: Factor from the image's range to the network's.
        rgb_mean: Mean colour to subtract, in the image's range; ignored for other than three channels.
    """

    mean: Tensor

    def __init__(
        self,
        num_in_ch: int,
        num_out_ch: int,
        num_feat: int = 64,
        num_block: int = 16,
        upscale: int = 4,
        res_scale: float = 1,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = (0.4488, 0.4371, 0.4040),
    ) -> None:
        super().__init__()
        self.img_range = img_range
        mean = torch.tensor(list(rgb_mean), dtype=torch.float32) if num_in_ch == 3 else torch.zeros(1)
        # Not persistent: the official checkpoints do not have it.
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.body = make_layer(ResidualBlockNoBN, num_block, num_feat=num_feat, res_scale=res_scale, pytorch_init=True)
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.upsample = Upsample(upscale, num_feat)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, num_in_ch, H, W)`` in [0, 1] to ``(N, num_out_ch, upscale * H, upscale * W)``."""
        x = self.conv_first((x - self.mean) * self.img_range)
        x = self.conv_after_body(self.body(x)) + x
        return self.conv_last(self.upsample(x)) / self.img_range + self.mean
