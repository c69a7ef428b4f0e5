"""DiagnosticCNN as an ONNX file that gives the diagnosis itself, and the proof that it computes what torch does.

The graph takes ``image``, (batch, 3, S, S) float32 sRGB in [0, 1]: the whole photo squeezed to a square by areas;
normalisation and colour statistics are inside. Its outputs are those of ``OUTPUTS``: first what a caller needs, with
calibrated probabilities, then the three heads as they are. Names of the columns, of the classes, the units and the
limits are in the file's metadata, every value as JSON.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.cli import check_writable
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names
from basicsr.version import __version__
from plugins.classification import class_onnx
from plugins.diagnostic.analysis import network_input
from plugins.diagnostic.degradation_draws import EXPOSURE_CLASSES, SATURATION_CLASSES
from plugins.diagnostic.diagnostic_cnn_arch import HEADS, DiagnosticCNN, raw_estimate, saturation_logits
from plugins.diagnostic.estimate import COLUMNS, HIGHEST, LOWEST, limited
from plugins.diagnostic.model_files import read_network
from plugins.diagnostic.photo_files import read_image

Array = np.ndarray[Any, Any]

TASK = "photo diagnostics"
"""What the record of a DiagnosticModel's weights file says under ``task``."""
FORMAT, FORMAT_VERSION = "basicsr-diagnostic", 1
OUTPUTS = ("estimate", "exposure_probabilities", "saturation_probabilities", *HEADS)
"""(N, 4) within the limits, (N, 3), (N, 3), and the heads: (N, 3), (N, 5), (N, 3)."""
_UNITS = ("stops", "natural logarithm", "natural logarithm", "natural logarithm")


@dataclass(frozen=True)
class DiagnosticExport:
    """What to export and how.

    Attributes:
        checkpoint: Weights of a DiagnosticModel.
        output: The file to write.
        param_key: Section of the weights file.
        photos: Folder of photos for the comparison with torch; None takes made ones.
        count: Most of them.
        tolerance: Largest accepted difference of any output; None for the default.
    """

    checkpoint: Path
    output: Path
    param_key: str = "params_ema"
    photos: Path | None = None
    count: int = 4
    tolerance: float | None = None


class _Graph(nn.Module):
    """What is exported."""

    def __init__(self, net: DiagnosticCNN) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = self.net(image)
        first, second = self.net.get_buffer("temperatures")
        return (
            limited(raw_estimate(outputs)),
            (outputs["exposure"] / first).softmax(1),
            (saturation_logits(outputs) / second).softmax(1),
            *(outputs[name] for name in HEADS),
        )


def is_diagnostic_record(record: Any) -> bool:
    """Whether a weights file's record is that of a DiagnosticModel."""
    return isinstance(record, Mapping) and record.get("task") == TASK


def export_diagnostic(plan: DiagnosticExport) -> Iterator[str]:
    """Export; gives lines to show as it goes.

    Raises:
        UserError: Something asked for is wrong, a package is missing, or torch and ONNX Runtime differ; then no file
            is written, and an older one of its name is as it was.
    """
    class_onnx.need_onnx()
    _check(plan)
    net, size, facts = _load(plan)
    images = class_onnx.made_images(size) if plan.photos is None else _photos(plan.photos, plan.count, size)
    draft = plan.output.with_name(f".{plan.output.stem}.unchecked.onnx")
    try:
        _write(net, size, draft, facts)
        yield from _parity(plan, net, draft, images)
        draft.replace(plan.output)
    finally:
        draft.unlink(missing_ok=True)
    yield f"{plan.output}: {plan.output.stat().st_size / 2**20:.1f} MiB"


def largest_differences(net: DiagnosticCNN, path: Path, images: Array) -> dict[str, float]:
    """Largest absolute difference of each output between torch and ONNX Runtime: all images in a batch, one alone.

    Args:
        net: The exported network, on the CPU.
        path: The ONNX file.
        images: (N, 3, S, S) float32 in [0, 1].

    Returns:
        Output to difference; NaN where either is not finite.
    """
    session = class_onnx.open_session(path)
    with torch.no_grad():
        expected = _Graph(net).eval()(torch.from_numpy(images))
    together, alone = class_onnx.run_session(session, images), class_onnx.run_session(session, images[:1])
    found = {}
    for name, value in zip(OUTPUTS, expected, strict=True):
        both = [np.abs(together[name] - value.numpy()).max(), np.abs(alone[name] - value.numpy()[:1]).max()]
        found[name] = float(np.max(both))  # keeps NaN, which Python's max would drop
    return found


def _check(plan: DiagnosticExport) -> None:
    if plan.output.suffix.lower() != ".onnx":
        raise UserError(f"{plan.output}: an ONNX file's name ends in .onnx")
    check_writable(plan.output)
    if plan.count < 1:
        raise UserError(f"--count {plan.count}: give a number from 1 on")


def _load(plan: DiagnosticExport) -> tuple[DiagnosticCNN, int, dict[str, Any]]:
    """The network, the size of its input, and what the file says about itself."""
    net, _ = read_network(plan.checkpoint, plan.param_key)
    size = net.input_size
    facts = {
        "task": TASK,
        "input": {"size": size, "resize": "whole photo to a square, by areas"},
        "value_range": [0.0, 1.0],
        "color": "RGB, gamma-encoded sRGB",
        "layout": "NCHW float32",
        "estimate": [
            {"name": name, "unit": unit, "lowest": low, "highest": high}
            for name, unit, low, high in zip(COLUMNS, _UNITS, LOWEST, HIGHEST, strict=True)
        ],
        "exposure_classes": list(EXPOSURE_CLASSES),
        "saturation_classes": list(SATURATION_CLASSES),
        "checkpoint": plan.checkpoint.name,
        "checkpoint_sha256": hashlib.sha256(plan.checkpoint.read_bytes()).hexdigest(),
    }
    return net.requires_grad_(False), size, facts


def _photos(folder: Path, count: int, size: int) -> Array:
    names = image_names(folder)
    if not names:
        raise UserError(f"{folder}: there is no photo in this folder (sub-folders are not searched)")
    chosen = names[:: max(1, len(names) // count)][:count]
    inputs = [network_input(np.ascontiguousarray(read_image(folder / name)[..., ::-1]), size) for name in chosen]
    return torch.cat(inputs).numpy()


def _write(net: DiagnosticCNN, size: int, path: Path, facts: Mapping[str, Any]) -> None:
    onnx: Any = importlib.import_module("onnx")
    model = class_onnx.traced(_Graph(net).eval(), size, OUTPUTS)
    metadata = {**facts, "format": FORMAT, "format_version": FORMAT_VERSION, "basicsr_version": __version__}
    class_onnx.set_metadata(onnx, model, {**metadata, "precision": "fp32"})
    model.producer_name, model.producer_version = "basicsr", __version__
    onnx.checker.check_model(model)
    write_atomic(path, lambda file: file.write(model.SerializeToString()))


def _parity(plan: DiagnosticExport, net: DiagnosticCNN, draft: Path, images: Array) -> Iterator[str]:
    tolerance = class_onnx.DEFAULT_TOLERANCE if plan.tolerance is None else plan.tolerance
    kind = "made pictures" if plan.photos is None else "photos"
    for name, largest in largest_differences(net, draft, images).items():
        if not largest <= tolerance:
            raise UserError(
                f"{plan.output}: '{name}' differs from torch by {largest:.6f}, above the tolerance of {tolerance:g}; "
                "no file is written"
            )
        yield f"{name}: within {largest:.2g} of torch on {len(images)} {kind}"
