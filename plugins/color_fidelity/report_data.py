"""An evaluation as the data of its HTML report: figures in one block, pictures in a block for each image."""

from __future__ import annotations

import json
import math
from typing import Any

from plugins.color_fidelity.evaluation import INPUT_ROW, TARGET_ROW, Evaluation, Record
from plugins.color_fidelity.evaluation_stats import BOOTSTRAP_SAMPLES, CONFIDENCE
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import MAIN_FIGURES, heading
from plugins.color_fidelity.report_images import MAP_COLORS, MAP_LIMIT, Shot, as_text

TILE_FIGURES = ("sat_ratio", "sat_ratio_whole", "hue_abs_deg", "de00_mean", "de00_p95", "psnr")
PALETTE = 8
_DIGITS = 6

Version = tuple[str, int | None]
"""A column of the report: a row of the evaluation at an iteration."""


def color_of(result: Evaluation, row: str) -> int:
    """Place of a row in the palette: 0 for the input, then the runs in order."""
    return 0 if row in (INPUT_ROW, TARGET_ROW) else 1 + result.runs.index(row) % (PALETTE - 1)


def versions(result: Evaluation) -> list[Version]:
    """Every row and iteration but the targets, inputs first, iterations rising."""
    found = []
    for row in result.rows:
        if row != TARGET_ROW:
            iterations = {record.pair.iteration for record in result.records if record.pair.row == row}
            found += [(row, it) for it in sorted(iterations, key=lambda value: -1 if value is None else value)]
    return found


def page_data(result: Evaluation, row: str, worst: int, worst_by: str, shots: dict[int, Shot]) -> dict[str, Any]:
    """What the page's script reads. Undefined figures are None, infinite ones texts.

    Args:
        result: The evaluation.
        row: The run in the centre at first.
        worst: Number of images shown at first, worst first; 0 for all.
        worst_by: Figure by which they are worst.
        shots: Pictures by place of the record.
    """
    columns = versions(result)
    place = {column: number for number, column in enumerate(columns)}
    last = {name: max(number for column, number in place.items() if column[0] == name) for name, _ in columns}
    return {
        "figures": [_figure(key) for key in FIGURES],
        "main": [list(FIGURES).index(key) for key in MAIN_FIGURES],
        "tiles": [list(FIGURES).index(key) for key in TILE_FIGURES],
        "versions": [
            {
                "row": name,
                "iteration": iteration,
                "label": name if iteration is None else f"{name} @ {iteration}",
                "color": color_of(result, name),
                "input": name == INPUT_ROW,
                "last": last[name] == number,
            }
            for number, (name, iteration) in enumerate(columns)
        ],
        "current": last.get(row, len(columns) - 1),
        "reference": last.get(str(result.reference), -1),
        "sets": result.sets,
        "images": _images(result, place, shots),
        "worst": worst,
        "worstBy": list(FIGURES).index(worst_by),
        "samples": BOOTSTRAP_SAMPLES,
        "confidence": CONFIDENCE,
        "mapLimit": MAP_LIMIT,
        "mapColors": MAP_COLORS,
    }


def _figure(key: str) -> dict[str, Any]:
    figure = FIGURES[key]
    return {
        "key": key,
        "label": figure.label,
        "heading": heading(key),
        "unit": figure.unit,
        "better": figure.better,
        "digits": figure.digits,
        "text": figure.text,
    }


def _images(result: Evaluation, place: dict[Version, int], shots: dict[int, Shot]) -> list[dict[str, Any]]:
    images: dict[tuple[str, str], dict[str, Any]] = {}
    for number, record in enumerate(result.records):
        pair = record.pair
        image = images.setdefault(
            (pair.set, pair.image),
            {"set": pair.set, "name": pair.image, "size": record.size, "values": {}, "shots": [], "target": False},
        )
        if pair.row == TARGET_ROW:
            image["target"] = number in shots
            continue
        column = place[pair.row, pair.iteration]
        image["values"][column] = [_number(record.figures[key]) for key in FIGURES]
        if number in shots:
            image["shots"].append(column)
    return list(images.values())


def picture_blocks(result: Evaluation, shots: dict[int, Shot]) -> list[dict[str, Any]]:
    """Pictures of each image in the order of :func:`page_data`: base64 of WebP by column, and ΔE maps."""
    place = {column: number for number, column in enumerate(versions(result))}
    blocks: dict[tuple[str, str], dict[str, Any]] = {}
    for number, record in enumerate(result.records):
        pair = record.pair
        block = blocks.setdefault((pair.set, pair.image), {"target": "", "pictures": {}, "maps": {}})
        shot = shots.get(number)
        if shot is not None:
            _put(block, record, shot, place)
    return list(blocks.values())


def _put(block: dict[str, Any], record: Record, shot: Shot, place: dict[Version, int]) -> None:
    if record.pair.row == TARGET_ROW:
        block["target"] = as_text(shot.picture)
        return
    column = place[record.pair.row, record.pair.iteration]
    block["pictures"][column] = as_text(shot.picture)
    if shot.difference:
        block["maps"][column] = as_text(shot.difference)


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(f"{value:.{_DIGITS}g}")


def as_script_json(data: Any) -> str:
    """JSON that may stand inside a ``<script>`` whatever the texts in it are: no ``<``, ``>`` or ``&`` is left."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
