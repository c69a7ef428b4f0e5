"""Colour spaces against colour-science and scikit-image, round trips, and gradients where formulas break."""

from __future__ import annotations

from collections.abc import Callable

import colour
import numpy as np
import pytest
import skimage.color
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins import color_science as cs

Convert = Callable[[Tensor], Tensor]
CHANNEL = st.floats(-0.5, 1.5, width=32)
NEAR_GREY = st.floats(0, 1, width=32).flatmap(
    lambda grey: st.tuples(*[st.floats(-1e-6, 1e-6).map(lambda d, grey=grey: grey + d)] * 3)
)
COLORS = st.one_of(
    st.tuples(CHANNEL, CHANNEL, CHANNEL),
    NEAR_GREY,
    st.sampled_from([(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)]),
)
CONVERSIONS = [
    cs.srgb_to_linear,
    cs.linear_to_srgb,
    cs.rgb_to_xyz,
    cs.rgb_to_lab,
    cs.rgb_to_oklab,
    cs.rgb_to_ycbcr,
    cs.rgb_to_hsv,
    lambda rgb: cs.saturation(rgb),
    lambda rgb: cs.chroma(cs.chroma_vector(rgb)),
    lambda rgb: cs.chroma(cs.chroma_vector(rgb, "lab")),
    lambda rgb: cs.chroma(cs.chroma_vector(rgb, "oklab"), eps=1e-3),
    lambda rgb: cs.hue_angle(cs.chroma_vector(rgb)),
]


def pixels(*colors: tuple[float, float, float], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(colors, dtype=dtype).T.reshape(3, 1, -1)


def random_image(seed: int = 0) -> Tensor:
    return torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def reference_xyz(rgb: np.ndarray) -> np.ndarray:
    space = colour.RGB_COLOURSPACES["sRGB"].copy()
    space.use_derived_matrix_RGB_to_XYZ = True
    return np.asarray(colour.RGB_to_XYZ(rgb, space, apply_cctf_decoding=True))


def test_agrees_with_colour_science() -> None:
    rgb = random_image()
    xyz = reference_xyz(rows(rgb))
    np.testing.assert_allclose(rows(cs.rgb_to_xyz(rgb)), xyz, atol=1e-12)
    np.testing.assert_allclose(rows(cs.rgb_to_lab(rgb)), colour.XYZ_to_Lab(xyz), atol=1e-9)
    np.testing.assert_allclose(rows(cs.rgb_to_oklab(rgb)), colour.XYZ_to_Oklab(xyz), atol=3e-4)
    weights = colour.WEIGHTS_YCBCR["ITU-R BT.601"]
    expected = colour.RGB_to_YCbCr(rows(rgb), K=weights, out_range=(0, 1, 0, 1))
    np.testing.assert_allclose(rows(cs.rgb_to_ycbcr(rgb)), expected, atol=1e-12)


def test_agrees_with_scikit_image() -> None:
    rgb = random_image(1)
    np.testing.assert_allclose(rows(cs.rgb_to_hsv(rgb)), skimage.color.rgb2hsv(rows(rgb)), atol=1e-12)
    # scikit-image's matrix and white point have five digits
    np.testing.assert_allclose(rows(cs.rgb_to_lab(rgb)), skimage.color.rgb2lab(rows(rgb)), atol=0.02)


def test_ottossons_published_values() -> None:
    oklab = cs.rgb_to_oklab(pixels((1, 1, 1), (1, 0, 0), (0, 0, 1)))[:, 0].T.numpy()
    expected = [(1.0, 0.0, 0.0), (0.62796, 0.22486, 0.12585), (0.45201, -0.03246, -0.31153)]
    np.testing.assert_allclose(oklab, expected, atol=2e-5)


def test_greys_have_no_colour() -> None:
    greys = torch.linspace(0, 1, 256, dtype=torch.float64).expand(3, 1, 256)
    for space in ("ycbcr", "lab", "oklab"):
        assert cs.chroma_vector(greys, space).abs().max() < 1e-6
    assert cs.saturation(greys).max() == 0
    assert cs.rgb_to_lab(greys)[0, 0, -1] == pytest.approx(100, abs=1e-9)
    assert cs.rgb_to_ycbcr(greys)[1:].sub(0.5).abs().max() < 1e-15


@pytest.mark.parametrize(
    ("forward", "back"),
    [
        (cs.srgb_to_linear, cs.linear_to_srgb),
        (cs.rgb_to_xyz, cs.xyz_to_rgb),
        (cs.rgb_to_lab, cs.lab_to_rgb),
        (cs.rgb_to_oklab, cs.oklab_to_rgb),
        (cs.rgb_to_ycbcr, cs.ycbcr_to_rgb),
        (cs.rgb_to_hsv, cs.hsv_to_rgb),
    ],
)
def test_round_trip(forward: Convert, back: Convert) -> None:
    codes = torch.tensor([0, 1, 2, 5, 10, 11, 60, 128, 200, 255], dtype=torch.float64) / 255
    image = torch.stack(torch.meshgrid(codes, codes, codes, indexing="ij")).reshape(3, 10, 100)
    torch.testing.assert_close(back(forward(image)), image, atol=1e-9, rtol=0)


@pytest.mark.parametrize("convert", CONVERSIONS)
@settings(max_examples=60, deadline=None)
@given(color=COLORS)
def test_values_and_gradients_are_finite_everywhere(convert: Convert, color: tuple[float, float, float]) -> None:
    image = pixels(color, dtype=torch.float32).requires_grad_()
    result = convert(image)
    result.sum().backward()
    assert image.grad is not None
    assert torch.isfinite(result).all() and torch.isfinite(image.grad).all()


@pytest.mark.parametrize("convert", CONVERSIONS[:7])
def test_gradcheck(convert: Convert) -> None:
    image = pixels((0.2, 0.5, 0.8), (0.01, 0.02, 0.9), (0.7, 0.3, 0.31), (-0.1, 1.2, 0.4)).requires_grad_()
    assert torch.autograd.gradcheck(convert, (image,), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("convert", CONVERSIONS)
def test_half_precision_is_computed_in_float32(convert: Convert, dtype: torch.dtype) -> None:
    half = random_image(2).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = convert(half)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, convert(half.float()))


def test_batches_and_planes_agree() -> None:
    image = random_image(3)
    batch = torch.stack([image, image.flip(-1)]).unsqueeze(1)
    assert cs.rgb_to_lab(batch).shape == (2, 1, 3, 30, 40)
    torch.testing.assert_close(cs.rgb_to_lab(batch)[1, 0], cs.rgb_to_lab(image).flip(-1))
    assert cs.saturation(batch).shape == (2, 1, 30, 40)
    assert cs.chroma_vector(batch).shape == (2, 1, 2, 30, 40)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, H, W\), got \(1, 4, 4\)"):
        cs.rgb_to_lab(torch.zeros(1, 4, 4))
    with pytest.raises(TypeError, match="uint8"):
        cs.rgb_to_lab(torch.zeros(3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="ycbcr, lab, oklab"):
        cs.chroma_vector(torch.zeros(3, 4, 4), "hsl")
    with pytest.raises(ValueError, match="toe"):
        cs.rgb_to_oklab(torch.zeros(3, 4, 4), toe=0)


def test_oklab_is_exact_for_every_8_bit_color_above_its_toe() -> None:
    dark = pixels((0, 0, 1 / 255), (1 / 255, 0, 0), (0, 1 / 255, 0))
    torch.testing.assert_close(cs.rgb_to_oklab(dark), cs.rgb_to_oklab(dark, toe=1e-12), atol=1e-12, rtol=0)


@settings(max_examples=80, deadline=None)
@given(a=st.floats(-10, 10), b=st.floats(-10, 10))
def test_hue_difference_is_wrapped(a: float, b: float) -> None:
    difference = cs.hue_difference(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert abs(float(difference)) <= np.pi + 1e-12
    assert np.cos(float(difference)) == pytest.approx(np.cos(b - a), abs=1e-9)


def test_angular_error() -> None:
    first = torch.tensor([[1.0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    second = torch.tensor([[0, 2.0, 0], [3, 3, 3], [-1, 0, 0], [1, 1e-9, 0], [1, 2, 3]], dtype=torch.float64)
    expected = [90, 0, 180, np.degrees(1e-9), 90]
    np.testing.assert_allclose(cs.angular_error(first, second).numpy(), expected, atol=1e-15, rtol=1e-9)
    first.requires_grad_()
    cs.angular_error(first, second).sum().backward()
    assert first.grad is not None and torch.isfinite(first.grad).all()


def test_numpy_entry() -> None:
    image = np.array([[[255, 255, 255], [0, 0, 0]]], np.uint8)
    np.testing.assert_allclose(cs.apply_to_arrays(cs.rgb_to_lab, image), [[[100, 0, 0], [0, 0, 0]]], atol=1e-4)
    deep = image.astype(np.uint16) * 257
    np.testing.assert_array_equal(cs.apply_to_arrays(cs.saturation, deep), [[0, 0]])
    with pytest.raises(TypeError, match="int32"):
        cs.apply_to_arrays(cs.rgb_to_lab, image.astype(np.int32))
