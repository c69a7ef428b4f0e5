"""The numpy entry: tensor functions applied to images as files hold them, (H, W, 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_unit_float(image: np.ndarray) -> np.ndarray:
    """An image as float in [0, 1]: uint8 and uint16 are divided by their range, floats are returned as they are.

    Raises:
        TypeError: For any other type, whose range is not known.
    """
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    if image.dtype == np.uint16:
        return image.astype(np.float32) / np.float32(65535)
    if image.dtype.kind == "f":
        return image.astype(np.float32) if image.dtype == np.float16 else image
    raise TypeError(f"expected an image of uint8, uint16 or float in [0, 1], got {image.dtype}")


def apply_to_arrays(function: Callable[..., Tensor], *images: np.ndarray, **options: Any) -> np.ndarray:
    """Call a function of this package on numpy images.

    Args:
        function: Such as ``rgb_to_lab`` or ``delta_e2000``.
        *images: (H, W, C), float as the function wants them, or uint8 / uint16 sRGB.
        **options: Passed on.

    Returns:
        (H, W, C) or (H, W), float32 or float64.

    Example:
        >>> apply_to_arrays(rgb_to_lab, np.full((1, 1, 3), 255, np.uint8)).round().tolist()
        [[[100.0, 0.0, 0.0]]]
    """
    tensors = [torch.from_numpy(np.ascontiguousarray(to_unit_float(image).transpose(2, 0, 1))) for image in images]
    with torch.no_grad():
        result = function(*tensors, **options)
    return result.permute(1, 2, 0).numpy() if result.dim() == 3 else result.numpy()
