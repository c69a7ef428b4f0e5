"""The parts of the HTML report: headline tiles, tables, charts, contact sheet. Each function returns HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from basicsr.engine.image_io import read_image
from plugins.color_fidelity.evaluation import INPUT_ROW, TARGET_ROW, Evaluation, Record
from plugins.color_fidelity.evaluation_stats import Change, badness
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import MAIN_FIGURES, heading, shown, worst_records
from plugins.color_fidelity.report_images import MAP_COLORS, MAP_LIMIT, data_uri, difference_map, thumbnail
from plugins.color_fidelity.report_svg import Curve, Shift, line_chart, shift_chart

TILE_FIGURES = ("sat_ratio", "sat_ratio_whole", "hue_abs_deg", "de00_mean", "de00_p95", "psnr")
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
SHIFT_FIGURES = ("de00_mean", "sat_ratio")
_PALETTE = 8
_MOST_SHIFTS = 36


def color_of(result: Evaluation, row: str) -> int:
    """Place of a row in the palette: 0 for the input, then the runs in order."""
    return 0 if row in (INPUT_ROW, TARGET_ROW) else 1 + result.runs.index(row) % (_PALETTE - 1)


def legend(result: Evaluation) -> str:
    """Names and colours of the rows."""
    rows = [row for row in result.rows if row != TARGET_ROW]
    keys = [f'<span><i class="key s{color_of(result, row)}"></i>{escape(row)}</span>' for row in rows]
    return f'<div class="legend">{"".join(keys)}</div>'


def tiles(result: Evaluation, row: str, set_name: str) -> str:
    """The main run's headline figures, each with those of the input and the reference and the change's interval."""
    if not result.select(row, set_name):
        return ""
    others = [name for name in (INPUT_ROW, result.reference) if name not in (None, row) and name in result.rows]
    parts = []
    for key in TILE_FIGURES:
        value = shown(key, result.summary(row, set_name).mean[key])
        beside = [
            f"{escape(name)} {shown(key, result.summary(name, set_name).mean[key])}"
            for name in dict.fromkeys(others)
            if name is not None and result.select(name, set_name)
        ]
        change = ""
        if result.reference not in (None, row):
            change = _change_text(key, result.change(row, set_name, key), result, row, set_name)
        unit = FIGURES[key].unit if value != "n/a" else ""
        unit = unit if unit == "°" else f"<small> {unit}</small>"
        parts.append(
            f'<div class="tile" title="{escape(FIGURES[key].text)}"><div class="name">{escape(heading(key))}</div>'
            f'<div class="value">{value}{unit}</div>'
            f'<div class="rest">{" · ".join(beside)}</div><div class="rest">{change}</div></div>'
        )
    return f'<div class="tiles">{"".join(parts)}</div>'


def _verdict(change: Change) -> str:
    """``even`` where the interval holds 0: the images at hand do not tell."""
    if not math.isfinite(change.gain) or change.low <= 0 <= change.high:
        return "even"
    return "good" if change.gain > 0 else "bad"


def _change_text(key: str, change: Change, result: Evaluation, row: str, set_name: str) -> str:
    if change.images == 0:
        return "no image to compare"
    digits = FIGURES[key].digits
    interval = f"{change.mean:+.{digits}f} [{change.low:+.{digits}f}, {change.high:+.{digits}f}]"
    text = f'<span class="{_verdict(change)}">{interval}</span> · {change.worse} of {change.images} worse'
    closed = _gap_closed(key, result, row, set_name)
    return text if closed is None else f"{text}<br>{closed}"


def _gap_closed(key: str, result: Evaluation, row: str, set_name: str) -> str | None:
    """Share of the reference's distance from 1 that a ratio has made up, where there was one worth naming."""
    if FIGURES[key].better != "one" or result.reference is None:
        return None
    before = abs(1 - result.summary(result.reference, set_name).mean[key])
    after = abs(1 - result.summary(row, set_name).mean[key])
    if not (math.isfinite(before) and math.isfinite(after)) or before < 0.02:
        return None
    share = 100 * (before - after) / before
    return f"closes {share:.0f} % of the gap to 1" if share >= 0 else f"widens the gap to 1 by {-share:.0f} %"


def summary_table(result: Evaluation, set_name: str, keys: Sequence[str] = MAIN_FIGURES) -> str:
    """Means of every row at its last iteration; the best run of a column is bold."""
    rows = [row for row in result.rows if result.select(row, set_name)]
    means = {row: result.summary(row, set_name).mean for row in rows}
    best = {
        key: min((badness(key, means[row][key]) for row in rows if row in result.runs), default=math.nan)
        for key in keys
    }
    lines = []
    for row in rows:
        iteration = result.iterations(row, set_name)[-1]
        at = "" if iteration is None else f' <span class="soft">@ {iteration}</span>'
        cells = [f'<td><i class="key s{color_of(result, row)}"></i>{escape(row)}{at}</td>']
        for key in keys:
            bold = len(result.runs) > 1 and row in result.runs and badness(key, means[row][key]) == best[key]
            delta = _small_change(result, row, set_name, key)
            kind = "best" if bold else ""
            cells.append(f'<td class="{kind}">{shown(key, means[row][key])}{delta}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f'<th title="{escape(FIGURES[key].text)}">{escape(heading(key))}</th>' for key in keys)
    table = f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _small_change(result: Evaluation, row: str, set_name: str, key: str) -> str:
    if result.reference is None or row in (result.reference, INPUT_ROW, TARGET_ROW):
        return ""
    change = result.change(row, set_name, key)
    if change.images == 0:
        return ""
    return f'<small class="{_verdict(change)}">{change.mean:+.{FIGURES[key].digits}f}</small>'


def curves(result: Evaluation, set_name: str) -> str:
    """Small charts of the main figures over the iterations; empty where no run has two."""
    if all(len(result.iterations(row, set_name)) < 2 for row in result.runs):
        return ""
    parts = []
    for key in CURVE_FIGURES:
        lines = []
        for row in result.runs:
            at = [
                (it, result.summary(row, set_name, it).mean[key])
                for it in result.iterations(row, set_name)
                if it is not None
            ]
            lines.append(Curve(row, color_of(result, row), [(float(it), value) for it, value in at]))
        levels = [("target", 1.0)] if FIGURES[key].better == "one" else []
        if result.select(INPUT_ROW, set_name):
            levels.append(("input", result.summary(INPUT_ROW, set_name).mean[key]))
        chart = line_chart(lines, levels, FIGURES[key].digits)
        if chart:
            parts.append(f'<figure class="panel"><figcaption>{escape(heading(key))}</figcaption>{chart}</figure>')
    return f'<div class="charts">{"".join(parts)}</div>'


def shifts(result: Evaluation, row: str, set_name: str) -> str:
    """Each image before (reference) and after (main run), worst change first."""
    if result.reference in (None, row) or not result.select(row, set_name):
        return ""
    before = {r.pair.image: r.figures for r in result.select(str(result.reference), set_name)}
    parts = []
    for key in SHIFT_FIGURES:
        found = []
        for record in result.select(row, set_name):
            pair = (before.get(record.pair.image, {}).get(key, math.nan), record.figures[key])
            if all(math.isfinite(value) for value in pair):
                found.append(Shift(record.pair.image, *pair, gain=badness(key, pair[0]) - badness(key, pair[1])))
        found.sort(key=lambda shift: shift.gain)
        if len(found) > _MOST_SHIFTS:
            found = found[: _MOST_SHIFTS // 2] + found[-_MOST_SHIFTS // 2 :]
        chart = shift_chart(found, 1.0 if FIGURES[key].better == "one" else None, FIGURES[key].digits)
        if chart:
            title = f"{heading(key)}: {result.reference} ○ → ● {row}"
            parts.append(f'<figure class="panel"><figcaption>{escape(title)}</figcaption>{chart}</figure>')
    return f'<div class="shifts">{"".join(parts)}</div>' if parts else ""


def color_scale() -> str:
    """The key of the ΔE maps."""
    gradient = f"background:linear-gradient(90deg,{','.join(MAP_COLORS)})"
    return f'<div class="scale"><span>ΔE00 0</span><i style="{gradient}"></i><span>{MAP_LIMIT:g} and more</span></div>'


def contact_sheet(result: Evaluation, row: str, set_name: str, count: int, key: str, side: int) -> str:
    """The images on which a run is worst: input, every run's output and the target, and ΔE maps below them."""
    parts = []
    for record in worst_records(result, row, set_name, count, key):
        others = [r for name in result.rows for r in result.select(name, set_name) if r.pair.image == record.pair.image]
        parts.append(_sheet(result, record, [r for r in others if r.pair.row != TARGET_ROW], key, side))
    return "".join(parts)


def _sheet(result: Evaluation, worst: Record, records: list[Record], key: str, side: int) -> str:
    target = read_image(worst.pair.target)
    top, bottom = [], []
    for record in records:
        pred = read_image(record.pair.pred)
        name, color = record.pair.row, color_of(result, record.pair.row)
        difference, ratio = (shown(name, record.figures[name]) for name in ("de00_mean", "sat_ratio"))
        words = f"ΔE00 {difference} · sat. {ratio}"
        caption = f'<b><i class="key s{color}"></i>{escape(name)}</b><br><span class="soft">{words}</span>'
        top.append(_cell(thumbnail(pred, side), f"{worst.pair.image}: {name}", caption))
        bottom.append(_cell(difference_map(pred, target, side), f"{worst.pair.image}: ΔE00 of {name}", ""))
    width, height = worst.size
    caption = f'<b>target</b><br><span class="soft">{width} × {height}</span>'
    top.append(_cell(thumbnail(target, side), f"{worst.pair.image}: target", caption, is_target=True))
    title = (
        f"{escape(worst.pair.image)} <span class='soft'>{escape(heading(key))} {shown(key, worst.figures[key])}</span>"
    )
    columns = f"grid-template-columns:repeat({len(top)},minmax(0,1fr))"
    cells = f'<div class="cells" style="{columns}">{"".join(top + bottom)}</div>'
    return f'<section class="sheet"><h4>{title}</h4>{cells}</section>'


def _cell(image: np.ndarray, label: str, caption: str, is_target: bool = False) -> str:
    mark = " data-target" if is_target else ""
    uri = data_uri(image)
    picture = f'<img src="{uri}" alt="{escape(label)}" loading="lazy"{mark}>'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def image_table(result: Evaluation, keys: Sequence[str]) -> str:
    """Every image of every row at its last iteration; the page's script sorts and filters it."""
    lines = []
    for set_name in result.sets:
        for row in result.rows:
            if row == TARGET_ROW:
                continue
            for record in result.select(row, set_name):
                names = [record.pair.image, row, set_name]
                cells = [f'<td class="left" data-v="{escape(name)}">{escape(name)}</td>' for name in names]
                cells += [
                    f'<td data-v="{"" if math.isnan(record.figures[key]) else format(record.figures[key], ".6g")}">'
                    f"{shown(key, record.figures[key])}</td>"
                    for key in keys
                ]
                lines.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f'<th title="{escape(FIGURES[key].text)}">{escape(heading(key))}</th>' for key in keys)
    titles = "".join(f'<th class="left">{name}</th>' for name in ("image", "run", "set"))
    options = "".join(
        f'<option value="{escape(row)}">{escape(row)}</option>' for row in result.rows if row != TARGET_ROW
    )
    return (
        '<div class="tools"><input id="find" type="search" placeholder="find an image" aria-label="find an image">'
        f'<select id="pick" aria-label="run"><option value="">all runs</option>{options}</select></div>'
        f'<div class="scroll tall"><table id="images"><thead><tr>{titles}{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def glossary(keys: Sequence[str]) -> str:
    """What the figures mean."""
    items = "".join(f"<dt>{escape(FIGURES[key].label)}</dt><dd>{escape(FIGURES[key].text)}</dd>" for key in keys)
    return f"<dl>{items}</dl>"
