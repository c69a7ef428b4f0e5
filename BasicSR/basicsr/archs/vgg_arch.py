"""Features of VGG networks (Simonyan, Zisserman, ICLR 2015) for perceptual losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from basicsr.engine.pretrained import load_weights_of
from basicsr.utils.registry import ARCH_REGISTRY

# Number of convolutions in each of the five blocks, and the channels of each block.
_BLOCKS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
RANDOM_WEIGHTS = "random"


def _layer_names(blocks: Sequence[int]) -> Iterator[str]:
    for block, count in enumerate(blocks, start=1):
        for index in range(1, count + 1):
            yield from (f"conv{block}_{index}", f"relu{block}_{index}")
        yield f"pool{block}"


NAMES = {vgg_type: list(_layer_names(blocks)) for vgg_type, blocks in _BLOCKS.items()}


def insert_bn(names: Sequence[str]) -> list[str]:
    """Layer names of the batch-normalised variant.

    Args:
        names: Layer names such as ``conv1_1``, ``relu1_1``.

    Returns:
        The names with ``bn1_1`` after ``conv1_1``, and so on.
    """
    with_bn: list[str] = []
    for name in names:
        with_bn.append(name)
        if name.startswith("conv"):
            with_bn.append("bn" + name.removeprefix("conv"))
    return with_bn


@ARCH_REGISTRY.register()
class VGGFeatureExtractor(nn.Module):
    """Activations of chosen layers of an ImageNet VGG network. Needs no torchvision, only its weight file.

    Args:
        layer_name_list: Layers to return, such as ``conv5_4``, ``relu3_1`` or ``pool4``.
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``, with ``_bn`` for the batch-normalised variant.
        use_input_norm: Normalise the input, in [0, 1], by ImageNet's mean and deviation.
        range_norm: The input is in [-1, 1]: bring it to [0, 1] first.
        requires_grad: Train the network instead of keeping it fixed.
        remove_pooling: Leave the pooling layers out.
        pooling_stride: Stride of the pooling layers.
        weights: A weight file in torchvision's format; by default that of ``vgg_type``, looked for where
            ``basicsr.engine.pretrained`` says. ``random`` leaves the network untrained and is for tests only.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layer_name_list: Sequence[str],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        requires_grad: bool = False,
        remove_pooling: bool = False,
        pooling_stride: int = 2,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.layer_name_list = list(layer_name_list)
        self.use_input_norm = use_input_norm
        self.range_norm = range_norm
        self.names = _names_of(vgg_type)
        self.requires_grad = requires_grad
        last = _last_index(self.names, self.layer_name_list, vgg_type)
        layers = _build_layers(self.names[: last + 1], self.layer_name_list, pooling_stride)
        if weights != RANDOM_WEIGHTS:
            _load_features(layers, weights or vgg_type, vgg_type)
        self.vgg_net = nn.Sequential()
        for name, layer in zip(self.names, layers, strict=False):
            if not (remove_pooling and name.startswith("pool")):
                self.vgg_net.add_module(name, layer)
        self.vgg_net.requires_grad_(requires_grad)
        self.train(requires_grad)
        if use_input_norm:
            self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> VGGFeatureExtractor:
        """A fixed network stays in evaluation mode: its batch-norm statistics must not follow the training images."""
        super().train(mode and self.requires_grad)
        return self

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``(N, 3, H, W)`` RGB to a dict from layer name to ``(N, C, h, w)``."""
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - self.mean) / self.std
        output: dict[str, Tensor] = {}
        for name, layer in self.vgg_net.named_children():
            x = layer(x)
            if name in self.layer_name_list:
                output[name] = x
        return output


def _names_of(vgg_type: str) -> list[str]:
    plain = vgg_type.removesuffix("_bn")
    if plain not in NAMES:
        known = ", ".join(f"{name}, {name}_bn" for name in NAMES)
        raise ValueError(f"vgg_type '{vgg_type}' is unknown; known are {known}")
    return insert_bn(NAMES[plain]) if vgg_type.endswith("_bn") else NAMES[plain]


def _last_index(names: Sequence[str], wanted: Sequence[str], vgg_type: str) -> int:
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted:
        problem = f"has no layer {', '.join(unknown)}" if unknown else "needs at least one layer name"
        raise ValueError(f"{vgg_type} {problem}; its layers are {', '.join(names)}")
    return max(names.index(name) for name in wanted)


def _build_layers(names: Sequence[str], wanted: Sequence[str], pooling_stride: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels, previous = 3, ""
    for name in names:
        if name.startswith("conv"):
            out = _CHANNELS[int(name[len("conv")]) - 1]
            layers.append(nn.Conv2d(channels, out, 3, padding=1))
            channels = out
        elif name.startswith("bn"):
            layers.append(nn.BatchNorm2d(channels))
        elif name.startswith("relu"):
            # In place it would overwrite an activation that the caller asked for.
            layers.append(nn.ReLU(inplace=previous not in wanted))
        else:
            layers.append(nn.MaxPool2d(2, stride=pooling_stride))
        previous = name
    return layers


def _load_features(layers: Sequence[nn.Module], source: str, vgg_type: str) -> None:
    """Load torchvision's ``features.<n>.*``; layers after the last one needed are ignored."""
    state = load_weights_of(source, expected=f"{vgg_type}'s 'features.0.weight', ...")
    prefix = "features."
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    features = nn.Sequential(*layers)
    try:
        features.load_state_dict({key: found[key] for key in features.state_dict() if key in found}, strict=True)
    except RuntimeError as error:
        raise ValueError(f"the weights '{source}' are not those of {vgg_type}: {error}") from error
