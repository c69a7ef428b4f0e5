"""Evaluations as text: Markdown tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from basicsr.engine.checkpoint import write_atomic
from plugins.color_fidelity.evaluation import TARGET_ROW, Evaluation, Record, format_figure
from plugins.color_fidelity.evaluation_stats import badness
from plugins.color_fidelity.fidelity import FIGURES

MAIN_FIGURES = (
    "psnr",
    "ssim",
    "de00_mean",
    "de00_p95",
    "de00_sat",
    "sat_ratio",
    "sat_ratio_whole",
    "hue_abs_deg",
)
"""The figures of the short tables: whole image and saturated pixels side by side."""


def heading(key: str) -> str:
    """Label of a figure with its unit and an arrow (or →1) for what is better."""
    figure = FIGURES[key]
    arrow = {"higher": " ↑", "lower": " ↓", "one": " →1", "none": ""}[figure.better]
    unit = f" ({figure.unit})" if figure.unit and figure.unit != "°" else figure.unit and " (°)"
    return f"{figure.label}{unit}{arrow}"


def shown(key: str, value: float) -> str:
    """A figure as text with its own number of decimals."""
    return format_figure(value, FIGURES[key].digits)


def markdown_table(result: Evaluation, keys: Sequence[str] = MAIN_FIGURES) -> str:
    """One table a set, one line a row of the evaluation (at its last iteration), means over the images.

    Where there is a reference, a column counts the images whose mean ΔE00 got worse against it.
    """
    parts = []
    for set_name in result.sets:
        titles = ["", *[heading(key) for key in keys]]
        if result.reference is not None:
            titles.append(f"worse than {result.reference}")
        lines = []
        for row in result.rows:
            if result.select(row, set_name):
                lines.append(_markdown_line(result, row, set_name, keys))
        images = result.image_count(set_name)
        title = f"**{set_name}** ({images} image{'s' if images != 1 else ''})"
        parts.append(f"{title}\n\n{_markdown([titles, *lines])}")
    return "\n\n".join(parts)


def _markdown_line(result: Evaluation, row: str, set_name: str, keys: Sequence[str]) -> list[str]:
    iteration = result.iterations(row, set_name)[-1]
    name = row if iteration is None else f"{row} @ {iteration}"
    mean = result.summary(row, set_name).mean
    cells = [name, *[shown(key, mean[key]) for key in keys]]
    if result.reference is not None:
        change = result.change(row, set_name, "de00_mean")
        cells.append("" if row in (result.reference, TARGET_ROW) else f"{change.worse} of {change.images}")
    return cells


def figure_table(result: Evaluation, set_name: str, keys: Sequence[str] = MAIN_FIGURES) -> str:
    """The same figures turned: one line a figure, one column a row of the evaluation, for one set."""
    rows = [row for row in result.rows if result.select(row, set_name)]
    means = {row: result.summary(row, set_name).mean for row in rows}
    lines = [[heading(key), *[shown(key, means[row][key]) for row in rows]] for key in keys]
    return _markdown([[set_name, *rows], *lines])


def worst_table(result: Evaluation, row: str, set_name: str, count: int, key: str = "de00_mean") -> str:
    """The ``count`` images of a row that are worst by one figure."""
    records = worst_records(result, row, set_name, count, key)
    keys = [key, *[name for name in MAIN_FIGURES if name != key]]
    lines = [[record.pair.image, *[shown(name, record.figures[name]) for name in keys]] for record in records]
    return _markdown([[f"worst of {row} in {set_name}", *[heading(name) for name in keys]], *lines])


def worst_records(result: Evaluation, row: str, set_name: str, count: int, key: str) -> list[Record]:
    """Records of a row in a set, worst first by one figure; undefined figures come last."""

    def order(record: Record) -> float:
        bad = badness(key, record.figures[key])
        return math.inf if math.isnan(bad) else -bad

    return sorted(result.select(row, set_name), key=order)[:count]


def _markdown(cells: list[list[str]]) -> str:
    """Aligned, so that it reads as a table on a terminal too."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]

    def row(line: list[str]) -> str:
        first = line[0].ljust(widths[0])
        return (
            "| "
            + " | ".join([first, *[text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]])
            + " |"
        )

    rule = "|" + "|".join(["-" * (widths[0] + 2), *["-" * (width + 1) + ":" for width in widths[1:]]]) + "|"
    return "\n".join([row(cells[0]), rule, *[row(line) for line in cells[1:]]])


def write_csv(result: Evaluation, path: Path) -> None:
    """One line an image, row and iteration, with every figure; an undefined figure is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["row", "set", "image", "iteration", "width", "height", *FIGURES, "pred", "target", "lq"])
    for record in result.records:
        pair = record.pair
        iteration = "" if pair.iteration is None else pair.iteration
        figures = ["" if math.isnan(record.figures[key]) else f"{record.figures[key]:.6g}" for key in FIGURES]
        files = [pair.pred, pair.target, pair.lq or ""]
        writer.writerow([pair.row, pair.set, pair.image, iteration, *record.size, *figures, *files])
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all; bytes of file names that are not text appear as escapes.

    Raises:
        UserError: The disk refused.
    """
    data = text.encode("utf-8", "backslashreplace")
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a device or a pipe must not be replaced by a file
        return
    write_atomic(path, lambda file: file.write(data))


def as_json(result: Evaluation) -> dict[str, Any]:
    """Everything as plain data: summaries of every iteration, changes, images. NaN is None, infinity a string."""
    return {
        "reference": result.reference,
        "warnings": result.warnings,
        "figures": {key: asdict(figure) for key, figure in FIGURES.items()},
        "summaries": _plain(_summaries(result)),
        "changes": _plain(_changes(result)),
        "images": _plain([_image(record) for record in result.records]),
    }


def _summaries(result: Evaluation) -> list[dict[str, Any]]:
    return [
        {"row": row, "set": name, "iteration": iteration, **asdict(result.summary(row, name, iteration))}
        for name in result.sets
        for row in result.rows
        for iteration in result.iterations(row, name)
    ]


def _changes(result: Evaluation) -> list[dict[str, Any]]:
    reference = result.reference
    judged = [key for key, figure in FIGURES.items() if figure.better != "none"]
    return [
        {
            "row": row,
            "set": name,
            "reference": reference,
            "figures": {key: asdict(result.change(row, name, key)) for key in judged},
        }
        for name in result.sets
        for row in result.runs
        if reference is not None and row != reference and result.select(row, name)
    ]


def _image(record: Record) -> dict[str, Any]:
    pair = record.pair
    return {
        "row": pair.row,
        "set": pair.set,
        "image": pair.image,
        "iteration": pair.iteration,
        "size": list(record.size),
        "pred": str(pair.pred),
        "target": str(pair.target),
        "lq": None if pair.lq is None else str(pair.lq),
        "figures": record.figures,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def write_json(result: Evaluation, path: Path) -> None:
    """Write :func:`as_json`."""
    text = json.dumps(as_json(result), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
