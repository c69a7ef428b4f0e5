"""Charts of a report as inline SVG, coloured by the page's style sheet (classes ``s0``, ``s1``, ... for the runs)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 290, 176
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 24
_TICKS = 4
_LABEL_HEIGHT = 10


@dataclass(frozen=True)
class Curve:
    """A line of a chart: (iteration, value) points, the run's name and its place in the palette."""

    name: str
    color: int
    points: Sequence[tuple[float, float]]


def nice_ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """Round numbers inside [low, high], about ``count`` of them."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    step = 10 ** math.floor(math.log10(span / count))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(curves: Sequence[Curve], levels: Sequence[tuple[str, float]], digits: int) -> str:
    """Curves over iterations with horizontal reference levels.

    Args:
        curves: One a run; undefined points are left out.
        levels: (label, value) of dashed lines, such as the input's figure.
        digits: Decimals of the values shown on the points.

    Returns:
        An ``<svg>`` element; an empty text if there is nothing to draw.
    """
    curves = [Curve(c.name, c.color, [p for p in c.points if math.isfinite(p[1])]) for c in curves]
    points = [point for curve in curves for point in curve.points]
    levels = [level for level in levels if math.isfinite(level[1])]
    if not points:
        return ""
    low, high = _limits([y for _, y in points] + [value for _, value in levels])
    left, right = min(x for x, _ in points), max(x for x, _ in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) if right > left else 0.5
        return (
            _LEFT + across * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - (y - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM),
        )

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img">']
    for tick in nice_ticks(low, high):
        y = place(left, tick)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in nice_ticks(left, right):
        x = place(tick, low)[0]
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_short(tick)}</text>')
    parts += _levels([(label, place(left, value)[1]) for label, value in levels])
    parts += [_curve(curve, [place(x, y) for x, y in curve.points], digits) for curve in curves]
    return "".join([*parts, "</svg>"])


def _levels(levels: Sequence[tuple[str, float]]) -> list[str]:
    """Dashed lines at heights in the picture; where two are too close for a label each, the lower one's goes below."""
    parts, last = [], -math.inf
    for label, y in sorted(levels, key=lambda level: level[1]):
        parts.append(f'<line class="level" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        base = y - 3 if y - 3 - last >= _LABEL_HEIGHT else y + _LABEL_HEIGHT
        parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{base:.1f}" text-anchor="end">{escape(label)}</text>')
        last = base
    return parts


def _curve(curve: Curve, places: list[tuple[float, float]], digits: int) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [
        f'<circle class="dot s{curve.color}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(curve.name)}, iteration '
        f"{iteration:g}: {value:.{digits}f}</title></circle>"
        for (x, y), (iteration, value) in zip(places, curve.points, strict=True)
    ]
    return f'<polyline class="curve s{curve.color}" points="{path}"/>' + "".join(dots)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"
