"""The one way a picture becomes the network's input: in training, validation and on the device.

Needs numpy and Pillow only. Pillow's bilinear filter widens when it shrinks a picture (it does not alias), which
OpenCV's does not; two resizers would be two networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image

Mode = Literal["letterbox", "stretch", "crop"]
MODES: tuple[Mode, ...] = ("letterbox", "stretch", "crop")
FILTER = "pillow-bilinear-antialias"
"""What model files call the filter."""


def resize_square(pixels: np.ndarray[Any, Any], size: int, mode: str = "letterbox") -> np.ndarray[Any, Any]:
    """Bring a picture to a square.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size: Edge of the square.
        mode: ``letterbox`` keeps the proportions and fills the rest with the median of the picture's border,
            ``stretch`` does not keep them, ``crop`` cuts the longer side.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        ValueError: No such mode, or no such picture.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    if mode not in MODES:
        raise ValueError(f"resize mode '{mode}': use one of {', '.join(MODES)}")
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    if mode == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _scaled(pixels[top : top + side, left : left + side], size, size)
    if mode == "stretch" or height == width:
        return _scaled(pixels, size, size)
    factor = size / max(height, width)
    inner = _scaled(pixels, max(1, round(height * factor)), max(1, round(width * factor)))
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = border_color(inner)
    top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def _scaled(pixels: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def border_color(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The median colour of the outermost pixels, (3,) uint8."""
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.median(edge, axis=0).astype(np.uint8)


def center_part(pixels: np.ndarray[Any, Any], share: float) -> np.ndarray[Any, Any]:
    """The middle of a picture: ``share`` of its height and of its width, at least one pixel."""
    height, width = (max(1, round(edge * share)) for edge in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def to_grey(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Three equal channels: luma of BT.601 as Pillow has it, so that the device needs nothing else."""
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))
    return np.repeat(grey[..., None], 3, axis=2)


def to_input(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(3, S, S) float32 in [0, 1] of (S, S, 3) uint8."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def prepare_image(pixels: np.ndarray[Any, Any], recipe: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The network's input of a picture, by the recipe that a model file carries.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright.
        recipe: ``size``, ``mode``, ``center`` (share of the middle) and ``grey``, as :func:`input_recipe` gives it.

    Returns:
        (3, S, S) float32 in [0, 1].
    """
    part = center_part(pixels, float(recipe.get("center", 1.0)))
    square = resize_square(part, int(recipe["size"]), str(recipe.get("mode", "letterbox")))
    return to_input(to_grey(square) if recipe.get("grey") else square)


def input_recipe(size: int, mode: str = "letterbox", center: float = 1.0, grey: bool = False) -> dict[str, Any]:
    """What :func:`prepare_image` needs, as plain data."""
    return {"size": size, "mode": mode, "center": center, "grey": grey, "filter": FILTER}
