"""Running a NAFNet over a photo of any size in little device memory, with the result of running it whole.

Cutting a photo into tiles and running the network on each is not the same network: its channel attention averages over
the whole image, so every tile would be edited by its own statistics, and the seams show. Here the *layers* are cut
instead: each is computed band by band over the whole width, a band reads the one row that its 3x3 convolution needs
from its neighbours, and the averages are taken over all bands before any of them is used. Nothing is approximated.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import NAFBlock, NAFNet


class BandedNAFNet:
    """A NAFNet with global channel attention, computed layer by layer in bands of rows.

    Feature maps are kept in main memory (2 x width floats a pixel), bands are computed on the device.

    Args:
        net: The network, in evaluation mode, on its device.
        band_pixels: Size of a band in pixels of the photo; deeper levels take bands of as much memory.
    """

    def __init__(self, net: NAFNet, band_pixels: int = 512 * 512) -> None:
        if not can_be_banded(net):
            raise ValueError(f"{type(net).__name__} is not a NAFNet whose attention averages over the whole image")
        self.net = net
        self.device = next(net.parameters()).device
        self._budget = band_pixels * net.intro.out_channels

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Restore one image.

        Args:
            image: (1, C, H, W) on the CPU, height and width multiples of ``net.padder_size``.

        Returns:
            The restored image, same shape, on the CPU, not clamped.
        """
        x = self._convolved(self.net.intro, image)
        skips: list[Tensor] = []
        for encoder, down in zip(self.net.encoders, self.net.downs, strict=True):
            self._run_blocks(encoder, x)
            skips.append(x)
            x = self._down(down, x)
        self._run_blocks(self.net.middle_blks, x)
        for decoder, up in zip(self.net.decoders, self.net.ups, strict=True):
            x = self._up(up, x, skips.pop())
            self._run_blocks(decoder, x)
        return self._convolved(self.net.ending, x) + image

    def _bands(self, x: Tensor, step: int = 1) -> Iterator[tuple[int, int]]:
        """First and last row (exclusive) of each band; their number of rows is a multiple of ``step``."""
        height, per_row = x.shape[-2], x.shape[-1] * x.shape[1]
        rows = max(step, self._budget // per_row // step * step)
        for top in range(0, height, rows):
            yield top, min(height, top + rows)

    def _read(self, x: Tensor, top: int, bottom: int) -> tuple[Tensor, tuple[int, int]]:
        """A band with one row more on either side, and how many of these rows the image does not have."""
        above, below = max(0, top - 1), min(x.shape[-2], bottom + 1)
        missing = (1 - (top - above), 1 - (below - bottom))
        return x[..., above:below, :].to(self.device, non_blocking=True), missing

    @staticmethod
    def _convolve(conv: nn.Conv2d, band: Tensor, missing: tuple[int, int]) -> Tensor:
        """A 3x3 convolution of a band with its neighbours' rows; zeros only where the image ends."""
        padded = F.pad(band, (1, 1, *missing))
        return F.conv2d(
            padded, conv.weight.to(padded), None if conv.bias is None else conv.bias.to(padded), groups=conv.groups
        )

    def _convolved(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        out = torch.empty((1, conv.out_channels, *x.shape[-2:]))
        for top, bottom in self._bands(out):
            out[..., top:bottom, :] = self._convolve(conv, *self._read(x, top, bottom)).float().cpu()
        return out

    def _run_blocks(self, blocks: nn.Module, x: Tensor) -> None:
        for block in blocks.children():
            if isinstance(block, NAFBlock):
                self._run_block(block, x)

    def _run_block(self, block: NAFBlock, x: Tensor) -> None:
        """Replace ``x`` by the block's output; once over the image up to the attention, once from there on."""
        gated = torch.empty_like(x)
        total = torch.zeros(x.shape[1], dtype=torch.float64, device=_sum_device(self.device))
        for top, bottom in self._bands(x):
            band, missing = self._read(x, top, bottom)
            band = block.sg(self._convolve(block.conv2, block.conv1(block.norm1(band)), missing))
            total += band.sum(dim=(0, 2, 3), dtype=torch.float32).to(total)
            gated[..., top:bottom, :] = band.float().cpu()
        mean = (total / (x.shape[-2] * x.shape[-1])).float().view(1, -1, 1, 1).to(self.device)
        attention = block.sca[1](mean)
        for top, bottom in self._bands(x):
            rows = x[..., top:bottom, :].to(self.device)
            y = rows + block.conv3(gated[..., top:bottom, :].to(self.device) * attention) * block.beta
            y = y + block.conv5(block.sg(block.conv4(block.norm2(y)))) * block.gamma
            x[..., top:bottom, :] = y.float().cpu()

    def _down(self, down: nn.Module, x: Tensor) -> Tensor:
        out = torch.empty((1, 2 * x.shape[1], x.shape[-2] // 2, x.shape[-1] // 2))
        for top, bottom in self._bands(x, step=2):
            out[..., top // 2 : bottom // 2, :] = down(x[..., top:bottom, :].to(self.device)).float().cpu()
        return out

    def _up(self, up: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
        for top, bottom in self._bands(x):
            skip[..., 2 * top : 2 * bottom, :] += up(x[..., top:bottom, :].to(self.device)).float().cpu()
        return skip


def can_be_banded(net: nn.Module) -> bool:
    """Whether :class:`BandedNAFNet` computes what ``net`` computes: a NAFNet, not its local variant, nor a subclass."""
    blocks = [module for module in net.modules() if isinstance(module, NAFBlock)]
    return type(net) is NAFNet and all(isinstance(block.sca[0], nn.AdaptiveAvgPool2d) for block in blocks)


def _sum_device(device: torch.device) -> torch.device:
    """MPS has no float64."""
    return torch.device("cpu") if device.type == "mps" else device
