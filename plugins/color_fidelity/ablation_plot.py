"""The plot of a sheet: fidelity of colour against PSNR, one point a row, with labels that do not cover each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.color_fidelity.ablation import INPUT_ROW
from plugins.color_fidelity.ablation_report import Results, group, label
from plugins.color_fidelity.ablation_stats import Interval, RowFigures
from plugins.color_fidelity.ablation_train import Say
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import heading

PANELS = ("sat_ratio", "de00_p95")
# Okabe and Ito's colours, which people with any kind of colour vision tell apart; grey is the reference's.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a")
_GREY = "#444444"
_PANEL_SIZE = (6.4, 4.8)
_DPI = 140
_NEAR = 17.0
"""Pixels from which on a label is joined to its point by a line."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


@dataclass(frozen=True)
class Point:
    """A row in one panel: position and the ends of its bars."""

    row: str
    text: str
    color: str
    x: Interval
    y: Interval


def write_plots(results: Results, say: Say) -> list[Path]:
    """Write plot.png and plot.svg; returns their paths, none where matplotlib is not installed."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        say("no plot: matplotlib is not installed (pip install basicsr[color])")
        return []
    names = list(results.figures)
    settings: Any = {"svg.hashsalt": "ablation", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(settings):
        size = (_PANEL_SIZE[0] * len(PANELS), _PANEL_SIZE[1] * len(names) + 0.6)
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        axes = figure.subplots(len(names), len(PANELS), squeeze=False)
        for line, name in zip(axes, names, strict=True):
            for panel, key in zip(line, PANELS, strict=True):
                _draw(panel, points(results, name, key), results.reference, key, name)
        _explain_colors(figure, results)
        figure.supxlabel(_caption(results), fontsize=8, color=_GREY)
        # The layout must be final before labels are placed in pixels.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for line, name in zip(axes, names, strict=True):
            for panel, key in zip(line, PANELS, strict=True):
                _label(panel, points(results, name, key))
        paths = [results.sheet.out / f"plot.{suffix}" for suffix in ("png", "svg")]
        figure.savefig(paths[0])
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def points(results: Results, set_name: str, key: str) -> list[Point]:
    """The points of a panel: all rows but the untouched input, whose distance would flatten everything else."""
    rows = {row: figures for row, figures in results.figures[set_name].items() if row != INPUT_ROW}
    colors = _group_colors(results)
    found = []
    for row, figures in rows.items():
        color = _GREY if row == results.reference else colors[group(results.sheet, row)]
        x, y = (_span(figures, item) for item in ("psnr", key))
        if math.isfinite(x.value) and math.isfinite(y.value):
            found.append(Point(row, label(results.sheet, row), color, x, y))
    return found


def _group_colors(results: Results) -> dict[str, str]:
    """Group to colour, the same in every panel."""
    rows = list(dict.fromkeys(row for figures in results.figures.values() for row in figures))
    groups = dict.fromkeys(group(results.sheet, row) for row in rows if row not in (INPUT_ROW, results.reference))
    return {name: _COLORS[index % len(_COLORS)] for index, name in enumerate(groups)}


def _explain_colors(figure: Any, results: Results) -> None:
    from matplotlib.lines import Line2D

    colors = {name: color for name, color in _group_colors(results).items() if name}
    if len(colors) > 1:
        handles = [Line2D([], [], marker="o", ls="", color=color, label=name) for name, color in colors.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8)


def _span(figures: RowFigures, key: str) -> Interval:
    """The mean, with the interval of the change against the reference around it."""
    mean = figures.mean[key].value
    change = figures.change.get(key)
    if change is None or math.isnan(change.low):
        return Interval(mean, mean, mean)
    return Interval(mean, mean + change.low - change.value, mean + change.high - change.value)


def _caption(results: Results) -> str:
    if results.reference is None:
        return "no reference row was judged: no intervals"
    name = label(results.sheet, results.reference)
    return f"bars: 95 % interval of the change against “{name}” (★), over photographs and seeds"


def _draw(axes: Any, found: Sequence[Point], reference: str | None, key: str, set_name: str) -> None:
    for point in found:
        is_reference = point.row == reference
        axes.errorbar(
            point.x.value,
            point.y.value,
            xerr=_error(point.x),
            yerr=_error(point.y),
            fmt="*" if is_reference else "o",
            markersize=13 if is_reference else 5.5,
            color=point.color,
            elinewidth=0.9,
            alpha=0.95,
            zorder=4 if is_reference else 3,
        )
        if is_reference:
            for line in (axes.axvline, axes.axhline):
                line(
                    point.x.value if line == axes.axvline else point.y.value, color="#bbbbbb", lw=0.8, ls="--", zorder=1
                )
    low, high = axes.get_ylim()
    if FIGURES[key].better == "one" and high > 1:
        axes.axhline(1.0, color="#009e73", lw=0.8, zorder=1)
    if FIGURES[key].better == "lower":
        axes.set_ylim(high, low)  # up is better in every panel
    axes.margins(0.12)
    axes.grid(color="#eeeeee", lw=0.6)
    axes.set_axisbelow(True)
    axes.set_title(f"{set_name}: {FIGURES[key].label}", fontsize=10)
    axes.set_xlabel(heading("psnr").replace("↑", "→"))
    up = {"one": "1 is right", "lower": "up is better", "higher": "up is better"}[FIGURES[key].better]
    axes.set_ylabel(f"{FIGURES[key].label} ({up})")


def _error(interval: Interval) -> list[list[float]]:
    return [[max(0.0, interval.value - interval.low)], [max(0.0, interval.high - interval.value)]]


def _label(axes: Any, found: Sequence[Point]) -> None:
    """Put each label at the nearest free place around its point."""
    from matplotlib.patheffects import withStroke

    renderer = axes.figure.canvas.get_renderer() if hasattr(axes.figure.canvas, "get_renderer") else None
    frame = axes.get_window_extent(renderer)
    marks = [tuple(axes.transData.transform((point.x.value, point.y.value))) for point in found]
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks]
    bars = [box for point in found for box in _bar_boxes(axes, point)]
    for point, mark in zip(found, marks, strict=True):
        text = axes.annotate(point.text, (point.x.value, point.y.value), (0, 0), textcoords="offset points", fontsize=8)
        extent = text.get_window_extent(renderer)
        place = free_place(mark, (extent.width, extent.height), taken, bars, (frame.x0, frame.y0, frame.x1, frame.y1))
        text.remove()
        taken.append(place)
        scale = 72 / axes.figure.dpi
        offset = ((place[0] - mark[0]) * scale, (place[1] - mark[1]) * scale)
        far = _distance(mark, place) > _NEAR
        axes.annotate(
            point.text,
            (point.x.value, point.y.value),
            offset,
            textcoords="offset points",
            fontsize=8,
            color=point.color,
            va="bottom",
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.6, "shrinkB": 4} if far else None,
        )


def _bar_boxes(axes: Any, point: Point) -> list[Box]:
    (left, bottom), (right, top), (x, y) = (
        axes.transData.transform(pair)
        for pair in ((point.x.low, point.y.low), (point.x.high, point.y.high), (point.x.value, point.y.value))
    )
    bottom, top = min(bottom, top), max(bottom, top)
    return [(left, y - 2, right, y + 2), (x - 2, bottom, x + 2, top)]


def free_place(
    mark: tuple[float, ...], size: tuple[float, float], taken: Sequence[Box], light: Sequence[Box], frame: Box
) -> Box:
    """The best place for a label around a point.

    Args:
        mark: The point, in pixels.
        size: Width and height of the label.
        taken: Boxes that must not be covered: other labels and points.
        light: Boxes that should not be covered: bars.
        frame: The label should stay inside.

    Returns:
        The place: nearest of those that cover nothing; where there is none, the one that covers least.
    """
    best, least = (0.0, 0.0, 0.0, 0.0), math.inf
    for radius in (9, 14, 22, 32, 44, 58, 74, 92, 112, 134, 160, 190):
        for step in range(24):
            angle = 2 * math.pi * step / 24
            x, y = mark[0] + radius * math.cos(angle), mark[1] + radius * math.sin(angle)
            # The label's side that faces the point touches the circle.
            left = x - size[0] * (1 - math.cos(angle)) / 2
            bottom = y - size[1] * (1 - math.sin(angle)) / 2
            box = (left, bottom, left + size[0], bottom + size[1])
            cost = radius + 20 * sum(_overlap(box, other, 2) for other in taken)
            cost += 1.5 * sum(_overlap(box, other, 0) for other in light) + 20 * _outside(box, frame)
            if cost < least:
                best, least = box, cost
    return best


def _overlap(first: Box, second: Box, gap: float) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0]) + gap
    height = min(first[3], second[3]) - max(first[1], second[1]) + gap
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box, frame: Box) -> float:
    area = (box[2] - box[0]) * (box[3] - box[1])
    return area - _overlap(box, frame, 0)


def _distance(mark: tuple[float, ...], box: Box) -> float:
    dx = max(box[0] - mark[0], 0.0, mark[0] - box[2])
    dy = max(box[1] - mark[1], 0.0, mark[1] - box[3])
    return math.hypot(dx, dy)
