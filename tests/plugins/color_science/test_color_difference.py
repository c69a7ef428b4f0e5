"""ΔE76 and CIEDE2000 against the published pairs, two independent libraries, and their own derivatives."""

from __future__ import annotations

import colour
import numpy as np
import pytest
import skimage.color
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins import color_science as cs

# Sharma, Wu, Dalal 2005, table 1: L1 a1 b1, L2 a2 b2, ΔE00
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
PAIRS = np.array([line.split() for line in SHARMA.split("\n") if line], dtype=np.float64)
LAB = st.tuples(st.floats(0, 100), st.floats(-110, 110), st.floats(-110, 110))


def as_image(lab: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(lab.reshape(-1, 3).T))[:, None]


def lab_images(seed: int = 0, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.uniform((0, -90, -90), (100, 90, 90), (1, count, 3))
    near = first + rng.normal(0, 3, first.shape)
    return first, np.where(rng.random((1, count, 1)) < 0.5, near, rng.permuted(first, axis=1))


def test_there_are_all_34_pairs() -> None:
    assert PAIRS.shape == (34, 7)


@pytest.mark.parametrize("swapped", [False, True])
def test_ciede2000_agrees_with_sharmas_pairs(swapped: bool) -> None:
    first, second = as_image(PAIRS[:, :3]), as_image(PAIRS[:, 3:6])
    result = cs.delta_e2000(second, first) if swapped else cs.delta_e2000(first, second)
    np.testing.assert_allclose(result[0].numpy(), PAIRS[:, 6], atol=1e-4)


def test_ciede2000_agrees_with_other_libraries() -> None:
    first, second = lab_images()
    ours = cs.delta_e2000(as_image(first), as_image(second)).numpy()
    np.testing.assert_allclose(ours, colour.delta_E(first, second, method="CIE 2000"), atol=1e-9)
    np.testing.assert_allclose(ours, skimage.color.deltaE_ciede2000(first, second), atol=1e-9)
    weighted = skimage.color.deltaE_ciede2000(first, second, kL=2, kC=1.5, kH=0.5)
    ours = cs.delta_e2000(as_image(first), as_image(second), k_l=2, k_c=1.5, k_h=0.5).numpy()
    np.testing.assert_allclose(ours, weighted, atol=1e-9)


def test_delta_e76_and_its_parts() -> None:
    first, second = lab_images(1)
    ours = cs.delta_e76(as_image(first), as_image(second))
    np.testing.assert_allclose(ours.numpy(), skimage.color.deltaE_cie76(first, second), atol=1e-9)
    parts = cs.delta_lch(as_image(first), as_image(second))
    torch.testing.assert_close((parts**2).sum(-3).sqrt(), ours, atol=1e-9, rtol=0)
    assert (parts[2] >= 0).all()


@settings(max_examples=150, deadline=None)
@given(first=LAB, second=LAB)
def test_symmetric_and_not_negative(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    a, b = as_image(np.array(first)), as_image(np.array(second))
    forth, back = cs.delta_e2000(a, b), cs.delta_e2000(b, a)
    assert float(forth) >= 0
    assert float(forth) == pytest.approx(float(back), abs=1e-9)
    assert float(cs.delta_e2000(a, a)) == 0


def test_gradcheck_away_from_discontinuities() -> None:
    first = as_image(np.array([(50.0, 20, 30), (30, -40, 10), (70, 5, -60), (50, 30, -30)])).requires_grad_()
    second = as_image(np.array([(55.0, 25, 20), (35, -20, 30), (60, 15, -50), (52, -20, 31)])).requires_grad_()
    assert torch.autograd.gradcheck(cs.delta_e2000, (first, second), atol=1e-5)
    assert torch.autograd.gradcheck(cs.delta_e76, (first, second), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("color", [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (0, 0, 1), (1.3, -0.2, 0)])
def test_gradients_are_finite_at_equal_black_grey_and_clipped_colors(
    color: tuple[float, float, float], dtype: torch.dtype
) -> None:
    for target in (color, (0.5, 0.5, 0.5), (0.2, 0.6, 0.9), (0, 0, 0)):
        pred = torch.tensor(color, dtype=dtype).reshape(3, 1, 1).requires_grad_()
        other = torch.tensor(target, dtype=dtype).reshape(3, 1, 1)
        for difference in (cs.delta_e2000, cs.delta_e76):
            value = difference(cs.rgb_to_lab(pred), cs.rgb_to_lab(other))
            (gradient,) = torch.autograd.grad(value.sum(), pred)
            assert torch.isfinite(value).all() and torch.isfinite(gradient.float()).all()


def test_gradient_at_equal_colors_is_zero() -> None:
    lab = as_image(np.array([(50.0, 20, 30), (0, 0, 0)])).requires_grad_()
    (gradient,) = torch.autograd.grad(cs.delta_e2000(lab, lab.detach().clone()).sum(), lab)
    assert gradient.abs().max() == 0
