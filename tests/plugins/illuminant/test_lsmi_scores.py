"""Figures of class maps: by hand, against scipy and plain loops, and on the trivial answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from plugins.illuminant.lsmi_scores import (
    FIGURES,
    ClassMaps,
    map_correlation,
    mean_iou,
    region_auc,
    score,
    spearman,
    trivial_answers,
)

Array = np.ndarray[Any, Any]


def soft_truth(classes: int = 3, side: int = 40) -> Array:
    """Class 0 on the left fading into class 2 on the right; nothing of class 1."""
    truth = np.zeros((side, side, classes))
    truth[..., 2] = np.linspace(0, 1, side)
    truth[..., 0] = 1 - truth[..., 2]
    return truth


def trivial_scores(truth: Array, valid: Array | None = None) -> dict[str, dict[str, float]]:
    everywhere = np.ones(truth.shape[:2], bool) if valid is None else valid
    answers = trivial_answers(truth, dominant=2, seed=1)
    return {name: score(answer, truth, everywhere) for name, answer in answers.items()}


def test_the_trivial_rows_are_what_they_must_be() -> None:
    rows = trivial_scores(soft_truth())
    assert set(rows["oracle"]) == set(FIGURES)
    perfect = {"miou_shares": 1, "miou_maps": 1, "miou_tenth_of_max": 1, "soft_mae": 0, "spearman": 1, "region_auc": 1}
    assert {key: rows["oracle"][key] for key in perfect} == pytest.approx(perfect)
    assert rows["oracle"]["map_correlation"] == pytest.approx(-1)
    hard = rows["oracle, thresholded"]
    assert hard["miou_shares"] == 1 and hard["soft_mae"] > 0.1 and hard["spearman"] < 0.95
    for name in ("all ones", "uniform"):
        assert rows[name]["spearman"] == 0 and rows[name]["region_auc"] == 0.5 and rows[name]["map_correlation"] == 1
    assert rows["all ones"]["miou_maps"] == pytest.approx(0.5)  # either class has half of the picture
    assert rows["all ones"]["miou_tenth_of_max"] == pytest.approx(0.9)  # the published rule praises it
    assert rows["all ones"]["soft_mae"] == pytest.approx(2 / 3)
    assert rows["uniform"]["miou_shares"] == 0
    assert rows["global class"]["miou_shares"] == pytest.approx(0.25)  # its own class half right, the other missed
    assert rows["global class"]["soft_mae"] == pytest.approx(1 / 3)
    assert abs(rows["random"]["spearman"]) < 0.1 and abs(rows["random"]["region_auc"] - 0.5) < 0.03


def test_only_valid_pixels_count() -> None:
    truth = soft_truth()
    valid = np.zeros(truth.shape[:2], bool)
    valid[:, :10] = True
    answer = trivial_answers(truth, 0, 0)["oracle"]
    spoilt = ClassMaps(np.where(valid, answer.maps, 0.5), np.where(valid[..., None], answer.shares, 0.5), answer.top)
    found, expected = score(spoilt, truth, valid), score(answer, truth, valid)
    for key in FIGURES:
        np.testing.assert_equal(found[key], expected[key])
    assert np.isnan(found["region_auc"])  # class 2 leads nowhere in this part
    assert all(np.isnan(value) for value in score(answer, truth, np.zeros_like(valid)).values())


def test_rank_figures_take_pixels_evenly_and_the_same_each_time() -> None:
    truth = soft_truth(side=150)
    first, second = trivial_scores(truth), trivial_scores(truth)
    assert first == second
    assert first["oracle"]["spearman"] == pytest.approx(1)


def test_mean_iou_by_hand() -> None:
    true = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
    found = np.array([[1, 0, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1]], bool)
    assert mean_iou(found, true) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert np.isnan(mean_iou(found, np.zeros_like(true)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = np.array(pairs, float).T
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert spearman(first, second) == 0
    else:
        assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


def slow_auc(maps: Array, truth: Array) -> float:
    a, b = np.argsort(-truth.sum(0), kind="stable")[:2]
    values = []
    for one, other in ((a, b), (b, a)):
        wins = [
            1.0 if maps[x, one] > maps[y, one] else 0.5 if maps[x, one] == maps[y, one] else 0.0
            for x in np.flatnonzero(truth[:, one] > truth[:, other])
            for y in np.flatnonzero(truth[:, other] > truth[:, one])
        ]
        values.append(np.mean(wins))
    return float(np.mean(values))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_region_auc_is_the_probability_it_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.ones(3), 15)
    maps = rng.integers(0, 4, (15, 3)) / 4
    found = region_auc(maps, truth)
    if np.isfinite(found):
        assert found == pytest.approx(slow_auc(maps, truth))
        same = np.repeat(maps[:, :1], 3, 1)
        assert region_auc(same, truth) == pytest.approx(0.5)
        a, b = np.argsort(-truth.sum(0))[:2]
        swapped = truth.copy()
        swapped[:, [a, b]] = truth[:, [b, a]]
        assert region_auc(truth, truth) == pytest.approx(1 - region_auc(swapped, truth))


def test_no_auc_without_two_regions() -> None:
    one = np.zeros((10, 3))
    one[:, 1] = 1
    assert np.isnan(region_auc(one, one)) and np.isnan(region_auc(one[:, 1:2], one[:, 1:2]))
    lead = np.tile([0.7, 0.3, 0.0], (10, 1))
    assert np.isnan(region_auc(lead, lead))


def test_map_correlation() -> None:
    ramp, flat = np.arange(9.0), np.ones(9)
    assert map_correlation(ramp, 2 * ramp + 1) == pytest.approx(1) and map_correlation(ramp, -ramp) == pytest.approx(-1)
    assert map_correlation(flat, 0 * flat) == 1 and map_correlation(ramp, flat) == 0


@pytest.mark.parametrize("what", ["maps", "shares", "valid", "nan", "range"])
def test_bad_input_is_named(what: str) -> None:
    truth = soft_truth()
    maps, shares, valid = np.moveaxis(truth, -1, 0).copy(), truth.copy(), np.ones(truth.shape[:2], bool)
    if what == "maps":
        maps = maps[:2]
    elif what == "shares":
        shares = shares[:-1]
    elif what == "valid":
        valid = valid.astype(np.uint8)
    elif what == "nan":
        maps[0, 0, 0] = np.nan
    else:
        shares *= 255
    with pytest.raises(UserError, match="scores"):
        score(ClassMaps(maps, shares, (0, 1)), truth, valid)
