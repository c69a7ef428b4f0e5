"""Cutting, flipping and turning images (numpy ``(H, W[, C])``), the same way for every image of a sample."""

from __future__ import annotations

import random
from typing import Any

import cv2
import numpy as np
import torch

from basicsr.engine.errors import UserError


def mod_crop(img: np.ndarray, scale: int) -> np.ndarray:
    """Cut an image so that both edges are multiples of ``scale``.

    Args:
        img: ``(H, W)`` or ``(H, W, C)``.
        scale: The divisor.

    Returns:
        A copy, cut at the bottom and right.

    Raises:
        ValueError: The array has another number of dimensions.
    """
    if img.ndim not in (2, 3):
        raise ValueError(f"Wrong img ndim: {img.ndim}.")
    height, width = img.shape[:2]
    return img[: height - height % scale, : width - width % scale].copy()


def check_pair_size(
    gt_size: tuple[int, int], lq_size: tuple[int, int], scale: int, gt_path: str | None, lq_path: str | None = None
) -> None:
    """Check that the target is ``scale`` times the input.

    Raises:
        UserError: It is not; the message has both sizes and the files.
    """
    if gt_size != (lq_size[0] * scale, lq_size[1] * scale):
        pair = f" of {gt_path}" + (f" and {lq_path}" if lq_path else "") if gt_path else ""
        raise UserError(
            f"Scale mismatches. GT ({gt_size[0]}, {gt_size[1]}) is not {scale}x multiplication of LQ "
            f"({lq_size[0]}, {lq_size[1]}){pair} (height, width). Make the pair fit, or correct the option 'scale'."
        )


def crop_corner(lq_size: tuple[int, int], lq_patch: int, gt_path: str | None) -> tuple[int, int]:
    """Draw the corner (top, left) of a square patch in the input, from Python's ``random``.

    Raises:
        UserError: The image is smaller than the patch.
    """
    height, width = lq_size
    if height < lq_patch or width < lq_patch:
        raise UserError(
            f"LQ ({height}, {width}) is smaller than patch size ({lq_patch}, {lq_patch})"
            f"{f': {gt_path}' if gt_path else ''}. Remove the image, lower gt_size, or set pad_small: true."
        )
    return random.randint(0, height - lq_patch), random.randint(0, width - lq_patch)


def paired_random_crop(
    img_gts: Any, img_lqs: Any, gt_patch_size: int, scale: int, gt_path: str | None = None
) -> tuple[Any, Any]:
    """Cut the same random patch out of targets and inputs.

    Args:
        img_gts: One target or a list: arrays ``(H, W, C)`` or tensors ``(N, C, H, W)``.
        img_lqs: One input or a list, ``scale`` times smaller.
        gt_patch_size: Edge of the patch in the target.
        scale: Size ratio.
        gt_path: Named in messages.

    Returns:
        Targets and inputs, each a list unless there was one only.

    Raises:
        UserError: The sizes do not fit ``scale``, or the input is smaller than the patch.
    """
    gts = img_gts if isinstance(img_gts, list) else [img_gts]
    lqs = img_lqs if isinstance(img_lqs, list) else [img_lqs]
    lq_size, gt_size = _size(lqs[0]), _size(gts[0])
    patch = gt_patch_size // scale
    check_pair_size(gt_size, lq_size, scale, gt_path)
    top, left = crop_corner(lq_size, patch, gt_path)
    cut_lqs = [_cut(v, top, left, patch) for v in lqs]
    cut_gts = [_cut(v, top * scale, left * scale, gt_patch_size) for v in gts]
    return (cut_gts[0] if len(cut_gts) == 1 else cut_gts), (cut_lqs[0] if len(cut_lqs) == 1 else cut_lqs)


def _size(img: Any) -> tuple[int, int]:
    shape = img.shape[-2:] if torch.is_tensor(img) else img.shape[:2]
    return int(shape[0]), int(shape[1])


def _cut(img: Any, top: int, left: int, edge: int) -> Any:
    if torch.is_tensor(img):
        return img[:, :, top : top + edge, left : left + edge]
    return img[top : top + edge, left : left + edge, ...]


def augment(
    imgs: Any, hflip: bool = True, rotation: bool = True, flows: Any = None, return_status: bool = False
) -> Any:
    """Mirror and transpose all images of a sample alike, each with probability one half.

    Args:
        imgs: One array or a list, ``(H, W[, C])``.
        hflip: Allow mirroring left to right.
        rotation: Allow mirroring top to bottom and transposing.
        flows: Optical flows to turn alike, one or a list, ``(H, W, 2)`` with x first.
        return_status: Return the three choices too.

    Returns:
        Images (and flows, and the status), contiguous; one only if one was given.
    """
    hflip = hflip and random.random() < 0.5
    vflip = rotation and random.random() < 0.5
    transpose = rotation and random.random() < 0.5
    turned = _each(imgs, lambda img: _turn(img, hflip, vflip, transpose))
    result = [turned]
    if flows is not None:
        result.append(_each(flows, lambda flow: _turn_flow(flow, hflip, vflip, transpose)))
    if return_status:
        result.append((hflip, vflip, transpose))
    return result[0] if len(result) == 1 else tuple(result)


def _each(values: Any, change: Any) -> Any:
    if not isinstance(values, list):
        return change(values)
    changed = [change(v) for v in values]
    return changed[0] if len(changed) == 1 else changed


def _turn(img: np.ndarray, hflip: bool, vflip: bool, transpose: bool) -> np.ndarray:
    view = img[:, ::-1] if hflip else img
    view = view[::-1] if vflip else view
    view = view.swapaxes(0, 1) if transpose else view
    return np.ascontiguousarray(view)


def _turn_flow(flow: np.ndarray, hflip: bool, vflip: bool, transpose: bool) -> np.ndarray:
    turned = _turn(flow, hflip, vflip, transpose).copy()
    if hflip:
        turned[:, :, 0] *= -1
    if vflip:
        turned[:, :, 1] *= -1
    return turned[:, :, ::-1].copy() if transpose else turned


def img_rotate(
    img: np.ndarray, angle: float, center: tuple[float, float] | None = None, scale: float = 1.0
) -> np.ndarray:
    """Rotate about a point without changing the image's size.

    Args:
        img: ``(H, W[, C])``.
        angle: Degrees, positive is counter-clockwise.
        center: (x, y); the middle where None.
        scale: Zoom.

    Returns:
        The rotated image; what comes from outside is 0.
    """
    height, width = img.shape[:2]
    middle = center if center is not None else (width // 2, height // 2)
    return cv2.warpAffine(img, cv2.getRotationMatrix2D(middle, angle, scale), (width, height))


def luma(img: np.ndarray) -> np.ndarray:
    """Luma of BT.601 (studio range, [16, 235] / 255) of ``(h, w, 3)`` RGB in [0, 1], as ``(h, w, 1)``."""
    weights = np.array([65.481, 128.553, 24.966], np.float32)
    return ((img @ weights + np.float32(16.0)) / np.float32(255.0))[..., None]


def to_tensor(img: np.ndarray, mean: list[float] | None, std: list[float] | None) -> torch.Tensor:
    """``(h, w, c)`` float32 to a normalised ``(c, h, w)`` tensor."""
    tensor = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1), dtype=np.float32))
    if mean is not None:
        tensor -= torch.tensor(mean).view(-1, 1, 1)
    if std is not None:
        tensor /= torch.tensor(std).view(-1, 1, 1)
    return tensor
