"""PSNR and SSIM of stereo pairs in six channels, as NAFNet's stereo networks put them out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from basicsr.metrics import calculate_psnr, calculate_ssim

RNG = np.random.default_rng(0)
TARGET = RNG.integers(0, 256, (20, 24, 6), dtype=np.uint8)
# The right view is much worse than the left one, so that a pooled error is not the mean of two ratios.
NOISE = np.concatenate([RNG.integers(-4, 5, (20, 24, 3)), RNG.integers(-60, 61, (20, 24, 3))], axis=2)
OUTPUT = np.clip(TARGET + NOISE, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("metric", [calculate_psnr, calculate_ssim])
@pytest.mark.parametrize("luma", [False, True])
@pytest.mark.parametrize("border", [0, 2])
def test_a_stereo_pair_scores_the_mean_of_its_views(metric: Any, luma: bool, border: int) -> None:
    views = [metric(OUTPUT[..., v], TARGET[..., v], border, test_y_channel=luma) for v in (slice(3), slice(3, 6))]
    assert views[0] > views[1]
    expected = pytest.approx(sum(views) / 2)
    assert metric(OUTPUT, TARGET, border, test_y_channel=luma) == expected
    chw = [image.transpose(2, 0, 1) for image in (OUTPUT, TARGET)]
    assert metric(*chw, border, input_order="CHW", test_y_channel=luma) == expected


def test_a_stereo_tensor_scores_like_the_image() -> None:
    order = [2, 1, 0, 5, 4, 3]  # RGB of both views
    output, target = (torch.from_numpy(image[..., order]).permute(2, 0, 1) / 255.0 for image in (OUTPUT, TARGET))
    assert calculate_psnr(output, target, 0, test_y_channel=True) == pytest.approx(
        calculate_psnr(OUTPUT, TARGET, 0, test_y_channel=True), abs=1e-4
    )
    assert calculate_psnr(output[None], target[None], 0) == pytest.approx(calculate_psnr(OUTPUT, TARGET, 0), abs=1e-4)
