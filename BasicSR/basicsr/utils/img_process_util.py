"""Filters on batches of images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


def filter2D(img: Tensor, kernel: Tensor) -> Tensor:
    """Correlate each image with its kernel, as ``cv2.filter2D`` does; the border is continued by reflection.

    Args:
        img: ``(N, C, H, W)``.
        kernel: ``(N, k, k)``, or ``(1, k, k)`` for all images; k odd.

    Returns:
        ``(N, C, H, W)``.

    Raises:
        ValueError: If k is even.
    """
    size = kernel.shape[-1]
    if size % 2 == 0:
        raise ValueError(f"Wrong kernel size: {size} must be odd")
    number, channels, height, width = img.shape
    padded = F.pad(img, (size // 2,) * 4, mode="reflect")
    if kernel.shape[0] == 1:
        flat = padded.reshape(number * channels, 1, *padded.shape[-2:])
        return F.conv2d(flat, kernel.reshape(1, 1, size, size)).view(number, channels, height, width)
    flat = padded.reshape(1, number * channels, *padded.shape[-2:])
    kernels = kernel.reshape(number, 1, size, size).repeat_interleave(channels, dim=0)
    return F.conv2d(flat, kernels, groups=number * channels).view(number, channels, height, width)


def usm_sharp(img: npt.NDArray[Any], weight: float = 0.5, radius: int = 50, threshold: float = 10) -> npt.NDArray[Any]:
    """Unsharp masking where the image differs from its blurred copy.

    Args:
        img: float32 ``(H, W, C)`` or ``(H, W)`` in [0, 1].
        weight: Strength.
        radius: Size of the Gaussian kernel; made odd.
        threshold: Smallest difference to sharpen, in 1/255.

    Returns:
        The sharpened image, same shape, in [0, 1].
    """
    size = (radius | 1, radius | 1)
    residual = img - cv2.GaussianBlur(img, size, 0)
    mask = (np.abs(residual) * 255 > threshold).astype(np.float32)
    soft_mask = cv2.GaussianBlur(mask, size, 0)
    sharp = np.clip(img + weight * residual, 0, 1)
    return soft_mask * sharp + (1 - soft_mask) * img


class USMSharp(torch.nn.Module):
    """``usm_sharp`` for tensors, on their device.

    Args:
        radius: Size of the Gaussian kernel; made odd.
        sigma: Its width in pixels; 0 derives it from the radius as OpenCV does.
    """

    kernel: Tensor
    profile: Tensor

    def __init__(self, radius: int = 50, sigma: float = 0) -> None:
        super().__init__()
        self.radius = radius | 1
        profile = torch.from_numpy(cv2.getGaussianKernel(self.radius, sigma)).float()
        self.register_buffer("kernel", (profile @ profile.T).unsqueeze(0))
        self.register_buffer("profile", profile.view(1, 1, self.radius, 1), persistent=False)

    def forward(self, img: Tensor, weight: float = 0.5, threshold: float = 10) -> Tensor:
        """Sharpen ``(N, C, H, W)`` in [0, 1]; ``weight`` is the strength, ``threshold`` in 1/255."""
        residual = img - self._blur(img)
        mask = (residual.abs() * 255 > threshold).to(img.dtype)
        soft_mask = self._blur(mask)
        sharp = (img + weight * residual).clamp(0, 1)
        return soft_mask * sharp + (1 - soft_mask) * img

    def _blur(self, img: Tensor) -> Tensor:
        # One axis after the other: 2k multiplications a pixel instead of k² (k is 51 by default).
        flat = img.reshape(-1, 1, *img.shape[-2:])
        padded = F.pad(flat, (self.radius // 2,) * 4, mode="reflect")
        return F.conv2d(F.conv2d(padded, self.profile), self.profile.transpose(2, 3)).view(img.shape)
