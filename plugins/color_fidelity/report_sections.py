"""The parts of the HTML report that do not change while it is read: curves over the iterations and the glossary."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from plugins.color_fidelity.evaluation import INPUT_ROW, Evaluation
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import heading
from plugins.color_fidelity.report_data import color_of
from plugins.color_fidelity.report_svg import Curve, line_chart

CURVE_FIGURES = (
    "sat_ratio",
    "sat_ratio_whole",
    "hue_abs_deg",
    "de00_sat",
    "psnr",
    "ssim",
    "de00_mean",
    "de00_p95",
)


def curves(result: Evaluation, set_name: str) -> str:
    """Small charts of the main figures over the iterations of a set; empty where no run has two."""
    if all(len(result.iterations(row, set_name)) < 2 for row in result.runs):
        return ""
    parts = []
    for key in CURVE_FIGURES:
        lines = []
        for row in result.runs:
            at = [
                (float(it), result.summary(row, set_name, it).mean[key])
                for it in result.iterations(row, set_name)
                if it is not None
            ]
            lines.append(Curve(row, color_of(result, row), at))
        levels = [("target", 1.0)] if FIGURES[key].better == "one" else []
        if result.select(INPUT_ROW, set_name):
            levels.append(("input", result.summary(INPUT_ROW, set_name).mean[key]))
        chart = line_chart(lines, levels, FIGURES[key].digits)
        if chart:
            parts.append(f'<figure class="panel"><figcaption>{escape(heading(key))}</figcaption>{chart}</figure>')
    names = [f'<span><i class="key s{color_of(result, row)}"></i>{escape(row)}</span>' for row in result.runs]
    return (
        f'<section class="curves" data-set="{escape(set_name)}"><h2>Over the iterations <small>{escape(set_name)}'
        f'</small></h2><div class="legend">{"".join(names)}</div><div class="charts">{"".join(parts)}</div></section>'
    )


def glossary(keys: Sequence[str]) -> str:
    """What the figures mean."""
    items = "".join(f"<dt>{escape(FIGURES[key].label)}</dt><dd>{escape(FIGURES[key].text)}</dd>" for key in keys)
    return f"<dl>{items}</dl>"
