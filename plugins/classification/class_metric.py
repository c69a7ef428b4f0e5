"""Figures of a classifier over a whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError
from basicsr.utils.registry import METRIC_REGISTRY
from plugins.classification.confusion import confusion_matrix, recalls

Arrays = Mapping[str, np.ndarray[Any, Any]]


@METRIC_REGISTRY.register()
def calculate_accuracy(outputs: Arrays, labels: Arrays, head: str = "class", top_k: int = 1, **kwargs: object) -> float:
    """Share of the samples whose class is among the ``top_k`` likeliest.

    Args:
        outputs: Head to logits (N, K).
        labels: Head to classes (N,); negative ones are unknown and left out.
        head: The head.
        top_k: How many answers count.
        **kwargs: Not used.

    Returns:
        In [0, 1]; NaN without known samples.
    """
    logits, classes = known_samples(outputs, labels, head)
    if not len(classes):
        return float("nan")
    best = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    return float((best == classes[:, None]).any(1).mean())


@METRIC_REGISTRY.register()
def calculate_balanced_accuracy(outputs: Arrays, labels: Arrays, head: str = "class", **kwargs: object) -> float:
    """Mean over the classes that occur of the share of each that was recognised; arguments as above."""
    logits, classes = known_samples(outputs, labels, head)
    if not len(classes):
        return float("nan")
    return float(np.nanmean(recalls(confusion_matrix(classes, logits.argmax(1), logits.shape[1]))))


@METRIC_REGISTRY.register()
def calculate_negative_log_likelihood(outputs: Arrays, labels: Arrays, head: str = "class", **kwargs: object) -> float:
    """Mean of -log of the true class's probability, in nats; lower is better. Arguments as above."""
    logits, classes = known_samples(outputs, labels, head)
    if not len(classes):
        return float("nan")
    chosen = log_softmax(logits)[np.arange(len(classes)), classes]
    return float(-chosen.mean())


@METRIC_REGISTRY.register()
def calculate_calibration_error(
    outputs: Arrays, labels: Arrays, head: str = "class", bins: int = 15, **kwargs: object
) -> float:
    """Expected calibration error: mean gap between confidence and accuracy (Guo et al., ICML 2017); lower is better.

    Args:
        outputs: Head to logits (N, K).
        labels: Head to classes (N,); negative ones are left out.
        head: The head.
        bins: Bins of equal width over the confidence.
        **kwargs: Not used.

    Returns:
        In [0, 1]; NaN without known samples.
    """
    logits, classes = known_samples(outputs, labels, head)
    if not len(classes):
        return float("nan")
    probabilities = np.exp(log_softmax(logits))
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == classes
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.abs(
        np.bincount(place, confidence, minlength=bins) - np.bincount(place, hits.astype(np.float64), minlength=bins)
    )
    return float(gaps.sum() / len(classes))


def known_samples(outputs: Arrays, labels: Arrays, head: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Logits (N, K), float64, and classes (N,) of the samples whose class is known.

    Raises:
        UserError: The network or the data has no such head.
    """
    for whose, values in (("the network", outputs), ("the data", labels)):
        if head not in values:
            raise UserError(f"metric of head '{head}': {whose} has none; it has {', '.join(sorted(values)) or 'none'}")
    classes = np.asarray(labels[head]).astype(np.int64)
    known = classes >= 0
    return np.asarray(outputs[head], dtype=np.float64)[known], classes[known]


def log_softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Log-probabilities of logits (..., K)."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
