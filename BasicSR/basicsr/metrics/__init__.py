"""Metrics: importing the package registers PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from basicsr.metrics.psnr_ssim import calculate_psnr, calculate_psnr_pt, calculate_ssim, calculate_ssim_pt
from basicsr.utils.registry import METRIC_REGISTRY

__all__ = ["calculate_metric", "calculate_psnr", "calculate_psnr_pt", "calculate_ssim", "calculate_ssim_pt"]


def calculate_metric(data: Mapping[str, Any], opt: Mapping[str, Any]) -> Any:
    """Call a metric by its options.

    Args:
        data: The images, under the names of the metric's parameters (``img``, ``img2``).
        opt: ``type`` is the name in ``METRIC_REGISTRY``; every other key is an argument. Not modified.

    Returns:
        What the metric returns; for the engine's own, a float.

    Raises:
        KeyError: If ``type`` is missing or not registered.
    """
    arguments = deepcopy(dict(opt))
    metric_type = arguments.pop("type")
    return METRIC_REGISTRY.get(metric_type)(**data, **arguments)
