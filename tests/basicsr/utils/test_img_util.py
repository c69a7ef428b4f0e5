"""Images between files, arrays and tensors."""

import cv2
import numpy as np
import pytest
import torch

from basicsr.engine.errors import UserError
from basicsr.utils.img_util import crop_border, imfrombytes, img2tensor, imwrite, tensor2img, tensor2img_fast


@pytest.fixture
def img():
    return np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)


def test_round_trip(img):
    tensor = img2tensor(img.astype(np.float32) / 255)
    assert tensor.shape == (3, 7, 9) and tensor.dtype == torch.float32
    assert np.array_equal(tensor2img(tensor), img)
    assert np.array_equal(tensor2img_fast(tensor[None]), img)
    assert np.array_equal(tensor2img(tensor, rgb2bgr=False), img[..., ::-1])


def test_img2tensor_variants(img):
    tensor = img2tensor(img, bgr2rgb=False, float32=False)
    assert tensor.dtype == torch.uint8 and tensor[0, 2, 3] == img[2, 3, 0]
    assert img2tensor(img.astype(np.float64)).dtype == torch.float32
    assert img2tensor(img[..., :1]).shape == (1, 7, 9)
    first, second = img2tensor([img, img])
    assert torch.equal(first, second) and first[2, 0, 0] == img[0, 0, 0]


def test_tensor2img_does_not_change_its_input():
    tensor = torch.linspace(-1, 2, 27).view(1, 3, 3, 3)
    copy = tensor.clone()
    tensor2img(tensor)
    tensor2img_fast(tensor)
    assert torch.equal(tensor, copy)


def test_tensor2img_rounds_and_clamps():
    tensor = torch.tensor([[-0.5, 0.0, 1.4 / 255, 1.6 / 255, 1.0, 7.0]])
    assert tensor2img(tensor).tolist() == [[0, 0, 1, 2, 255, 255]]
    assert tensor2img_fast(tensor[None, None])[..., 0].tolist() == [[0, 0, 1, 2, 255, 255]]
    assert tensor2img(torch.tensor([[-1.0, 0.0, 1.0]]), min_max=(-1, 1)).tolist() == [[0, 128, 255]]


def test_tensor2img_types():
    tensor = torch.full((1, 3, 2, 2), 0.5)
    assert tensor2img(tensor, out_type=np.float32).dtype == np.float32
    assert tensor2img(tensor, out_type=np.float32).max() == 0.5
    sixteen = tensor2img(tensor, out_type=np.uint16)
    assert sixteen.dtype == np.uint16 and sixteen.max() == 32768
    assert tensor2img(tensor.to(torch.bfloat16)).max() == 128
    assert tensor2img(tensor.requires_grad_()).shape == (2, 2, 3)


def test_tensor2img_shapes():
    assert tensor2img(torch.zeros(1, 1, 4, 5)).shape == (4, 5)
    assert tensor2img(torch.zeros(4, 5)).shape == (4, 5)
    assert tensor2img(torch.zeros(1, 5)).shape == (1, 5)
    assert [each.shape for each in tensor2img([torch.zeros(3, 4, 5), torch.zeros(1, 4, 5)])] == [(4, 5, 3), (4, 5)]
    assert tensor2img(torch.zeros(5, 3, 4, 6)).shape == (3 * 6 + 2, 2 * 8 + 2, 3)
    assert tensor2img(torch.zeros(2, 1, 4, 6)).shape == (2 * 6 + 2, 8 + 2, 3)


def test_grid_shows_the_images_in_rows():
    batch = torch.stack([torch.full((3, 2, 2), value / 4) for value in range(1, 5)])
    grid = tensor2img(batch, out_type=np.float32)
    assert [grid[2, 2, 0], grid[2, 6, 0], grid[6, 2, 0], grid[6, 6, 0]] == [0.25, 0.5, 0.75, 1.0]
    assert grid[4, 4, 0] == 0


def test_tensor2img_refusals():
    with pytest.raises(TypeError, match="tensor or list of tensors expected"):
        tensor2img(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="with dimension: 5"):
        tensor2img(torch.zeros(2, 2, 3, 4, 4))


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 255), (np.uint16, 65535)])
def test_imfrombytes(dtype, scale):
    img = (np.random.default_rng(0).random((4, 5, 3)) * scale).astype(dtype)
    content = cv2.imencode(".png", img)[1].tobytes()
    assert np.array_equal(imfrombytes(content, flag="unchanged"), img)
    np.testing.assert_allclose(imfrombytes(content, flag="unchanged", float32=True), img / scale, atol=1e-6)
    assert imfrombytes(content).dtype == np.uint8
    assert imfrombytes(content, flag="grayscale", float32=True).shape == (4, 5)


def test_imfrombytes_refusals():
    for content in (b"", b"not an image"):
        with pytest.raises(UserError, match=f"^{len(content)} bytes that are not a readable image"):
            imfrombytes(content)
    with pytest.raises(ValueError, match="flag must be one of color"):
        imfrombytes(b"", flag="rgb")


@pytest.mark.parametrize("name", ["a.png", "deep/er/b.tif", "käse.png"])
def test_imwrite_makes_folders_and_keeps_the_values(name, img, tmp_path):
    path = tmp_path / name
    imwrite(img, str(path))
    assert np.array_equal(imfrombytes(path.read_bytes()), img)


def test_imwrite_honours_its_parameters(img, tmp_path):
    for quality in (10, 95):
        imwrite(img, tmp_path / f"{quality}.jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert (tmp_path / "10.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


def test_failed_imwrite_is_an_error_that_names_the_file(img, tmp_path):
    with pytest.raises(UserError, match=r"a\.xyz.*use \.png"):
        imwrite(img, tmp_path / "a.xyz")
    with pytest.raises(UserError, match=r"missing.a\.png"):
        imwrite(img, tmp_path / "missing" / "a.png", auto_mkdir=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.a\.png"):
        imwrite(img, tmp_path / "file" / "a.png")
    with pytest.raises(UserError, match=r"empty\.png"):
        imwrite(np.zeros((0, 0, 3), np.uint8), tmp_path / "empty.png")


def test_crop_border(img):
    assert crop_border(img, 0) is img
    assert np.array_equal(crop_border(img, 2), img[2:-2, 2:-2])
    assert [each.shape for each in crop_border([img, img[..., 0]], 1)] == [(5, 7, 3), (5, 7)]
