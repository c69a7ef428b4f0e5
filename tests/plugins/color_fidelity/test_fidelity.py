"""The figures of an image pair: known changes give known figures, and an empty region is not a number."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import skimage.color
import torch

from basicsr.engine.errors import UserError
from basicsr.metrics import calculate_metric, calculate_psnr, calculate_ssim
from plugins.color_fidelity import fidelity
from plugins.color_fidelity.fidelity import FIGURES, measure, saturated_mask


def colorful(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Saturated colours of middle value, away from the limits so that small changes do not clip."""
    rng = np.random.default_rng(seed)
    hsv = np.stack([rng.uniform(0, 360, size), rng.uniform(0.3, 0.7, size), rng.uniform(0.3, 0.8, size)], axis=-1)
    return cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2RGB)


def changed(image: np.ndarray, hue: float = 0.0, sat: float = 1.0, value: float = 1.0) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + hue) % 360
    return cv2.cvtColor(hsv * np.array([1, sat, value], np.float32), cv2.COLOR_HSV2RGB)


def as_bgr8(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.rint(image * 255).astype(np.uint8)[:, :, ::-1])


def test_keys_are_those_of_the_table() -> None:
    assert set(measure(colorful(), colorful())) == set(FIGURES)


def test_a_perfect_prediction() -> None:
    figures = measure(colorful(), colorful())
    assert figures["psnr"] == figures["psnr_r"] == math.inf
    assert figures["ssim"] == pytest.approx(1)
    assert figures["de00_mean"] == figures["de00_p99"] == figures["hue_abs_deg"] == figures["above_2"] == 0
    for key in ("sat_ratio", "sat_ratio_60", "sat_ratio_100", "sat_ratio_whole", "bright_ratio"):
        assert figures[key] == pytest.approx(1)


def test_saturation_brightness_and_hue_are_told_apart() -> None:
    target = colorful()
    faded = measure(changed(target, sat=0.8), target)
    assert faded["sat_ratio"] == pytest.approx(0.8, abs=1e-3)
    assert faded["sat_ratio_whole"] == pytest.approx(0.8, abs=1e-3)
    assert faded["hue_abs_deg"] == pytest.approx(0, abs=0.01)
    assert faded["bright_ratio"] == pytest.approx(1, abs=1e-3)
    dark = measure(changed(target, value=0.9), target)
    assert dark["bright_ratio"] == pytest.approx(0.9, abs=1e-3)
    assert dark["sat_ratio"] == pytest.approx(1, abs=1e-3)
    turned = measure(changed(target, hue=15), target)
    assert turned["hue_abs_deg"] == pytest.approx(15, abs=0.05)
    assert measure(changed(target, hue=-350), target)["hue_abs_deg"] == pytest.approx(10, abs=0.05)


def test_masks_are_the_documented_ones() -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    pred = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    (_, s1, _), (h2, s2, v2) = (np.moveaxis(skimage.color.rgb2hsv(image), -1, 0) for image in (pred, target))
    figures = measure(pred, target)
    for key, mask in (
        ("sat_ratio", (s2 >= 0.25) & (v2 >= 0.10) & (v2 <= 0.95)),
        ("sat_ratio_60", s2 >= 60 / 255),
        ("sat_ratio_100", s2 >= 100 / 255),
        ("sat_ratio_whole", s2 >= 0),
    ):
        assert figures[key] == pytest.approx(s1[mask].mean() / s2[mask].mean(), abs=1e-5)
    mask = (s2 >= 0.25) & (v2 >= 0.10) & (v2 <= 0.95)
    np.testing.assert_array_equal(saturated_mask(target), mask)
    turn = np.abs(skimage.color.rgb2hsv(pred)[..., 0] - h2)[mask] * 360
    assert figures["hue_abs_deg"] == pytest.approx(np.minimum(turn, 360 - turn).mean(), abs=1e-3)


def test_empty_regions_are_not_numbers() -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    figures = measure(grey, grey)
    for key in ("sat_ratio", "sat_ratio_60", "sat_ratio_100", "hue_abs_deg", "bright_ratio", "de00_sat", "de00_c60"):
        assert math.isnan(figures[key]), key
    assert math.isnan(figures["sat_ratio_whole"])
    assert figures["sat_share"] == 0


def test_a_grey_prediction_has_no_hue() -> None:
    target = colorful()
    grey = np.repeat(target.mean(axis=2, keepdims=True), 3, axis=2)
    figures = measure(grey, target)
    assert math.isnan(figures["hue_abs_deg"])
    assert figures["sat_ratio"] == pytest.approx(0, abs=1e-6)


def test_the_mean_hides_what_the_percentiles_and_the_chroma_bins_show() -> None:
    """A chroma cut on the most saturated tenth has a better mean ΔE00 than an almost invisible lightness shift."""
    rng = np.random.default_rng(0)
    lab = np.stack([rng.uniform(35, 70, (60, 60)), rng.normal(0, 3, (60, 60)), rng.normal(0, 3, (60, 60))], axis=-1)
    lab[:6, :, 1:] = np.array([50, 40])
    target = skimage.color.lab2rgb(lab)
    cut = skimage.color.lab2rgb(np.where(np.arange(60)[:, None, None] < 6, lab * [1, 0.7, 0.7], lab))
    lighter = skimage.color.lab2rgb(lab + [1.5, 0, 0])
    washed, shifted = measure(cut, target), measure(lighter, target)
    assert washed["de00_mean"] < shifted["de00_mean"]
    assert washed["de00_p95"] > 3 * shifted["de00_p95"]
    assert washed["chroma_c60"] == pytest.approx(0.7, abs=0.02)
    assert washed["dc_mean"] > washed["dl_mean"]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_depth_does_not_change_the_figures(dtype: type) -> None:
    target = np.rint(colorful() * 255).astype(np.uint8)
    pred = np.rint(changed(colorful(), sat=0.9) * 255).astype(np.uint8)
    expected = measure(pred, target)
    deep = [image * np.uint16(257) if dtype is np.uint16 else (image / 255).astype(dtype) for image in (pred, target)]
    other = measure(*deep)
    for key, value in expected.items():
        assert other[key] == pytest.approx(value, abs=2e-3 * max(1, abs(value)), nan_ok=True), key


def test_noise_figures_are_the_engines() -> None:
    pred, target = as_bgr8(changed(colorful(), sat=0.9)), as_bgr8(colorful())
    figures = measure(pred[:, :, ::-1], target[:, :, ::-1])
    assert figures["psnr"] == pytest.approx(calculate_psnr(pred, target, crop_border=0), abs=1e-9)
    assert figures["ssim"] == pytest.approx(calculate_ssim(pred, target, crop_border=0), abs=1e-6)


def test_gain_over_the_input() -> None:
    target = colorful()
    figures = measure(changed(target, sat=0.95), target, changed(target, sat=0.5))
    assert figures["de00_gain"] > 3


def test_images_smaller_than_the_ssim_window() -> None:
    assert math.isnan(measure(colorful(size=(8, 8)), colorful(size=(8, 8)))["ssim"])


def test_wrong_images_are_refused() -> None:
    with pytest.raises(UserError, match="64 x 48 against 60 x 48"):
        measure(colorful(), colorful(size=(48, 60)))
    with pytest.raises(UserError, match="RGB"):
        measure(colorful()[..., 0], colorful()[..., 0])


METRICS = {
    "calculate_delta_e00": "de00_mean",
    "calculate_delta_e76": "de76_mean",
    "calculate_hue_error": "hue_abs_deg",
    "calculate_sat_ratio": "sat_ratio",
    "calculate_brightness_ratio": "bright_ratio",
    "calculate_psnr_channel": "psnr_r",
}
OPTIONS = [
    ({"type": "calculate_delta_e00", "stat": "p95"}, "de00_p95"),
    ({"type": "calculate_delta_e00", "stat": "p99"}, "de00_p99"),
    ({"type": "calculate_delta_e00", "stat": "max"}, "de00_max"),
    ({"type": "calculate_sat_ratio", "region": "whole"}, "sat_ratio_whole"),
    ({"type": "calculate_sat_ratio", "region": "saturated60"}, "sat_ratio_60"),
    ({"type": "calculate_sat_ratio", "region": "saturated100"}, "sat_ratio_100"),
    ({"type": "calculate_psnr_channel", "channel": "b"}, "psnr_b"),
    *[({"type": name}, key) for name, key in METRICS.items()],
]


@pytest.mark.parametrize(("options", "key"), OPTIONS)
def test_validation_metrics_are_the_same_figures(options: dict[str, str], key: str) -> None:
    import plugins.color_fidelity.fidelity_metric  # noqa: F401

    pred, target = as_bgr8(changed(colorful(), hue=5, sat=0.8, value=0.9)), as_bgr8(colorful())
    expected = measure(pred[:, :, ::-1], target[:, :, ::-1])[key]
    options = {**options, "better": "lower"}
    assert calculate_metric({"img": pred, "img2": target}, options) == pytest.approx(expected, rel=1e-6)
    floats = {"img": pred.astype(np.float64), "img2": target.astype(np.float64)}
    assert calculate_metric(floats, options) == pytest.approx(expected, rel=2e-3, abs=0.021)
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)) / 255.0)[None]
        for name, image in (("img", pred), ("img2", target))
    }
    assert calculate_metric(tensors, options) == pytest.approx(expected, rel=2e-3, abs=0.021)
    inner = measure(pred[4:-4, 4:-4, ::-1], target[4:-4, 4:-4, ::-1])[key]
    cropped = calculate_metric({"img": pred, "img2": target}, {**options, "crop_border": 4})
    assert cropped == pytest.approx(inner, rel=1e-6)


def test_gap_metric_is_the_distance_from_1() -> None:
    from plugins.color_fidelity.fidelity_metric import calculate_sat_ratio

    pred, target = as_bgr8(changed(colorful(), sat=1.2)), as_bgr8(colorful())
    ratio = calculate_sat_ratio(pred, target)
    assert ratio > 1.1
    assert calculate_sat_ratio(pred, target, gap=True) == pytest.approx(ratio - 1)


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("calculate_delta_e00", {"stat": "p50"}, "mean, p95, p99, max"),
        ("calculate_sat_ratio", {"region": "all"}, "saturated, saturated60"),
        ("calculate_psnr_channel", {"channel": "x"}, "r, g or b"),
        ("calculate_delta_e76", {"crop_border": 24}, "leaves nothing"),
    ],
)
def test_wrong_metric_options_are_user_errors(name: str, options: dict[str, object], error: str) -> None:
    image = as_bgr8(colorful())
    with pytest.raises(UserError, match=error):
        calculate_metric({"img": image, "img2": image}, {"type": name, **options})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compiled_and_plain_pixel_figures_agree(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(5)
    full = np.iinfo(dtype).max
    pred, target = (rng.integers(0, full + 1, (40, 50, 3)).astype(dtype) for _ in range(2))
    pred[:5], target[3:8] = 0, 0  # black has neither saturation nor hue
    pred[10:15] = pred[10:15, :, :1]  # nor has grey a hue
    target[20:23] = full
    mask, figures = fidelity.pixel_figures(pred, target)
    monkeypatch.setattr(fidelity, "_kernel", lambda: None)
    plain_mask, plain = fidelity.pixel_figures(pred, target)
    np.testing.assert_array_equal(mask, plain_mask)
    assert figures.keys() == plain.keys()
    for key, value in plain.items():
        assert figures[key] == pytest.approx(value, rel=1e-6), key
    grey = np.full((12, 12, 3), full // 2, dtype)
    assert math.isnan(fidelity.pixel_figures(grey, grey)[1]["sat_ratio"])


def test_an_image_against_itself_is_not_filtered_for_ssim() -> None:
    image = as_bgr8(colorful())
    assert measure(image, image) == pytest.approx(measure(image, image.copy()), nan_ok=True)


@pytest.mark.parametrize("size", [(11, 11), (12, 75), (140, 90)])
def test_ssim_in_single_precision_is_the_engines(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(8)
    target = as_bgr8(cv2.GaussianBlur(rng.uniform(0, 1, (*size, 3)).astype(np.float32), (0, 0), 2))
    for pred in (target // 2 + 60, rng.integers(0, 256, target.shape, dtype=np.uint8), np.full_like(target, 255)):
        assert measure(pred, target)["ssim"] == pytest.approx(calculate_ssim(pred, target, 0), abs=1e-5)
    flat = np.full((40, 40, 3), 250, np.uint8)  # the variance of a bright flat area is where precision would be lost
    assert measure(flat - 1, flat)["ssim"] == pytest.approx(calculate_ssim(flat - 1, flat, 0), abs=1e-6)
