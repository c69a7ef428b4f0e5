"""MATLAB's resize, 2-D filters and sharpening."""

import cv2
import numpy as np
import pytest
import torch

from basicsr.utils.img_process_util import USMSharp, filter2D, usm_sharp
from basicsr.utils.matlab_functions import calculate_weights_indices, cubic, imresize


@pytest.fixture
def img():
    generator = np.random.default_rng(0)
    return (generator.integers(0, 256, (37, 45, 3), dtype=np.uint8) / 255).astype(np.float32)


# Sums of upstream's result for `img`.
@pytest.mark.parametrize(
    ("scale", "shape", "total"), [(1 / 3, (13, 15, 3), 292.4157110452652), (1.7, (63, 77, 3), 7265.0395)]
)
def test_sums_are_those_recorded_from_upstream(img, scale, shape, total):
    out = imresize(img, scale)
    assert out.shape == shape and out.dtype == np.float32
    assert out.sum(dtype=np.float64) == pytest.approx(total, rel=1e-6)


def reference(img, scale, antialiasing):
    """The definition, one output pixel at a time, in float64."""
    for axis in (0, 1):
        length = img.shape[axis]
        rows = []
        shrink = min(scale, 1) if antialiasing else 1
        for index in range(1, int(np.ceil(length * scale)) + 1):
            center = index / scale + 0.5 * (1 - 1 / scale)
            taps = np.arange(np.floor(center - 2 / shrink), np.ceil(center + 2 / shrink) + 1)
            weights = cubic(torch.tensor((center - taps) * shrink)).numpy()
            source = (taps - 1).astype(int)
            source = np.where(source < 0, -1 - source, source)
            source = np.where(source >= length, 2 * length - 1 - source, source)
            rows.append(np.tensordot(weights / weights.sum(), img.take(source, axis), (0, axis)))
        img = np.stack(rows, axis)
    return img


@pytest.mark.parametrize("scale", [0.5, 1 / 3, 0.25, 0.37, 1, 1.7, 2, 3])
@pytest.mark.parametrize("antialiasing", [True, False])
def test_resize_agrees_with_its_definition(img, scale, antialiasing):
    out = imresize(img, scale, antialiasing)
    np.testing.assert_allclose(out, reference(img.astype(np.float64), scale, antialiasing), atol=1e-6)


def test_resize_keeps_the_kind(img):
    tensor = torch.from_numpy(img.transpose(2, 0, 1).copy())
    out = imresize(tensor, 0.5)
    assert isinstance(out, torch.Tensor) and out.shape == (3, 19, 23)
    np.testing.assert_allclose(out.permute(1, 2, 0), imresize(img, 0.5), atol=1e-6)
    assert imresize(img[..., 0], 2).shape == (74, 90)
    assert imresize(tensor[0], 2).shape == (74, 90)


def test_resize_of_a_constant_image_is_constant():
    np.testing.assert_allclose(imresize(np.full((9, 7), 0.3, np.float32), 0.4), 0.3, atol=1e-6)


def test_resize_of_an_image_smaller_than_the_kernel():
    assert np.isfinite(imresize(np.random.default_rng(0).random((3, 2)).astype(np.float32), 0.25)).all()


def test_weights_sum_to_one_and_other_kernels_are_refused():
    weights, indices, before, after = calculate_weights_indices(20, 5, 0.25, "cubic", 4, True)
    torch.testing.assert_close(weights.sum(1), torch.ones(5, dtype=torch.float64))
    assert indices.min() == 0 and indices.max() == 20 + before + after - 1
    with pytest.raises(NotImplementedError, match="'lanczos' is not supported"):
        calculate_weights_indices(20, 5, 0.25, "lanczos", 4, True)


def test_filter2d_agrees_with_opencv(img):
    batch = torch.from_numpy(np.stack([img, img[::-1]]).transpose(0, 3, 1, 2).copy())
    kernels = torch.rand(2, 5, 3 + 2)
    for kernel in (kernels, kernels[:1]):
        out = filter2D(batch, kernel)
        for index in range(2):
            one = kernel[min(index, len(kernel) - 1)].numpy()
            expected = cv2.filter2D(batch[index].permute(1, 2, 0).numpy(), -1, one)
            np.testing.assert_allclose(out[index].permute(1, 2, 0), expected, atol=1e-4)
    with pytest.raises(ValueError, match="Wrong kernel size"):
        filter2D(batch, torch.rand(1, 4, 4))


def test_sharpening_of_arrays_and_tensors_agrees():
    generator = np.random.default_rng(0)
    img = cv2.GaussianBlur(generator.random((80, 90, 3)).astype(np.float32), (9, 9), 0)
    img = np.clip((img - 0.5) * 4 + 0.5, 0, 1)
    tensor = torch.from_numpy(img.transpose(2, 0, 1).copy())[None]
    sharpener = USMSharp()
    assert list(sharpener.state_dict()) == ["kernel"] and sharpener.kernel.shape == (1, 51, 51)
    out = sharpener(tensor)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(out, usm_sharp(img), atol=2e-3)
    assert np.abs(out - img).max() > 0.05 and out.min() >= 0 and out.max() <= 1


def test_sharpening_leaves_flat_images_alone():
    flat = np.full((60, 60, 3), 0.4, np.float32)
    np.testing.assert_allclose(usm_sharp(flat), flat, atol=1e-6)
