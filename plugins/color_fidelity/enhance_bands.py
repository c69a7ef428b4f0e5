"""Running a NAFNet over a photo of any size in little memory, with the result of running it whole.

Cutting a photo into tiles and running the network on each is not the same network: its channel attention averages over
the whole image, so every tile would be edited by its own statistics, and the seams show. Here the *layers* are cut
instead: each is computed band by band over the whole width, a band reads the one row that its 3x3 convolution needs
from its neighbours, and the averages are taken over all bands before any of them is used. Nothing is approximated.

A band is small enough to stay in a core's cache, and pixels are stored one after the other with their channels side by
side. So on a CPU the bands are also several times faster than the whole image (``benchmarks/enhance.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.nafnet_arch import NAFBlock, NAFNet, NAFNetLocal

CACHED_PIXELS = 128 * 128
"""Pixels of a band whose feature maps stay in the cache of one core (2 MB at width 32)."""

_POOLED_CHANNELS = 8


class BandedNAFNet:
    """A NAFNet computed layer by layer in bands of rows.

    Feature maps are kept on ``storage`` (2 x width floats a pixel, 3 x width where attention is local, one of them at
    the precision of autocast), bands are computed on the network's device.

    Args:
        net: A network that :func:`can_be_banded`, in evaluation mode, on its device.
        band_pixels: Size of a band in pixels of the photo; deeper levels take bands of as much memory.
        storage: Where feature maps are kept; the CPU if not given.
    """

    def __init__(
        self, net: NAFNet, band_pixels: int = CACHED_PIXELS, storage: torch.device | str | None = None
    ) -> None:
        if not can_be_banded(net):
            raise ValueError(f"{type(net).__name__} is not a NAFNet whose layers are known, it cannot be cut in bands")
        self.net = net
        self.device = next(net.parameters()).device
        self.storage = torch.device(storage or "cpu")
        self._budget = band_pixels * net.intro.out_channels
        self._dtype = torch.float32

    @torch.inference_mode()
    def __call__(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Restore one image.

        Args:
            image: (1, C, H, W) on the CPU, height and width multiples of ``net.padder_size``.
            context: For a network with ``recolor``: what its ``make_context`` says about the photo; None asks it.

        Returns:
            The restored image, same shape, on the CPU, not clamped.
        """
        autocast = torch.is_autocast_enabled(self.device.type)
        self._dtype = torch.get_autocast_dtype(self.device.type) if autocast else torch.float32
        pixels = self._recolored(image, context).to(self.storage)
        with torch.autocast(self.device.type, enabled=False):
            features = self._run(_channels_last(pixels))
            return self._ending(features, pixels).cpu()

    def _recolored(self, image: Tensor, context: Tensor | None) -> Tensor:
        """The image after ``recolor``, pixel by pixel, with the statistics of the whole."""
        recolor = getattr(self.net, "recolor", None)
        if recolor is None:
            return image
        if context is None:
            context = self.net.make_context(image.to(self.device))  # type: ignore[operator]
        changed = torch.empty_like(image)
        rows = max(1, self._budget // (16 * image.shape[-1]))
        for top in range(0, image.shape[-2], rows):
            part = (..., slice(top, top + rows), slice(None))
            changed[part] = recolor(image[part].to(self.device), context).float().cpu()
        return changed

    def _run(self, image: Tensor) -> Tensor:
        """From (H, W, C) of the image to (H, W, width) for the last layer."""
        x = self._intro(image)
        skips: list[Tensor] = []
        for encoder, down in zip(self.net.encoders, self.net.downs, strict=True):
            self._run_blocks(encoder, x)
            skips.append(x)
            x = self._down(down, x)
        self._run_blocks(self.net.middle_blks, x)
        for decoder, up in zip(self.net.decoders, self.net.ups, strict=True):
            x = self._up(up, x, skips.pop())
            self._run_blocks(decoder, x)
        return x

    def _bands(self, x: Tensor, channels: int = 0, step: int = 1) -> Iterator[tuple[int, int]]:
        """First and last row (exclusive) of each band; their number of rows is a multiple of ``step``."""
        height = x.shape[0]
        rows = max(step, self._budget // (x.shape[1] * (channels or x.shape[2])) // step * step)
        for top in range(0, height, rows):
            yield top, min(height, top + rows)

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.storage)

    def _weights(self, layer: Any) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a convolution in the type that is computed in."""
        return layer.weight.to(self._dtype), None if layer.bias is None else layer.bias.to(self._dtype)

    def _convolve(self, conv: nn.Conv2d, rows: Tensor) -> Tensor:
        """A 3x3 convolution of (h + 2, W, C), neighbours' rows among them, to (h, W, C')."""
        weight, bias = self._weights(conv)
        out = F.conv2d(_channels_first(rows.to(self._dtype)), weight, bias, padding=(0, 1), groups=conv.groups)
        return _channels_last(out)

    def _with_neighbours(self, x: Tensor, top: int, bottom: int) -> Tensor:
        """A band with one row more on either side, of zeros where the image ends."""
        above, below = max(0, top - 1), min(x.shape[0], bottom + 1)
        band = x[above:below].to(self.device)
        missing = (1 - (top - above), 1 - (below - bottom))
        return F.pad(band, (0, 0, 0, 0, *missing)) if any(missing) else band

    def _intro(self, image: Tensor) -> Tensor:
        conv = self.net.intro
        out = self._empty((*image.shape[:2], conv.out_channels))
        for top, bottom in self._bands(out):
            out[top:bottom] = self._convolve(conv, self._with_neighbours(image, top, bottom))
        return out

    def _ending(self, x: Tensor, image: Tensor) -> Tensor:
        out = image.clone()
        for top, bottom in self._bands(x):
            change = self._convolve(self.net.ending, self._with_neighbours(x, top, bottom))
            out[..., top:bottom, :] += _channels_first(change).to(out)
        return out

    def _run_blocks(self, blocks: nn.Module, x: Tensor) -> None:
        gated = self._empty(x.shape, self._dtype)
        for block in blocks.children():
            if isinstance(block, NAFBlock):
                sums = self._spatial_part(block, x, gated)
                self._rest(block, x, gated, self._attention(block, gated, sums))

    def _spatial_part(self, block: NAFBlock, x: Tensor, gated: Tensor) -> Tensor:
        """Write the gated convolution to ``gated`` and return its sums over the image.

        The convolution follows the expanded rows one row behind: the last two of a band are handed to the next.
        """
        weight, bias = self._weights(block.conv1)
        expanded = block.conv1.out_channels
        total = torch.zeros(x.shape[2], dtype=torch.float64)
        rows = torch.zeros((1, x.shape[1], expanded), dtype=self._dtype, device=self.device)
        done = 0
        for top, bottom in self._bands(x):
            wide = F.linear(_norm(block.norm1, x[top:bottom].to(self.device)).to(self._dtype), weight.flatten(1), bias)
            beyond = [torch.zeros_like(wide[:1])] if bottom == x.shape[0] else []
            rows = torch.cat([rows[-2:], wide, *beyond])
            height = rows.shape[0] - 2
            if height < 1:
                continue
            band = _gate(self._convolve(block.conv2, rows))
            total += band.sum(dim=(0, 1), dtype=torch.float32).cpu()
            gated[done : done + height] = band
            done += height
        return total

    def _attention(self, block: NAFBlock, gated: Tensor, sums: Tensor) -> Tensor:
        """(C,) factors where the attention is global, else the (H, W, C) averages that it is computed from."""
        pool = block.sca[0]
        height, width, channels = gated.shape
        if isinstance(pool, LocalAvgPool2d) and (pool.kernel_size[0] < height or pool.kernel_size[1] < width):
            averages = self._empty(gated.shape, self._dtype)
            for first in range(0, channels, _POOLED_CHANNELS):
                some = slice(first, first + _POOLED_CHANNELS)
                averages[..., some] = _channels_last(pool(_channels_first(gated[..., some]).contiguous()))
            return averages
        mean = (sums / (height * width)).to(self._dtype).to(self.device)
        weight, bias = self._weights(block.sca[1])
        return F.linear(mean, weight.flatten(1), bias)

    def _rest(self, block: NAFBlock, x: Tensor, gated: Tensor, attention: Tensor) -> None:
        """Replace ``x`` by the block's output."""
        is_local = attention.dim() > 1
        attend, attend_bias = self._weights(block.sca[1])
        project, project_bias = self._scaled(block.conv3, block.beta, None if is_local else attention)
        widen, widen_bias = self._weights(block.conv4)
        narrow, narrow_bias = self._scaled(block.conv5, block.gamma)
        for top, bottom in self._bands(x):
            band = gated[top:bottom].to(self.device)
            if is_local:
                band = band * F.linear(attention[top:bottom].to(self.device), attend.flatten(1), attend_bias)
            rows = x[top:bottom]
            y = rows.to(self.device)
            y += F.linear(band, project, project_bias)
            wide = F.linear(_norm(block.norm2, y).to(self._dtype), widen.flatten(1), widen_bias)
            y += F.linear(_gate(wide), narrow, narrow_bias)
            if y is not rows:
                rows.copy_(y)

    def _scaled(self, conv: nn.Conv2d, scale: Tensor, inputs: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Matrix and bias of a 1x1 convolution whose outputs, and perhaps inputs, are multiplied by a factor each."""
        matrix = conv.weight.flatten(1) * scale.view(-1, 1)
        if inputs is not None:
            matrix = matrix * inputs.to(matrix)
        bias = None if conv.bias is None else (conv.bias * scale.flatten()).to(self._dtype)
        return matrix.to(self._dtype), bias

    def _down(self, down: nn.Module, x: Tensor) -> Tensor:
        weight, bias = self._weights(down)
        out = self._empty((x.shape[0] // 2, x.shape[1] // 2, 2 * x.shape[2]))
        for top, bottom in self._bands(x, step=2):
            band = _channels_first(x[top:bottom].to(self.device, self._dtype))
            out[top // 2 : bottom // 2] = _channels_last(F.conv2d(band, weight, bias, stride=2))
        return out

    def _up(self, up: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
        """Add the upsampled ``x`` to ``skip``: a matrix product, whose channels in fours make a square of pixels."""
        weight, bias = self._weights(up[0])  # type: ignore[index]
        for top, bottom in self._bands(x, channels=weight.shape[0]):
            wide = F.linear(x[top:bottom].to(self.device, self._dtype), weight.flatten(1), bias)
            rows, width, channels = wide.shape
            quads = wide.view(rows, width, channels // 4, 2, 2).permute(0, 3, 1, 4, 2)
            skip[2 * top : 2 * bottom].view(rows, 2, width, 2, channels // 4).add_(quads.to(skip))
        return skip


def can_be_banded(net: nn.Module) -> bool:
    """Whether :class:`BandedNAFNet` computes what ``net`` computes.

    It does for a NAFNet, its local variant, and a network that is one of them after a ``recolor`` of its own.
    """
    kinds = {NAFNet, NAFNetLocal}
    if not isinstance(net, NAFNet) or type(net).forward_unpadded is not NAFNet.forward_unpadded:
        return False
    if type(net) not in kinds and not (hasattr(net, "recolor") and hasattr(net, "make_context")):
        return False
    blocks = [block for part in (*net.encoders, net.middle_blks, *net.decoders) for block in part.children()]
    pools = (nn.AdaptiveAvgPool2d, LocalAvgPool2d)
    return all(type(block) is NAFBlock and isinstance(block.sca[0], pools) for block in blocks)


def stored_bytes(net: NAFNet, pixels: int) -> int:
    """Bytes of the feature maps that :class:`BandedNAFNet` keeps for a photo of so many pixels."""
    return pixels * net.intro.out_channels * 4 * (3 if isinstance(net, NAFNetLocal) else 2)


def _channels_last(image: Tensor) -> Tensor:
    """(1, C, H, W) to (H, W, C), contiguous."""
    return image[0].permute(1, 2, 0).contiguous()


def _channels_first(pixels: Tensor) -> Tensor:
    """(H, W, C) to a view of shape (1, C, H, W), whose memory format is channels_last."""
    return pixels.unsqueeze(0).permute(0, 3, 1, 2)  # in this order: else torch does not see the format, and copies


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    """``LayerNorm2d`` of (h, W, C)."""
    return F.layer_norm(x, (x.shape[-1],), norm.weight, norm.bias, norm.eps)  # type: ignore[arg-type]


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return first * second
