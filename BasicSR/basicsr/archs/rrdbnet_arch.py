"""RRDBNet (Wang et al.: "ESRGAN", ECCVW 2018; also the generator of Real-ESRGAN)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import default_init_weights, make_layer, pixel_unshuffle
from basicsr.utils.registry import ARCH_REGISTRY

_RESIDUAL_SCALE = 0.2
_UNSHUFFLE = {1: 4, 2: 2}


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each seeing the outputs of all before it, added to the input at a fifth.

    Args:
        num_feat: Channels of the input and output.
        num_grow_ch: Channels that each of the first four convolutions adds.
    """

    def __init__(self, num_feat: int = 64, num_grow_ch: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_grow_ch, 3, 1, 1)
        self.conv2 = nn.Conv2d(num_feat + num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv3 = nn.Conv2d(num_feat + 2 * num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv4 = nn.Conv2d(num_feat + 3 * num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv5 = nn.Conv2d(num_feat + 4 * num_grow_ch, num_feat, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.2, inplace=True)
        default_init_weights([self.conv1, self.conv2, self.conv3, self.conv4, self.conv5], 0.1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(self.lrelu(conv(torch.cat(seen, dim=1))))
        return self.conv5(torch.cat(seen, dim=1)) * _RESIDUAL_SCALE + x


class RRDB(nn.Module):
    """Three residual dense blocks, added to the input at a fifth.

    Args:
        num_feat: Channels of the input and output.
        num_grow_ch: Channels that each convolution adds.
    """

    def __init__(self, num_feat: int, num_grow_ch: int = 32) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * _RESIDUAL_SCALE + x


@ARCH_REGISTRY.register()
class RRDBNet(nn.Module):
    """Residual-in-residual dense blocks, then two nearest-neighbour enlargements by 2.

    For scale 1 and 2 the input is first folded into channels by 4 and 2, so that the work is done at a quarter of the
    output's size whatever the scale.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output.
        scale: Enlargement: 1, 2 or 4.
        num_feat: Channels inside.
        num_block: Number of blocks.
        num_grow_ch: Channels that each convolution of a block adds.
    """

    def __init__(
        self,
        num_in_ch: int,
        num_out_ch: int,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
    ) -> None:
        super().__init__()
        self.scale = scale
        folded = num_in_ch * _UNSHUFFLE.get(scale, 1) ** 2
        self.conv_first = nn.Conv2d(folded, num_feat, 3, 1, 1)
        self.body = make_layer(RRDB, num_block, num_feat=num_feat, num_grow_ch=num_grow_ch)
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, num_in_ch, H, W)`` to ``(N, num_out_ch, scale * H, scale * W)``; H, W even for 2, by 4 for 1."""
        fold = _UNSHUFFLE.get(self.scale, 1)
        feat = self.conv_first(pixel_unshuffle(x, fold) if fold > 1 else x)
        feat = feat + self.conv_body(self.body(feat))
        feat = self.lrelu(self.conv_up1(F.interpolate(feat, scale_factor=2.0, mode="nearest")))
        feat = self.lrelu(self.conv_up2(F.interpolate(feat, scale_factor=2.0, mode="nearest")))
        return self.conv_last(self.lrelu(self.conv_hr(feat)))
