"""The demo's camera model."""

import numpy as np
import pytest

from plugins.color_fidelity.demo_camera import CameraRanges, CameraShot, compress_strong_colors, take_shot

NEUTRAL_SHOT = CameraShot(0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 100)


def saturation(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float64)
    return (values.max(2) - values.min(2)) / np.maximum(values.max(2), 1e-9)


def photo(seed: int = 0, size: int = 96) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(30, 226, (6, 6, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((size // 6, size // 6, 1), np.uint8))


def test_shot_without_change_returns_photo_up_to_jpeg() -> None:
    image = photo()
    seen = take_shot(image, NEUTRAL_SHOT, np.random.default_rng(0))
    # The median: JPEG's halved chroma blurs the edges of the patches.
    assert np.median(np.abs(seen.astype(int) - image.astype(int))) <= 1


def test_same_generator_gives_same_shot() -> None:
    ranges, image = CameraRanges(), photo()
    first, second = (np.random.default_rng(7) for _ in range(2))
    assert np.array_equal(take_shot(image, ranges.draw(first), first), take_shot(image, ranges.draw(second), second))


def test_every_draw_stays_in_its_range() -> None:
    ranges = CameraRanges()
    for seed in range(20):
        shot = ranges.draw(np.random.default_rng(seed))
        for name in CameraShot.__dataclass_fields__:
            low, high = getattr(ranges, name)
            assert low <= getattr(shot, name) <= high


def test_camera_washes_out_and_darkens() -> None:
    rng, image = np.random.default_rng(1), photo()
    seen = take_shot(image, CameraRanges().draw(rng), rng)
    assert saturation(seen).mean() < 0.8 * saturation(image).mean()
    assert seen.mean() < image.mean()


@pytest.mark.parametrize("amount", [0.0, 1.0, 4.0])
def test_compression_keeps_grey_and_takes_more_from_strong_colors(amount: float) -> None:
    grey = np.full((1, 1, 3), 0.4)
    assert np.allclose(compress_strong_colors(grey, amount), grey)
    weak, strong = np.array([[[0.5, 0.45, 0.45]]]), np.array([[[0.5, 0.05, 0.05]]])
    kept = [saturation(compress_strong_colors(c, amount)).item() / saturation(c).item() for c in (weak, strong)]
    assert kept[0] >= kept[1]
    assert (amount == 0) == bool(np.isclose(kept[1], 1.0))
    assert np.isclose(compress_strong_colors(strong, amount).max(), 0.5)
