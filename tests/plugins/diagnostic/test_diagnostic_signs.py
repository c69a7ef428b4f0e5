"""Corrections go the right way: towards the photo as it was, and nowhere for a good one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.diagnostic import generate_preview, optimize_corrections
from plugins.diagnostic.advice import IDENTITY
from plugins.diagnostic.degradation import correct
from plugins.diagnostic.estimate import Estimate
from plugins.diagnostic.parameters import (
    EXPOSURE_ZONE,
    estimate_of,
    ev_of_gamma,
    gamma_of_ev,
    parameters_of,
    without_trifles,
)
from plugins.diagnostic.preview import turn_hue
from tests.plugins.diagnostic.diagnostic_api_kit import (
    GENERIC,
    ToldNetwork,
    colorfulness,
    distance,
    good_photo,
    spoilt,
)

PHOTO = good_photo(96)


def corrected(photo: np.ndarray, truth: Estimate, weight: float = 1.0) -> np.ndarray:
    return generate_preview(photo, optimize_corrections(photo, GENERIC, ToldNetwork(truth), fusion_weight=weight))


def blueness(photo: np.ndarray) -> float:
    return float(photo[..., 2].mean() / photo[..., 0].mean())


@pytest.mark.parametrize("weight", [0.6, 1.0])
@pytest.mark.parametrize(
    ("truth", "figure", "rises"),
    [
        (Estimate(ev=-1.2), np.mean, True),
        (Estimate(ev=0.8), np.mean, False),
        (Estimate(log_rg=-0.25, log_bg=0.3), blueness, False),
        (Estimate(log_rg=0.25, log_bg=-0.3), blueness, True),
        (Estimate(log_saturation=-0.6), colorfulness, True),
        (Estimate(log_saturation=0.4), colorfulness, False),
    ],
    ids=["dark", "bright", "blue", "orange", "grey", "gaudy"],
)
def test_the_sign_is_right(truth: Estimate, figure: Any, rises: bool, weight: float) -> None:
    before = spoilt(PHOTO, truth)
    after = corrected(before, truth, weight)
    assert bool(figure(after) > figure(before)) is rises
    share = 0.6 if weight < 1 else 0.4
    assert distance(after, PHOTO) < share * distance(before, PHOTO)


def test_all_at_once_comes_back() -> None:
    truth = Estimate(-0.8, 0.2, -0.25, -0.35)
    before = spoilt(PHOTO, truth)
    assert distance(before, PHOTO) > 9
    assert distance(corrected(before, truth), PHOTO) < 0.7


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
def test_a_good_photo_stays_as_it_is(weight: float) -> None:
    assert np.array_equal(corrected(PHOTO, Estimate(), weight), PHOTO)
    trifles = Estimate(0.14, 0.02, -0.02, 0.05)
    assert np.array_equal(corrected(PHOTO, trifles, weight), PHOTO)
    advice = optimize_corrections(PHOTO, GENERIC, ToldNetwork(trifles))
    assert advice.recommended_filters == [] and "nothing is changed" in advice.corrections_summary[-1]
    assert advice.exposure_adjustment_percent == advice.white_balance_shift_percent == 0


def test_certainty_decides_what_is_a_trifle_but_never_how_much_is_done() -> None:
    far = Estimate(-1.7, 0.3, -0.3, -0.5)
    assert without_trifles(far, 0.0, 0.0, 0.0) == without_trifles(far, 0.1, 0.1, 0.1) == far
    assert without_trifles(far, 1.0, 1.0, 1.0) == Estimate()
    near = Estimate(-1.7 * EXPOSURE_ZONE, 0.3, -0.3, 0.0)
    assert without_trifles(near, 0.0, 0.0, 0.0).ev == pytest.approx(0.7 * near.ev)
    assert without_trifles(near, 1.0, 0.0, 0.0).ev == 0
    steps = [without_trifles(Estimate(ev=value), 0.05, 0, 0).ev for value in np.linspace(0, 2, 400)]
    assert np.all(np.diff(steps) >= 0) and np.max(np.diff(steps)) < 0.03 and steps[-1] == 2


def test_faults_add_up_to_a_spoilt_photo_or_none_is_corrected() -> None:
    dark, pale = Estimate(ev=-0.45), Estimate(log_saturation=-0.22)
    assert without_trifles(dark, 0, 0, 0) == without_trifles(pale, 0, 0, 0) == Estimate()
    both = without_trifles(replace(dark, log_saturation=-0.22), 0, 0, 0)
    assert -0.45 < both.ev < -0.1 and both.log_saturation == pytest.approx(-0.22 * both.ev / -0.45 / 0.5, rel=1e-6)
    # what the model doubts counts little; a fault beyond doubt is corrected nevertheless
    far = Estimate(ev=-1.7, log_saturation=-0.22)
    assert without_trifles(far, 1, 0, 0) == Estimate() and without_trifles(far, 0.05, 0, 0).ev == -1.7
    ev, light = (np.linspace(0, stop, 400) for stop in (2, 0.3))
    steps = [without_trifles(Estimate(a, b, -b, 0), 0.05, 0.1, 0.5) for a, b in zip(ev, light, strict=True)]
    assert max(abs(one.ev - other.ev) for one, other in pairwise(steps)) < 0.05


def test_classes_that_contradict_the_level_settle_nothing() -> None:
    class Torn(ToldNetwork):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            outputs = super().forward(image)
            outputs["saturation"][:, :2] *= -1
            return outputs

    truth = Estimate(log_saturation=-0.5)
    assert optimize_corrections(PHOTO, GENERIC, ToldNetwork(truth), fusion_weight=1).final_params["sat"] > 1.5
    assert optimize_corrections(PHOTO, GENERIC, Torn(truth), fusion_weight=1).final_params["sat"] == 1


def test_the_words_say_the_direction() -> None:
    net = ToldNetwork(Estimate(-1.0, -0.3, 0.3, -0.5))
    lines = optimize_corrections(PHOTO, GENERIC, net, fusion_weight=1).corrections_summary
    assert "too dark" in lines[0] and "brighten by 1.00 EV" in lines[0]
    assert "cool (blue) cast" in lines[1]
    assert "too pale" in lines[2] and "strengthen" in lines[2]
    other = ToldNetwork(Estimate(1.0, 0.3, -0.3, 0.4))
    lines = optimize_corrections(PHOTO, GENERIC, other, fusion_weight=1).corrections_summary
    assert "darken" in lines[0] and "warm" in lines[1] and "soften" in lines[2]
    for log_rg, name in ((-0.3, "green"), (0.3, "pink")):
        net = ToldNetwork(Estimate(0, log_rg, log_rg, 0))
        assert name in optimize_corrections(PHOTO, GENERIC, net, fusion_weight=1).corrections_summary[1]


def test_the_words_say_what_is_only_suspected() -> None:
    warm = optimize_corrections(PHOTO, GENERIC, ToldNetwork(Estimate(log_rg=0.12, log_bg=-0.12)), fusion_weight=1)
    assert "perhaps a warm (orange) cast" in warm.corrections_summary[1] and warm.final_params == IDENTITY
    assert warm.corrections_summary[-1].startswith("No fault that could not be the subject's own")
    dark = optimize_corrections(PHOTO, GENERIC, ToldNetwork(Estimate(ev=-0.45)), fusion_weight=1)
    assert "left as it is" in dark.corrections_summary[0] and dark.final_params == IDENTITY
    good = optimize_corrections(PHOTO, GENERIC, ToldNetwork(Estimate()), fusion_weight=1)
    assert good.corrections_summary[-1] == "The photo is good as it is: nothing is changed."


def test_the_model_sees_srgb_from_0_to_1_all_of_the_photo() -> None:
    net = ToldNetwork(Estimate())
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, :100, 0] = 255
    optimize_corrections(wide, GENERIC, net)
    assert net.seen[0].shape == (1, 3, 224, 224) and float(net.seen[0].max()) == 1.0
    assert net.seen[0].mean((0, 2, 3)).tolist() == pytest.approx([1 / 3, 0, 0], abs=0.01)


@settings(max_examples=30, deadline=None)
@given(
    values=st.tuples(st.floats(-2.5, 1.1), st.floats(-0.25, 0.25), st.floats(-0.25, 0.25), st.floats(-0.4, 0.4)),
)
def test_the_preview_is_the_inversion(values: tuple[float, ...]) -> None:
    truth = Estimate(*values)
    shown = generate_preview(PHOTO[:24], SimpleNamespace(final_params=parameters_of(truth)))  # type: ignore[arg-type]
    image = torch.from_numpy(PHOTO[:24].transpose(2, 0, 1).astype(np.float32) / 255)[None]
    exact = correct(image, truth.batch())[0].numpy().transpose(1, 2, 0) * 255
    assert np.abs(shown - exact).max() <= 1.01


@given(ev=st.floats(-4, 2.2))
def test_gamma_and_exposure_are_two_names_of_one_thing(ev: float) -> None:
    assert ev_of_gamma(gamma_of_ev(ev)) == pytest.approx(ev, abs=1e-9)
    assert (gamma_of_ev(ev) > 1) is (ev < 0) or abs(ev) < 1e-9


def test_gamma_moves_middle_grey_as_the_exposure_does() -> None:
    grey = np.full((1, 1, 3), 60, np.uint8)
    ev = Estimate(ev=-1.0)
    from_light = generate_preview(grey, SimpleNamespace(final_params=parameters_of(ev)))  # type: ignore[arg-type]
    middle = spoilt(np.full((1, 1, 3), 118, np.uint8), ev)
    by_gamma = 255 * (middle / 255.0) ** (1 / parameters_of(ev)["gamma"])
    assert by_gamma == pytest.approx(118, abs=1) and from_light.mean() > 60


def test_gains_that_brighten_are_exposure_and_the_way_back_is_exact() -> None:
    truth = Estimate(-0.7, 0.15, -0.1, 0.2)
    back = estimate_of(parameters_of(truth))
    assert [back.ev, back.log_rg, back.log_bg, back.log_saturation] == pytest.approx([-0.7, 0.15, -0.1, 0.2])
    assert estimate_of({**IDENTITY, "gain_r": 1.2, "gain_g": 1.2, "gain_b": 1.2}).ev == pytest.approx(-np.log2(1.2))


def test_hue_turns_red_towards_yellow_and_back() -> None:
    patch = np.full((4, 4, 3), (200, 90, 90), np.uint8)
    turned = turn_hue(patch, 0.1)
    assert turned[0, 0, 1] > 100 and np.abs(turn_hue(turned, -0.1).astype(int) - patch).max() <= 2
    advice = SimpleNamespace(final_params={**IDENTITY, "hue": 0.1})
    assert np.array_equal(generate_preview(patch, advice), turned)  # type: ignore[arg-type]
