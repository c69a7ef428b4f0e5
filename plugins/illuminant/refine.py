"""Refinement of coarse class maps by the picture they belong to, and class shares from maps."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from basicsr.engine.errors import UserError

REFINEMENTS = ("none", "guided", "crf")
"""The refinements there are."""
_FAINT = 1e-3

Array = np.ndarray[Any, Any]


def refine(
    maps: Array,
    guide: Array,
    method: str = "guided",
    *,
    radius: int = 16,
    eps: float = 1e-3,
    iterations: int = 5,
    position_sigma: float = 40.0,
    color_sigma: float = 0.1,
) -> Array:
    """Let class maps follow the edges of the picture.

    Args:
        maps: (K, H, W) in [0, 1], finite.
        guide: (H, W, 3) in [0, 1] as it looks (sRGB-encoded), or (H, W) grey.
        method: ``none``. ``guided``: :func:`guided_filter` of every map by itself; keeps soft mixtures soft.
            ``crf``: a fully connected CRF (Krähenbühl and Koltun, "Efficient inference in fully connected CRFs with
            Gaussian edge potentials", NeurIPS 2011). Its maps sum to 1 over the classes; its Potts term pulls every
            pixel towards one class, so it destroys soft mixtures.
        radius: Of the guided filter's box, pixels; its width is 2 ``radius`` + 1.
        eps: Of the guided filter: variance of the guide below which a region counts as flat.
        iterations: Mean-field iterations of the CRF.
        position_sigma: Reach of the CRF's colour term, pixels.
        color_sigma: Colour difference over which that term fades, in units of the guide.

    Returns:
        (K, H, W) float32 in [0, 1].

    Raises:
        UserError: There is no such refinement, shapes do not fit, values are not finite or outside [0, 1], or
            ``pydensecrf`` is not installed.
    """
    if method not in REFINEMENTS:
        raise UserError(f"refine: '{method}': there is no such refinement; there are: {', '.join(REFINEMENTS)}.")
    if radius < 1 or eps <= 0 or iterations < 1 or position_sigma <= 0 or color_sigma <= 0:
        raise UserError("refine: radius and iterations are from 1 on; eps and the sigmas are above 0.")
    _check(maps, guide)
    if method == "none" or len(maps) == 0:
        return maps.astype(np.float32)
    if method == "guided":
        return guided_filter(maps, guide, radius, eps).clip(0, 1).astype(np.float32)
    return _dense_crf(maps, guide, iterations, position_sigma, color_sigma)


def guided_filter(images: Array, guide: Array, radius: int, eps: float) -> Array:
    """Smooth images so that they keep the edges of a guide: in each box they are a linear function of the guide.

    He, Sun and Tang, "Guided image filtering", IEEE TPAMI 35 (2013), 1397-1409; eq. 5, 6 and 8 for a grey guide, 14 to
    16 for a colour guide. Boxes that reach over the border hold the pixels inside only. Cost does not depend on
    ``radius``.

    Args:
        images: (K, H, W), what is filtered.
        guide: (H, W) or (H, W, 3).
        radius: Of the box, pixels.
        eps: Regularisation, in squared units of the guide.

    Returns:
        (K, H, W) float64.
    """
    values = np.moveaxis(images.astype(np.float64), 0, -1)
    leader = guide.astype(np.float64).reshape(*guide.shape[:2], -1)
    channels = leader.shape[2]
    count = _box(np.ones(guide.shape[:2]), radius)

    def mean(planes: Array) -> Array:
        return np.stack([_box(planes[..., k], radius) / count for k in range(planes.shape[-1])], -1)

    guide_mean, value_mean = mean(leader), mean(values)
    covariance = np.stack([mean(leader[..., c : c + 1] * values) for c in range(channels)], -2)
    covariance -= guide_mean[..., :, None] * value_mean[..., None, :]
    spread = np.stack([mean(leader[..., c : c + 1] * leader) for c in range(channels)], -2)
    spread += eps * np.eye(channels) - guide_mean[..., :, None] * guide_mean[..., None, :]
    slope = np.linalg.solve(spread, covariance)  # (H, W, channels, K)
    offset = value_mean - np.einsum("hwck,hwc->hwk", slope, guide_mean)
    filtered = mean(offset)
    for c in range(channels):
        filtered += mean(slope[..., c, :]) * leader[..., c : c + 1]
    return np.moveaxis(filtered, -1, 0)


def maps_to_shares(maps: Array, probabilities: Array) -> Array:
    """Shares of the classes' light per pixel from their maps.

    A share is proportional to the network's probability of the class times its map; a map's value is raised by 0.001,
    so that where no class lights up the probabilities themselves are the answer.

    Args:
        maps: (K, H, W) in [0, 1]; zeros for a class that was not looked at.
        probabilities: (K,), not negative, not all zero.

    Returns:
        (H, W, K) float32, of sum 1.

    Raises:
        UserError: Shapes do not fit, or there is no positive probability.
    """
    weights = np.asarray(probabilities, dtype=np.float64)
    if maps.ndim != 3 or weights.shape != (len(maps),):
        raise UserError(f"shares: {weights.shape} probabilities do not fit maps of shape {maps.shape}.")
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise UserError("shares: the probabilities must be finite, not negative and not all zero.")
    parts = np.moveaxis(maps.astype(np.float64), 0, -1) + _FAINT
    parts *= weights
    shares: Array = (parts / parts.sum(-1, keepdims=True)).astype(np.float32)
    return shares


def _box(plane: Array, radius: int) -> Array:
    width = 2 * radius + 1
    summed: Array = cv2.boxFilter(plane, -1, (width, width), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return summed


def _dense_crf(maps: Array, guide: Array, iterations: int, position_sigma: float, color_sigma: float) -> Array:
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise UserError(
            "refine: 'crf' needs pydensecrf, which is not installed: pip install 'basicsr[crf]' (package pydensecrf2), "
            "or take 'guided'."
        ) from error
    count, height, width = maps.shape
    if count < 2:
        raise UserError("refine: 'crf' needs the maps of at least two classes.")
    likely = maps.astype(np.float64) + _FAINT
    likely /= likely.sum(0)
    field = densecrf.DenseCRF2D(width, height, count)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(likely).reshape(count, -1), dtype=np.float32))
    field.addPairwiseGaussian(sxy=3, compat=3)
    color = guide if guide.ndim == 3 else np.repeat(guide[..., None], 3, 2)
    picture = np.ascontiguousarray(np.round(color * 255), dtype=np.uint8)
    field.addPairwiseBilateral(sxy=position_sigma, srgb=255 * color_sigma, rgbim=picture, compat=5)
    labels = np.array(field.inference(iterations), dtype=np.float32).reshape(maps.shape)
    return labels.clip(0, 1)


def _check(maps: Array, guide: Array) -> None:
    if maps.ndim != 3 or guide.shape[:2] != maps.shape[1:] or guide.ndim not in (2, 3):
        raise UserError(
            f"refine: maps of shape {maps.shape} and a guide of {guide.shape}; (K, H, W) and (H, W, 3) fit."
        )
    if guide.ndim == 3 and guide.shape[2] != 3:
        raise UserError(f"refine: the guide has {guide.shape[2]} channels; it is RGB (3) or grey (none).")
    for name, values in (("maps", maps), ("guide", guide)):
        # Written so that NaN fails too; a little rounding above 1 passes.
        if values.size and not (values.min() >= -1e-4 and values.max() <= 1 + 1e-4):
            raise UserError(f"refine: the {name} must be finite and in [0, 1].")
