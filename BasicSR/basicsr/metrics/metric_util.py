"""What all metrics do to their images first."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from basicsr.engine.errors import UserError
from basicsr.utils.color_util import bgr2ycbcr

Image = npt.NDArray[Any]


def reorder_image(img: Image, input_order: str = "HWC") -> Image:
    """Bring an image to ``(H, W, C)``.

    Args:
        img: ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``.
        input_order: ``HWC`` or ``CHW``; without effect on ``(H, W)``.

    Raises:
        ValueError: For another order.
    """
    if input_order not in ("HWC", "CHW"):
        raise ValueError(f"Wrong input_order {input_order}. Supported input_orders are 'HWC' and 'CHW'")
    if img.ndim == 2:
        return img[..., None]
    return img.transpose(1, 2, 0) if input_order == "CHW" else img


def to_y_channel(img: Image) -> Image:
    """Unrounded BT.601 luma.

    Args:
        img: ``(H, W, 3)`` BGR or ``(H, W, 1)`` in [0, 255].

    Returns:
        ``(H, W, 1)`` in [0, 255] (studio range for a colour image).
    """
    values = img.astype(np.float32) / np.float32(255)
    if values.ndim == 3 and values.shape[2] == 3:
        values = bgr2ycbcr(values, y_only=True)[..., None]
    return values * np.float32(255)


def prepare_views(
    img: Image | Tensor, img2: Image | Tensor, crop_border: int, input_order: str, test_y_channel: bool
) -> list[tuple[Image, Image]]:
    """The pairs to compare: one, or the left and the right one of a stereo pair in six channels.

    Args and errors are those of :func:`prepare_pair`.
    """
    tensor = isinstance(img, Tensor)
    axis = img.ndim - 3 if tensor or input_order == "CHW" else img.ndim - 1
    if img.ndim < 3 or img.shape[axis] != 6 or img.shape != img2.shape:
        return [prepare_pair(img, img2, crop_border, input_order, test_y_channel)]
    views = []
    for channels in (slice(0, 3), slice(3, 6)):
        part = (slice(None),) * axis + (channels,)
        views.append(prepare_pair(img[part], img2[part], crop_border, input_order, test_y_channel))
    return views


def prepare_pair(
    img: Image | Tensor, img2: Image | Tensor, crop_border: int, input_order: str, test_y_channel: bool
) -> tuple[Image, Image]:
    """Check, reorder and crop a pair of images.

    Args:
        img: uint8 BGR in [0, 255], uint16 in [0, 65535], floating point in [0, 255]; or a tensor ``(C, H, W)`` or
            ``(1, C, H, W)``, RGB in [0, 1].
        img2: The same kind and shape.
        crop_border: Pixels to leave out at every side.
        input_order: ``HWC`` or ``CHW``; without effect on tensors.
        test_y_channel: Compare luma only.

    Returns:
        Two arrays ``(H, W, C)`` in [0, 255], of the same type: uint8 where that loses nothing, else float64.

    Raises:
        UserError: If the shapes differ or the crop leaves nothing.
    """
    if img.shape != img2.shape:
        raise UserError(f"the images to compare have different shapes: {tuple(img.shape)} and {tuple(img2.shape)}")
    first, second = (_prepare(each, input_order) for each in (img, img2))
    if crop_border < 0 or min(first.shape[:2]) <= 2 * crop_border:
        raise UserError(
            f"crop_border {crop_border} leaves nothing of an image of {first.shape[0]} x {first.shape[1]} pixels"
        )
    if crop_border:
        inner = slice(crop_border, -crop_border)
        first, second = first[inner, inner], second[inner, inner]
    if test_y_channel:
        first, second = to_y_channel(first), to_y_channel(second)
    if first.dtype == second.dtype == np.uint8:
        return first, second
    return first.astype(np.float64), second.astype(np.float64)


def _prepare(img: Image | Tensor, input_order: str) -> Image:
    if isinstance(img, Tensor):
        rgb = img.detach().to("cpu", torch.float64)
        rgb = rgb[0] if rgb.dim() == 4 else rgb
        return reorder_image((rgb.flip(0) if rgb.shape[0] == 3 else rgb).numpy() * 255, "CHW")
    if img.dtype == np.uint16:
        return reorder_image(img / 257, input_order)
    return reorder_image(img, input_order)
