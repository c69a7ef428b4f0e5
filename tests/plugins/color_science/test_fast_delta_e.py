"""The fast comparison of photographs against the exact formula and against itself without numba."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from plugins import color_science as cs
from plugins.color_science import fast, fast_reference


def make_pair(height: int = 130, width: int = 170, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    target[:20] = target[:20, :, :1]
    noise = rng.integers(-25, 26, target.shape) * (rng.random((height, width, 1)) < 0.8)
    return np.clip(target + noise, 0, 255).astype(np.uint8), target


def exact(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    labs = [
        cs.rgb_to_lab(torch.from_numpy(image.astype(np.float64) / np.iinfo(image.dtype).max).permute(2, 0, 1))
        for image in (pred, target)
    ]
    return cs.delta_e2000(*labs).numpy()


def assert_close_but_for_isolated_pixels(ours: np.ndarray, expected: np.ndarray) -> None:
    """The formula is discontinuous near grey, so that single precision may land on the other side at a few pixels."""
    error = np.abs(ours - expected)
    assert np.quantile(error, 0.999) < 1e-3
    assert error.max() < 0.3
    assert abs(ours.mean(dtype=np.float64) - expected.mean()) < 1e-4


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_agrees_with_the_exact_formula(depth: type) -> None:
    pred, target = make_pair()
    if depth is np.uint16:
        pred, target = (image.astype(np.uint16) * 257 + 3 * (image > 0) * (image < 255) for image in (pred, target))
        pred, target = pred.astype(np.uint16), target.astype(np.uint16)
    assert_close_but_for_isolated_pixels(cs.fast_delta_e00(pred, target), exact(pred, target))


def test_agrees_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    pred, target = make_pair()
    with_numba = cs.compare_colors(pred, target)
    monkeypatch.setattr(fast, "_kernel", lambda: fast_reference.compare_blocks)
    without = cs.compare_colors(pred, target)
    assert_close_but_for_isolated_pixels(with_numba.de00, without.de00)
    for field in dataclasses.fields(with_numba):
        if field.name not in ("de00", "bins"):
            assert getattr(with_numba, field.name) == pytest.approx(getattr(without, field.name), abs=1e-3)
    for ours, other in zip(with_numba.bins, without.bins, strict=True):
        assert dataclasses.astuple(ours) == pytest.approx(dataclasses.astuple(other), abs=1e-3, nan_ok=True)


def test_a_missing_numba_falls_back() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from plugins.color_science import fast, fast_reference\n"
        "assert fast._kernel() is fast_reference.compare_blocks"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_color_science_does_not_import_numba() -> None:
    code = "import sys, plugins.color_science; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_result_does_not_depend_on_threads() -> None:
    pred, target = make_pair(400, 500)
    one, three = cs.compare_colors(pred, target, threads=1), cs.compare_colors(pred, target, threads=3)
    np.testing.assert_array_equal(one.de00, three.de00)
    assert dataclasses.replace(one, de00=three.de00) == three


def test_statistics_are_those_of_the_map() -> None:
    result = cs.compare_colors(*make_pair())
    assert result.mean == pytest.approx(result.de00.mean(dtype=np.float64), abs=1e-5)
    assert result.p95 == pytest.approx(np.quantile(result.de00, 0.95), abs=fast_reference.HISTOGRAM_WIDTH)
    assert result.p99 == pytest.approx(np.quantile(result.de00, 0.99), abs=2 * fast_reference.HISTOGRAM_WIDTH)
    assert result.maximum == result.de00.max()
    assert sum(part.share for part in result.bins) == pytest.approx(1)


def test_equal_images_differ_by_nothing() -> None:
    _, target = make_pair()
    result = cs.compare_colors(target, target)
    assert (result.mean, result.p95, result.p99, result.maximum, result.de76) == (0, 0, 0, 0, 0)


def test_empty_chroma_bin_is_not_a_number() -> None:
    grey = np.full((9, 9, 3), 120, np.uint8)
    bins = cs.compare_colors(grey, grey).bins
    assert bins[0].share == 1 and bins[0].de00 == 0
    assert all(np.isnan(part.de00) and np.isnan(part.ratio) and part.share == 0 for part in bins[1:])


def test_orders_depths_and_floats_mean_the_same() -> None:
    pred, target = make_pair()
    expected = cs.fast_delta_e00(pred, target)
    np.testing.assert_array_equal(cs.fast_delta_e00(pred[:, :, ::-1], target[:, :, ::-1], bgr=True), expected)
    deep = pred.astype(np.uint16) * np.uint16(257)
    assert np.quantile(np.abs(cs.fast_delta_e00(deep, target) - expected), 0.999) < 1e-3
    floats = cs.fast_delta_e00(pred / 255.0, target.astype(np.float32) / np.float32(255))
    assert np.quantile(np.abs(floats - expected), 0.999) < 1e-3


def test_opposite_hues_take_the_published_branch() -> None:
    """Two exact antipodes (see Sharma's 10th and 14th pair) through the compiled formula."""
    kernels = pytest.importorskip("plugins.color_science.fast_kernels")
    for first, second, expected in (
        ((50, 2.49, -0.001), (50, -2.49, 0.001), 7.1792),
        ((50, -0.001, 2.49), (50, 0.001, -2.49), 4.8045),
    ):
        labs = [np.array(lab, np.float32).reshape(3, 1) for lab in (first, second)]
        out = np.empty(1, np.float32)
        kernels._difference_block(*labs, out, 1)
        assert out[0] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8), "differ in size"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), r"\(H, W, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4, 3), np.uint8), r"\(H, W, 3\)"),
        (np.full((4, 4, 3), np.nan), np.zeros((4, 4, 3)), "NaN"),
    ],
)
def test_wrong_images_are_refused(first: np.ndarray, second: np.ndarray, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        cs.fast_delta_e00(first, second)
    with pytest.raises(TypeError, match="int64"):
        cs.fast_delta_e00(np.zeros((4, 4, 3), np.int64), np.zeros((4, 4, 3), np.int64))
