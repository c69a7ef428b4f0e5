"""PSNR and SSIM: values recorded from upstream, an independent oracle, kinds of images, and clear refusals."""

import itertools
import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from basicsr.engine.errors import UserError
from basicsr.metrics import calculate_metric, calculate_psnr, calculate_psnr_pt, calculate_ssim, calculate_ssim_pt
from basicsr.metrics.metric_util import reorder_image, to_y_channel

# (crop_border, test_y_channel): psnr, ssim, psnr_pt, ssim_pt of upstream 1.4.2 for `smooth_pair`.
RECORDED = {
    (0, False): (26.995112615722366, 0.7300964956823922, 26.995090961834403, 0.7300964911759318),
    (0, True): (29.311179017836807, 0.8804898960110641, 29.311141853301347, 0.880489887796359),
    (4, False): (27.10855632250141, 0.7301659798795122, 27.108534042445527, 0.7301659741927686),
    (4, True): (29.416701711158343, 0.8815053190654946, 29.416664093280747, 0.8815053157751593),
}


def smooth_pair():
    generator = np.random.default_rng(0)
    shape = (37, 45, 3)
    generator.integers(0, 256, shape, dtype=np.uint8)
    generator.integers(-30, 31, shape)
    y, x = np.mgrid[0:64, 0:96]
    base = np.stack([x * 2.6, y * 3.9, (x + y) * 1.5], -1)
    noisy = np.clip(base * 0.93 + generator.normal(0, 6, base.shape), 0, 255).astype(np.uint8)
    return base.clip(0, 255).astype(np.uint8), noisy


@pytest.fixture
def pair():
    return smooth_pair()


def tensors(pair):
    return [torch.from_numpy(img[..., ::-1].transpose(2, 0, 1).copy()).float()[None] / 255 for img in pair]


@pytest.mark.parametrize("case", RECORDED)
def test_values_are_those_recorded_from_upstream(case, pair):
    crop, luma = case
    values = [f(*pair, crop, test_y_channel=luma) for f in (calculate_psnr, calculate_ssim)]
    values += [f(*tensors(pair), crop, test_y_channel=luma).item() for f in (calculate_psnr_pt, calculate_ssim_pt)]
    assert values == pytest.approx(RECORDED[case], abs=1e-10, rel=0)


def test_ssim_agrees_with_scikit_image(pair):
    full = structural_similarity(
        *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2, full=True
    )[1]
    assert calculate_ssim(*pair, 0) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-10)


def test_equal_images(pair):
    assert calculate_psnr(pair[0], pair[0], 0) == math.inf
    assert calculate_ssim(pair[0], pair[0], 0) == pytest.approx(1, abs=1e-12)
    img = tensors(pair)[0]
    assert calculate_psnr_pt(img, img, 0).item() == pytest.approx(80)


def test_orders_and_grey(pair):
    channels_first = [img.transpose(2, 0, 1) for img in pair]
    for metric in (calculate_psnr, calculate_ssim):
        assert metric(*channels_first, 2, input_order="CHW") == pytest.approx(metric(*pair, 2), abs=1e-12)
        grey = [img[..., 0] for img in pair]
        kept = [img[..., :1] for img in pair]
        for order in ("HWC", "CHW"):
            assert metric(*grey, 2, input_order=order) == pytest.approx(metric(*kept, 2), abs=1e-12)
    with pytest.raises(ValueError, match="Wrong input_order HCW"):
        reorder_image(pair[0], "HCW")


def test_other_kinds_of_images_give_the_same_number(pair):
    for metric, luma in itertools.product((calculate_psnr, calculate_ssim), (False, True)):
        expected = metric(*pair, 2, test_y_channel=luma)
        kinds = [
            [img.astype(np.float64) for img in pair],
            [img.astype(np.uint16) * 257 for img in pair],
            tensors(pair),
            [img[0] for img in tensors(pair)],
        ]
        for kind in kinds:
            assert metric(*kind, 2, test_y_channel=luma) == pytest.approx(expected, abs=1e-4)


def test_uint8_difference_does_not_wrap():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert calculate_psnr(black, white, 0) == pytest.approx(0)
    assert 0 < calculate_ssim(black, white, 0) < 1e-3


def test_batches_return_one_value_an_image(pair):
    first, second = tensors(pair)
    batch = [torch.cat([first, second]), torch.cat([second, second])]
    for metric in (calculate_psnr_pt, calculate_ssim_pt):
        values = metric(*batch, 0)
        assert values.shape == (2,)
        assert values[0].item() == pytest.approx(metric(first, second, 0).item(), abs=1e-10)


@pytest.mark.parametrize("size", [(10, 40), (40, 10), (1, 1)])
def test_ssim_of_a_tiny_image_is_an_error_and_not_nan(size):
    img = np.zeros((*size, 3), np.uint8)
    with pytest.raises(UserError, match="at least 11 x 11 pixels"):
        calculate_ssim(img, img, 0)
    with pytest.raises(UserError, match="at least 11 x 11 pixels"):
        calculate_ssim_pt(torch.zeros(1, 3, *size), torch.zeros(1, 3, *size), 0)


def test_ssim_is_an_error_when_the_crop_leaves_too_little():
    img = np.zeros((16, 40, 3), np.uint8)
    with pytest.raises(UserError, match="10 x 34 are left after crop_border 3"):
        calculate_ssim(img, img, 3)


@pytest.mark.parametrize("metric", [calculate_psnr, calculate_ssim])
def test_refusals_of_arrays(metric):
    img = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UserError, match=r"\(16, 16, 3\) and \(16, 15, 3\)"):
        metric(img, img[:, 1:], 0)
    with pytest.raises(UserError, match="crop_border 8 leaves nothing"):
        metric(img, img, 8)
    with pytest.raises(TypeError, match="crop_border"):
        metric(img, img)


@pytest.mark.parametrize("metric", [calculate_psnr_pt, calculate_ssim_pt])
def test_refusals_of_tensors(metric):
    img = torch.zeros(1, 3, 16, 16)
    with pytest.raises(UserError, match="different shapes"):
        metric(img, img[..., 1:], 0)
    with pytest.raises(UserError, match="crop_border 8 leaves nothing"):
        metric(img, img, 8)


def test_calculate_metric_leaves_its_options_alone(pair):
    opt = {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": False, "better": "higher"}
    before = dict(opt)
    assert calculate_metric({"img": pair[0], "img2": pair[1]}, opt) == pytest.approx(RECORDED[4, False][0])
    assert opt == before


def test_inputs_are_not_modified(pair):
    copies = [img.copy() for img in pair]
    calculate_ssim(*pair, 2, test_y_channel=True)
    assert all(np.array_equal(img, copy) for img, copy in zip(pair, copies, strict=True))


def test_luma_is_not_rounded():
    img = np.full((1, 1, 3), 10, np.uint8)
    assert to_y_channel(img).item() == pytest.approx(16 + 219 * 10 / 255, abs=1e-4)
    assert to_y_channel(img[..., :1]).item() == pytest.approx(10)
