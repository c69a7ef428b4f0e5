"""Figures of class maps against the true shares of light, and the trivial answers that they have to beat.

Every figure is taken over the valid pixels of one picture. A class is *present* where it has at least 1 % of the light
of some valid pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError

Array = np.ndarray[Any, Any]

PRESENT = 0.01
"""A class is present where its share of a pixel's light reaches this."""
HALF = 0.5
"""Shares and maps from here on count as the class's region."""
PUBLISHED_THRESHOLD = 0.1
"""The published rule: from this part of a map's own maximum on."""
RANKED_PIXELS = 20_000
"""Rank figures are taken over at most so many pixels, evenly spread."""

FIGURES = {
    "miou_shares": "mIoU shares",
    "miou_maps": "mIoU maps",
    "miou_tenth_of_max": "mIoU 0.1 rule",
    "soft_mae": "soft MAE",
    "spearman": "Spearman",
    "region_auc": "region AUC",
    "map_correlation": "map corr.",
}
"""Each figure's title in a table; :func:`score` says what it is."""
TRIVIAL_ROWS = ("all ones", "uniform", "random", "global class", "oracle, thresholded", "oracle")
"""Names of the answers that :func:`trivial_answers` gives, in its order."""


@dataclass(frozen=True)
class ClassMaps:
    """One answer for one picture.

    Attributes:
        maps: (K, H, W) in [0, 1]: where each class is, each class for itself.
        shares: (H, W, K) in [0, 1]: each class's share of the light of a pixel.
        top: The two classes that the answer holds for the most likely, for ``map_correlation``.
    """

    maps: Array
    shares: Array
    top: tuple[int, int]


def score(answer: ClassMaps, truth: Array, valid: Array) -> dict[str, float]:
    """All figures of one picture; NaN where a figure has no meaning (fewer than two classes, no valid pixel).

    * ``miou_shares``: mean intersection over union of share > 0.5 in answer and truth, over the classes whose true
      region is not empty.
    * ``miou_maps``: the same with the maps, from 0.5 on.
    * ``miou_tenth_of_max``: maps and truth from 0.1 of their own maximum on, classes that are not present skipped: the
      published rule, kept to show what it is worth (all ones does well by it).
    * ``soft_mae``: mean absolute error of the shares over valid pixels and all classes.
    * ``spearman``: rank correlation of map and true share over the pixels, mean over the present classes whose true
      share varies; a map that is the same everywhere counts 0.
    * ``region_auc``: do different classes light up different regions? See :func:`region_auc`.
    * ``map_correlation``: Pearson correlation of the maps of the answer's two top classes; identical maps give 1.

    Args:
        answer: The maps and shares.
        truth: (H, W, K) true shares in [0, 1].
        valid: (H, W) bool.

    Raises:
        UserError: Shapes do not fit, or the answer is not finite and in [0, 1].
    """
    _check(answer, truth, valid)
    if not valid.any():
        return dict.fromkeys(FIGURES, float("nan"))
    maps = np.moveaxis(answer.maps, 0, -1)[valid].astype(np.float64)
    shares, true = answer.shares[valid].astype(np.float64), truth[valid].astype(np.float64)
    ranked = slice(None, None, -(-len(true) // RANKED_PIXELS))
    tenth = PUBLISHED_THRESHOLD * maps.max(0), PUBLISHED_THRESHOLD * true.max(0)
    present = true.max(0) >= PRESENT
    return {
        "miou_shares": mean_iou(shares > HALF, true > HALF),
        "miou_maps": mean_iou(maps >= HALF, true > HALF),
        "miou_tenth_of_max": mean_iou((maps >= tenth[0]) & (maps > 0), (true >= tenth[1]) & (true > 0) & present),
        "soft_mae": float(np.abs(shares - true).mean()),
        "spearman": _mean_spearman(maps[ranked], true[ranked], present),
        "region_auc": region_auc(maps[ranked], true[ranked]),
        "map_correlation": map_correlation(maps[:, answer.top[0]], maps[:, answer.top[1]]),
    }


def mean_iou(found: Array, true: Array) -> float:
    """Mean over the classes of |found and true| / |found or true|; classes without a true pixel are skipped.

    Args:
        found: (N, K) bool.
        true: (N, K) bool.

    Returns:
        In [0, 1]; NaN without a class.
    """
    some = true.any(0)
    if not some.any():
        return float("nan")
    both, either = (found & true).sum(0)[some], (found | true).sum(0)[some]
    return float((both / either).mean())


def spearman(first: Array, second: Array) -> float:
    """Spearman's rank correlation of two rows of numbers, ties at their mean rank; 0 where one of them is constant."""
    return _pearson(_ranks(first), _ranks(second), constant=0.0)


def region_auc(maps: Array, truth: Array) -> float:
    """Do different classes light up different regions?

    Of the two classes with the most light, a and b: the probability that the map of a is higher at a pixel where a has
    more light than b than at a pixel where b has more (equal values count half), and the same for b; the mean of both.
    Two identical maps give exactly 0.5, whatever they look like; maps of two separate regions 1; swapped maps 0. A
    class that was not looked at has a map of zeros, which counts 0.5.

    Args:
        maps: (N, K).
        truth: (N, K) true shares.

    Returns:
        In [0, 1]; NaN where fewer than two classes are present or one has the upper hand everywhere.
    """
    if truth.shape[1] < 2:
        return float("nan")
    a, b = np.argsort(-truth.sum(0), kind="stable")[:2]
    in_a, in_b = truth[:, a] > truth[:, b], truth[:, b] > truth[:, a]
    if min(truth[:, a].max(), truth[:, b].max()) < PRESENT or not in_a.any() or not in_b.any():
        return float("nan")
    return (_auc(maps[in_a, a], maps[in_b, a]) + _auc(maps[in_b, b], maps[in_a, b])) / 2


def map_correlation(first: Array, second: Array) -> float:
    """Pearson correlation of two maps; of two maps without a range 1, where only one has none 0."""
    same = bool(np.ptp(first) == 0 and np.ptp(second) == 0)
    return _pearson(first, second, constant=1.0 if same else 0.0)


def trivial_answers(truth: Array, dominant: int, seed: int) -> Mapping[str, ClassMaps]:
    """Answers that look at nothing, and the truth itself.

    * ``all ones``: every class everywhere, in the maps as in the shares (which then do not sum to 1).
    * ``uniform``: 1 / K everywhere.
    * ``random``: independent uniform noise, divided by its sum for the shares.
    * ``global class``: the network's most likely class everywhere.
    * ``oracle, thresholded``: 1 where the true share is above 0.5, else 0: the best that hard regions can do.
    * ``oracle``: the true shares.

    Args:
        truth: (H, W, K) true shares.
        dominant: Index of the network's most likely class.
        seed: Of the noise.
    """
    classes = truth.shape[-1]
    noise: Array = np.asarray(np.random.default_rng(seed).random(size=truth.shape))
    ones, hard = np.ones(truth.shape), (truth > HALF).astype(np.float64)
    one_class = np.zeros(truth.shape)
    one_class[..., dominant] = 1
    top = (dominant, (dominant + 1) % classes)
    order = np.argsort(-truth.sum((0, 1)), kind="stable")
    best = (int(order[0]), int(order[min(1, classes - 1)]))

    def answer(shares: Array, maps: Array | None = None, two: tuple[int, int] = top) -> ClassMaps:
        return ClassMaps(np.moveaxis(shares if maps is None else maps, -1, 0), shares, two)

    answers = (
        answer(ones),
        answer(ones / classes),
        answer(noise / noise.sum(-1, keepdims=True), noise),
        answer(one_class),
        answer(hard, two=best),
        answer(truth.clip(0, 1), two=best),
    )
    return dict(zip(TRIVIAL_ROWS, answers, strict=True))


def _mean_spearman(maps: Array, truth: Array, present: Array) -> float:
    counted = [k for k in np.flatnonzero(present) if np.ptp(truth[:, k]) > 0]
    return float(np.mean([spearman(maps[:, k], truth[:, k]) for k in counted])) if counted else float("nan")


def _ranks(values: Array) -> Array:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def _pearson(first: Array, second: Array, constant: float) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return constant
    a, b = first - first.mean(), second - second.mean()
    return float((a @ b / np.sqrt((a @ a) * (b @ b))).clip(-1, 1))


def _auc(higher: Array, lower: Array) -> float:
    """P(higher > lower) + P(equal) / 2: Mann and Whitney's U over the number of pairs."""
    rank_sum = _ranks(np.concatenate([higher, lower]))[: len(higher)].sum()
    return float((rank_sum - len(higher) * (len(higher) + 1) / 2) / (len(higher) * len(lower)))


def _check(answer: ClassMaps, truth: Array, valid: Array) -> None:
    height, width, classes = truth.shape
    if answer.maps.shape != (classes, height, width) or answer.shares.shape != truth.shape:
        raise UserError(
            f"scores: maps {answer.maps.shape} and shares {answer.shares.shape} do not fit a truth of {truth.shape}."
        )
    if valid.shape != (height, width) or valid.dtype != np.bool_:
        raise UserError(f"scores: valid is {valid.dtype} {valid.shape}; it must be bool {(height, width)}.")
    for name, values in (("maps", answer.maps), ("shares", answer.shares), ("truth", truth)):
        if not (values.min() >= -1e-4 and values.max() <= 1 + 1e-4):
            raise UserError(f"scores: the {name} must be finite and in [0, 1].")
