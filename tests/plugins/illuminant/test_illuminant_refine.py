"""Guided filter against the paper's sums, the CRF's edges, and shares from maps."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from plugins.illuminant.refine import REFINEMENTS, guided_filter, maps_to_shares, refine

Array = np.ndarray[Any, Any]


def slow_guided_filter(image: Array, guide: Array, radius: int, eps: float) -> Array:
    """Box by box, pixel by pixel, by least squares."""
    height, width = image.shape
    guide = guide.reshape(height, width, -1)
    slopes, offsets = np.zeros((height, width, guide.shape[2])), np.zeros((height, width))
    boxes = {}
    for y in range(height):
        for x in range(width):
            box = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            boxes[y, x] = box
            leaders, values = guide[box].reshape(-1, guide.shape[2]), image[box].ravel()
            centered = leaders - leaders.mean(0)
            matrix = centered.T @ centered / len(values) + eps * np.eye(guide.shape[2])
            slopes[y, x] = np.linalg.inv(matrix) @ (centered.T @ (values - values.mean()) / len(values))
            offsets[y, x] = values.mean() - slopes[y, x] @ leaders.mean(0)
    result = np.zeros((height, width))
    for (y, x), box in boxes.items():  # the boxes that hold a pixel are those around the pixels of its own box
        result[y, x] = slopes[box].mean((0, 1)) @ guide[y, x] + offsets[box].mean()
    return result


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 4), st.sampled_from([1e-4, 1e-2, 1.0]), st.booleans(), st.integers(0, 10**6))
def test_guided_filter_is_the_papers(radius: int, eps: float, color: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.random((2, 9, 11))
    guide = rng.random((9, 11, 3) if color else (9, 11))
    expected = [slow_guided_filter(image, guide, radius, eps) for image in images]
    np.testing.assert_allclose(guided_filter(images, guide, radius, eps), expected, atol=1e-9)


def edge_scene() -> tuple[Array, Array, Array]:
    """A sharp edge in the picture, the truth along it, and blurred maps of two classes."""
    truth = np.zeros((2, 40, 60), np.float32)
    truth[0, :, :30], truth[1, :, 30:] = 1, 1
    guide = np.full((40, 60, 3), 0.2, np.float32)
    guide[:, 30:] = (0.8, 0.6, 0.3)
    ramp = np.clip((np.arange(60) - 18) / 24, 0, 1).astype(np.float32)
    maps = np.stack([np.tile(1 - ramp, (40, 1)), np.tile(ramp, (40, 1))])
    return maps, guide, truth


@pytest.mark.parametrize("method", ["guided", "crf"])
def test_refined_maps_follow_the_edge(method: str) -> None:
    if method == "crf":
        pytest.importorskip("pydensecrf")
    maps, guide, truth = edge_scene()
    found = refine(maps, guide, method)
    assert (maps[0, :, 29] - maps[0, :, 30]).max() < 0.05 < 0.5 < (found[0, :, 29] - found[0, :, 30]).min()
    if method == "crf":
        assert np.abs(found - truth).mean() < 0.5 * np.abs(maps - truth).mean()
    np.testing.assert_array_equal(found, refine(maps.copy(), guide.copy(), method))
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    if method == "crf":
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_a_soft_mixture_on_a_flat_picture_survives_the_guided_filter_but_not_the_crf() -> None:
    pytest.importorskip("pydensecrf")
    share = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (50, 1))
    maps, guide = np.stack([share, 1 - share]), np.full((50, 80, 3), 0.5, np.float32)
    guided, crf = refine(maps, guide, "guided", radius=6), refine(maps, guide, "crf")
    assert np.abs(guided - maps).mean() < 0.02 < 0.1 < np.abs(crf - maps).mean()


def test_none_changes_nothing() -> None:
    maps, guide, _ = edge_scene()
    np.testing.assert_array_equal(refine(maps, guide, "none"), maps)


def test_without_pydensecrf_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    maps, guide, _ = edge_scene()
    with pytest.raises(UserError, match=r"basicsr\[crf\]"):
        refine(maps, guide, "crf")


@pytest.mark.parametrize("method", REFINEMENTS)
@pytest.mark.parametrize(
    ("maps", "guide", "words"),
    [
        (np.zeros((2, 8, 8)), np.zeros((8, 9, 3)), "fit"),
        (np.zeros((8, 8)), np.zeros((8, 8, 3)), "fit"),
        (np.zeros((2, 8, 8)), np.zeros((8, 8, 4)), "channels"),
        (np.full((2, 8, 8), np.nan), np.zeros((8, 8, 3)), "maps must be finite"),
        (np.zeros((2, 8, 8)), np.full((8, 8, 3), 255.0), "guide must be finite"),
    ],
)
def test_bad_input_is_named(maps: Array, guide: Array, words: str, method: str) -> None:
    with pytest.raises(UserError, match=words):
        refine(maps, guide, method)


def test_no_such_refinement() -> None:
    with pytest.raises(UserError, match="there is no such refinement"):
        refine(np.zeros((2, 8, 8)), np.zeros((8, 8)), "median")
    with pytest.raises(UserError, match="above 0"):
        refine(np.zeros((2, 8, 8)), np.zeros((8, 8)), "guided", eps=0)


@given(st.integers(0, 10**6))
def test_shares_sum_to_one_and_fall_back_on_the_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps, probabilities = rng.random((4, 5, 6)), rng.random(4) + 0.01
    maps[:, 0, 0] = 0
    shares = maps_to_shares(maps, probabilities)
    assert shares.shape == (5, 6, 4) and shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(shares[0, 0], probabilities / probabilities.sum(), rtol=1e-5)
    ratio = (maps[1, 2, 3] + 1e-3) * probabilities[1] / ((maps[0, 2, 3] + 1e-3) * probabilities[0])
    np.testing.assert_allclose(shares[2, 3, 1] / shares[2, 3, 0], ratio, rtol=1e-4)


def test_shares_of_what_does_not_fit() -> None:
    for probabilities in (np.ones(3), np.zeros(2), np.array([1.0, np.nan]), np.array([1.0, -0.1])):
        with pytest.raises(UserError, match="shares"):
            maps_to_shares(np.zeros((2, 4, 4)), probabilities)
