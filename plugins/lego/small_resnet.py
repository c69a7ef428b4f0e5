"""A small residual network that learns from random weights in minutes: for the demo and for small pictures."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

SMALL_RESNET = "small_resnet"
_WIDTHS = (16, 32, 64, 128)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a short cut (He et al., CVPR 2016).

    Args:
        inside: Channels in.
        outside: Channels out.
        stride: 1 or 2.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside),
        )  # fmt: skip
        plain = inside == outside and stride == 1
        self.short = (
            nn.Identity()
            if plain
            else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


def small_resnet_blocks() -> list[nn.Module]:
    """The chain: a first convolution of stride 2, and one block for each of four widths, (N, 128, H / 16, W / 16)."""
    stem = nn.Sequential(
        nn.Conv2d(3, _WIDTHS[0], 3, 2, 1, bias=False), nn.BatchNorm2d(_WIDTHS[0]), nn.ReLU(inplace=True)
    )
    blocks: list[nn.Module] = [stem]
    inside = _WIDTHS[0]
    for number, outside in enumerate(_WIDTHS):
        blocks.append(BasicBlock(inside, outside, 1 if number == 0 else 2))
        inside = outside
    return blocks
