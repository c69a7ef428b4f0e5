"""Encodings and levels of pictures, crops, and the exact change of the light."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.light_images import from_linear, read_light_image, read_pixels, to_linear
from plugins.illuminant.relight import augment_image_crop_resize, create_augmented_image, relight_gains

LIGHT = st.lists(st.floats(0.05, 1), min_size=3, max_size=3)
WARM, COOL = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.35, 0.45])


def noise(low: float = 0.0, high: float = 0.85, shape: tuple[int, ...] = (12, 10, 3)) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
@given(a=LIGHT, b=LIGHT)
@settings(max_examples=40, deadline=None)
def test_there_and_back_is_the_same_picture(encoding: str, a: list[float], b: list[float]) -> None:
    image = from_linear(noise(), encoding)
    there, light = create_augmented_image(image, a, b, encoding)
    assert there.dtype == np.float32 and light == pytest.approx(np.array(b) / sum(b))
    exposure = 1 / (relight_gains(a, b) * relight_gains(b, a)).max()
    back, light = create_augmented_image(there, light, a, encoding, exposure)
    assert to_linear(back, encoding) == pytest.approx(to_linear(image, encoding), abs=2e-6)
    assert light == pytest.approx(np.array(a) / sum(a))


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
def test_a_grey_patch_takes_the_new_light_s_colour(encoding: str) -> None:
    patch = from_linear(np.tile((0.8 * WARM / WARM.max()).astype(np.float32), (4, 4, 1)), encoding)
    shown, _ = create_augmented_image(patch, WARM, COOL, encoding)
    assert angle_degrees(to_linear(shown, encoding)[0, 0], COOL) < 1e-4


def test_nothing_clips_that_was_not_clipped_and_more_exposure_clips() -> None:
    image = noise(0, 0.9)
    shown, _ = create_augmented_image(image, WARM, COOL, "linear")
    assert (shown <= image + 1e-6).all()
    brighter, _ = create_augmented_image(image, WARM, COOL, "linear", 1.5)
    assert brighter.max() == 1 and (brighter >= shown - 1e-6).all()


def test_blown_out_pixels_stay_white_without_a_step() -> None:
    ramp = np.repeat(np.linspace(0.5, 1, 200, dtype=np.float32)[:, None, None], 3, axis=2)
    shown, _ = create_augmented_image(ramp, np.ones(3), WARM, "linear")
    assert shown[-1, 0] == pytest.approx([1, 1, 1])
    assert shown[0, 0] == pytest.approx(0.5 * WARM / WARM.max())
    assert np.abs(np.diff(shown, axis=0)).max() < 0.05
    red = np.array([[[1.0, 0.2, 0.1]]], np.float32)  # one clipped channel is scaled
    assert create_augmented_image(red, np.ones(3), COOL, "linear")[0][0, 0, 0] == pytest.approx(0.2 / 0.45)


@pytest.mark.parametrize("light", [[0, 1, 1], [np.nan, 1, 1], [1, 1], [-1, 1, 1]])
def test_lights_that_are_none_are_refused(light: list[float]) -> None:
    with pytest.raises(ValueError, match="three positive"):
        create_augmented_image(noise(), light, WARM, "linear")
    with pytest.raises(ValueError, match="three positive"):
        create_augmented_image(noise(), WARM, light, "linear")
    with pytest.raises(ValueError, match="exposure"):
        create_augmented_image(noise(), WARM, COOL, "linear", 0.0)


@given(st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 90), st.floats(0.05, 1))
@settings(max_examples=60, deadline=None)
def test_crops_are_inside_and_of_the_size(seed: int, height: int, width: int, low: float) -> None:
    image = np.full((height, width, 3), 7, np.uint16)
    crop = augment_image_crop_resize(image, 16, (low, 1.0), random.Random(seed))
    assert crop.shape == (16, 16, 3) and crop.dtype == np.uint16 and (crop == 7).all()


def test_crops_have_the_share_that_is_asked_for() -> None:
    ramp = np.dstack([np.tile(np.arange(400, dtype=np.float32), (300, 1))] * 3)
    widths = []
    for seed in range(200):
        crop = augment_image_crop_resize(ramp, 64, (0.25, 0.25), random.Random(seed))
        widths.append(float(np.ptp(crop)) * 64 / 63)
    # a quarter of 300 x 400 with aspects from 3:4 to 4:3 is 150 to 200 wide
    assert 145 < min(widths) < 160 and 190 < max(widths) < 205
    with pytest.raises(ValueError, match="scale"):
        augment_image_crop_resize(ramp, 64, (0.5, 0.2), random.Random(0))


def test_curves_are_inverse_and_srgb_s() -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    assert from_linear(to_linear(values, "srgb"), "srgb") == pytest.approx(values, abs=1e-6)
    assert float(to_linear(np.float32(0.5), "srgb")) == pytest.approx(0.21404114, abs=1e-6)
    assert to_linear(values, "linear") is values
    with pytest.raises(UserError, match="encoding"):
        to_linear(values, "raw")


def test_levels_of_a_raw_image(tmp_path: Path) -> None:
    raw = np.array([[[0, 2048, 16383], [20000, 9215, 2049]]], np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), raw[:, :, ::-1])
    image = read_light_image(tmp_path / "a.png", "linear", 2048, 16383)
    assert image.dtype == np.float32
    assert image == pytest.approx(np.array([[[0, 0, 1], [1, 7167 / 14335, 1 / 14335]]]), abs=1e-6)
    assert read_light_image(tmp_path / "a.png", "srgb")[0, 1, 0] == pytest.approx(20000 / 65535)
    for levels, message in (((5, 3), "white must be greater"), ((-1, 9), "negative"), ((0, 70000), "16 bits")):
        with pytest.raises(UserError, match=message):
            read_light_image(tmp_path / "a.png", "linear", *levels)
    with pytest.raises(UserError, match="belong to linear"):
        read_light_image(tmp_path / "a.png", "srgb", 1)


def test_a_jpeg_is_not_linear(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20, 3), 99, np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="a.jpg: a JPEG is sRGB"):
        read_light_image(tmp_path / "a.jpg", "linear")


def test_reduced_reading_is_the_reduced_whole(tmp_path: Path) -> None:
    y, x = np.mgrid[0:260, 0:420]
    photo = np.stack([x / 2, y / 2, 128 + 60 * np.sin(x / 40)], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=97, exif=exif, subsampling=0)
    whole, small = read_pixels(tmp_path / "a.jpg", "srgb"), read_pixels(tmp_path / "a.jpg", "srgb", 60)
    assert whole.shape == (420, 260, 3) and small.shape == (97, 60, 3)
    expected = cv2.resize(whole, (60, 97), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - expected).mean() < 1.5
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="b.jpg"):
        read_pixels(tmp_path / "b.jpg", "srgb", 60)
    with pytest.raises(UserError, match="c.jpg"):
        read_pixels(tmp_path / "c.jpg", "srgb", 60)
