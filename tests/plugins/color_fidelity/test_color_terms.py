"""The pure colour terms: properties every one of them must have, and each one's own."""

import doctest
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from basicsr.engine.errors import UserError
from plugins.color_fidelity import color_aware_loss, color_part_loss
from plugins.color_fidelity import color_terms as terms
from plugins.color_science import chroma_vector, hsv_to_rgb

COLOR_TERMS = {
    "magnitude": terms.chroma_magnitude_term,
    "bias": terms.chroma_bias_term,
    "cbcr": terms.cbcr_term,
    "saturation": terms.saturation_term,
    "hue": terms.hue_term,
    "cielab": lambda p, t, w=None: terms.lab_term(p, t, w, "cielab"),
    "oklab": lambda p, t, w=None: terms.lab_term(p, t, w, "oklab"),
}
ALL_TERMS = {
    **COLOR_TERMS,
    "rgb": terms.rgb_term,
    "luma": terms.luma_term,
    "charbonnier": lambda p, t: terms.rgb_term(p, t, "charbonnier"),
    "ssim": terms.ssim_term,
}
CHROMA_TERMS = ("magnitude", "bias", "cbcr", "hue")
SPECIAL = {
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "grey": (0.5, 0.5, 0.5),
    "red": (1.0, 0.0, 0.0),
    "nearly grey": (0.5, 0.5001, 0.4999),
    "beyond white": (1.4, 1.2, 1.3),
    "below black": (-0.3, 0.02, -0.0001),
}
# A pixel of an image of one: the largest slope of the value with respect to one channel.
SLOPE_BOUND = {"saturation": 45.0, "cielab": 14.0, "oklab": 14.0}

images = st.builds(
    lambda seed, spread, offset: offset + spread * torch.rand(2, 3, 12, 12, generator=torch.manual_seed(seed)),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 1e-4, 0.05, 1.0, 2.0]),
    st.sampled_from([-0.5, 0.0, 0.3]),
)
targets = images.map(lambda image: image.clamp(0, 1))  # an image file holds nothing outside the gamut


def flat(colour: tuple[float, float, float], side: int = 12) -> Tensor:
    return torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, side, side).clone()


@pytest.mark.parametrize("module", [terms, color_part_loss, color_aware_loss])
def test_docstring_examples_run(module) -> None:
    result = doctest.testmod(module, extraglobs={"torch": torch})
    assert result.failed == 0 and result.attempted > 0


@pytest.mark.parametrize("name", ALL_TERMS)
@given(pred=images, target=targets)
@settings(max_examples=15, deadline=None)
def test_a_term_is_zero_at_equality_and_never_negative(name: str, pred: Tensor, target: Tensor) -> None:
    term = ALL_TERMS[name]
    assert term(target, target).abs().max() < 2e-6
    assert term(pred, target).min() >= 0


@pytest.mark.parametrize("name", COLOR_TERMS)
@given(image=images, target=targets)
@settings(max_examples=15, deadline=None)
def test_gradients_are_finite_and_bounded_whatever_the_colours(name: str, image: Tensor, target: Tensor) -> None:
    pred = image.clone().requires_grad_()
    COLOR_TERMS[name](pred, target).sum().backward()
    assert pred.grad is not None and torch.isfinite(pred.grad).all()
    assert pred.grad.abs().max() * 144 <= SLOPE_BOUND.get(name, 1.5)


@pytest.mark.parametrize("name", ALL_TERMS)
@pytest.mark.parametrize("target", SPECIAL)
@pytest.mark.parametrize("pred", SPECIAL)
def test_gradients_are_finite_at_the_difficult_colours(name: str, pred: str, target: str) -> None:
    image = flat(SPECIAL[pred]).requires_grad_()
    ALL_TERMS[name](image, flat(SPECIAL[target])).sum().backward()
    assert image.grad is not None and torch.isfinite(image.grad).all()


@pytest.mark.parametrize("name", COLOR_TERMS)
def test_a_grey_prediction_is_pulled_towards_the_target_colour(name: str) -> None:
    """The length of a chroma vector has no gradient at grey; a washed-out network must still be told where to go."""
    grey, target = flat((0.5, 0.5, 0.5)).requires_grad_(), flat((0.2, 0.5, 0.7))
    COLOR_TERMS[name](grey, target).sum().backward()
    assert grey.grad is not None
    step = -chroma_vector(grey.grad + 0.0)
    wanted = chroma_vector(target)
    cosine = torch.nn.functional.cosine_similarity(step.mean(dim=(2, 3)), wanted.mean(dim=(2, 3)))
    assert cosine.item() > 0.8


@pytest.mark.parametrize("name", COLOR_TERMS)
def test_a_colour_out_of_gamut_still_has_a_gradient(name: str) -> None:
    pred, target = flat((1.4, -0.3, 0.6)).requires_grad_(), flat((0.9, 0.2, 0.3))
    COLOR_TERMS[name](pred, target).sum().backward()
    assert pred.grad is not None and pred.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["rgb", "luma", "charbonnier", *COLOR_TERMS])
def test_gradcheck(name: str) -> None:
    generator = torch.manual_seed(3)
    pred = torch.rand(1, 3, 3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.rand(1, 3, 3, 3, dtype=torch.float64, generator=generator)
    term = ALL_TERMS[name]
    if name == "hue":  # the gradient without detaching is the one of the value; the other has a test of its own

        def term(p: Tensor, t: Tensor) -> Tensor:
            return terms.hue_term(p, t, detach_chroma=False)

    assert torch.autograd.gradcheck(lambda p: term(p, target), (pred,))


def test_gradcheck_of_ssim() -> None:
    generator = torch.manual_seed(3)
    pred = torch.rand(1, 3, 12, 12, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.rand(1, 3, 12, 12, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda p: terms.ssim_term(p, target), (pred,), fast_mode=True)


@pytest.mark.parametrize("name", CHROMA_TERMS)
@given(image=images, shift=st.floats(-0.5, 0.5))
@settings(max_examples=8, deadline=None)
def test_brightness_is_no_matter_of_the_chroma_terms(name: str, image: Tensor, shift: float) -> None:
    other = torch.rand(2, 3, 12, 12, generator=torch.manual_seed(1))
    term = COLOR_TERMS[name]
    assert torch.allclose(term(other + shift, image), term(other, image), atol=1e-5)


@pytest.mark.parametrize("name", COLOR_TERMS)
def test_the_place_of_a_pixel_does_not_matter(name: str) -> None:
    generator = torch.manual_seed(2)
    pred, target = torch.rand(2, 2, 3, 8, 8, generator=generator)
    weight = terms.region_weight(target)
    flipped = COLOR_TERMS[name](pred.flip(-1), target.flip(-1), weight.flip(-1))
    assert torch.allclose(flipped, COLOR_TERMS[name](pred, target, weight), atol=1e-6)


def test_magnitude_ignores_hue_and_hue_ignores_magnitude() -> None:
    generator = torch.manual_seed(4)
    target = 0.3 + 0.4 * torch.rand(1, 3, 8, 8, generator=generator)
    y = target.mean(dim=1, keepdim=True)
    half = y + 0.5 * (target - y)
    assert terms.hue_term(half, target) < 1e-4 < terms.chroma_magnitude_term(half, target)
    u, v = chroma_vector(target).unbind(1)
    turned = torch.stack([1.402 * u, -0.344136 * -v - 0.714136 * u, 1.772 * -v], dim=1) + 0.5  # (u, v) to (-v, u)
    assert terms.chroma_magnitude_term(turned, target) < 2e-3 < terms.hue_term(turned, target)


def test_the_hue_term_turns_a_colour_without_greying_it() -> None:
    """A chroma-weighted angle is cheapest at grey: its plain gradient has a part that takes chroma away."""
    target = flat((0.8, 0.3, 0.2))
    radial = {}
    for detach in (True, False):
        pred = flat((0.3, 0.7, 0.3)).requires_grad_()
        chroma = chroma_vector(pred)
        (grad,) = torch.autograd.grad(_hue_of_chroma(pred, target, detach), pred)
        grey = pred.detach().mean(dim=1, keepdim=True)
        more_colour = pred.detach() - grey
        radial[detach] = (grad * more_colour).sum().item() / chroma.norm().item()
    assert abs(radial[True]) < 1e-4
    assert radial[False] > 0.01  # going down this gradient takes colour away


def _hue_of_chroma(pred: Tensor, target: Tensor, detach: bool) -> Tensor:
    return terms.hue_term(pred, target, detach_chroma=detach).sum()


def test_the_hue_term_does_not_wrap() -> None:
    target = hsv_to_rgb(torch.tensor([0.0, 0.6, 0.8]).view(1, 3, 1, 1))
    values = []
    for turn in torch.linspace(0, 1, 25).tolist():
        pred = hsv_to_rgb(torch.tensor([turn, 0.6, 0.8]).view(1, 3, 1, 1))
        values.append(terms.hue_term(pred, target).item())
    assert values[0] == pytest.approx(0, abs=1e-6) and values[-1] == pytest.approx(0, abs=1e-6)
    assert max(abs(a - b) for a, b in zip(values, values[1:], strict=False)) < 0.25 * max(values)


def test_errors_that_cancel_are_no_bias() -> None:
    target = flat((0.7, 0.4, 0.3), 4)
    grey = target.mean(dim=1, keepdim=True)
    noisy = target.clone()
    noisy[..., ::2] = (grey + 0.8 * (target - grey))[..., ::2]
    noisy[..., 1::2] = (grey + 1.2 * (target - grey))[..., 1::2]
    washed = grey + 0.8 * (target - grey)
    assert terms.chroma_bias_term(noisy, target) < 1e-4
    assert terms.chroma_bias_term(washed, target) == pytest.approx(
        terms.chroma_magnitude_term(washed, target).item(), rel=1e-4
    )


def test_the_square_asks_for_the_mean_and_the_absolute_value_for_the_median() -> None:
    """Under an ambiguous edit (three answers, two of them grey) L1 is content with grey, L2 is not."""
    answers = torch.cat([flat((0.5, 0.5, 0.5), 1), flat((0.5, 0.5, 0.5), 1), flat((0.8, 0.4, 0.3), 1)])
    best = {}
    for kind in ("l1", "l2"):
        shares = torch.linspace(0, 1, 101)
        totals = []
        for share in shares:
            guess = (0.5 + share * (answers[2:] - 0.5)).expand_as(answers)
            totals.append(terms.cbcr_term(guess, answers, kind=kind).mean())
        best[kind] = shares[int(torch.stack(totals).argmin())].item()
    assert best["l1"] == pytest.approx(0.0, abs=0.01) and best["l2"] == pytest.approx(1 / 3, abs=0.02)


def test_region_weights() -> None:
    sage, blue = flat((0.62, 0.68, 0.58), 2), flat((0.2, 0.4, 0.8), 2)
    rho = chroma_vector(sage).norm(dim=1).max().item()
    assert 0.02 < rho < 0.06  # a pastel wall: a hard mask at the usual threshold does not see it
    assert terms.region_weight(sage, 0.06, "hard").max() == 0 and terms.region_weight(blue, 0.06, "hard").min() == 1
    assert terms.region_weight(sage, 0.06, "soft").min() > 0.35
    grey = flat((0.5, 0.5, 0.5), 2)
    assert terms.region_weight(grey, 0.06, "soft").max() < 1e-4
    assert terms.region_weight(grey, 0.06, "soft", neutral_weight=0.2).mean() == pytest.approx(0.2, abs=1e-4)
    sigmoid = terms.region_weight(sage, 0.06, "sigmoid", 25.0)
    assert sigmoid.mean().item() == pytest.approx(1 / (1 + math.exp(-25 * (rho - 0.06))), rel=1e-4)
    assert terms.region_weight(blue, 0.0, "hard").min() == 1 and torch.isfinite(terms.region_weight(grey, 0.0)).all()
    assert not terms.region_weight(blue.requires_grad_()).requires_grad


def test_a_few_coloured_pixels_do_not_speak_for_an_image() -> None:
    values, weight = torch.ones(1, 1, 10, 10), torch.zeros(1, 1, 10, 10)
    weight[..., 0, 0] = 1
    assert terms.weighted_mean(values, weight, floor=0.05).item() == pytest.approx(0.2)
    weight[..., :5, :] = 1
    assert terms.weighted_mean(values, weight, floor=0.05).item() == pytest.approx(1.0)


def test_pool_handles_what_does_not_divide() -> None:
    image = torch.rand(1, 3, 5, 7)
    assert torch.equal(terms.pool(image, 1), image)
    assert torch.allclose(terms.pool(image, 50), image.mean(dim=(2, 3), keepdim=True))
    assert torch.allclose(terms.pool(image, 4)[..., 1, 1], image[..., 4:, 4:].mean(dim=(2, 3)))


def test_ms_ssim_of_opposite_images_has_a_finite_gradient() -> None:
    """Its fractional powers have an infinite slope at zero, which is where an inverted image is."""
    image = torch.rand(1, 3, 176, 176, generator=torch.manual_seed(0))
    pred = (1 - image).requires_grad_()
    terms.ssim_term(pred, image, "ms_ssim").sum().backward()
    assert pred.grad is not None and torch.isfinite(pred.grad).all()


def test_ssim_names_the_size_it_needs() -> None:
    small = torch.rand(1, 3, 10, 64)
    with pytest.raises(UserError, match="11 pixels a side or more, got 10x64"):
        terms.ssim_term(small, small)
    with pytest.raises(UserError, match="161 pixels .*use ssim_type: ssim"):
        terms.ssim_term(torch.rand(1, 3, 160, 200), torch.rand(1, 3, 160, 200), "ms_ssim")
