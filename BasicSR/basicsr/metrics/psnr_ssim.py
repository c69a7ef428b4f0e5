"""Peak signal-to-noise ratio and structural similarity, in the conventions of super-resolution papers."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.engine.errors import UserError
from basicsr.metrics.metric_util import prepare_views
from basicsr.utils.color_util import rgb2ycbcr_pt
from basicsr.utils.registry import METRIC_REGISTRY

Image = npt.NDArray[Any]

WINDOW = 11
SIGMA = 1.5
STRIP = 64
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


@METRIC_REGISTRY.register()
def calculate_psnr(
    img: Image | Tensor,
    img2: Image | Tensor,
    crop_border: int,
    input_order: str = "HWC",
    test_y_channel: bool = False,
    **kwargs: Any,
) -> float:
    """Peak signal-to-noise ratio in dB.

    Args:
        img: uint8 BGR (or uint16, or floating point in [0, 255]); or an RGB tensor ``(C, H, W)`` in [0, 1]. Six
            channels are a stereo pair: the mean of the left and the right view.
        img2: The same kind and shape.
        crop_border: Pixels to leave out at every side.
        input_order: ``HWC`` or ``CHW``.
        test_y_channel: Compare BT.601 luma only.

    Returns:
        The ratio; infinite for equal images.

    Raises:
        UserError: If the shapes differ or the crop leaves nothing.
    """
    views = prepare_views(img, img2, crop_border, input_order, test_y_channel)
    return sum(_psnr(first, second) for first, second in views) / len(views)


def _psnr(first: Image, second: Image) -> float:
    # Exact for uint8, like a sum in float64, without the two float64 copies of the images.
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    mse = cv2.norm(first, second, cv2.NORM_L2SQR) / first.size
    return float("inf") if mse == 0 else 10.0 * float(np.log10(255.0 * 255.0 / mse))


@METRIC_REGISTRY.register()
def calculate_psnr_pt(
    img: Tensor, img2: Tensor, crop_border: int, test_y_channel: bool = False, **kwargs: Any
) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image of a batch.

    Args:
        img: ``(N, C, H, W)`` RGB in [0, 1].
        img2: The same shape.
        crop_border: Pixels to leave out at every side.
        test_y_channel: Compare BT.601 luma only.

    Returns:
        ``(N,)`` in float64; 80 for equal images.

    Raises:
        UserError: If the shapes differ or the crop leaves nothing.
    """
    first, second = _prepare_batch(img, img2, crop_border, test_y_channel)
    return 10.0 * torch.log10(1.0 / ((first - second).square().mean(dim=(1, 2, 3)) + 1e-8))


@METRIC_REGISTRY.register()
def calculate_ssim(
    img: Image | Tensor,
    img2: Image | Tensor,
    crop_border: int,
    input_order: str = "HWC",
    test_y_channel: bool = False,
    **kwargs: Any,
) -> float:
    """Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004): 11-pixel Gaussian of 1.5, whole windows only.

    Args:
        img: uint8 BGR (or uint16, or floating point in [0, 255]); or an RGB tensor ``(C, H, W)`` in [0, 1]. Six
            channels are a stereo pair: the mean of the left and the right view.
        img2: The same kind and shape.
        crop_border: Pixels to leave out at every side.
        input_order: ``HWC`` or ``CHW``.
        test_y_channel: Compare BT.601 luma only.

    Returns:
        The similarity, 1 for equal images; the mean over the channels.

    Raises:
        UserError: If the shapes differ, or the cropped image is smaller than a window.
    """
    views = prepare_views(img, img2, crop_border, input_order, test_y_channel)
    _check_size(views[0][0].shape[0], views[0][0].shape[1], crop_border)
    channels = [(first[..., i], second[..., i]) for first, second in views for i in range(first.shape[2])]
    return float(np.mean([_ssim(one, other) for one, other in channels]))


@METRIC_REGISTRY.register()
def calculate_ssim_pt(
    img: Tensor, img2: Tensor, crop_border: int, test_y_channel: bool = False, **kwargs: Any
) -> Tensor:
    """Structural similarity of each image of a batch; see ``calculate_ssim``.

    Args:
        img: ``(N, C, H, W)`` RGB in [0, 1].
        img2: The same shape.
        crop_border: Pixels to leave out at every side.
        test_y_channel: Compare BT.601 luma only.

    Returns:
        ``(N,)`` in float64.

    Raises:
        UserError: If the shapes differ, or the cropped images are smaller than a window.
    """
    first, second = _prepare_batch(img, img2, crop_border, test_y_channel)
    _check_size(first.shape[2], first.shape[3], crop_border)
    return _ssim_pth(first * 255.0, second * 255.0)


def _ssim(img: Image, img2: Image) -> float:
    """SSIM of two images ``(H, W)`` in [0, 255]."""
    halo = WINDOW - 1
    height, width = img.shape[0] - halo, img.shape[1] - halo
    total = 0.0
    # A strip at a time, because the dozen float64 copies of a strip fit in the cache and those of a photo do not.
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP + halo)
        total += _similarity_map(img[rows].astype(np.float64), img2[rows].astype(np.float64)).sum()
    return float(total / (height * width))


def _similarity_map(img: Image, img2: Image) -> Image:
    """SSIM of each whole window of two float64 images ``(H, W)``: ``(H - 10, W - 10)``."""
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA)
    inner = slice(WINDOW // 2, -(WINDOW // 2))

    def blur(values: Image) -> Image:
        # The Gaussian is separable: 22 multiplications a pixel instead of 121.
        return cv2.sepFilter2D(values, -1, kernel, kernel)[inner, inner]

    mean1, mean2 = blur(img), blur(img2)
    product, squares = mean1 * mean2, mean1 * mean1 + mean2 * mean2
    variances = blur(img * img + img2 * img2) - squares
    covariance = blur(img * img2) - product
    similarity: Image = ((2 * product + C1) * (2 * covariance + C2)) / ((squares + C1) * (variances + C2))
    return similarity


def _ssim_pth(img: Tensor, img2: Tensor) -> Tensor:
    """SSIM of each pair of two batches ``(N, C, H, W)`` in [0, 255]: ``(N,)``."""
    channels = img.shape[1]
    kernel = torch.from_numpy(cv2.getGaussianKernel(WINDOW, SIGMA)).to(img).view(1, 1, WINDOW, 1)
    kernel = kernel.expand(channels, 1, WINDOW, 1)

    def blur(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, kernel, groups=channels), kernel.transpose(2, 3), groups=channels)

    mean1, mean2 = blur(img), blur(img2)
    mean11, mean22, mean12 = mean1 * mean1, mean2 * mean2, mean1 * mean2
    variances = blur(img * img + img2 * img2) - mean11 - mean22
    covariance = blur(img * img2) - mean12
    similarity = ((2 * mean12 + C1) * (2 * covariance + C2)) / ((mean11 + mean22 + C1) * (variances + C2))
    return similarity.mean(dim=(1, 2, 3))


def _prepare_batch(img: Tensor, img2: Tensor, crop_border: int, test_y_channel: bool) -> tuple[Tensor, Tensor]:
    if img.shape != img2.shape:
        raise UserError(f"the images to compare have different shapes: {tuple(img.shape)} and {tuple(img2.shape)}")
    if crop_border < 0 or min(img.shape[-2:]) <= 2 * crop_border:
        raise UserError(
            f"crop_border {crop_border} leaves nothing of images of {img.shape[-2]} x {img.shape[-1]} pixels"
        )
    if crop_border:
        inner = slice(crop_border, -crop_border)
        img, img2 = img[..., inner, inner], img2[..., inner, inner]
    if test_y_channel:
        img, img2 = rgb2ycbcr_pt(img, y_only=True), rgb2ycbcr_pt(img2, y_only=True)
    return img.to(torch.float64), img2.to(torch.float64)


def _check_size(height: int, width: int, crop_border: int) -> None:
    if min(height, width) < WINDOW:
        raise UserError(
            f"SSIM needs at least {WINDOW} x {WINDOW} pixels, and {height} x {width} are left after crop_border "
            f"{crop_border}: use larger validation images or a smaller crop_border"
        )
