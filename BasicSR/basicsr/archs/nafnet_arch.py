"""NAFNet (Chen, Chu, Zhang, Sun: "Simple Baselines for Image Restoration", ECCV 2022) and its local variant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.norm import LayerNorm2d
from basicsr.utils.registry import ARCH_REGISTRY

__all__ = ["LayerNorm2d", "NAFBlock", "NAFNet", "NAFNetLocal", "SimpleGate", "UnpaddedNAFNet"]


class SimpleGate(nn.Module):
    """Product of the two halves of the channels: ``(N, 2C, H, W)`` to ``(N, C, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return first * second


class NAFBlock(nn.Module):
    """NAFNet's block: a gated depthwise convolution with channel attention, then a gated feed-forward part.

    Both parts are residual and scaled by ``beta`` and ``gamma``, which start at zero: a new block is the identity.

    Args:
        c: Number of channels.
        DW_Expand: Channels of the depthwise convolution as a multiple of ``c``; even after multiplication.
        FFN_Expand: Channels of the feed-forward part as a multiple of ``c``; even after multiplication.
        drop_out_rate: Dropout after each part, 0 for none.
    """

    def __init__(self, c: int, DW_Expand: int = 2, FFN_Expand: int = 2, drop_out_rate: float = 0.0) -> None:
        super().__init__()
        wide, hidden = c * DW_Expand, c * FFN_Expand
        self.conv1 = nn.Conv2d(c, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = nn.Conv2d(wide // 2, c, 1)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide // 2, wide // 2, 1))
        self.sg = SimpleGate()
        self.conv4 = nn.Conv2d(c, hidden, 1)
        self.conv5 = nn.Conv2d(hidden // 2, c, 1)
        self.norm1 = LayerNorm2d(c)
        self.norm2 = LayerNorm2d(c)
        self.dropout1 = nn.Dropout(drop_out_rate) if drop_out_rate > 0 else nn.Identity()
        self.dropout2 = nn.Dropout(drop_out_rate) if drop_out_rate > 0 else nn.Identity()
        self.beta = nn.Parameter(torch.zeros(1, c, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, c, 1, 1))

    def forward(self, inp: Tensor) -> Tensor:
        """``(N, c, H, W)`` to the same shape."""
        x = self.sg(self.conv2(_pointwise(self.conv1, self.norm1(inp))))
        y = inp + self.dropout1(_pointwise(self.conv3, x * self.sca(x), self.beta))
        x = self.sg(_pointwise(self.conv4, self.norm2(y)))
        return y + self.dropout2(_pointwise(self.conv5, x, self.gamma))


@ARCH_REGISTRY.register()
class NAFNet(nn.Module):
    """A U-Net of NAFBlocks that predicts the correction to add to its input.

    State-dict keys are those of the official repository, so official checkpoints load strictly.

    Args:
        img_channel: Channels of the input and of the output image.
        width: Channels at full resolution; they double at every level down.
        middle_blk_num: Number of blocks at the coarsest level.
        enc_blk_nums: Number of blocks of each encoder level, finest first.
        dec_blk_nums: Number of blocks of each decoder level, coarsest first; as many levels as the encoder.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if img_channel < 1 or width < 1:
            raise ValueError(f"NAFNet: img_channel {img_channel} and width {width} must be at least 1")
        if len(enc_blk_nums) != len(dec_blk_nums):
            raise ValueError(
                f"NAFNet: enc_blk_nums {list(enc_blk_nums)} and dec_blk_nums {list(dec_blk_nums)} must have the same "
                "number of levels"
            )
        self.intro = nn.Conv2d(img_channel, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders = nn.ModuleList()
        self.decoders = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.downs = nn.ModuleList()
        channels = width
        for number in enc_blk_nums:
            self.encoders.append(_blocks(channels, number))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, 2))
            channels *= 2
        self.middle_blks = _blocks(channels, middle_blk_num)
        for number in dec_blk_nums:
            self.ups.append(nn.Sequential(nn.Conv2d(channels, channels * 2, 1, bias=False), nn.PixelShuffle(2)))
            channels //= 2
            self.decoders.append(_blocks(channels, number))
        self.padder_size = 2 ** len(self.encoders)

    def forward(self, inp: Tensor) -> Tensor:
        """Restore a batch of images of any size.

        Args:
            inp: ``(N, img_channel, H, W)``, usually in [0, 1].

        Returns:
            The restored images, same shape, not clamped.
        """
        height, width = inp.shape[-2:]
        return self.forward_unpadded(self.check_image_size(inp))[..., :height, :width]

    def forward_unpadded(self, inp: Tensor) -> Tensor:
        """``forward`` for images whose height and width are multiples of ``padder_size``."""
        x = self.intro(inp)
        skips: list[Tensor] = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for decoder, up in zip(self.decoders, self.ups, strict=True):
            x = decoder(up(x) + skips.pop())
        return self.ending(x) + inp

    def check_image_size(self, x: Tensor) -> Tensor:
        """Pad ``x`` with zeros at the bottom and right to the next multiple of ``padder_size``."""
        height, width = x.shape[-2:]
        pad_h = -height % self.padder_size
        pad_w = -width % self.padder_size
        return F.pad(x, (0, pad_w, 0, pad_h)) if pad_h or pad_w else x

    def unpadded(self) -> UnpaddedNAFNet:
        """This network without its padding: what to give to ``torch.export`` or ONNX for a dynamic image size."""
        return UnpaddedNAFNet(self)


class UnpaddedNAFNet(nn.Module):
    """A NAFNet whose ``forward`` neither pads nor crops; the caller pads to a multiple of ``padder_size``.

    Padding depends on the image size, which an exported graph would fix to that of its example.

    Args:
        net: The network; its weights are shared.
    """

    def __init__(self, net: NAFNet) -> None:
        super().__init__()
        self.net = net
        self.padder_size = net.padder_size

    def forward(self, inp: Tensor) -> Tensor:
        return self.net.forward_unpadded(inp)


@ARCH_REGISTRY.register()
class NAFNetLocal(NAFNet):
    """NAFNet for images larger than the training crops: channel attention pools a window, not the whole image.

    "Improving Image Restoration by Revisiting Global Information Aggregation" (Chu et al., ECCV 2022). The window is
    1.5 times the training crop, scaled to each level. Keys and weights are NAFNet's: train NAFNet, test NAFNetLocal.

    Args:
        img_channel: Channels of the input and of the output image.
        width: Channels at full resolution; they double at every level down.
        middle_blk_num: Number of blocks at the coarsest level.
        enc_blk_nums: Number of blocks of each encoder level, finest first.
        dec_blk_nums: Number of blocks of each decoder level, coarsest first; as many levels as the encoder.
        train_size: Shape ``(N, C, H, W)`` of the training batches; only H and W count.
        fast_imp: Sum every few pixels instead of all: faster, and slightly different values.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        train_size: Sequence[int] = (1, 3, 256, 256),
        fast_imp: bool = False,
    ) -> None:
        super().__init__(img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        if len(train_size) != 4:
            raise ValueError(f"NAFNetLocal: train_size must be four numbers (N, C, H, W), got {list(train_size)}")
        crop = (int(train_size[-2]), int(train_size[-1]))
        levels = len(self.encoders)
        for level, blocks in enumerate(self.encoders):
            self._pool_locally(blocks, crop, level, fast_imp)
        self._pool_locally(self.middle_blks, crop, levels, fast_imp)
        for step, blocks in enumerate(self.decoders):
            self._pool_locally(blocks, crop, levels - 1 - step, fast_imp)

    def _pool_locally(self, blocks: nn.Module, crop: tuple[int, int], level: int, fast: bool) -> None:
        sizes = tuple((edge + -edge % self.padder_size) >> level for edge in crop)
        for block in blocks.children():
            if isinstance(block, NAFBlock):
                block.sca[0] = LocalAvgPool2d.for_crop((sizes[0], sizes[1]), crop, fast=fast)


def _pointwise(conv: nn.Conv2d, x: Tensor, scale: Tensor | None = None) -> Tensor:
    """``conv(x) * scale`` for a 1x1 convolution and a scale ``(1, C, 1, 1)``."""
    weight, bias = conv.weight, conv.bias
    if scale is not None:
        # Scaling the few weights instead of every pixel saves a twelfth of a training step on the CPU.
        weight = weight * scale.view(-1, 1, 1, 1)
        bias = None if bias is None else bias * scale.flatten()
    # On the CPU a matrix product over pixels is faster than torch's 1x1 convolution, another fifteenth of a step. On a
    # GPU, and in a graph that is exported or compiled, the convolution says the same with less.
    if x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, bias)


def _blocks(channels: int, number: int) -> nn.Sequential:
    return nn.Sequential(*[NAFBlock(channels) for _ in range(number)])
