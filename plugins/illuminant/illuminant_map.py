"""The light of every pixel: from shares of classes and their centroids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plugins.illuminant.centroids import angle_degrees

LSMI_OFFSET = 1e-4
"""What LSMI's metric adds to prediction and truth, each channel, before it takes their angle."""
_GREEN = 1

Array = np.ndarray[Any, Any]


def green_one(lights: Array) -> Array:
    """Scale lights (..., 3) so that green is 1, as LSMI's mixtures are shares of the green channel; float64.

    Raises:
        ValueError: A light is not positive and finite.
    """
    values = np.asarray(lights, dtype=np.float64)
    if values.shape[-1:] != (3,) or not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError("a light needs three positive, finite numbers: red, green, blue")
    return values / values[..., _GREEN : _GREEN + 1]


def illuminant_from_shares(shares: Array, centroids: Array) -> Array:
    """Mix the classes' centroids by their shares of the light.

    Args:
        shares: (H, W, K), not negative. They are divided by their sum, so a mask whose rest is ``other`` can be given
            as it is; a pixel without any share is taken as lit by neutral light.
        centroids: (K, 3), linear light, positive, of any scale.

    Returns:
        (H, W, 3) float32 light of each pixel in linear light, green 1: the centroids scaled to green 1 and mixed, as
        Kim et al. define their mixture maps, "Large scale multi-illuminant (LSMI) dataset for developing white balance
        algorithm under mixed illumination", ICCV 2021.

    Raises:
        ValueError: The shapes do not fit, a share is negative or not finite, or a centroid is not positive.
    """
    lights = green_one(centroids)
    weights = np.asarray(shares)
    if weights.ndim != 3 or weights.shape[2] != len(lights):
        raise ValueError(f"shares of shape {weights.shape} do not fit {len(lights)} centroids: (H, W, K) is needed")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("a share is negative or not finite")
    mixed = weights.astype(np.float32) @ lights.astype(np.float32)
    dark = mixed[..., _GREEN] <= 0
    mixed[dark] = 1.0
    return mixed / mixed[..., _GREEN : _GREEN + 1]


def mix_lights(shares: Tensor, centroids: Tensor, offset: Tensor | None = None) -> Tensor:
    """:func:`illuminant_from_shares` for networks: differentiable, channels first.

    Args:
        shares: (N, K, H, W), of sum 1.
        centroids: (K, 3), or (N, K, 3) for each sample its own; positive.
        offset: (N, 2, H, W) added to the logarithms of R/G and B/G, or None.

    Returns:
        (N, 3, H, W), green 1.
    """
    lights = centroids.to(shares.dtype)
    lights = lights / lights[..., _GREEN : _GREEN + 1]
    batch = lights if lights.dim() == 3 else lights.expand(len(shares), -1, -1)
    mixed = torch.einsum("nkhw,nkc->nchw", shares, batch)
    if offset is None:
        return mixed
    red, blue = offset.exp().unbind(1)
    return mixed * torch.stack([red, torch.ones_like(red), blue], 1)


@dataclass(frozen=True)
class MapErrors:
    """Angular errors of one picture's illuminant map, in degrees.

    Attributes:
        mean: Over the valid pixels.
        median: The same.
        p95: 95th percentile.
        maximum: The largest.
        pixels: Number of valid pixels; with none, the figures are NaN.
    """

    mean: float
    median: float
    p95: float
    maximum: float
    pixels: int


def pixel_errors(prediction: Array, truth: Array) -> Array:
    """Angle between two illuminant maps at each pixel, as LSMI measures it.

    Args:
        prediction: (H, W, 3), or (3,) for one light everywhere; positive, of any scale.
        truth: (H, W, 3); a pixel with NaN has no truth.

    Returns:
        (H, W) degrees, float64, NaN where there is no truth. Both are scaled to green 1 and 1e-4 is added to each
        channel of both, as in the data set's published code, which keeps its dark pixels defined.

    Raises:
        ValueError: The sizes differ, or a light is not positive.
    """
    target = np.asarray(truth, dtype=np.float64)
    answer = np.asarray(prediction, dtype=np.float64)
    if target.ndim != 3 or target.shape[2] != 3 or answer.shape not in ((3,), target.shape):
        raise ValueError(
            f"illuminant maps of shapes {answer.shape} and {target.shape}: (H, W, 3) of one size is needed"
        )
    known = np.isfinite(target).all(2)
    answer = np.broadcast_to(answer, target.shape)[known]
    degrees = np.full(target.shape[:2], np.nan)
    if known.any():
        degrees[known] = angle_degrees(green_one(answer) + LSMI_OFFSET, green_one(target[known]) + LSMI_OFFSET)
    return degrees


def map_errors(prediction: Array, truth: Array, valid: Array | None = None) -> MapErrors:
    """Figures of an illuminant map; see :func:`pixel_errors`.

    Args:
        prediction: (H, W, 3), or (3,) for one light everywhere.
        truth: (H, W, 3).
        valid: (H, W), pixels that count; None counts all that have a truth.
    """
    target = np.asarray(truth, dtype=np.float64)
    if valid is not None:
        if valid.shape != target.shape[:2]:
            raise ValueError(f"valid has the shape {valid.shape}, the map {target.shape}")
        target = np.where(np.asarray(valid, dtype=bool)[..., None], target, np.nan)
    degrees = pixel_errors(prediction, target)
    degrees = degrees[np.isfinite(degrees)]
    if degrees.size == 0:
        return MapErrors(np.nan, np.nan, np.nan, np.nan, 0)
    median, p95 = np.percentile(degrees, (50, 95))
    return MapErrors(float(degrees.mean()), float(median), float(p95), float(degrees.max()), int(degrees.size))


def best_single_light(truth: Array, valid: Array | None = None, steps: int = 60) -> Array:
    """The one light whose mean angle to an illuminant map is least: what no single-illuminant method can beat.

    Args:
        truth: (H, W, 3), positive; NaN where unknown.
        valid: (H, W), pixels that count.
        steps: Iterations of Weiszfeld's method for the geometric median of the directions.

    Returns:
        (3,) of green 1; neutral where no pixel is valid.
    """
    known = np.isfinite(truth).all(2) if valid is None else np.asarray(valid, dtype=bool) & np.isfinite(truth).all(2)
    lights = np.asarray(truth, dtype=np.float64)[known]
    if not len(lights):
        return np.ones(3)
    directions = lights / np.linalg.norm(lights, axis=1, keepdims=True)
    center = directions.mean(0)
    for _ in range(steps):
        weights = 1 / np.maximum(np.linalg.norm(directions - center, axis=1), 1e-6)
        center = weights @ directions / weights.sum()
    return green_one(center)
