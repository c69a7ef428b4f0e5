"""Angular errors and their statistics against hand-made figures; loci of lights against colour-science."""

from __future__ import annotations

import colour
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.color_science.angle_statistics import angle_statistics, recovery_error, reproduction_error
from plugins.color_science.illuminants import cct_to_linear_srgb, daylight_xy, planckian_xy, sample_lights

LIGHT = st.lists(st.floats(0.05, 1), min_size=3, max_size=3)


def test_statistics_of_one_to_eight() -> None:
    found = angle_statistics(np.array([8, 1, 7, 2, 6, 3, 5, 4]))
    assert (found.mean, found.median, found.maximum, found.count) == (4.5, 4.5, 8, 8)
    assert (found.best25, found.worst25) == (1.5, 7.5)
    assert found.trimean == pytest.approx((2.75 + 9 + 6.25) / 4)
    assert found.p95 == pytest.approx(7.65)


def test_trimean_of_a_skewed_set_is_not_its_median() -> None:
    found = angle_statistics(np.array([0, 0, 0, 0, 10.0]))
    assert (found.median, found.trimean, found.best25, found.worst25) == (0, 0, 0, 5)
    assert angle_statistics(np.array([0, 1, 2, 8, 9.0])).trimean == pytest.approx((1 + 4 + 8) / 4)


def test_one_value_is_every_statistic_but_the_count() -> None:
    found = angle_statistics(np.array([3.0]))
    assert {found.mean, found.median, found.trimean, found.best25, found.worst25, found.p95, found.maximum} == {3.0}


@pytest.mark.parametrize("values", [[], [1, np.nan], [np.inf], [-1.0]])
def test_statistics_refuse_what_is_no_error(values: list[float]) -> None:
    with pytest.raises(ValueError):
        angle_statistics(np.array(values))


def test_small_angles_are_exact() -> None:
    tilted = np.array([1.0, 1e-9, 0.0])
    assert recovery_error(np.array([1.0, 0, 0]), tilted) == pytest.approx(np.degrees(1e-9), rel=1e-9)
    assert reproduction_error(np.array([1.0, 1, 1]), np.array([1.0, 1, 1 + 1e-8])) == pytest.approx(
        np.degrees(1e-8 * np.sqrt(2) / 3), rel=1e-6
    )


@given(LIGHT, LIGHT, LIGHT)
@settings(max_examples=60, deadline=None)
def test_reproduction_error_does_not_depend_on_the_light(
    estimate: list[float], truth: list[float], filter_: list[float]
) -> None:
    a, b, f = map(np.array, (estimate, truth, filter_))
    assert reproduction_error(a * f, b * f) == pytest.approx(float(reproduction_error(a, b)), abs=1e-6)
    cosine = (a @ b) / np.sqrt((a @ a) * (b @ b))
    assert recovery_error(a, b) == pytest.approx(np.degrees(np.arccos(min(1.0, cosine))), abs=1e-5)


def test_errors_take_any_scale_and_refuse_no_light() -> None:
    assert recovery_error(np.array([1e-200, 0, 0]), np.array([0, 1e200, 0])) == pytest.approx(90)
    for bad in ([0, 0, 0], [np.nan, 1, 1], [1, 1]):
        with pytest.raises(ValueError):
            recovery_error(np.array(bad), np.ones(3))
    with pytest.raises(ValueError, match="positive"):
        reproduction_error(np.array([0, 1.0, 1.0]), np.ones(3))


def test_daylight_is_the_cie_s() -> None:
    for cct in (4000.0, 5000.0, 6504.0, 7000.0, 12000.0, 25000.0):
        assert daylight_xy(cct) == pytest.approx(colour.temperature.CCT_to_xy_CIE_D(cct), abs=1e-9)


def test_black_bodies_against_planck_s_law() -> None:
    for kelvin in (1500.0, 2856.0, 4000.0, 10000.0):
        spectrum = colour.sd_blackbody(kelvin, colour.SpectralShape(360, 830, 5))
        xyz = colour.sd_to_XYZ(spectrum, method="Integration")
        assert planckian_xy(kelvin) == pytest.approx(colour.XYZ_to_xy(xyz), abs=5e-4)


def test_d65_is_nearly_grey_and_temperature_orders_the_lights() -> None:
    assert cct_to_linear_srgb(6504.0) == pytest.approx([1 / 3] * 3, abs=1e-3)
    lights = cct_to_linear_srgb(np.linspace(2000, 25000, 200))
    assert (np.diff(lights[:, 0] / lights[:, 2]) < 0).all()
    assert lights.sum(-1) == pytest.approx(np.ones(200))


def test_positive_tint_is_green() -> None:
    for cct in (2500.0, 4500.0, 6500.0, 20000.0):
        pink, plain, green = cct_to_linear_srgb(cct, np.array([-0.01, 0.0, 0.01]))[:, 1]
        assert pink < plain < green


@pytest.mark.parametrize("cct", [500.0, 30000.0, float("nan")])
def test_temperatures_outside_the_range_are_refused(cct: float) -> None:
    with pytest.raises(ValueError, match="temperatures from"):
        cct_to_linear_srgb(cct)


def test_sampled_lights_are_positive_reproducible_and_of_both_kinds() -> None:
    lights = sample_lights(500, np.random.default_rng(1))
    assert np.array_equal(lights, sample_lights(500, np.random.default_rng(1)))
    assert (lights > 0).all() and lights.sum(-1) == pytest.approx(np.ones(500))
    warm = (lights[:, 0] > 2 * lights[:, 2]).mean()
    assert 0.25 < warm < 0.6
