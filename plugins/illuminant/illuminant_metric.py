"""How far the class's centroid is from the true light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from basicsr.engine.errors import UserError
from basicsr.utils.registry import METRIC_REGISTRY
from plugins.classification.class_metric import log_softmax
from plugins.color_science.angle_statistics import angle_statistics
from plugins.illuminant.centroids import angle_degrees

Statistic = Literal["mean", "median", "trimean", "best25", "worst25", "p95", "maximum"]


@METRIC_REGISTRY.register()
def calculate_centroid_angle(
    outputs: Mapping[str, np.ndarray[Any, Any]],
    labels: Mapping[str, np.ndarray[Any, Any]],
    head: str = "illuminant",
    statistic: Statistic = "mean",
    answer: Literal["class", "mixture"] = "class",
    **kwargs: object,
) -> float:
    """Angular error of answering with centroids, over a set; lower is better.

    Args:
        outputs: Head to logits (N, K).
        labels: ``light`` (N, 3), the true lights, and ``centroids`` (K, 3), both linear.
        head: The head.
        statistic: Which figure of the N errors.
        answer: ``class``: the likeliest class's centroid; ``mixture``: the centroids' mean by their probabilities.
        **kwargs: Not used.

    Returns:
        Degrees.

    Raises:
        UserError: The data has no true lights.
    """
    missing = [name for name in ("light", "centroids") if name not in labels]
    if missing or head not in outputs:
        raise UserError(
            f"calculate_centroid_angle: {', '.join(missing) or f'head {head}'} missing: it measures an IlluminantModel "
            "on data sets of the type IlluminantDataset."
        )
    answers = answered_lights(outputs[head], labels["centroids"], answer)
    return float(getattr(angle_statistics(angle_degrees(answers, labels["light"])), statistic))


def answered_lights(
    logits: np.ndarray[Any, Any], centroids: np.ndarray[Any, Any], answer: str = "class"
) -> np.ndarray[Any, Any]:
    """The lights (N, 3) that logits (N, K) stand for; see :func:`calculate_centroid_angle`."""
    if answer == "class":
        return np.asarray(centroids[np.asarray(logits).argmax(-1)])
    probabilities = np.exp(log_softmax(np.asarray(logits, dtype=np.float64)))
    return np.asarray(probabilities @ centroids)
