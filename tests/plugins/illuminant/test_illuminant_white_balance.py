"""Illuminant maps from shares, their errors, and white balance by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.illuminant.illuminant_map import (
    best_single_light,
    illuminant_from_shares,
    map_errors,
    mix_lights,
    pixel_errors,
)
from plugins.illuminant.white_balance import LUMINANCE, MAX_GAIN, balance, balance_picture, gains

CENTROIDS = np.array([[0.2, 0.4, 0.4], [0.3, 0.4, 0.3], [0.45, 0.4, 0.15]])
WARM, COOL = np.array([1.6, 1.0, 0.5]), np.array([0.7, 1.0, 1.4])


def two_lights(height: int = 12, width: int = 16) -> np.ndarray:
    """A map that goes from warm at the left to cool at the right."""
    share = np.linspace(0, 1, width)[None, :, None]
    return np.broadcast_to((1 - share) * WARM + share * COOL, (height, width, 3))


def test_grey_scene_under_two_lights_becomes_grey_and_keeps_its_luminance() -> None:
    light = two_lights()
    scene = (0.3 * light).astype(np.float32)
    result = balance(scene, light)
    assert np.ptp(scene, axis=2).max() > 0.2
    assert np.ptp(result, axis=2).max() < 1e-6
    np.testing.assert_allclose(result @ LUMINANCE, scene @ LUMINANCE, rtol=1e-5)


def test_one_light_leaves_two_lights_colored() -> None:
    light = two_lights()
    assert np.ptp(balance(0.3 * light, WARM), axis=2)[:, -1].min() > 0.1


@pytest.mark.parametrize("keep", ["luminance", "mean", "none"])
def test_neutral_light_changes_nothing(keep: str) -> None:
    picture = np.random.default_rng(0).random((9, 7, 3)).astype(np.float32)
    picture[0] = [1.0, 0.97, 0.95]
    picture[1] = 0
    np.testing.assert_array_equal(balance(picture, np.full(3, 0.4), keep), picture)


def test_mean_keeps_the_mean_and_ratios() -> None:
    scene = np.random.default_rng(1).random((20, 20, 3)) * 0.3
    result = balance(scene * [1.2, 1, 0.7], np.array([1.2, 1, 0.7]), "mean")
    assert result.mean((0, 1)) @ LUMINANCE == pytest.approx((scene * [1.2, 1, 0.7]).mean((0, 1)) @ LUMINANCE, rel=1e-4)
    np.testing.assert_allclose(result / scene, np.full_like(scene, (result / scene)[0, 0, 0]), rtol=1e-4)


def test_green_is_left_with_none() -> None:
    scene = np.full((3, 3, 3), 0.2)
    np.testing.assert_allclose(balance(scene, WARM, "none"), scene / WARM, rtol=1e-6)


@pytest.mark.parametrize("light", [WARM, COOL])
@pytest.mark.parametrize("brightness", [0.8, 1.0, 1.3, 3.0])
def test_blown_grey_is_neutral(light: np.ndarray, brightness: float) -> None:
    pixel = np.clip(brightness * light, 0, 1)[None, None]
    result = balance(pixel, light)
    assert np.ptp(result) < 0.05
    assert np.ptp(np.clip(pixel / light, 0, 1)) > 0.08


def test_all_clipped_is_white_not_pink() -> None:
    result = balance(np.ones((2, 2, 3)), COOL)
    np.testing.assert_allclose(result, 1, atol=1e-6)


def test_clipped_saturated_color_stays_saturated() -> None:
    result = balance(np.array([[[1.0, 0.1, 0.05]]]), WARM, "none")[0, 0]
    assert result[0] > 4 * result[1]


def test_gains_are_bounded() -> None:
    assert gains(np.array([1e-9, 1, 1e9])).tolist() == [MAX_GAIN, 1, 1 / MAX_GAIN]
    assert balance(np.full((2, 2, 3), 0.5), np.array([1e-9, 1, 1.0])).max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    st.lists(st.floats(0.05, 20), min_size=3, max_size=3),
    st.sampled_from(["luminance", "mean", "none"]),
)
def test_result_is_a_picture(pixel: list[float], light: list[float], keep: str) -> None:
    image = np.array([[pixel]], dtype=np.float32)
    result = balance(image, np.array(light), keep)
    assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1
    if keep == "luminance":
        assert result[0, 0] @ LUMINANCE == pytest.approx(image[0, 0] @ LUMINANCE, abs=2e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("encoding", ["srgb", "linear"])
def test_depth_is_kept(dtype: type, encoding: str) -> None:
    top = np.iinfo(dtype).max
    picture = np.random.default_rng(2).integers(0, top, (16, 16, 3), endpoint=True).astype(dtype)
    same = balance_picture(picture, np.ones(3), encoding)
    assert same.dtype == dtype
    np.testing.assert_array_equal(same, picture)
    assert not np.array_equal(balance_picture(picture, WARM, encoding), picture)


def test_the_curve_is_undone() -> None:
    linear = np.full((1, 1, 3), 0.25) * WARM
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.ptp(balance_picture(coded.astype(np.float32), WARM, "srgb")) < 1e-5
    assert np.ptp(balance_picture(coded.astype(np.float32), WARM, "linear")) > 0.01


@pytest.mark.parametrize(
    ("image", "light", "keep"),
    [
        (np.zeros((2, 2)), WARM, "luminance"),
        (np.zeros((2, 2, 3)), np.ones((3, 2, 3)), "luminance"),
        (np.full((2, 2, 3), np.nan), WARM, "luminance"),
        (np.full((2, 2, 3), 1.5), WARM, "luminance"),
        (np.zeros((2, 2, 3)), np.array([1, 0, 1]), "luminance"),
        (np.zeros((2, 2, 3)), np.array([1, np.nan, 1]), "luminance"),
        (np.zeros((2, 2, 3)), WARM, "brightness"),
    ],
)
def test_wrong_values_are_refused(image: np.ndarray, light: np.ndarray, keep: str) -> None:
    with pytest.raises(ValueError):
        balance(image, light, keep)  # type: ignore[arg-type]


def test_shares_mix_centroids_of_green_one() -> None:
    shares = np.zeros((1, 4, 3), np.float32)
    shares[0, 0, 0], shares[0, 1] = 1, [0.5, 0, 0.5]
    shares[0, 2] = [0.2, 0, 0.2]  # the rest belongs to no class
    light = illuminant_from_shares(shares, CENTROIDS)
    np.testing.assert_allclose(light[0, 0], [0.5, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(light[0, 1], [(0.5 + 1.125) / 2, 1, (1 + 0.375) / 2], rtol=1e-6)
    np.testing.assert_allclose(light[0, 2], light[0, 1], rtol=1e-6)
    np.testing.assert_array_equal(light[0, 3], 1)
    for wrong in (shares[0], shares[..., :2], -shares - 1e-3, np.full_like(shares, np.nan)):
        with pytest.raises(ValueError):
            illuminant_from_shares(wrong, CENTROIDS)


def test_networks_mix_alike() -> None:
    shares = np.random.default_rng(3).random((5, 6, 3)).astype(np.float32)
    shares /= shares.sum(2, keepdims=True)
    tensor = torch.from_numpy(shares.transpose(2, 0, 1))[None]
    centroids = torch.from_numpy(CENTROIDS)
    expected = illuminant_from_shares(shares, CENTROIDS)
    np.testing.assert_allclose(mix_lights(tensor, centroids)[0].permute(1, 2, 0), expected, rtol=1e-5)
    shifted = mix_lights(tensor, centroids[None], torch.full((1, 2, 5, 6), float(np.log(2))))[0].permute(1, 2, 0)
    np.testing.assert_allclose(shifted, expected * [2, 1, 2], rtol=1e-5)


def test_errors_follow_the_published_metric() -> None:
    truth = two_lights()
    prediction = truth[:, ::-1] * 3.7
    a, b = truth / truth[..., 1:2] + 1e-4, prediction / prediction[..., 1:2] + 1e-4
    cosine = (a * b).sum(2) / np.linalg.norm(a, axis=2) / np.linalg.norm(b, axis=2)
    expected = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    np.testing.assert_allclose(pixel_errors(prediction, truth), expected, atol=1e-5)
    valid = np.zeros(truth.shape[:2], bool)
    valid[:, :4] = True
    errors = map_errors(prediction, truth, valid)
    assert errors.mean == pytest.approx(expected[:, :4].mean())
    assert errors.maximum == pytest.approx(expected[:, :4].max())
    assert errors.pixels == 48 and errors.median <= errors.p95 <= errors.maximum
    assert map_errors(truth, truth).maximum < 1e-5
    assert np.isnan(map_errors(prediction, truth, ~valid & False).mean)
    with pytest.raises(ValueError):
        map_errors(prediction[:2], truth)
    with pytest.raises(ValueError):
        map_errors(prediction, truth, valid[:2])


def test_best_single_light_beats_others() -> None:
    truth = two_lights()
    best = best_single_light(truth)
    error = map_errors(best, truth).mean
    for factor in (0.95, 1.05):
        for channel in (0, 2):
            other = best.copy()
            other[channel] *= factor
            assert map_errors(other, truth).mean >= error - 1e-6
    assert best_single_light(truth, np.zeros(truth.shape[:2], bool)).tolist() == [1, 1, 1]
