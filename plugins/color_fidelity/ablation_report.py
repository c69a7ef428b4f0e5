"""The results of a sheet as files: tables for people, CSV for spreadsheets, JSON with what is needed to repeat it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.engine.checkpoint import write_atomic
from plugins.color_fidelity.ablation import BASELINE_ROW, INPUT_ROW, Sheet
from plugins.color_fidelity.ablation_eval import Judged, number
from plugins.color_fidelity.ablation_stats import WORSE, Interval, RowFigures
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import heading, shown

MAIN = (
    "psnr",
    "ssim",
    "de00_mean",
    "de00_p95",
    "sat_ratio",
    "sat_ratio_60",
    "sat_ratio_100",
    "sat_ratio_whole",
    "hue_abs_deg",
)
CHANGES = ("psnr", "de00_mean", "de00_p95", "sat_ratio", "sat_ratio_whole", "hue_abs_deg")
_FIXED = {INPUT_ROW: "input, untouched", BASELINE_ROW: "weights that all start from"}
_WORSE_TITLES = {"de00_mean": "ΔE00 worse", "hue_abs_deg": "hue worse", "sat_ratio": "sat. worse"}

Figures = Mapping[str, Mapping[str, RowFigures]]
"""Set to row to figures."""


@dataclass(frozen=True)
class Results:
    """What a session found.

    Attributes:
        sheet: The sheet.
        reference: Row that changes are counted against, None where it was not judged.
        judged: Figures of every image.
        figures: Set to row to figures.
        notes: What a reader should know: failed runs, rows left out.
        facts: Commands, device, date, versions, checksums; for results.json.
    """

    sheet: Sheet
    reference: str | None
    judged: Sequence[Judged]
    figures: Figures
    notes: Sequence[str]
    facts: Mapping[str, Any]


def label(sheet: Sheet, row: str) -> str:
    """What a table calls a row."""
    return _FIXED.get(row) or sheet.row(row).label


def group(sheet: Sheet, row: str) -> str:
    """The heading a row belongs to, may be empty."""
    return "" if row in _FIXED else sheet.row(row).group


def write_results(results: Results) -> list[Path]:
    """Write table.md, table.csv, per_image.csv and results.json; returns their paths."""
    out = results.sheet.out
    texts = {
        "table.md": markdown(results),
        "table.csv": _csv(_table_lines(results)),
        "per_image.csv": _csv(_image_lines(results)),
        "results.json": json.dumps(_as_json(results), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        data = text.encode()
        write_atomic(out / name, lambda file, data=data: file.write(data))  # type: ignore[misc]
    return [out / name for name in texts]


def markdown(results: Results) -> str:
    """One table a set, and one of the changes against the reference."""
    parts = []
    for name, rows in results.figures.items():
        count = next(iter(rows.values())).images
        parts.append(f"## {name} ({count} image{'s' * (count != 1)})\n\n{means_table(results, name)}")
        if results.reference is not None:
            title = f"Change against {label(results.sheet, results.reference)}, with 95 % interval"
            parts.append(f"{title}:\n\n{changes_table(results, name)}")
    parts.append(_legend(results))
    return "\n\n".join(parts) + "\n"


def means_table(results: Results, set_name: str) -> str:
    """A row's means on one set."""
    title = ["", "seeds", *[heading(key) for key in MAIN], "gap closed (%)", *_WORSE_TITLES.values()]
    lines = []
    for row, figures in results.figures[set_name].items():
        means = [shown(key, figures.mean[key].value) for key in MAIN]
        worse = [str(figures.worse[key]) if figures.worse else "" for key in _WORSE_TITLES]
        gap = _interval_text(figures.closed, 0, 100)
        lines.append([_name(results, row), str(figures.seeds or ""), *means, gap, *worse])
    return _aligned([title, *lines])


def changes_table(results: Results, set_name: str) -> str:
    """A row's changes against the reference on one set."""
    title = ["", *[heading(key) for key in CHANGES]]
    lines = []
    for row, figures in results.figures[set_name].items():
        if figures.change:
            cells = [_interval_text(figures.change[key], FIGURES[key].digits, sign=True) for key in CHANGES]
            lines.append([_name(results, row), *cells])
    return _aligned([title, *lines])


def _name(results: Results, row: str) -> str:
    name = label(results.sheet, row)
    return f"**{name}** (reference)" if row == results.reference else name


def _interval_text(interval: Interval, digits: int, factor: float = 1, sign: bool = False) -> str:
    if math.isnan(interval.value):
        return ""
    plus = "+" if sign else ""
    value, low, high = (item * factor for item in (interval.value, interval.low, interval.high))
    text = f"{value:{plus}.{digits}f}"
    return text if math.isnan(low) else f"{text} [{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"


def _aligned(cells: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    texts = []
    for line in cells:
        rest = [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        texts.append(f"| {' | '.join([line[0].ljust(widths[0]), *rest])} |")
    rule = f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (width + 1) + ':' for width in widths[1:])}|"
    return "\n".join([texts[0], rule, *texts[1:]])


def _legend(results: Results) -> str:
    lines = [
        "A figure is the mean over images of each image's mean over seeds. Intervals are percentile intervals of a "
        'bootstrap that draws photographs and seeds; changes are paired by image. "Gap closed": the share of the '
        'reference\'s saturation gap, |1 - mean saturation ratio|, that a row closes. "Worse" counts the images whose '
        f"ΔE00 rose by more than {WORSE['de00_mean']:g}, whose hue error by more than {WORSE['hue_abs_deg']:g}°, whose "
        f"saturation ratio went more than {WORSE['sat_ratio']:g} further from 1 than the reference's."
    ]
    return "\n\n".join([*lines, *results.notes])


def _table_lines(results: Results) -> Iterator[list[Any]]:
    judged = [key for key in FIGURES if FIGURES[key].better != "none"]
    header = ["set", "row", "label", "group", "reference", "seeds", "images"]
    for key in FIGURES:
        header += [key, f"{key}_low", f"{key}_high", f"{key}_seed_sd"]
    for key in judged:
        header += [f"{key}_change", f"{key}_change_low", f"{key}_change_high"]
    yield [*header, "gap_closed", "gap_closed_low", "gap_closed_high", *[f"worse_{key}" for key in WORSE]]
    for name, rows in results.figures.items():
        for row, figures in rows.items():
            line: list[Any] = [name, row, label(results.sheet, row), group(results.sheet, row)]
            line += [results.reference or "", figures.seeds, figures.images]
            for key in FIGURES:
                line += [*_cells(figures.mean[key]), _cell(figures.seed_sd[key])]
            for key in judged:
                line += _cells(figures.change[key]) if figures.change else ["", "", ""]
            yield [*line, *_cells(figures.closed), *[figures.worse.get(key, "") for key in WORSE]]


def _image_lines(results: Results) -> Iterator[list[Any]]:
    yield ["row", "seed", "set", "image", *FIGURES]
    for item in results.judged:
        for image, figures in item.images.items():
            seed = "" if item.seed is None else item.seed
            yield [item.row, seed, item.set, image, *[_cell(figures[key]) for key in FIGURES]]


def _cells(interval: Interval) -> list[str]:
    return [_cell(value) for value in (interval.value, interval.low, interval.high)]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _csv(lines: Iterator[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _as_json(results: Results) -> dict[str, Any]:
    sheet = results.sheet
    return {
        **results.facts,
        "reference": results.reference,
        "notes": list(results.notes),
        "thresholds_of_worse": WORSE,
        "rows": {row.name: {"label": row.label, "group": row.group} for row in sheet.rows},
        "weights": [
            {"row": item.row, "seed": item.seed, "sha256": item.checksum, "section": item.section}
            for item in results.judged
            if item.checksum and item.set == results.judged[0].set
        ],
        "figures": {name: {row: _row_json(f) for row, f in rows.items()} for name, rows in results.figures.items()},
    }


def _row_json(figures: RowFigures) -> dict[str, Any]:
    def plain(interval: Interval) -> list[float | str | None]:
        return [number(value) for value in (interval.value, interval.low, interval.high)]

    return {
        "seeds": figures.seeds,
        "images": figures.images,
        "mean": {key: plain(value) for key, value in figures.mean.items()},
        "seed_sd": {key: number(value) for key, value in figures.seed_sd.items()},
        "change": {key: plain(value) for key, value in figures.change.items()},
        "gap_closed": plain(figures.closed),
        "worse": figures.worse,
    }
