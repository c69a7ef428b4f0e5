"""A classifier of several heads as an ONNX file that says what its outputs mean, and the proof that it computes right.

The graph takes ``image``, (batch, 3, S, S) float32 sRGB in [0, 1] (the normalisation is inside), and gives one output
``<head>_logits`` a head, (batch, classes). What a caller must know is in the file's metadata, every value as JSON.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.version import __version__

Array = np.ndarray[Any, Any]

OPSET = 18
FORMAT, FORMAT_VERSION = "basicsr-classifier", 1
INPUT, OUTPUT_SUFFIX = "image", "_logits"
DEFAULT_TOLERANCE = 0.001
"""Largest accepted difference from torch, of a logit; float32 in another order of sums gives some 1e-6 to 1e-5."""
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class LogitParity:
    """How far ONNX Runtime and torch are apart.

    Attributes:
        head: The head.
        largest: Largest absolute difference of a logit; NaN where either is not finite.
        same_top: Share of the images for which both name the same class.
        images: How many were compared.
    """

    head: str
    largest: float
    same_top: float
    images: int


class _Graph(nn.Module):
    """What is exported: the heads' logits in a fixed order."""

    def __init__(self, net: nn.Module, heads: Sequence[str]) -> None:
        super().__init__()
        self.net, self.heads = net, tuple(heads)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output = self.net(image)
        return tuple(output[head] for head in self.heads)


def need_onnx() -> None:
    """Check that the packages are there.

    Raises:
        UserError: Some are not.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX export needs {', '.join(missing)}: pip install 'basicsr[onnx]'")


def export_classifier(net: nn.Module, size: int, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a classifier as an ONNX file, whole or not at all.

    Args:
        net: Pictures (N, 3, S, S) to head to logits (N, K).
        size: S.
        path: The file; ends in ``.onnx``.
        facts: What the file shall say about itself; ``classes`` (head to rows of its classes) is checked against the
            outputs.

    Raises:
        UserError: A package is missing, the classes do not fit the heads, or the disk refuses.
    """
    need_onnx()
    if path.suffix.lower() != ".onnx":
        raise UserError(f"{path}: an ONNX file's name ends in .onnx")
    onnx: Any = importlib.import_module("onnx")
    net = net.eval().cpu()
    with torch.no_grad():
        sizes = {head: int(logits.shape[1]) for head, logits in net(torch.rand(2, 3, size, size)).items()}
    check_facts(facts, sizes)
    heads = tuple(sizes)
    model = traced(_Graph(net, heads).eval(), size, [head + OUTPUT_SUFFIX for head in heads])
    metadata = {**facts, "format": FORMAT, "format_version": FORMAT_VERSION, "heads": list(heads)}
    set_metadata(onnx, model, {**metadata, "precision": "fp32", "basicsr_version": __version__})
    model.producer_name, model.producer_version = "basicsr", __version__
    onnx.checker.check_model(model)
    write_atomic(path, lambda file: file.write(model.SerializeToString()))


def check_facts(facts: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Check that every head's classes are named, each once.

    Raises:
        UserError: They are not.
    """
    classes = facts.get("classes") or {}
    for head, count in sizes.items():
        if len(classes.get(head, ())) != count:
            raise UserError(
                f"the head '{head}' has {count} outputs, but {len(classes.get(head, ()))} class names are given for it"
            )


def set_metadata(onnx: Any, model: Any, metadata: Mapping[str, Any]) -> None:
    """Replace a model's metadata by values as JSON."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})


def metadata_of(model: Any) -> dict[str, Any]:
    """The metadata of a parsed model."""
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props}


def traced(graph: nn.Module, size: int, outputs: Sequence[str]) -> Any:
    """A module as an ONNX model in memory, for any number of pictures.

    Args:
        graph: Pictures (N, 3, S, S) to a tuple of tensors.
        size: S.
        outputs: Names of the tensors.

    Raises:
        UserError: torch gives nothing.
    """
    with _quiet():
        program = torch.onnx.export(
            graph,
            (torch.rand(2, 3, size, size),),
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise UserError("torch returned no ONNX program; update torch")
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own inner workings from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


def open_session(path: Path, optimize: bool = True, threads: int = 0) -> Any:
    """An ONNX Runtime session on the CPU.

    Args:
        path: The file.
        optimize: Whether the graph may be rewritten. Off, int8 is computed as the file says; on, x86 without VNNI
            saturates 16-bit sums, which the ARM kernels of a small computer do not.
        threads: Of one operator; 0 for as many as there are cores.
    """
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, images: Array) -> dict[str, Array]:
    """Logits of a batch (N, 3, S, S), by head."""
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {INPUT: np.ascontiguousarray(images, dtype=np.float32)})
    return {name.removesuffix(OUTPUT_SUFFIX): value for name, value in zip(names, values, strict=True)}


@torch.no_grad()
def check_logits(net: nn.Module, path: Path, images: Array) -> list[LogitParity]:
    """Compare torch and ONNX Runtime: all images in one batch, and the first alone.

    Args:
        net: The exported network, on the CPU.
        path: The ONNX file.
        images: (N, 3, S, S) float32 in [0, 1].
    """
    session = open_session(path)
    in_torch = {head: value.numpy() for head, value in net.eval()(torch.from_numpy(images)).items()}
    in_onnx, alone = run_session(session, images), run_session(session, images[:1])
    result = []
    for head, expected in in_torch.items():
        got = in_onnx[head]
        # np.max keeps NaN, Python's max would drop it
        largest = np.max([np.abs(got - expected).max(), np.abs(alone[head] - expected[:1]).max()])
        same = np.mean(got.argmax(1) == expected.argmax(1))
        result.append(LogitParity(head, float(largest), float(same), len(images)))
    return result


def made_images(size: int, count: int = 4) -> Array:
    """Pictures to compare on where there are none: ramps and noise, (count, 3, size, size) float32 in [0, 1]."""
    rng = np.random.default_rng(0)
    ramp = np.stack(np.meshgrid(np.linspace(0, 1, size), np.linspace(1, 0, size), indexing="ij"))
    base = np.concatenate([ramp, ramp[:1] * ramp[1:]])
    images = base[None] * rng.random((count, 3, 1, 1)) + rng.normal(0, 0.1, (count, 3, size, size))
    return images.clip(0, 1).astype(np.float32)
