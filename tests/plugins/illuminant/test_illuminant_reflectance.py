import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.illuminant.reflectance import vary_reflectances

LIGHT = np.array([0.6, 0.3, 0.1])


@settings(deadline=None, max_examples=30)
@given(st.floats(-180, 180), st.floats(0, 1.6), st.sampled_from(["srgb", "linear"]))
def test_what_is_grey_under_the_light_stays_as_it_is(hue: float, saturation: float, encoding: str) -> None:
    levels = np.linspace(0, 1, 9).reshape(3, 3, 1)
    linear = levels * LIGHT / LIGHT.max()
    image = (
        linear
        if encoding == "linear"
        else np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    )
    assert np.allclose(vary_reflectances(image, LIGHT, hue, saturation, encoding), image, atol=2e-5)


def test_a_third_of_a_turn_moves_red_to_green_to_blue() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (4, 5, 3))
    turned = vary_reflectances(image, np.ones(3), 120.0, 1.0, "linear")
    assert np.allclose(turned, image[..., [2, 0, 1]], atol=1e-6)


def test_no_saturation_leaves_the_light_only() -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.5, (4, 5, 3)) * LIGHT
    flat = vary_reflectances(image, LIGHT, 0.0, 0.0, "linear") / LIGHT
    assert np.allclose(flat, flat[..., :1], rtol=1e-4)
    assert np.ptp(flat) > 0.05


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        vary_reflectances(np.zeros((2, 2, 3)), [1, 0, 1], 0, 1, "linear")
    with pytest.raises(ValueError, match="negative"):
        vary_reflectances(np.zeros((2, 2, 3)), [1, 1, 1], 0, -1, "linear")
