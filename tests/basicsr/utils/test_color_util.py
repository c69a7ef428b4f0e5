"""BT.601 YCbCr."""

import numpy as np
import pytest
import torch

from basicsr.utils.color_util import bgr2ycbcr, rgb2ycbcr, rgb2ycbcr_pt, ycbcr2bgr, ycbcr2rgb

PRIMARIES = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
# ITU-R BT.601 in studio range, rounded.
EXPECTED = np.array([[[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110]]], np.uint8)


def test_primaries():
    assert np.array_equal(rgb2ycbcr(PRIMARIES), EXPECTED)
    assert np.array_equal(bgr2ycbcr(PRIMARIES[..., ::-1]), EXPECTED)
    assert np.array_equal(rgb2ycbcr(PRIMARIES, y_only=True), EXPECTED[..., 0])


def test_round_trip_of_all_kinds():
    img = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.abs(ycbcr2rgb(rgb2ycbcr(img)).astype(int) - img).max() <= 2
    assert np.abs(ycbcr2bgr(bgr2ycbcr(img)).astype(int) - img).max() <= 2
    floating = img.astype(np.float32) / 255
    np.testing.assert_allclose(ycbcr2rgb(rgb2ycbcr(floating)), floating, atol=1e-4)
    assert rgb2ycbcr(floating).dtype == np.float32


def test_out_of_gamut_values_saturate_and_do_not_wrap():
    bright = np.array([[[235, 16, 240], [16, 240, 16]]], np.uint8)
    assert ycbcr2rgb(bright)[0, 0, 0] == 255
    assert ycbcr2rgb(bright)[0, 1, 0] == 0


def test_tensor_form_agrees_and_is_differentiable():
    img = np.random.default_rng(0).random((5, 6, 3)).astype(np.float32)
    tensor = torch.from_numpy(img.transpose(2, 0, 1))[None]
    np.testing.assert_allclose(rgb2ycbcr_pt(tensor)[0].permute(1, 2, 0), rgb2ycbcr(img), atol=1e-6)
    np.testing.assert_allclose(rgb2ycbcr_pt(tensor, y_only=True)[0, 0], rgb2ycbcr(img, y_only=True), atol=1e-6)
    assert torch.autograd.gradcheck(rgb2ycbcr_pt, tensor[..., :2, :2].double().requires_grad_())


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="should be np.float32 or np.uint8, but got float64"):
        rgb2ycbcr(np.zeros((2, 2, 3)))
