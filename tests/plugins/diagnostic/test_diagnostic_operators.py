"""The operators of degradation and correction, and the numbers that steer them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins.color_science import delta_e2000, rgb_to_lab, rgb_to_oklab, srgb_to_linear
from plugins.diagnostic.degradation import SATURATION_SPACES, correct, degrade
from plugins.diagnostic.estimate import Estimate, estimates_of, gains_of, kelvin_and_tint
from plugins.diagnostic.jpeg_steps import jpeg
from plugins.diagnostic.tone_curves import FAMILIES, ToneCurve

DARK, WARM, BLUE, GREYED = (
    Estimate(ev=-1.0),
    Estimate(log_rg=0.3, log_bg=-0.3),
    Estimate(log_rg=-0.2, log_bg=0.3),
    Estimate(log_saturation=-0.7),
)


def muted_photo(seed: int = 0, low: float = 0.25, high: float = 0.6, dtype: torch.dtype = torch.float32) -> Tensor:
    """Soft colours that no degradation of the tests clips, (1, 3, 16, 24)."""
    draw = torch.rand((1, 3, 16, 24), generator=torch.Generator().manual_seed(seed))
    return (low + (high - low) * draw).to(dtype)


def distance(first: Tensor, second: Tensor) -> float:
    return float(delta_e2000(rgb_to_lab(first), rgb_to_lab(second)).mean())


def chroma(image: Tensor) -> float:
    return float(rgb_to_oklab(image)[:, 1:].square().sum(1).sqrt().mean())


@pytest.mark.parametrize("estimate", [DARK, WARM, BLUE, GREYED])
def test_the_right_sign_comes_closer_and_the_wrong_one_goes_away(estimate: Estimate) -> None:
    photo = muted_photo()
    spoilt = degrade(photo, estimate.batch(), eight_bit=True)
    before = distance(spoilt, photo)
    assert distance(correct(spoilt, estimate.batch()), photo) < 0.25 * before
    assert distance(correct(spoilt, -estimate.batch()), photo) > 1.3 * before


def test_what_the_signs_mean() -> None:
    photo = muted_photo()
    linear = srgb_to_linear(photo).mean((0, 2, 3))
    dark = srgb_to_linear(degrade(photo, DARK.batch())).mean((0, 2, 3))
    assert torch.allclose(dark, linear / 2, atol=1e-5)
    warm = srgb_to_linear(degrade(photo, WARM.batch())).mean((0, 2, 3))
    assert math.isclose(float((warm[0] / warm[1]) / (linear[0] / linear[1])), math.exp(0.3), rel_tol=1e-4)
    assert math.isclose(float((warm[2] / warm[1]) / (linear[2] / linear[1])), math.exp(-0.3), rel_tol=1e-4)
    assert chroma(degrade(photo, GREYED.batch())) < 0.6 * chroma(photo)
    spoilt = degrade(photo, torch.tensor([[-1.0, -0.2, 0.3, -0.5]]))
    better = correct(spoilt, torch.tensor([[-1.0, -0.2, 0.3, -0.5]]))
    assert better.mean() > spoilt.mean() and chroma(better) > chroma(spoilt)
    assert better[:, 2].mean() / better[:, 0].mean() < spoilt[:, 2].mean() / spoilt[:, 0].mean()


@settings(max_examples=25, deadline=None)
@given(
    ev=st.floats(-1.5, 0.4),
    log_rg=st.floats(-0.3, 0.3),
    log_bg=st.floats(-0.4, 0.3),
    log_saturation=st.floats(-0.7, 0.3),
    amount=st.floats(-0.4, 0.4),
    family=st.sampled_from([None, *FAMILIES]),
    space=st.sampled_from(SATURATION_SPACES),
    seed=st.integers(0, 1000),
)
def test_round_trip(
    ev: float,
    log_rg: float,
    log_bg: float,
    log_saturation: float,
    amount: float,
    family: str | None,
    space: str,
    seed: int,
) -> None:
    photo = muted_photo(seed, 0.35, 0.6)
    estimate = Estimate(ev, log_rg, log_bg, log_saturation).batch()
    curve = ToneCurve(family, amount) if family else None
    spoilt = degrade(photo, estimate, curve=curve, saturation_space=space)
    assert 0 < spoilt.min() and spoilt.max() < 1, "the test is to clip nothing"
    restored = correct(spoilt, estimate, curve=curve, saturation_space=space)
    assert torch.allclose(restored, photo, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(ev=st.floats(-1.0, 0.3), cast=st.floats(-0.25, 0.25), log_saturation=st.floats(-0.5, 0.3))
def test_round_trip_through_eight_bits_errs_by_the_rounding_only(ev: float, cast: float, log_saturation: float) -> None:
    photo = muted_photo(3, 0.35, 0.6)
    estimate = Estimate(ev, cast, -cast, log_saturation).batch()
    restored = correct(degrade(photo, estimate, eight_bit=True), estimate)
    # half a step, magnified by the brightening, the gain and the saturation
    slope = 2 ** (max(-ev, 0) / 2) * math.exp(abs(cast) + max(-log_saturation, 0))
    assert float((restored - photo).abs().max()) < 1.5 * slope * 0.5 / 255 + 1e-5


def test_nothing_is_exactly_nothing() -> None:
    photo = (torch.rand(2, 3, 8, 8) * 255).round() / 255
    assert torch.equal(correct(photo, torch.zeros(2, 4)), photo)
    assert torch.equal(degrade(photo, torch.zeros(2, 4), eight_bit=True), photo)


def test_order_and_space_matter() -> None:
    """Guards the order: saturation is undone before light, and gains are undone in linear light."""
    photo = muted_photo(1)
    estimate = Estimate(-0.8, 0.35, -0.35, -0.5).batch()
    spoilt = degrade(photo, estimate)
    light, color = estimate.clone(), estimate.clone()
    light[:, 3], color[:, :3] = 0, 0
    assert distance(correct(correct(spoilt, light), color), photo) > 1
    assert distance(correct(correct(spoilt, color), light), photo) < 0.01


@pytest.mark.parametrize("space", SATURATION_SPACES)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_gradients_of_the_correction(space: str, family: str) -> None:
    photo = muted_photo(2, 0.35, 0.6, torch.float64)[:, :, :2, :2].requires_grad_()
    estimate = torch.tensor([[-0.4, 0.1, -0.1, -0.2]], dtype=torch.float64, requires_grad=True)
    curve = ToneCurve(family, 0.2)
    assert torch.autograd.gradcheck(
        lambda image, numbers: correct(image, numbers, curve=curve, saturation_space=space), (photo, estimate)
    )


def test_gradients_are_finite_at_black_white_and_grey() -> None:
    image = torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2), torch.full((3, 2, 2), 0.5)]).requires_grad_()
    estimate = torch.tensor([[-1.0, 0.2, -0.2, -0.3]]).repeat(3, 1).requires_grad_()
    correct(image, estimate).sum().backward()
    assert image.grad is not None and estimate.grad is not None
    assert image.grad.isfinite().all() and estimate.grad.isfinite().all()


def test_noise_is_fixed_by_the_seed() -> None:
    photo, zero = muted_photo(), torch.zeros(1, 4)
    first, again, other = (degrade(photo, zero, noise=0.05, jpeg_quality=80, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert 0.005 < float((degrade(photo, zero, noise=0.05, seed=1) - photo).std()) < 0.06


def test_jpeg_and_rounding_pass_the_gradient() -> None:
    photo = muted_photo().requires_grad_()
    lossy = jpeg(photo, 70)
    assert 0 < float((lossy - photo).detach().abs().mean()) < 0.1
    lossy.sum().backward()
    assert photo.grad is not None and torch.equal(photo.grad, torch.ones_like(photo))
    with pytest.raises(ValueError, match="quality must be 1 to 100"):
        jpeg(photo, 0)


@pytest.mark.parametrize(
    ("image", "estimate", "message"),
    [
        (torch.full((1, 3, 4, 4), 2.0), torch.zeros(1, 4), "from 0 to 1"),
        (torch.full((1, 3, 4, 4), float("nan")), torch.zeros(1, 4), "from 0 to 1"),
        (torch.zeros(3, 4, 4), torch.zeros(1, 4), "shape"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 4), "floats of shape"),
        (torch.zeros(1, 3, 0, 4), torch.zeros(1, 4), "no pixel"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(1, 4), "estimate: expected floats"),
        (torch.zeros(1, 3, 4, 4), torch.tensor([[0.0, 9.0, 0.0, 0.0]]), "log_rg must be from"),
        (torch.zeros(1, 3, 4, 4), torch.tensor([[float("nan"), 0.0, 0.0, 0.0]]), "ev must be from"),
    ],
)
def test_wrong_input_is_refused(image: Tensor, estimate: Tensor, message: str) -> None:
    for operator in (degrade, correct):
        with pytest.raises(ValueError, match=message):
            operator(image, estimate)


def test_wrong_steps_are_refused() -> None:
    photo, zero = muted_photo(), torch.zeros(1, 4)
    with pytest.raises(ValueError, match="saturation_space must be one of luma"):
        degrade(photo, zero, saturation_space="hsv")
    with pytest.raises(ValueError, match="noise must be"):
        degrade(photo, zero, noise=-1.0)
    with pytest.raises(ValueError, match="family must be one of odds"):
        ToneCurve("gamma", 0.1)
    with pytest.raises(ValueError, match="amount must be"):
        ToneCurve("odds", 2.0)
    with pytest.raises(ValueError, match="ev: expected"):
        Estimate(ev=math.inf)


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("amount", [-0.6, 0.4])
def test_curves_rise_and_keep_black_middle_and_white(family: str, amount: float) -> None:
    values = torch.linspace(0, 1, 1001, dtype=torch.float64)
    curve = ToneCurve(family, amount)
    shaped = curve.apply(values)
    assert (shaped.diff() > 0).all() and torch.allclose(curve.invert(shaped), values, atol=1e-4)
    assert torch.allclose(curve.invert(shaped)[1:-1], values[1:-1], atol=2e-6)
    assert torch.allclose(shaped[[0, 500, 1000]], values[[0, 500, 1000]], atol=1e-3)
    assert (float(shaped[600] - shaped[400]) > 0.2) == (amount > 0)


def test_gains_undo_a_cast_and_keep_its_level() -> None:
    gains = gains_of(0.2, -0.3)
    assert math.isclose(gains.g / gains.r, math.exp(0.2)) and math.isclose(gains.g / gains.b, math.exp(-0.3))
    grey = torch.full((1, 3, 2, 2), 0.5)
    cast = degrade(grey, Estimate(log_rg=0.2, log_bg=-0.3).batch())
    assert torch.allclose(correct(cast, Estimate(log_rg=0.2, log_bg=-0.3).batch()), grey, atol=1e-5)
    opposite = gains_of(-0.2, 0.3)
    assert all(math.isclose(one * other, 1.0) for one, other in zip(gains, opposite, strict=True))


def test_temperature_and_tint_of_a_cast() -> None:
    kelvin, tint = kelvin_and_tint(0.0, 0.0)
    assert abs(kelvin - 6504) < 15 and abs(tint) < 2e-4
    assert kelvin_and_tint(0.3, -0.4)[0] < 5000 < 8000 < kelvin_and_tint(-0.2, 0.3)[0]
    assert kelvin_and_tint(-0.2, -0.2)[1] > 0.005 and kelvin_and_tint(0.2, 0.2)[1] < -0.005
    assert all(math.isfinite(value) for value in kelvin_and_tint(1.5, -1.5) + kelvin_and_tint(-1.5, 1.5))


def test_estimates_of_a_batch_are_limited() -> None:
    assert estimates_of(torch.tensor([[9.0, 0.0, 0.0, -0.5]])) == [Estimate(4.0, 0.0, 0.0, -0.5)]
