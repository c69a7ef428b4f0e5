"""A NAFNet as an ONNX file of any image size, and the proof that it computes what torch computes.

The graph takes ``image``, (N, C, H, W) float32 in [0, 1] whose height and width are multiples of ``padder_size``, and
gives ``output`` of the same shape, not clamped. Padding is the caller's: in a graph it would be fixed to one size. A
network that recolours by the whole photo has a second input ``context``: the photo, before it is padded, shrunk by
areas (``adaptive_avg_pool2d``) to the size that the file says. What a caller must know is in the file's metadata.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import NAFNet
from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names
from basicsr.version import __version__
from plugins.color_fidelity.enhance_files import read_photo
from plugins.color_fidelity.enhance_network import OnnxNetwork
from plugins.color_fidelity.enhance_run import Runner

OPSET = 18
DEFAULT_TOLERANCE = 0.05
"""Largest accepted difference from torch in steps of 8 bit (1/255); float32 in another order of sums gives 0.001."""

_NEEDED = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime and torch are apart on one image, in units of 1/255.

    Attributes:
        name: The image.
        size: Width and height.
        largest: Largest absolute difference of a value.
        mean: Mean absolute difference.
    """

    name: str
    size: tuple[int, int]
    largest: float
    mean: float


class _Graph(nn.Module):
    """What is exported: the network behind its padding, and behind the making of its context."""

    def __init__(self, net: NAFNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        if context is not None:
            image = self.net.recolor(image, context)  # type: ignore[operator]
        return self.net.forward_unpadded(image)


def export(net: nn.Module, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a network as an ONNX file, whole or not at all.

    Args:
        net: A NAFNet, or a subclass with ``recolor`` and ``make_context``.
        path: The file; ends in ``.onnx``.
        facts: What the file shall say about itself beside what is read off the network: plain values.

    Raises:
        UserError: A package is missing, the network is of another kind, or the disk refuses.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX export needs {', '.join(missing)}: pip install 'basicsr[onnx]'")
    if path.suffix.lower() != ".onnx":
        raise UserError(f"{path}: an ONNX file's name ends in .onnx")
    if not isinstance(net, NAFNet):
        raise UserError(f"{type(net).__name__}: only NAFNets and their subclasses can be exported")
    onnx: Any = importlib.import_module("onnx")
    model = _traced(net.eval().cpu())
    metadata = {**_network_facts(net), **facts, "basicsr_version": __version__}
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    model.producer_name, model.producer_version = "basicsr", __version__
    onnx.checker.check_model(model)
    write_atomic(path, lambda file: file.write(model.SerializeToString()))


def _traced(net: NAFNet) -> Any:
    multiple = net.padder_size
    image = torch.rand(2, net.intro.in_channels, 8 * multiple, 12 * multiple)
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    free = {0: batch, 2: multiple * rows, 3: multiple * columns}
    inputs: dict[str, Tensor] = {"image": image}
    shapes: dict[str, Any] = {"image": free, "context": None}
    if hasattr(net, "recolor"):
        inputs["context"] = net.make_context(image)  # type: ignore[operator]
        shapes["context"] = {0: batch}
    with _quiet():
        program = torch.onnx.export(
            _Graph(net).eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["output"],
            dynamic_shapes={name: shapes[name] for name in inputs},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise UserError("torch returned no ONNX program; update torch")
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own inner workings from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _network_facts(net: NAFNet) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "network": type(net).__name__,
        "channels": net.intro.in_channels,
        "width": net.intro.out_channels,
        "padder_size": net.padder_size,
        "value_range": [0.0, 1.0],
        "color": "RGB, gamma-encoded sRGB",
        "layout": "NCHW float32",
        "output_clamped": False,
    }
    if hasattr(net, "make_context"):
        sample = net.make_context(torch.rand(1, net.intro.in_channels, 64, 64))  # type: ignore[operator]
        facts["context_size"] = list(sample.shape[-2:])
    return facts


def check_parity(net: nn.Module, path: Path, images: Mapping[str, np.ndarray]) -> Iterator[Parity]:
    """Run torch and ONNX Runtime on the same images, whole, and compare.

    Args:
        net: The exported network, on the CPU.
        path: The ONNX file.
        images: Names to (H, W, 3) floats in [0, 1].

    Yields:
        One comparison an image.
    """
    in_torch, in_onnx = Runner(net, tile=0), Runner(OnnxNetwork(path), tile=0)
    for name, pixels in images.items():
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().unsqueeze(0)
        difference = (in_torch(image) - in_onnx(image)).abs() * 255
        size = (image.shape[-1], image.shape[-2])
        yield Parity(name, size, float(difference.max()), float(difference.mean()))


def parity_images(folder: Path | None, count: int = 4, max_side: int = 1024) -> dict[str, np.ndarray]:
    """Images to compare on: photos of a folder, or made ones, of several sizes, odd ones and one pixel among them.

    Args:
        folder: Photos; None makes colour gradients with noise.
        count: Most photos taken, evenly spread over the folder.
        max_side: Larger photos are scaled down; their sizes are cut to differ and to be odd.

    Raises:
        UserError: The folder holds no photo that can be read.
    """
    images: dict[str, np.ndarray] = {}
    if folder is None:
        rng = np.random.default_rng(0)
        for height, width in ((256, 384), (301, 205), (97, 640)):
            ramps = np.stack(np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij"), axis=2)
            pixels = np.concatenate([ramps, 1 - ramps[..., :1]], axis=2) + rng.normal(0, 0.03, (height, width, 3))
            images[f"made {width}x{height}"] = pixels.clip(0, 1).astype(np.float32)
    else:
        for index, path in enumerate(_spread(folder, count)):
            pixels = read_photo(path).scaled_down(max_side).as_float()
            odd = (max(1, pixels.shape[0] - index), max(1, pixels.shape[1] - 3 * index))
            images[path.name] = pixels[: odd[0], : odd[1]]
    name, first = next(iter(images.items()))
    images[f"{name}, a corner"] = first[:17, :9]
    images[f"{name}, one pixel"] = first[:1, :1]
    return images


def _spread(folder: Path, count: int) -> list[Path]:
    names = image_names(folder)
    if not names:
        raise UserError(f"{folder}: no images in it")
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [folder / names[place] for place in places]


def model_of(path: Path) -> Any:
    """The parsed file, with its metadata, for those who want to look into it."""
    onnx: Any = importlib.import_module("onnx")
    return onnx.load_model(io.BytesIO(path.read_bytes()))
