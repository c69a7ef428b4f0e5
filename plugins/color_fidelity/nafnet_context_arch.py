"""NAFNet with a colour change in front of it that is chosen by the whole photo.

Why a crop cannot know the right colour: how bright, how warm and how saturated a photo is to become is one decision for
the whole photo, and a crop of a wall fits many decisions. Trained with L1, a network answers with their median, and the
median of vectors that point in many directions is greyer than any of them. So here a thumbnail of the whole photo
chooses the parameters of a small per-pixel colour map, in the manner of conditional retouching networks (He et al.,
"Conditional Sequential Modulation for Efficient Global Image Retouching", ECCV 2020), and NAFNet, which sees
neighbourhoods, works on its result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import NAFNet
from basicsr.utils.registry import ARCH_REGISTRY

__all__ = ["ColorMap", "ContextEncoder", "NAFNetContext", "QuickConv2d"]

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
"""Of each channel of the thumbnail; they tell the exposure, the cast of light and of shadow, and clipping."""


class QuickConv2d(nn.Conv2d):
    """A convolution that an optimizer of Adam's kind moves ``factor`` times as fast as another.

    Weight and bias are stored divided by the factor and multiplied by it when they are used (the learning rate
    multiplier of Karras et al., "A Style-Based Generator Architecture for GANs", CVPR 2019). The layers that are new in
    a fine-tune have a long way to go; those of the network they are added to have arrived.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Edge of the kernel; the image is padded by half of it.
        stride: Step of the kernel.
        factor: The factor.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, factor: float = 1.0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, kernel_size // 2)
        self.factor = factor
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.div_(factor)

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Conv2d``."""
        bias = None if self.bias is None else self.bias * self.factor
        return F.conv2d(input, self.weight * self.factor, bias, self.stride, self.padding)


class ContextEncoder(nn.Module):
    """Describes a photo by a vector: quantiles and means of its channels, and features of a small convolutional net.

    Args:
        size: Edge of the thumbnail in pixels, at least 8.
        features: Length of the vector.
        width: Channels of the first convolution.
        drop_out_rate: Dropout before the last layer. A few hundred photos are few examples of a decision.
        factor: How much faster than other layers its own are to learn.
    """

    def __init__(
        self, size: int, features: int, width: int = 16, drop_out_rate: float = 0.2, factor: float = 1.0
    ) -> None:
        super().__init__()
        self.places = [round(share * (size * size - 1)) for share in QUANTILES]
        self.body = nn.Sequential(
            QuickConv2d(3, width, 3, 2, factor),
            nn.GELU(),
            QuickConv2d(width, 2 * width, 3, 2, factor),
            nn.GELU(),
            QuickConv2d(2 * width, 2 * width, 3, 2, factor),
            nn.GELU(),
        )
        self.drop = nn.Dropout(drop_out_rate)
        self.last = QuickConv2d(4 * width + 3 * (len(QUANTILES) + 1), features, 1, 1, factor)

    def forward(self, context: Tensor) -> Tensor:
        """``(N, 3, size, size)`` in [0, 1] to ``(N, features, 1, 1)``."""
        pixels = context.flatten(2)
        # Sorting, not torch.quantile: it can be exported to ONNX.
        quantiles = pixels.sort(dim=2).values[:, :, self.places].flatten(1)
        maps = self.body(context * 2 - 1).flatten(2)
        spread = (maps - maps.mean(dim=2, keepdim=True)).square().mean(dim=2).add(1e-6).sqrt()
        statistics = torch.cat([quantiles, pixels.mean(dim=2)], dim=1) * 2 - 1
        described = torch.cat([maps.mean(dim=2), spread, statistics], dim=1)[..., None, None]
        return F.gelu(self.last(self.drop(described)))


class ColorMap(nn.Module):
    """A per-pixel map of colour whose layers are scaled and shifted by a vector; a new one is the identity.

    Args:
        features: Length of the vector.
        width: Channels of the two hidden layers.
        factor: How much faster than other layers its own are to learn.
    """

    def __init__(self, features: int, width: int, factor: float = 1.0) -> None:
        super().__init__()
        self.sizes = [width, width, width, width, 3, 3]
        sizes = ((3, width), (width, width), (width, 3))
        self.layers = nn.ModuleList([QuickConv2d(before, after, 1, 1, factor) for before, after in sizes])
        self.modulation = QuickConv2d(features, sum(self.sizes), 1, 1, factor)
        for parameter in (*self.layers[-1].parameters(), *self.modulation.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor, vector: Tensor) -> Tensor:
        """``(N, 3, H, W)`` and ``(N, features, 1, 1)`` to ``(N, 3, H, W)``."""
        parts = self.modulation(vector).split(self.sizes, dim=1)
        x = image
        for index, layer in enumerate(self.layers):
            x = layer(x) * (1 + parts[2 * index]) + parts[2 * index + 1]
            if index < len(self.layers) - 1:
                x = F.gelu(x)
        return image + x


@ARCH_REGISTRY.register()
class NAFNetContext(NAFNet):
    """NAFNet behind a per-pixel colour map that a thumbnail of the whole photo chooses.

    Its state dict holds NAFNet's keys, so a NAFNet's weights are a start (``strict_load_g: false``); with them it gives
    exactly the NAFNet's output until it is trained. In training the dataset must give the thumbnail, as
    ``ColorPairedImageDataset`` does with the same ``context_size``: made from a crop it would describe the crop.

    Args:
        img_channel: Channels of the image; only 3 has a meaning here.
        width: Channels at full resolution; they double at every level down.
        middle_blk_num: Number of blocks at the coarsest level.
        enc_blk_nums: Number of blocks of each encoder level, finest first.
        dec_blk_nums: Number of blocks of each decoder level, coarsest first; as many levels as the encoder.
        context_size: Edge of the thumbnail in pixels.
        context_features: Length of the vector that describes a photo.
        color_width: Channels of the colour map's hidden layers.
        context_drop_out: Dropout in the description, in training.
        context_speed: How much faster than NAFNet's layers those of the context learn (with Adam and its kind).
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        context_size: int = 64,
        context_features: int = 32,
        color_width: int = 32,
        context_drop_out: float = 0.2,
        context_speed: float = 3.0,
    ) -> None:
        super().__init__(img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        if img_channel != 3:
            raise ValueError(f"NAFNetContext: img_channel must be 3 (RGB), got {img_channel}")
        if context_size < 8 or context_features < 1 or color_width < 1 or context_speed <= 0:
            raise ValueError(
                f"NAFNetContext: context_size {context_size} must be at least 8, context_features {context_features} "
                f"and color_width {color_width} at least 1, context_speed {context_speed} above 0"
            )
        self.context_size = context_size
        self.context_encoder = ContextEncoder(
            context_size, context_features, drop_out_rate=context_drop_out, factor=context_speed
        )
        self.color_map = ColorMap(context_features, color_width, context_speed)

    def forward(self, inp: Tensor, context: Tensor | None = None) -> Tensor:
        """Restore a batch of images of any size.

        Args:
            inp: ``(N, 3, H, W)`` in [0, 1].
            context: ``(N, 3, context_size, context_size)``, the whole photos that ``inp`` shows or is a part of; made
                from ``inp`` where it is missing.

        Returns:
            The restored images, same shape as ``inp``, not clamped.
        """
        return super().forward(self.recolor(inp, context))

    def make_context(self, image: Tensor) -> Tensor:
        """Shrink whole photos ``(N, 3, H, W)`` to thumbnails ``(N, 3, context_size, context_size)``, by areas."""
        return F.adaptive_avg_pool2d(image, self.context_size)

    def recolor(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply the colour map alone: pixel by pixel, so parts of a photo may be changed one after the other.

        Args:
            image: ``(N, 3, H, W)`` in [0, 1].
            context: As in ``forward``.

        Returns:
            Same shape as ``image``.
        """
        vector = self.context_encoder(self.make_context(image) if context is None else context)
        return self.color_map(image, vector)
