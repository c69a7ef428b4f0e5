"""Intervals over photographs and seeds, changes, the gap closed, images that got worse."""

import math

import numpy as np
import pytest

from plugins.color_fidelity.ablation_eval import Judged
from plugins.color_fidelity.ablation_stats import Bootstrap, Table, count_worse, interval, summarise
from plugins.color_fidelity.fidelity import FIGURES


def judged(row: str, seed: int | None, values: np.ndarray, key: str = "psnr", names: list[str] | None = None) -> Judged:
    names = names or [f"i{index}" for index in range(len(values))]
    images = {name: dict.fromkeys(FIGURES, 1.0) | {key: float(v)} for name, v in zip(names, values, strict=True)}
    return Judged(row, seed, "set", images)


def test_constant_gain_has_an_interval_of_no_width_however_much_the_photos_differ() -> None:
    photos = np.random.default_rng(0).normal(25, 4, 30)
    rows = [judged("ref", seed, photos + seed) for seed in (0, 1, 2)]
    rows += [judged("new", seed, photos + seed + 0.25) for seed in (0, 1, 2)]
    figures = summarise(rows, "ref", {}, 500)["set"]
    change = figures["new"].change["psnr"]
    assert change.value == pytest.approx(0.25)
    assert (change.low, change.high) == pytest.approx((0.25, 0.25))
    mean = figures["new"].mean["psnr"]
    assert mean.value == pytest.approx(photos.mean() + 1.25) and mean.low < mean.value < mean.high
    assert figures["new"].seed_sd["psnr"] == pytest.approx(1.0)
    assert figures["ref"].change == {} and figures["new"].seeds == 3


def test_seeds_that_disagree_widen_the_interval_although_photos_agree() -> None:
    still = [judged("ref", seed, np.full(50, 20.0)) for seed in (0, 1, 2)]
    moving = [judged("new", seed, np.full(50, 20.0 + gain)) for seed, gain in ((0, -1.0), (1, 0.0), (2, 1.0))]
    change = summarise(still + moving, "ref", {}, 2000)["set"]["new"].change["psnr"]
    assert change.value == pytest.approx(0) and change.low <= -0.6 and change.high >= 0.6


def test_interval_over_photos_has_about_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(0, 1, 200)
    rows = [judged("ref", 0, np.zeros(200)), judged("new", 0, values)]
    change = summarise(rows, "ref", {})["set"]["new"].change["psnr"]
    assert (change.high - change.low) / 2 == pytest.approx(1.96 * values.std(ddof=1) / math.sqrt(200), rel=0.1)


def test_versions_of_one_photo_are_drawn_together() -> None:
    names = [f"p{index // 4}-s{index % 4}" for index in range(40)]
    values = np.repeat(np.random.default_rng(2).normal(0, 1, 10), 4)
    rows = [judged("ref", 0, np.zeros(40), names=names), judged("new", 0, values, names=names)]
    apart = summarise(rows, "ref", {})["set"]["new"].change["psnr"]
    together = summarise(rows, "ref", {"set": r"(.+)-s\d"})["set"]["new"].change["psnr"]
    assert together.value == apart.value
    assert together.high - together.low > 1.6 * (apart.high - apart.low)


def test_row_without_seeds_is_compared_with_a_trained_reference() -> None:
    rows = [
        judged("input", None, np.full(8, 3.0)),
        judged("ref", 0, np.full(8, 5.0)),
        judged("ref", 1, np.full(8, 7.0)),
    ]
    figures = summarise(rows, "ref", {}, 200)["set"]
    assert figures["input"].change["psnr"].value == pytest.approx(-3) and figures["input"].seeds == 0
    assert math.isnan(figures["input"].seed_sd["psnr"])


def test_share_of_the_saturation_gap_closed_counts_overshooting_as_a_gap() -> None:
    rows = [judged(name, 0, np.full(9, ratio), "sat_ratio") for name, ratio in (("ref", 0.8), ("a", 0.95), ("b", 1.3))]
    figures = summarise(rows, "ref", {}, 200)["set"]
    assert figures["a"].closed.value == pytest.approx(0.75) and figures["a"].closed.low == pytest.approx(0.75)
    assert figures["b"].closed.value == pytest.approx(-0.5)
    assert math.isnan(figures["ref"].closed.value)


def test_undefined_and_infinite_figures_do_not_count() -> None:
    table = Table([judged("a", 0, np.array([1.0, math.nan, 3.0])), judged("a", 1, np.array([2.0, 5.0, math.inf]))])
    value, draws = Bootstrap(table, 300).means(table.values("a", "psnr"), table.seeds("a"))
    assert value == pytest.approx(1.5) and np.nanmin(draws) >= 1 and np.nanmax(draws) <= 2
    empty = interval(*Bootstrap(table, 10).means(np.full((2, 3), math.nan), (0, 1)))
    assert math.isnan(empty.value) and math.isnan(empty.low)


def test_images_that_got_worse_are_counted_beyond_a_threshold() -> None:
    before = np.array([[1.0, 1.0, 1.0, 1.0]])
    assert count_worse("de00_mean", np.array([[1.4, 1.6, 0.2, math.nan]]), before) == 1
    ratios = np.array([[0.9, 0.9, 1.1, 0.99]])
    assert count_worse("sat_ratio", np.array([[0.86, 0.88, 1.14, 1.05]]), ratios) == 3
    # the mean over seeds decides, not a single seed
    assert count_worse("hue_abs_deg", np.array([[10.0], [0.0]]), np.array([[4.0], [4.0]])) == 0


def test_draws_are_the_same_every_time() -> None:
    values = np.random.default_rng(3).normal(0, 1, (2, 20))
    rows = [judged("ref", 0, values[0]), judged("new", 0, values[1])]
    assert repr(summarise(rows, "ref", {}, 300)) == repr(summarise(rows, "ref", {}, 300))
