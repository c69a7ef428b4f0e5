"""The paper on made-up photos of coloured things on it: its light, its masks, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.color_science.angle_statistics import recovery_error
from plugins.illuminant.light_images import from_linear
from plugins.illuminant.paper_truth import find_paper

WARM, COOL = np.array([0.40, 0.34, 0.26]), np.array([0.30, 0.33, 0.37])
THINGS = ((30, 40, (0.6, 0.05, 0.05)), (90, 150, (0.05, 0.3, 0.7)), (140, 60, (0.1, 0.5, 0.1)))
EDGE = 26


def photo(light: np.ndarray = WARM, white: float = 0.75, size: tuple[int, int] = (200, 240)) -> np.ndarray:
    """Linear photo: paper with a brightness gradient, grain, three things with a dark shadow each."""
    rng = np.random.default_rng(0)
    shade = np.linspace(1, 0.8, size[1])[None, :, None] * np.ones((size[0], 1, 1))
    image = white * shade * light / light.max()
    for top, left, color in THINGS:
        image[top + 5 : top + EDGE + 5, left + 5 : left + EDGE + 5] *= 0.3
        image[top : top + EDGE, left : left + EDGE] = np.array(color) * light / light.max()
    return image * rng.normal(1, 0.01, image.shape)


def thing_mask(size: tuple[int, int] = (200, 240), shrink: int = 0) -> np.ndarray:
    mask = np.zeros(size, bool)
    for top, left, _ in THINGS:
        mask[top + shrink : top + EDGE - shrink, left + shrink : left + EDGE - shrink] = True
    return mask


def encoded(linear: np.ndarray) -> np.ndarray:
    return from_linear(np.clip(linear, 0, 1).astype(np.float32), "srgb")


@pytest.mark.parametrize("light", [WARM, COOL, np.ones(3) / 3])
def test_light_and_masks_of_paper(light: np.ndarray) -> None:
    found = find_paper(encoded(photo(light)))
    assert found.light is not None and found.reason == "" and found.quality > 0.7
    assert sum(found.light) == pytest.approx(1)
    assert recovery_error(np.array(found.light), light) < 0.3
    assert found.paper.shape == found.hide.shape == (200, 240)
    assert not (found.paper & thing_mask()).any()  # nothing is measured on a thing
    assert found.hide[~thing_mask()].mean() > 0.999  # the shadows are hidden, too
    assert not found.hide[thing_mask(shrink=7)].any()  # what is to be seen is not
    assert found.left == pytest.approx(1 - found.hide.mean()) and 0.01 < found.left < 0.05


def test_large_photos_get_masks_of_their_size() -> None:
    small = encoded(photo())
    found = find_paper(np.repeat(np.repeat(small, 4, 0), 4, 1))
    assert found.paper.shape == (800, 960) and found.light is not None
    assert recovery_error(np.array(found.light), WARM) < 0.3


def test_overexposed_parts_do_not_measure_but_are_hidden() -> None:
    linear = photo(WARM, 0.9)
    linear[:, :60] *= 3
    found = find_paper(encoded(linear))
    assert found.light is not None and recovery_error(np.array(found.light), WARM) < 0.5
    assert not found.paper[:, :50].any()
    assert found.hide[:20, :50].mean() > 0.9
    assert found.quality < find_paper(encoded(photo())).quality


def speckle() -> np.ndarray:
    return encoded(np.random.default_rng(1).uniform(0, 1, (100, 100, 3)))


def small_paper() -> np.ndarray:
    image = np.random.default_rng(1).uniform(0, 0.5, (200, 200, 3))
    image[:50, :50] = 0.7
    return encoded(image)


def two_lights() -> np.ndarray:
    linear = photo(np.ones(3))
    return encoded(linear * np.linspace((1.1, 1, 0.8), (0.9, 1, 1.15), 240)[None] * 0.9)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (encoded(photo(np.array([0.7, 0.2, 0.1]))), "degrees from grey"),
        (encoded(photo(np.ones(3), 4.0)), "overexposed"),
        (speckle(), "no bright area"),
        (small_paper(), "of the photo"),
        (two_lights(), "more than one light"),
        (np.zeros((64, 64, 3), np.float32), "black"),
    ],
)
def test_photos_without_paper_say_why(image: np.ndarray, reason: str) -> None:
    found = find_paper(image)
    assert found.light is None and reason in found.reason, found.reason
    assert found.quality == 0 and not found.paper.any() and not found.hide.any()


def test_wrong_input_is_refused() -> None:
    for bad in (np.zeros((64, 64)), np.zeros((8, 8, 3))):
        with pytest.raises(ValueError, match="shape"):
            find_paper(bad)
    with pytest.raises(ValueError, match="not finite"):
        find_paper(np.full((64, 64, 3), np.nan))
