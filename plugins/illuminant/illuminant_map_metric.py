"""Figures of illuminant maps as validation metrics.

Both images are (H, W, 3 + K) floats, as :class:`IlluminantMapModel` validates: the light of each pixel in linear light,
then the shares of the K classes. The truth is NaN where it is not known. In an option file, for example::

    val:
      metrics:
        angle: {type: calculate_map_error, better: lower}
        angle_single: {type: calculate_single_light_error, better: lower}
        share_mae: {type: calculate_share_mae, better: lower}
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from basicsr.engine.errors import UserError
from basicsr.utils.registry import METRIC_REGISTRY
from plugins.illuminant.illuminant_map import best_single_light, map_errors

Array = np.ndarray[Any, Any]
MapStat = Literal["mean", "median", "p95", "max"]
_STATS = {"mean": "mean", "median": "median", "p95": "p95", "max": "maximum"}


@METRIC_REGISTRY.register()
def calculate_map_error(img: Array, img2: Array, stat: MapStat = "mean", **kwargs: Any) -> float:
    """Angular error of the pixels of one picture in degrees, LSMI's metric (lower is better).

    Args:
        img: The answer.
        img2: The truth.
        stat: ``mean``, ``median``, ``p95`` or ``max`` over the pixels; the figure of a set is the mean over its images.
        **kwargs: Ignored.

    Raises:
        UserError: These are no illuminant maps, or ``stat`` is unknown.
    """
    _check(img, img2, "calculate_map_error")
    if stat not in _STATS:
        raise UserError(f"stat of calculate_map_error must be one of {', '.join(_STATS)}, got '{stat}'")
    return float(getattr(map_errors(img[..., :3], img2[..., :3]), _STATS[stat]))


@METRIC_REGISTRY.register()
def calculate_single_light_error(img: Array, img2: Array, stat: MapStat = "mean", **kwargs: Any) -> float:
    """What the best single light would err: the one that is nearest to the picture's true map on average.

    No method that answers one light for a picture can be better, so this is the mark for one that answers a map. It
    does not depend on the network. Arguments as :func:`calculate_map_error`.
    """
    _check(img, img2, "calculate_single_light_error")
    if stat not in _STATS:
        raise UserError(f"stat of calculate_single_light_error must be one of {', '.join(_STATS)}, got '{stat}'")
    truth = img2[..., :3]
    return float(getattr(map_errors(best_single_light(truth), truth), _STATS[stat]))


@METRIC_REGISTRY.register()
def calculate_share_mae(img: Array, img2: Array, **kwargs: Any) -> float:
    """Mean absolute error of the classes' shares over classes and pixels (lower is better; 0 to 1).

    Args:
        img: The answer.
        img2: The truth.
        **kwargs: Ignored.

    Raises:
        UserError: These are no illuminant maps.
    """
    _check(img, img2, "calculate_share_mae")
    difference = np.abs(img[..., 3:].astype(np.float64) - img2[..., 3:])
    known = np.isfinite(difference).all(2)
    return float(difference[known].mean()) if known.any() else float("nan")


def _check(img: Array, img2: Array, metric: str) -> None:
    if img.shape != img2.shape or img.ndim != 3 or img.shape[2] <= 3 or img.dtype.kind != "f":
        raise UserError(
            f"{metric} compares illuminant maps with shares of classes, (H, W, 3 + K); got {img.shape} and "
            f"{img2.shape}: use it with model_type: IlluminantMapModel"
        )
