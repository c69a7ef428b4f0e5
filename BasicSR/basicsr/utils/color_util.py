"""BT.601 YCbCr in Matlab's studio range (Y 16..235, Cb and Cr 16..240)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Image = npt.NDArray[Any]

# Rows R, G, B; columns Y, Cb, Cr; for RGB in [0, 1] and YCbCr in [0, 255].
_TO_YCBCR = np.array(
    [[65.481, -37.797, 112.0], [128.553, -74.203, -93.786], [24.966, 112.0, -18.214]], dtype=np.float64
)
_TO_YCBCR_OFFSET = np.array([16.0, 128.0, 128.0])
# For YCbCr in [0, 255] and RGB in [0, 255]; columns R, G, B.
_FROM_YCBCR = 255 * np.array(
    [[0.00456621, 0.00456621, 0.00456621], [0, -0.00153632, 0.00791071], [0.00625893, -0.00318811, 0]]
)
_FROM_YCBCR_OFFSET = np.array([-222.921, 135.576, -276.836])


def rgb2ycbcr(img: Image, y_only: bool = False) -> Image:
    """RGB to YCbCr.

    Args:
        img: ``(H, W, 3)`` RGB, uint8 in [0, 255] or float32 in [0, 1].
        y_only: Return only the luma.

    Returns:
        ``(H, W, 3)`` or ``(H, W)`` of the type and range of the input; uint8 is rounded.

    Raises:
        TypeError: For another type.
    """
    matrix = _TO_YCBCR[:, 0] if y_only else _TO_YCBCR
    return _convert(img, matrix, _TO_YCBCR_OFFSET[0] if y_only else _TO_YCBCR_OFFSET)


def bgr2ycbcr(img: Image, y_only: bool = False) -> Image:
    """BGR to YCbCr: ``rgb2ycbcr`` for OpenCV's channel order."""
    matrix = _TO_YCBCR[::-1, 0] if y_only else _TO_YCBCR[::-1]
    return _convert(img, matrix, _TO_YCBCR_OFFSET[0] if y_only else _TO_YCBCR_OFFSET)


def ycbcr2rgb(img: Image) -> Image:
    """YCbCr to RGB.

    Args:
        img: ``(H, W, 3)`` YCbCr, uint8 in [0, 255] or float32 in [0, 1].

    Returns:
        ``(H, W, 3)`` RGB of the type and range of the input; uint8 is rounded and saturated.

    Raises:
        TypeError: For another type.
    """
    return _inverse(img, _FROM_YCBCR, _FROM_YCBCR_OFFSET)


def ycbcr2bgr(img: Image) -> Image:
    """YCbCr to BGR: ``ycbcr2rgb`` in OpenCV's channel order."""
    return _inverse(img, _FROM_YCBCR[:, ::-1], _FROM_YCBCR_OFFSET[::-1])


def _convert(img: Image, matrix: Image, offset: Any) -> Image:
    return _convert_output_type_range(np.dot(_convert_input_type_range(img), matrix) + offset, img.dtype.type)


def _inverse(img: Image, matrix: Image, offset: Image) -> Image:
    out = np.matmul(_convert_input_type_range(img) * 255, matrix) + offset
    return _convert_output_type_range(out, img.dtype.type)


def _convert_input_type_range(img: Image) -> Image:
    """uint8 in [0, 255] or float32 in [0, 1] to float32 in [0, 1]."""
    values = img.astype(np.float32)
    if img.dtype == np.float32:
        return values
    if img.dtype == np.uint8:
        return cast(Image, values / np.float32(255))
    raise TypeError(f"The img type should be np.float32 or np.uint8, but got {img.dtype}")


def _convert_output_type_range(img: Image, dst_type: Any) -> Image:
    """[0, 255] of any type to uint8 in [0, 255] (rounded) or float32 in [0, 1]."""
    if dst_type not in (np.uint8, np.float32):
        raise TypeError(f"The dst_type should be np.float32 or np.uint8, but got {dst_type}")
    if dst_type == np.uint8:
        # A cast alone would wrap 256 to 0.
        return img.round().clip(0, 255).astype(np.uint8)
    return (img / 255.0).astype(np.float32)


def rgb2ycbcr_pt(img: Tensor, y_only: bool = False) -> Tensor:
    """RGB to YCbCr for tensors, differentiable.

    Args:
        img: ``(N, 3, H, W)`` RGB in [0, 1].
        y_only: Return only the luma.

    Returns:
        ``(N, 3, H, W)`` or ``(N, 1, H, W)`` in [0, 1] (studio range), of the type of the input.
    """
    columns = slice(0, 1) if y_only else slice(None)
    matrix = torch.from_numpy(_TO_YCBCR[:, columns]).to(img)
    offset = torch.from_numpy(_TO_YCBCR_OFFSET[columns]).to(img)
    return (torch.matmul(img.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2) + offset.view(1, -1, 1, 1)) / 255
