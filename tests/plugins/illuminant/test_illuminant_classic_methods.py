"""The four classical estimates on scenes whose light is known, and what must not leak into them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.classic_methods import METHODS, grey_edge, grey_world, shades_of_grey, white_patch

LIGHT = np.array([0.5, 0.35, 0.15])


def scene(light: np.ndarray = LIGHT, seed: int = 0, size: int = 96) -> np.ndarray:
    """Grey noise with structure under ``light``."""
    texture = cv2.GaussianBlur(np.random.default_rng(seed).uniform(0.1, 1, (size, size)), (0, 0), 2)
    texture = (texture - texture.min()) / np.ptp(texture) * 0.8 + 0.1
    return (texture[..., None] * light / light.max()).astype(np.float32)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_finds_the_light_of_a_grey_scene(name: str) -> None:
    found = METHODS[name](scene(), None)
    assert found.shape == (3,) and found.sum() == pytest.approx(1)
    assert angle_degrees(found, LIGHT) < 1e-3


def test_formulas_on_a_picture_of_two_colours() -> None:
    image = np.zeros((8, 8, 3), np.float32)
    image[:, :4], image[:, 4:] = (0.2, 0.4, 0.6), (0.6, 0.2, 0.2)
    assert grey_world(image) == pytest.approx(np.array([0.4, 0.3, 0.4]) / 1.1)
    assert white_patch(image) == pytest.approx(np.array([0.6, 0.4, 0.6]) / 1.6)
    power = np.array([(a**6 + b**6) / 2 for a, b in ((0.2, 0.6), (0.4, 0.2), (0.6, 0.2))]) ** (1 / 6)
    assert shades_of_grey(image) == pytest.approx(power / power.sum(), rel=1e-6)
    # one step: the gradient of each channel is its height, with whatever smoothing
    assert grey_edge(image, sigma=0.5) == pytest.approx(np.array([0.4, 0.2, 0.4]) / 1.0, abs=1e-6)


def test_grey_edge_of_a_ramp_is_its_slope() -> None:
    slope = np.array([0.004, 0.002, 0.001])
    image = (0.1 + np.arange(100)[None, :, None] * slope).repeat(100, 0).astype(np.float32)
    mask = np.zeros((100, 100), bool)
    mask[:, 20:80] = True
    for sigma, power in ((1.0, 1.0), (3.0, 6.0)):
        assert grey_edge(image, mask, power, sigma) == pytest.approx(slope / slope.sum(), abs=1e-3)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("color", [(0.05, 0.05, 0.9), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_what_is_masked_out_has_no_influence(name: str, color: tuple[float, ...]) -> None:
    clean, dirty = scene(), scene()
    mask = np.ones(clean.shape[:2], bool)
    mask[30:60, 25:70] = False
    clean[~mask], dirty[~mask] = (0.3, 0.3, 0.3), color
    assert np.array_equal(METHODS[name](clean, mask), METHODS[name](dirty, mask))
    assert angle_degrees(METHODS[name](dirty, mask), LIGHT) < 1e-3


@pytest.mark.parametrize("name", sorted(METHODS))
def test_saturated_pixels_are_left_out(name: str) -> None:
    image = scene()
    image[40:50, 40:50] = 1.0
    assert angle_degrees(METHODS[name](image, None), LIGHT) < 1e-3


def test_white_patch_by_percentile_ignores_single_pixels() -> None:
    image = scene()
    image[0, 0] = (0.0, 0.0, 0.97)
    assert angle_degrees(white_patch(image), LIGHT) > 10
    assert angle_degrees(white_patch(image, percentile=99), LIGHT) < 0.5


def test_a_missing_channel_stays_positive_and_a_flat_picture_has_an_edge_answer() -> None:
    flat = np.tile(np.array([0.5, 0.25, 0.0], np.float32), (40, 40, 1))
    for method in METHODS.values():
        answer = method(flat, None)
        assert (answer > 0).all() and answer[:2] == pytest.approx([2 / 3, 1 / 3], abs=1e-3)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_pictures_without_a_usable_pixel_are_refused(name: str) -> None:
    method = METHODS[name]
    for image in (np.ones((40, 40, 3)), np.zeros((40, 40, 3))):
        with pytest.raises(ValueError, match="no pixel"):
            method(image, None)
    with pytest.raises(ValueError, match="no pixel"):
        method(scene(), np.zeros((96, 96), bool))
    with pytest.raises(ValueError, match="shape"):
        method(scene(), np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="shape"):
        method(np.ones((5, 5)), None)
    broken = scene()
    broken[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        method(broken, None)
