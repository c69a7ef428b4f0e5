"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excite and with ReLU6, so that 8 bits lose little.

The network of M. Tan and Q. V. Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML
2019, in the Lite form that its authors published for devices in 2020. Input is normalised to (x - 127) / 128.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from basicsr.engine.errors import UserError

LITE0 = "efficientnet_lite0"
# (expansion, kernel, stride, outputs, repeats) of each stage
_STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
           (6, 3, 1, 320, 1))  # fmt: skip
_STEM, _LAST = 32, 1280
_COUNTER = "num_batches_tracked"
_CLASSIFIERS = ("_fc.", "classifier.", "fc.", "head.")


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    padding = kernel // 2
    if stride == 2:
        # As in the original: of an even edge the odd pixel of padding is at the end.
        layers.append(nn.ZeroPad2d(((kernel - 2) // 2, (kernel - 1) // 2) * 2))
        padding = 0
    layers.append(nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(outside, eps=1e-3, momentum=0.01))
    return nn.Sequential(*layers, *([nn.ReLU6(inplace=True)] if act else []))


class LiteBlock(nn.Module):
    """Inverted residual (Sandler et al., CVPR 2018): widen, filter each channel, narrow.

    Args:
        inside: Channels in.
        outside: Channels out.
        expansion: Factor of the widening; 1 for none.
        kernel: Edge of the filter.
        stride: 1 or 2.
    """

    def __init__(self, inside: int, outside: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inside * expansion
        widen = [_conv(inside, wide, 1)] if expansion > 1 else []
        filtered = _conv(wide, wide, kernel, stride, groups=wide)
        self.body = nn.Sequential(*widen, filtered, _conv(wide, outside, 1, act=False))
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class EfficientNetLite0Blocks(nn.Sequential):
    """The chain from the first convolution to the last feature map (N, 1280, H / 32, W / 32)."""

    def __init__(self) -> None:
        blocks: list[nn.Module] = [_conv(3, _STEM, 3, 2)]
        inside = _STEM
        for expansion, kernel, stride, outside, repeats in _STAGES:
            for number in range(repeats):
                blocks.append(LiteBlock(inside, outside, expansion, kernel, stride if number == 0 else 1))
                inside = outside
        super().__init__(*blocks, _conv(inside, _LAST, 1))

    def load_foreign(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load weights of other implementations, which list the same tensors in the same order under other names.

        Raises:
            UserError: They are of another network.
        """
        own = {key: value for key, value in self.state_dict().items() if not key.endswith(_COUNTER)}
        theirs = [
            (key, value)
            for key, value in state.items()
            if not key.endswith(_COUNTER) and not key.startswith(_CLASSIFIERS)
        ]
        problem = f"{len(theirs)} tensors, not {len(own)}" if len(theirs) != len(own) else ""
        for (key, value), (other, tensor) in zip(own.items(), theirs, strict=False):
            if value.shape != tensor.shape or key.rsplit(".", 1)[1] != other.rsplit(".", 1)[1]:
                problem = problem or f"{other} {tuple(tensor.shape)} is not {key} {tuple(value.shape)}"
        if problem:
            raise UserError(f"{source}: these are not weights of EfficientNet-Lite0: {problem}")
        self.load_state_dict({key: tensor for key, (_, tensor) in zip(own, theirs, strict=True)}, strict=False)
