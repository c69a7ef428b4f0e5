"""Figures of the diagnosis over a set. Classes are measured by the metrics of ``plugins.classification``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from basicsr.engine.errors import UserError
from basicsr.utils.registry import METRIC_REGISTRY
from plugins.color_science.angle_statistics import recovery_error
from plugins.diagnostic.diagnostic_cnn_arch import HEADS, raw_estimate

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


def cast_angles(estimates: Array, truths: Array) -> Array:
    """Angle between the colours that two casts give to a grey surface, in linear light.

    Args:
        estimates: (N, 4).
        truths: (N, 4).

    Returns:
        (N,), degrees: the recovery error of colour constancy.
    """
    return recovery_error(_light(estimates), _light(truths))


def _light(estimates: Array) -> Array:
    logs = np.asarray(estimates, dtype=np.float64)[:, 1:3].clip(-5, 5)
    return np.exp(np.stack([logs[:, 0], np.zeros(len(logs)), logs[:, 1]], 1))


@METRIC_REGISTRY.register()
def calculate_ev_error(outputs: Arrays, labels: Arrays, **kwargs: object) -> float:
    """Mean absolute error of EV in stops, over the samples where it can be known; lower is better."""
    estimates, truths, known = _known(outputs, labels, 0)
    return float(np.abs(estimates[known, 0] - truths[known, 0]).mean()) if known.any() else float("nan")


@METRIC_REGISTRY.register()
def calculate_saturation_error(outputs: Arrays, labels: Arrays, **kwargs: object) -> float:
    """Mean absolute error of log saturation, over the samples where it can be known; lower is better."""
    estimates, truths, known = _known(outputs, labels, 3)
    return float(np.abs(estimates[known, 3] - truths[known, 3]).mean()) if known.any() else float("nan")


@METRIC_REGISTRY.register()
def calculate_cast_angle(
    outputs: Arrays, labels: Arrays, statistic: Literal["mean", "median"] = "mean", **kwargs: object
) -> float:
    """Angular error of the white balance in degrees; lower is better.

    Args:
        outputs: Outputs of DiagnosticCNN.
        labels: ``estimate`` and ``known``, (N, 4).
        statistic: ``mean`` or ``median`` of the samples where the cast can be known.
        **kwargs: Not used.
    """
    estimates, truths, known = _known(outputs, labels, 1)
    if not known.any():
        return float("nan")
    angles = cast_angles(estimates[known], truths[known])
    return float(np.median(angles) if statistic == "median" else angles.mean())


@METRIC_REGISTRY.register()
def calculate_cast_accuracy(outputs: Arrays, labels: Arrays, degrees: float = 3.0, **kwargs: object) -> float:
    """Share of the samples whose cast is estimated to within some degrees; higher is better.

    Args:
        outputs: Outputs of DiagnosticCNN.
        labels: ``estimate`` and ``known``, (N, 4).
        degrees: The tolerance.
        **kwargs: Not used.
    """
    estimates, truths, known = _known(outputs, labels, 1)
    return float((cast_angles(estimates[known], truths[known]) <= degrees).mean()) if known.any() else float("nan")


def _known(outputs: Arrays, labels: Arrays, column: int) -> tuple[Array, Array, Array]:
    missing = [name for name in HEADS if name not in outputs] + [n for n in ("estimate", "known") if n not in labels]
    if missing:
        raise UserError(f"metric of the diagnosis: {', '.join(missing)} missing; it measures a DiagnosticModel")
    tensors = {name: torch.from_numpy(np.asarray(outputs[name], dtype=np.float32)) for name in HEADS}
    return (
        raw_estimate(tensors).double().numpy(),
        np.asarray(labels["estimate"]),
        np.asarray(labels["known"])[:, column] > 0,
    )
