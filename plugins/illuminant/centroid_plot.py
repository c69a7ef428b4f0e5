"""The picture of a set of classes: lights, centroids and boundaries in the chromaticity plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.illuminant.centroid_fit import CentroidFit

Array = np.ndarray[Any, Any]

_GRID = 500
_MARGIN = 0.08
_COOL_TO_WARM = ("#2166ac", "#67a9cf", "#8c8c8c", "#f4a05c", "#b2182b")


def class_colors(count: int) -> list[tuple[float, ...]]:
    """One colour a class, from blue through grey to red."""
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("light", _COOL_TO_WARM)
    return [ramp(k / max(1, count - 1)) for k in range(count)]


def write_centroid_plot(fit: CentroidFit, path: Path) -> None:
    """Draw r / (r + g + b) against b / (r + g + b) and write it as PNG.

    Args:
        fit: Classes and their lights.
        path: The file.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("The plot needs matplotlib, which is missing: pip install 'basicsr[illuminant]'.") from error
    figure = Figure(figsize=(8, 6.4), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, fit)
    write_atomic(path, lambda file: canvas.print_png(file))


def _draw(axes: Any, fit: CentroidFit) -> None:
    centroids, plane = fit.centroids, fit.lights[:, [0, 2]]
    colors = class_colors(len(centroids))
    points = np.concatenate([plane, centroids.array[:, [0, 2]]])
    low, high = points.min(0), points.max(0)
    pad = _MARGIN * np.maximum(high - low, 1e-3)
    low, high = np.maximum(low - pad, 1e-4), high + pad
    _boundaries(axes, fit, low, high)
    for k, name in enumerate(centroids.names):
        own = plane[fit.classes == k]
        text = f"{name.replace('_', ' ')}: {100 * centroids.shares[k]:.1f} % ({centroids.counts[k]})"
        axes.scatter(*own.T, s=7, color=colors[k], alpha=0.5, linewidths=0, label=text)
    for k, (r, _, b) in enumerate(centroids.rgb):
        axes.scatter(r, b, s=150, marker="*", color=colors[k], edgecolors="black", linewidths=0.9, zorder=5)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="r / (r + g + b)", ylabel="b / (r + g + b)")
    axes.set_title(
        f"Lights of {centroids.sensor}: {len(fit.lights)}, mean angle to the centroid {fit.overall.mean:.2f}°",
        fontsize=11,
    )
    legend = axes.legend(loc="best", fontsize=8, markerscale=2.2, frameon=True)
    for handle in legend.legend_handles:
        handle.set_alpha(1)


def _boundaries(axes: Any, fit: CentroidFit, low: Array, high: Array) -> None:
    r, b = np.meshgrid(np.linspace(low[0], high[0], _GRID), np.linspace(low[1], high[1], _GRID))
    g = 1 - r - b
    inside = g > 1e-4
    classes = np.full(r.shape, -1)
    classes[inside] = fit.centroids.assign(np.stack([r, g, b], -1)[inside])[0]
    for k in range(len(fit.centroids)):
        axes.contour(r, b, (classes == k).astype(float), levels=[0.5], colors="#999999", linewidths=0.7, zorder=0)
