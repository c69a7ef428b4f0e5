"""Images between files, numpy arrays and tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from basicsr.engine.errors import UserError

Image = npt.NDArray[Any]
ImageOrList = TypeVar("ImageOrList", Image, list[Image])

_READ_FLAGS = {
    "color": cv2.IMREAD_COLOR,
    "grayscale": cv2.IMREAD_GRAYSCALE,
    "unchanged": cv2.IMREAD_UNCHANGED,
}
_GRID_PADDING = 2


@overload
def img2tensor(imgs: Image, bgr2rgb: bool = True, float32: bool = True) -> Tensor: ...
@overload
def img2tensor(imgs: list[Image], bgr2rgb: bool = True, float32: bool = True) -> list[Tensor]: ...
def img2tensor(imgs: Image | list[Image], bgr2rgb: bool = True, float32: bool = True) -> Tensor | list[Tensor]:
    """Array to tensor.

    Args:
        imgs: ``(H, W, C)``, or a list of such; values are not scaled.
        bgr2rgb: Swap the first and third of three channels.
        float32: Convert to float32.

    Returns:
        ``(C, H, W)``, or a list of such. It may share the memory of the array.
    """

    def convert(img: Image) -> Tensor:
        if bgr2rgb and img.shape[2] == 3:
            img = cv2.cvtColor(img.astype(np.float32) if img.dtype == np.float64 else img, cv2.COLOR_BGR2RGB)
        tensor = torch.from_numpy(img.transpose(2, 0, 1))
        return tensor.float() if float32 else tensor

    return [convert(img) for img in imgs] if isinstance(imgs, list) else convert(imgs)


def tensor2img(
    tensor: Tensor | list[Tensor],
    rgb2bgr: bool = True,
    out_type: Any = np.uint8,
    min_max: tuple[float, float] = (0, 1),
) -> Any:
    """Tensor to array; the tensor is not modified.

    Args:
        tensor: ``(N, C, H, W)`` (a grid if N > 1), ``(C, H, W)`` or ``(H, W)``, C 1 or 3; or a list of such.
        rgb2bgr: Swap the first and third of three channels.
        out_type: ``np.uint8`` and ``np.uint16`` are scaled to their range and rounded; anything else is in [0, 1].
        min_max: The values that become black and white; outside is clamped.

    Returns:
        ``(H, W, C)`` or, for one channel, ``(H, W)``; for a list of several tensors a list of such.

    Raises:
        TypeError: If ``tensor`` is no tensor or list of tensors.
        ValueError: If a tensor has another number of dimensions.
    """
    tensors = tensor if isinstance(tensor, list) else [tensor]
    if not all(isinstance(each, Tensor) for each in tensors):
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    result = [_to_image(each, rgb2bgr, out_type, min_max) for each in tensors]
    return result[0] if len(result) == 1 else result


def _to_image(tensor: Tensor, rgb2bgr: bool, out_type: Any, min_max: tuple[float, float]) -> Image:
    low, high = min_max
    tensor = tensor.squeeze(0) if tensor.dim() > 2 else tensor
    values = tensor.detach().float().cpu().clamp(low, high).sub(low).div(high - low)
    if values.dim() == 4:
        values = _grid(values)
    elif values.dim() not in (2, 3):
        raise ValueError(f"Only support 4D, 3D or 2D tensor. But received with dimension: {values.dim()}")
    img: Image = values.numpy()
    if img.ndim == 3:
        img = np.ascontiguousarray(img.transpose(1, 2, 0))
        if img.shape[2] == 1:
            img = img[..., 0]
        elif img.shape[2] == 3 and rgb2bgr:
            img = cv2.cvtColor(img, cv2.COLOR_RGB2BGR)
    if out_type in (np.uint8, np.uint16):
        img = (img * np.iinfo(out_type).max).round()
    return img.astype(out_type)


def _grid(batch: Tensor) -> Tensor:
    """``(N, C, H, W)`` side by side, about as many rows as columns, black gaps of two pixels; grey becomes RGB."""
    number, channels, height, width = batch.shape
    if channels == 1:
        batch, channels = batch.expand(-1, 3, -1, -1), 3
    columns = min(max(int(math.sqrt(number)), 1), number)
    rows = math.ceil(number / columns)
    step_h, step_w = height + _GRID_PADDING, width + _GRID_PADDING
    grid = batch.new_zeros(channels, rows * step_h + _GRID_PADDING, columns * step_w + _GRID_PADDING)
    for index, img in enumerate(batch):
        top = index // columns * step_h + _GRID_PADDING
        left = index % columns * step_w + _GRID_PADDING
        grid[:, top : top + height, left : left + width] = img
    return grid


def tensor2img_fast(tensor: Tensor, rgb2bgr: bool = True, min_max: tuple[float, float] = (0, 1)) -> Image:
    """``tensor2img`` for one uint8 image: scaled on the tensor's device, so that a quarter of the bytes is copied.

    Args:
        tensor: ``(1, C, H, W)``; not modified.
        rgb2bgr: Swap the first and third of three channels.
        min_max: The values that become black and white; outside is clamped.

    Returns:
        uint8 ``(H, W, C)``.
    """
    low, high = min_max
    values = tensor.detach().squeeze(0).clamp(low, high).sub(low).mul(255 / (high - low)).round()
    img: Image = values.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return cv2.cvtColor(img, cv2.COLOR_RGB2BGR) if rgb2bgr and img.shape[2] == 3 else np.ascontiguousarray(img)


def imfrombytes(content: bytes, flag: str = "color", float32: bool = False) -> Image:
    """Decode an image file.

    Args:
        content: The bytes of the file.
        flag: ``color`` (8-bit BGR, whatever the file holds), ``grayscale`` (8-bit) or ``unchanged`` (as stored).
        float32: Return float32 in [0, 1] instead of integers.

    Returns:
        ``(H, W, 3)`` BGR, ``(H, W)`` grey, or what the file holds.

    Raises:
        ValueError: For an unknown flag.
        UserError: If the bytes are not an image that OpenCV reads.
    """
    if flag not in _READ_FLAGS:
        raise ValueError(f"imfrombytes: flag must be one of {', '.join(_READ_FLAGS)}, got '{flag}'")
    img = cv2.imdecode(np.frombuffer(content, np.uint8), _READ_FLAGS[flag]) if len(content) else None
    if img is None:
        raise UserError(f"{len(content)} bytes that are not a readable image (damaged, empty, or another format)")
    if not float32:
        return img
    scale = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(img.dtype, 1)
    return img.astype(np.float32) / np.float32(scale)


def imwrite(img: Image, file_path: str | Path, params: Sequence[int] | None = None, auto_mkdir: bool = True) -> None:
    """Write an image file; the ending of the name decides the format.

    Args:
        img: ``(H, W, 3)`` BGR or ``(H, W)``, uint8 or uint16.
        file_path: Where to.
        params: OpenCV's ``imwrite`` parameters, such as ``[cv2.IMWRITE_JPEG_QUALITY, 95]``.
        auto_mkdir: Make the folder where it is missing.

    Raises:
        UserError: If the image cannot be encoded or written; the message names the file.
    """
    path = Path(file_path)
    try:
        # Encoded in memory and written by Python: cv2.imwrite answers a full disk or a missing folder with False at
        # best, and cannot open every name on Windows.
        done, data = cv2.imencode(path.suffix, img, list(params or []))
    except cv2.error as error:
        raise UserError(
            f"cannot write {path}: OpenCV does not encode a {img.dtype} array of shape {img.shape} as "
            f"'{path.suffix}'; use .png, .jpg or .tif ({' '.join(str(error).split())})"
        ) from error
    if not done:
        raise UserError(f"cannot write {path}: OpenCV could not encode the image as '{path.suffix}'")
    try:
        if auto_mkdir:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def crop_border(imgs: ImageOrList, crop_border: int) -> ImageOrList:
    """Cut ``crop_border`` pixels off every side of an image ``(H, W, ...)`` or of each of a list."""
    if crop_border == 0:
        return imgs
    inner = slice(crop_border, -crop_border)
    return [img[inner, inner] for img in imgs] if isinstance(imgs, list) else imgs[inner, inner]
