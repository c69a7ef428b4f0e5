"""Static int8 of an exported classifier, and the gate that its accuracy has to pass.

Only what lies between the first and the last convolution is quantised: these are nearly all of the operations. The
normalisation before, the pooled features, the heads, and paths without a convolution (colour statistics) stay float32.
Quantisation after Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (CVPR 2018): weights signed, a scale per output channel; activations unsigned, a scale per tensor.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.classification.class_onnx import (
    INPUT,
    metadata_of,
    need_onnx,
    open_session,
    run_session,
    set_metadata,
)

Array = np.ndarray[Any, Any]
Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")

_CONV = "Conv"


@dataclass(frozen=True)
class HeadLoss:
    """What int8 costs one head.

    Attributes:
        head: The head.
        images: How many it was judged on.
        labelled: Whether their classes are known; else ``before`` is 1 and ``after`` the share of equal answers.
        before: Accuracy of float32, a share.
        after: Accuracy of int8, a share.
        agreement: Share of the images for which both name the same class.
        most_loss: Upper end of the 95 % interval of the lost accuracy in percentage points.
    """

    head: str
    images: int
    labelled: bool
    before: float
    after: float
    agreement: float
    most_loss: float

    @property
    def loss(self) -> float:
        """Lost accuracy in percentage points; below 0 where int8 is better."""
        return 100 * (self.before - self.after)


class _Reader:
    """Feeds calibration images one at a time, as ``CalibrationDataReader`` asks for."""

    def __init__(self, images: Sequence[Array]) -> None:
        self._images = images
        self.rewind()

    def rewind(self) -> None:
        self._rest: Iterator[Array] = iter(self._images)

    def get_next(self) -> dict[str, Array] | None:
        image = next(self._rest, None)
        return None if image is None else {INPUT: image[None]}


def quantize(source: Path, target: Path, images: Sequence[Array], method: Method = "minmax") -> None:
    """Write the int8 form of an exported classifier; it keeps the metadata, with ``precision`` int8.

    Args:
        source: A file of ``export_classifier``.
        target: The file to write.
        images: Calibration pictures, each (3, S, S) float32 in [0, 1], of the kind that will be met.
        method: How the range of an activation is found: its extremes, or cut by entropy or percentile.

    Raises:
        UserError: No images, no convolution, a package is missing, or the disk refuses.
    """
    need_onnx()
    if not len(images):
        raise UserError("int8 needs calibration images: there are none")
    if method not in METHODS:
        raise UserError(f"calibration method '{method}': use one of {', '.join(METHODS)}")
    onnx: Any = importlib.import_module("onnx")
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    shapes: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    metadata = metadata_of(onnx.load(str(source)))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it logs its own inner workings there
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
            shapes.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            chain = between_convolutions(onnx.load(str(prepared)).graph)
            if not chain:
                raise UserError(f"{source}: there is no convolution in it that could be int8")
            quantization.quantize_static(
                str(prepared),
                str(made),
                _Reader(images),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_quantize=chain,
                calibrate_method=_calibration(quantization, method),
            )
            model = onnx.load(str(made))
    finally:
        root.setLevel(level)
    set_metadata(
        onnx, model, {**metadata, "precision": "int8", "calibration": {"method": method, "images": len(images)}}
    )
    write_atomic(target, lambda file: file.write(model.SerializeToString()))


def _calibration(quantization: Any, method: Method) -> Any:
    methods = quantization.CalibrationMethod
    return {"minmax": methods.MinMax, "entropy": methods.Entropy, "percentile": methods.Percentile}[method]


def between_convolutions(graph: Any) -> list[str]:
    """Names of the convolutions and of all nodes that lie on a way from one convolution to another."""
    nodes = list(graph.node)
    after: set[str] = set()
    downstream = set()
    for number, node in enumerate(nodes):  # an ONNX graph is sorted
        if node.op_type == _CONV or any(name in after for name in node.input):
            downstream.add(number)
            after.update(node.output)
    before: set[str] = set()
    upstream = set()
    for number, node in reversed(list(enumerate(nodes))):
        if node.op_type == _CONV or any(name in before for name in node.output):
            upstream.add(number)
            before.update(node.input)
    return [nodes[number].name for number in sorted(downstream & upstream)]


def judge(before: Path, after: Path, images: Sequence[Array], labels: Mapping[str, Array] | None) -> list[HeadLoss]:
    """Compare float32 and int8 on pictures, as the files say and not as x86 kernels round.

    Args:
        before: The float32 file.
        after: The int8 file.
        images: Each (3, S, S) float32 in [0, 1].
        labels: Head to class numbers, -1 where not known; None judges by the answers of float32.

    Raises:
        UserError: There are no images.
    """
    if not len(images):
        raise UserError("int8 is judged on images: there are none")
    exact, small = open_session(before), open_session(after, optimize=False)
    answers: dict[str, list[tuple[int, int]]] = {}
    for image in images:
        first, second = run_session(exact, image[None]), run_session(small, image[None])
        for head, logits in first.items():
            answers.setdefault(head, []).append((int(logits[0].argmax()), int(second[head][0].argmax())))
    result = []
    for head, pairs in answers.items():
        old, new = np.array(pairs).T
        truth = None if labels is None else np.asarray(labels[head])
        known = np.ones(len(old), bool) if truth is None else truth >= 0
        if not known.any():
            continue
        true = old if truth is None else truth
        right, still_right = (old == true)[known], (new == true)[known]
        result.append(
            HeadLoss(
                head,
                int(known.sum()),
                truth is not None,
                before=float(right.mean()),
                after=float(still_right.mean()),
                agreement=float(np.mean((old == new)[known])),
                most_loss=largest_loss(right, still_right),
            )
        )
    return result


def largest_loss(before: Array, after: Array) -> float:
    """Upper end of the 95 % interval of the accuracy that was lost, in percentage points.

    The same pictures are answered twice, so the interval is that of matched pairs (Agresti and Min, "Simple improved
    confidence intervals for comparing matched proportions", Statistics in Medicine 24, 2005).

    Args:
        before: (N,), whether float32 is right.
        after: (N,), whether int8 is.
    """
    count = len(before) + 2
    lost, won = (float(np.sum(one & ~other)) + 0.5 for one, other in ((before, after), (after, before)))
    gap = (lost - won) / count
    return 100 * (gap + 1.96 * float(np.sqrt(max((lost + won) / count - gap * gap, 0.0) / count)))


def check_losses(losses: Sequence[HeadLoss], max_loss: float) -> None:
    """Let a model pass that lost at most ``max_loss`` percentage points in every head.

    Raises:
        UserError: It lost more, or there are too few images to see a loss of that size.
    """
    if not losses:
        raise UserError("int8 cannot be judged: no image has a known class")
    for one in losses:
        if not 100 / one.images <= max_loss:
            raise UserError(
                f"head '{one.head}': {one.images} images cannot show a loss of {max_loss:g} points: give at least "
                f"{int(np.ceil(100 / max_loss)) if max_loss > 0 else 'one more'}, or a larger --max-loss"
            )
        if not one.loss <= max_loss:
            kind = "accuracy" if one.labelled else "agreement with float32"
            raise UserError(
                f"int8 loses too much: head '{one.head}' {kind} {one.before:.1%} -> {one.after:.1%} on {one.images} "
                f"images, {one.loss:.1f} points where {max_loss:g} are accepted; no int8 file is written. Try more "
                "calibration images, another --calibration-method, or a backbone without swish (efficientnet_lite0)"
            )


def add_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Add values to a file's metadata."""
    onnx: Any = importlib.import_module("onnx")
    model = onnx.load(str(path))
    set_metadata(onnx, model, {**metadata_of(model), **facts})
    write_atomic(path, lambda file: file.write(model.SerializeToString()))


def loss_record(losses: Sequence[HeadLoss]) -> list[dict[str, Any]]:
    """What the int8 file says of its accuracy."""
    return [asdict(one) for one in losses]
