"""Figures of answers: accuracies with intervals, votes over the views of a piece, calibration, what is confused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plugins.classification.class_metric import calculate_calibration_error, log_softmax
from plugins.classification.confusion import confusion_matrix, recalls
from plugins.lego.lego_eval import UNKNOWN, Answers
from plugins.lego.lego_manifest import Record

Array = np.ndarray[Any, Any]

TOP = 5
BINS = 15
_RESAMPLES = 2000
_GRID = np.geomspace(0.05, 20, 121)
_GOLDEN = (5**0.5 - 1) / 2
NAN = float("nan")


@dataclass(frozen=True)
class Figures:
    """Accuracies of a set of answers.

    Attributes:
        count: Answers that count: those with a known class.
        top1: Share that is right.
        low: Lower end of the 95 % interval of ``top1``; whole pieces are drawn, because their views are alike.
        high: Its upper end.
        top5: Share whose class is among the five likeliest; NaN where there are no ranks.
        balanced: Mean over the classes that occur of the share of each that is right.
    """

    count: int
    top1: float
    low: float
    high: float
    top5: float
    balanced: float


@dataclass(frozen=True)
class Votes:
    """Answers to whole pieces: the mean of the log-probabilities of their views (a product of experts).

    Attributes:
        members: Images of each piece, as places among the answers.
        labels: (P,) classes.
        scores: (P, K) mean log-probabilities.
    """

    members: list[Array]
    labels: Array
    scores: Array


@dataclass(frozen=True)
class Calibration:
    """How honest a head's confidence is.

    Attributes:
        temperature: Divisor of the logits.
        error: Expected calibration error (Guo et al., ICML 2017) at this temperature.
        plain: The same without a temperature.
        bins: For each occupied bin: mean confidence, accuracy, answers; at this temperature.
        covered: For some confidences: share of the answers at or above it, and how many of those are right.
    """

    temperature: float
    error: float
    plain: float
    bins: list[tuple[float, float, int]]
    covered: list[tuple[float, float, float]]


@dataclass(frozen=True)
class Pair:
    """A class that was taken for another.

    Attributes:
        truth: Class.
        answer: What it was taken for.
        count: How often.
        share: Of the images of ``truth``.
        images: Places among the answers, the most confident first.
    """

    truth: int
    answer: int
    count: int
    share: float
    images: Array


def groups_of(records: Sequence[Record]) -> Array:
    """(N,) number of the piece of each image; every image without one is a piece of its own."""
    known: dict[tuple[str, ...], int] = {}
    keys = [_piece(record) if record.piece else ("", record.path) for record in records]
    return np.array([known.setdefault(key, len(known)) for key in keys], np.int64)


def _piece(record: Record) -> tuple[str, ...]:
    """A session may hold several parts, which cannot vote together."""
    return (record.piece, record.part, str(record.color))


def figures(scores: Array, labels: Array, groups: Array | None = None) -> Figures:
    """Figures of scores (N, K), of which the largest is the answer; see :class:`Figures`.

    Args:
        scores: (N, K).
        labels: (N,), negative ones are left out.
        groups: (N,) what belongs together. Omitted: nothing.
    """
    known = labels >= 0
    scores, labels = scores[known], labels[known]
    if not len(labels):
        return Figures(0, NAN, NAN, NAN, NAN, NAN)
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = order[:, 0] == labels
    low, high = interval(hits, np.arange(len(hits)) if groups is None else groups[known])
    top = float((order[:, :TOP] == labels[:, None]).any(1).mean()) if scores.shape[1] > TOP else NAN
    matrix = confusion_matrix(labels, order[:, 0], scores.shape[1])
    return Figures(len(labels), float(hits.mean()), low, high, top, float(np.nanmean(recalls(matrix))))


def interval(hits: Array, groups: Array, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the share of hits when whole groups are drawn anew (cluster bootstrap, percentiles)."""
    _, group = np.unique(groups, return_inverse=True)
    right, size = np.bincount(group, hits.astype(np.float64)), np.bincount(group)
    if len(size) < 2:
        return NAN, NAN
    rng = np.random.default_rng(seed)
    shares = np.empty(_RESAMPLES)
    for number in range(_RESAMPLES):
        drawn = rng.integers(len(size), size=len(size))
        shares[number] = right[drawn].sum() / size[drawn].sum()
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def votes(answers: Answers, head: str, temperature: float = 1.0) -> Votes:
    """Let the views of each piece vote; images without a piece, or without a known class, take no part."""
    logs, labels = log_softmax(answers.logits[head] / temperature), answers.labels[head]
    found: dict[tuple[str, ...], list[int]] = {}
    for place, record in enumerate(answers.records):
        if record.piece and labels[place] != UNKNOWN:
            found.setdefault(_piece(record), []).append(place)
    members = [np.array(places) for places in found.values()]
    if not members:
        return Votes([], np.zeros(0, np.int64), np.zeros((0, logs.shape[1])))
    scores = np.stack([logs[places].mean(0) for places in members])
    return Votes(members, np.array([labels[places[0]] for places in members]), scores)


def fitted_temperature(logits: Array, labels: Array) -> float:
    """The divisor of the logits that makes the known classes likeliest, from 0.05 to 20 (Guo et al., ICML 2017).

    Args:
        logits: (N, K).
        labels: (N,), negative ones are left out.

    Returns:
        NaN without known classes.
    """
    known = labels >= 0
    if not known.any():
        return NAN
    kept, classes = logits[known], labels[known]

    def loss(log_temperature: float) -> float:
        logs = log_softmax(kept / np.exp(log_temperature))
        return float(-logs[np.arange(len(classes)), classes].mean())

    grid = np.log(_GRID)
    best = int(np.argmin([loss(value) for value in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    for _ in range(30):  # the loss is convex in 1 / temperature: it has one minimum
        first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, second) if loss(first) < loss(second) else (first, high)
    return float(np.exp((low + high) / 2))


def calibration(logits: Array, labels: Array, temperature: float = 1.0) -> Calibration:
    """How honest the confidence is at a temperature; see :class:`Calibration`."""
    known = labels >= 0
    logits, labels = logits[known], labels[known]
    error, plain = (
        calculate_calibration_error({"head": logits / value}, {"head": labels}, head="head", bins=BINS)
        for value in (temperature, 1.0)
    )
    probabilities = np.exp(log_softmax(logits / temperature))
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = [
        (float(confidence[place == one].mean()), float(hits[place == one].mean()), int((place == one).sum()))
        for one in range(BINS)
        if (place == one).any()
    ]
    covered = []
    for level in (0.5, 0.7, 0.9):
        sure = confidence >= level
        covered.append((level, float(sure.mean()), float(hits[sure].mean()) if sure.any() else NAN))
    return Calibration(temperature, error, plain, bins, covered)


def confused_pairs(logits: Array, labels: Array, most: int = 12, images: int = 6) -> list[Pair]:
    """What is most often taken for what, by number of images.

    Args:
        logits: (N, K).
        labels: (N,).
        most: How many pairs.
        images: How many images of each.
    """
    probabilities = np.exp(log_softmax(logits))
    answer, confidence = probabilities.argmax(1), probabilities.max(1)
    matrix = confusion_matrix(labels, answer, logits.shape[1])
    totals = matrix.sum(1)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:most]
    pairs = []
    for truth, taken in zip(*np.unravel_index(order, matrix.shape), strict=True):
        count = int(matrix[truth, taken])
        if not count:
            break
        places = np.flatnonzero((labels == truth) & (answer == taken))
        places = places[np.argsort(-confidence[places], kind="stable")][:images]
        pairs.append(Pair(int(truth), int(taken), count, count / int(totals[truth]), places))
    return pairs


def ranks(logits: Array, labels: Array) -> Array:
    """(N,) place of the true class among the answers, 1 for right; 0 where it is not known."""
    chosen = np.take_along_axis(logits, np.maximum(labels, 0)[:, None], 1)
    better = (logits > chosen).sum(1)
    ties = ((logits == chosen) & (np.arange(logits.shape[1]) < np.maximum(labels, 0)[:, None])).sum(1)
    return np.where(labels >= 0, 1 + better + ties, 0)
