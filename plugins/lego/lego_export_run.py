"""The whole export of a LEGO classifier: float32 behind its parity gate, int8 behind its accuracy gate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from basicsr.engine.cli import check_writable
from basicsr.engine.errors import UserError
from plugins.classification import class_onnx, class_onnx_int8
from plugins.lego.lego_export import by_head, lego_facts, load_lego, parity_pictures, pictures

INT8_SUFFIX = ".int8.onnx"


@dataclass(frozen=True)
class ExportPlan:
    """What to export and how.

    Attributes:
        checkpoint: Weights of a LegoModel.
        output: The float32 file; the int8 file lies beside it as ``<stem>.int8.onnx``.
        param_key: Section of the weights file.
        photos: Folder of pictures for the comparison with torch; None takes made ones.
        count: Most of them.
        tolerance: Largest accepted difference of a logit; None for the default.
        int8: Whether to write an int8 file too.
        calibration: Manifest or folder for it.
        max_loss: Accepted loss of a head in percentage points.
        method: How ranges of activations are found.
        temperature: ``HEAD=T`` each, over what the weights file says.
        unknown_below: ``HEAD=P`` each: lower confidences mean "unknown".
    """

    checkpoint: Path
    output: Path
    param_key: str = "params_ema"
    photos: Path | None = None
    count: int = 4
    tolerance: float | None = None
    int8: bool = False
    calibration: Path | None = None
    max_loss: float = 2.0
    method: class_onnx_int8.Method = "minmax"
    temperature: list[str] = field(default_factory=list)
    unknown_below: list[str] = field(default_factory=list)


def export_lego_classifier(plan: ExportPlan) -> Iterator[str]:
    """Export; gives lines to show as it goes.

    Raises:
        UserError: Something asked for is wrong, a package is missing, or a gate is not passed; the file behind that
            gate is then not there, and an older one of its name is as it was.
    """
    class_onnx.need_onnx()
    _check(plan)
    net, record = load_lego(plan.checkpoint, plan.param_key)
    facts = _facts(plan, record)
    draft = plan.output.with_name(f".{plan.output.stem}.unchecked.onnx")
    small = draft.with_suffix(INT8_SUFFIX)
    final_small = plan.output.with_suffix(INT8_SUFFIX)
    try:
        class_onnx.export_classifier(net, int(facts["input"]["size"]), draft, facts)
        yield from _parity(plan, net, draft, facts)
        if plan.int8:
            # judged before either is put in place: a command that fails leaves what was there
            yield from _int8(plan, draft, small, facts)
            small.replace(final_small)
        draft.replace(plan.output)
    finally:
        for path in (draft, small):
            path.unlink(missing_ok=True)
    for path in (plan.output, *([final_small] if plan.int8 else [])):
        yield f"{path}: {path.stat().st_size / 2**20:.1f} MiB"


def _check(plan: ExportPlan) -> None:
    if plan.output.suffix.lower() != ".onnx":
        raise UserError(f"{plan.output}: an ONNX file's name ends in .onnx")
    check_writable(plan.output)
    if plan.int8 and plan.calibration is None:
        raise UserError("--int8 needs --calibration: a manifest.csv, or a folder of pictures of the kind to be met")
    if plan.calibration is not None and not plan.int8:
        raise UserError("--calibration is for --int8")
    if not plan.max_loss >= 0:
        raise UserError(f"--max-loss {plan.max_loss}: give percentage points from 0 on")
    if plan.count < 1:
        raise UserError(f"--count {plan.count}: give a number from 1 on")


def _facts(plan: ExportPlan, record: dict[str, Any]) -> dict[str, Any]:
    facts = lego_facts(record)
    facts["temperature"].update(by_head(plan.temperature, "--temperature", facts["classes"]))
    facts["unknown_below"] = by_head(plan.unknown_below, "--unknown-below", facts["classes"], most=1)
    facts["checkpoint"] = plan.checkpoint.name
    facts["checkpoint_sha256"] = hashlib.sha256(plan.checkpoint.read_bytes()).hexdigest()
    return facts


def _parity(plan: ExportPlan, net: nn.Module, draft: Path, facts: dict[str, Any]) -> Iterator[str]:
    recipe, size = facts["input"], int(facts["input"]["size"])
    made = plan.photos is None
    images = class_onnx.made_images(size) if plan.photos is None else parity_pictures(plan.photos, recipe, plan.count)
    tolerance = class_onnx.DEFAULT_TOLERANCE if plan.tolerance is None else plan.tolerance
    for parity in class_onnx.check_logits(net, draft, images):
        if not parity.largest <= tolerance:
            raise UserError(
                f"{plan.output}: head '{parity.head}' differs from torch by {parity.largest:.6f}, above the tolerance "
                f"of {tolerance:g}; no file is written"
            )
        yield (
            f"{parity.head}: within {parity.largest:.2g} of torch's logits, the same class in {parity.same_top:.0%} of "
            f"{parity.images} {'made ' if made else ''}pictures"
        )


def _int8(plan: ExportPlan, draft: Path, small: Path, facts: dict[str, Any]) -> Iterator[str]:
    if plan.calibration is None:
        raise UserError("--int8 needs --calibration")
    chosen = pictures(plan.calibration, facts["input"], facts["classes"])
    yield f"int8: calibrating on {len(chosen.calibration)} pictures, judging on {len(chosen.judged)} others"
    class_onnx_int8.quantize(draft, small, chosen.calibration, plan.method)
    losses = class_onnx_int8.judge(draft, small, chosen.judged, chosen.labels)
    for one in losses:
        what = f"accuracy {one.before:.1%} -> {one.after:.1%}, " if one.labelled else ""
        yield f"int8 {one.head}: {what}agrees with float32 on {one.agreement:.1%} of {one.images} pictures"
    class_onnx_int8.check_losses(losses, plan.max_loss)
    for one in losses:
        if one.most_loss > plan.max_loss:
            yield (
                f"int8 {one.head}: accepted, but {one.images} pictures are few: a loss of up to {one.most_loss:.1f} "
                f"points would look the same (95 %). To be sure of {plan.max_loss:g}, judge on more: the split val"
            )
    class_onnx_int8.add_facts(small, {"int8_accuracy": class_onnx_int8.loss_record(losses)})
