"""An evaluation as one HTML page with its style, script and pictures inside: no server, no network."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.image_io import encode_png
from plugins.lego import lego_eval_stats as stats
from plugins.lego.lego_eval import read_rgb8
from plugins.lego.lego_eval_files import WORDS, between, matrix_picture, percent, piece_rows
from plugins.lego.lego_eval_run import IMAGE, NETWORK, Evaluation, class_rows
from plugins.lego.lego_resize import resize_square

_ASSETS = Path(__file__).with_name("report_assets")
_THUMBNAIL = 96
_WRONG_VIEWS, _EXAMPLES = 3, 3
_MOST_PIECES = 400
_PLOT = 240
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


def write_page(result: Evaluation, path: Path) -> None:
    """Write the page.

    Raises:
        UserError: A picture cannot be read, or the disk refused.
    """
    text = build_page(result)
    write_atomic(path, lambda stream: stream.write(text.encode("utf-8", "backslashreplace")))


def build_page(result: Evaluation) -> str:
    """The page as text; see :func:`write_page`."""
    script = _asset("js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    count = len(result.answers.records)
    return Template(_asset("html")).substitute(
        title="LEGO classifier: " + escape(result.weights.stem),
        subtitle=f"{count} images of the split {result.split} of {escape(str(result.manifest))}",
        hash=digest,
        style=_asset("css"),
        script=script,
        notes="".join(f'<p class="warn small">{escape(note)}</p>' for note in result.notes),
        tiles=_tiles(result),
        methods=_methods(result),
        heads="".join(_head(result, head) for head in result.answers.logits),
    )


def _asset(suffix: str) -> str:
    return (_ASSETS / f"lego_report.{suffix}").read_text(encoding="utf-8")


def _tiles(result: Evaluation) -> str:
    tiles = []
    for row in result.rows:
        if row.method != NETWORK or not row.figures.count:
            continue
        figures = row.figures
        title = f"{WORDS[row.head]}, per {row.per}"
        rest = f"{figures.count} {'images' if row.per == IMAGE else 'pieces'}"
        rest += f", 95 %: {between(figures)}" if between(figures) else ""
        rest += f", top-5 {percent(figures.top5)}" if percent(figures.top5) else ""
        tiles.append(
            f'<div class="tile"><div class="soft small">{title}</div><div class="value">{percent(figures.top1)}</div>'
            f'<div class="soft small">{rest}</div></div>'
        )
    return "".join(tiles)


def _methods(result: Evaluation) -> str:
    rows = []
    for row in result.rows:
        figures = row.figures
        kind = ' class="own"' if row.method == NETWORK else ""
        cells = "".join(
            f"<td>{text}</td>"
            for text in (
                row.per, figures.count, percent(figures.top1), between(figures), percent(figures.top5),
                percent(figures.balanced),
            )
        )  # fmt: skip
        rows.append(f"<tr{kind}><td>{WORDS[row.head]}: {escape(row.method)}</td>{cells}</tr>")
    heads = ("method", "per", "n", "top-1", "95 %", "top-5", "balanced")
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    titles = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    return f"<thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _head(result: Evaluation, head: str) -> str:
    if not (result.answers.labels[head] >= 0).any():
        return ""
    word = WORDS[head].capitalize()
    parts = [
        f"<h2>{word}: what is taken for what</h2>", _pairs(result, head), _matrix(result, head),
        f"<h2>{word}: classes</h2>", _class_table(result, head), _source_table(result, head),
        f"<h2>{word}: pieces</h2>" if result.votes[head].members else "", _piece_table(result, head),
        f"<h2>{word}: confidence</h2>", _confidence(result, head),
    ]  # fmt: skip
    return "".join(parts)


def _pairs(result: Evaluation, head: str) -> str:
    answers = result.answers
    logits, labels = answers.logits[head], answers.labels[head]
    pairs = stats.confused_pairs(logits, labels, images=_WRONG_VIEWS)
    if not pairs:
        return "<p>Nothing is confused: every answer is right.</p>"
    cards = []
    for pair in pairs:
        there = np.flatnonzero(labels == pair.answer)
        right = there[np.argsort(logits[there].argmax(1) != pair.answer, kind="stable")][:_EXAMPLES]
        wrong = "".join(_shot(result, head, int(place)) for place in pair.images)
        example = "".join(_shot(result, head, int(place)) for place in right)
        beside = f'<p class="soft small">What {_name(result, head, pair.answer)} looks like:</p>' if example else ""
        cards.append(
            f'<div class="card pair"><h3>{_name(result, head, pair.truth)} taken for '
            f'{_name(result, head, pair.answer)}: {pair.count} ({pair.share:.0%})</h3><div class="shots">{wrong}</div>'
            f'{beside}<div class="shots">{example}</div></div>'
        )
    return f'<div class="pairs">{"".join(cards)}</div>'


def _shot(result: Evaluation, head: str, place: int) -> str:
    file = result.answers.files[place]
    confidence = float(result.probabilities(head)[place].max())
    name = escape(file.name)
    address = _address(resize_square(read_rgb8(file), _THUMBNAIL))
    return (
        f'<figure><img alt="{name}" title="{escape(str(result.answers.records[place].path))}" src="{address}">'
        f"<figcaption>{confidence:.0%} {name}</figcaption></figure>"
    )


def _address(pixels: np.ndarray[Any, Any]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _matrix(result: Evaluation, head: str) -> str:
    picture = matrix_picture(result, head)
    if picture is None:
        return ""
    data = base64.b64encode(encode_png(picture, 9)).decode("ascii")
    return (
        f'<h2>{WORDS[head].capitalize()}: confusion matrix</h2><div class="matrix" tabindex="0">'
        f'<img alt="Confusion matrix: row truth, column answer" src="data:image/png;base64,{data}"></div>'
    )


def _class_table(result: Evaluation, head: str) -> str:
    rows = []
    for row in class_rows(result, head):
        often = _name(result, head, row.often) if row.often >= 0 else ""
        rows.append(
            f"<tr><td>{_name(result, head, row.number)}</td>{_number(row.count)}{_number(row.pieces)}"
            f'{_share(row.recall)}{_share(row.precision)}<td class="left">{often}</td></tr>'
        )
    heads = ("class", "images", "pieces", "recognised", "right when answered", "most often taken for")
    table = f"classes-{head}"
    return (
        f'<label hidden class="small">Find <input type="search" data-filters="{table}" autocomplete="off"></label>'
        f'<div class="scroll"><table class="sortable" id="{table}">{_table(heads, rows)}</table></div>'
    )


def _source_table(result: Evaluation, head: str) -> str:
    rows = [
        f"<tr><td>{source}</td>{_number(figures.count)}{_share(figures.top1)}<td>{between(figures)}</td>"
        f"{_share(figures.top5)}{_share(figures.balanced)}</tr>"
        for source, figures in result.sources[head]
    ]
    heads = ("source", "images", "top-1", "95 %", "top-5", "balanced")
    return f'<h2>{WORDS[head].capitalize()}: sources</h2><div class="scroll"><table>{_table(heads, rows)}</table></div>'


def _piece_table(result: Evaluation, head: str) -> str:
    mine = [row for row in piece_rows(result) if row["head"] == head]
    if not mine:
        return ""
    mine.sort(key=lambda row: (row["right"], -row["confidence"]))
    numbers = result.classes[head].numbers()
    rows = []
    for row in mine[:_MOST_PIECES]:
        kind, word = ("good", "right") if row["right"] else ("bad", "wrong")
        truth, answer = (_name(result, head, numbers[row[key]]) for key in ("truth", "answer"))
        rows.append(
            f'<tr><td>{escape(row["piece"])}</td><td class="left">{truth}</td><td class="left">{answer}</td>'
            f'<td class="{kind}">{word}</td>{_share(row["confidence"])}{_number(row["views"])}'
            f"{_number(row['right_views'])}</tr>"
        )
    more = (
        f'<p class="soft small">{len(mine) - _MOST_PIECES} more in pieces.csv.</p>' if len(mine) > _MOST_PIECES else ""
    )
    heads = ("piece", "is", "vote", "", "confidence", "views", "right alone")
    return f'<div class="scroll"><table class="sortable">{_table(heads, rows)}</table></div>{more}'


def _confidence(result: Evaluation, head: str) -> str:
    one = result.calibration[head]
    lines = "".join(
        f"<tr><td>{level:.0%} or more</td><td>{share:.1%}</td><td>{percent(right)}</td></tr>"
        for level, share, right in one.covered
    )
    origin = "fitted on the validation split" if head in result.fitted else "of the weights file"
    table = _table(("confidence", "share of the answers", "right of these"), [lines])
    return (
        f"<p>Expected calibration error {one.plain:.3f} as trained, {one.error:.3f} with the temperature "
        f'{one.temperature:.3f} ({origin}).</p><div class="charts">{_reliability(one)}'
        f'<div><div class="scroll"><table>{table}</table></div></div></div>'
    )


def _reliability(one: stats.Calibration) -> str:
    """Bars: how many are right at each confidence. On the dashed line, confidence is what it says."""
    bars = []
    for confidence, right, count in one.bins:
        left = 30 + _PLOT * (min(int(confidence * stats.BINS), stats.BINS - 1) / stats.BINS)
        height = _PLOT * right
        bars.append(
            f'<rect class="bar" x="{left + 1:.1f}" y="{10 + _PLOT - height:.1f}" width="{_PLOT / stats.BINS - 2:.1f}" '
            f'height="{height:.1f}"><title>confidence {confidence:.0%}: {right:.0%} of {count} right</title></rect>'
        )
    end = 10 + _PLOT
    return (
        f'<svg class="chart card" viewBox="0 0 300 300" role="img" aria-label="Share right by confidence">'
        f'<rect class="frame" x="30" y="10" width="{_PLOT}" height="{_PLOT}"/>{"".join(bars)}'
        f'<line class="even" x1="30" y1="{end}" x2="{30 + _PLOT}" y2="10"/>'
        f'<text x="30" y="{end + 16}">0 %</text><text x="{30 + _PLOT}" y="{end + 16}" text-anchor="end">100 %</text>'
        f'<text x="{30 + _PLOT / 2}" y="{end + 34}" text-anchor="middle">confidence (bars: share right)</text></svg>'
    )


def _name(result: Evaluation, head: str, number: int) -> str:
    classes = result.classes[head]
    swatch = ""
    if classes.rgb and _COLOR.fullmatch(classes.rgb[number]):
        swatch = f'<span class="swatch" style="background:{classes.rgb[number]}"></span>'
    return swatch + escape(classes.names[number])


def _number(value: int) -> str:
    return f'<td data-value="{value}">{value}</td>'


def _share(value: float) -> str:
    return "<td></td>" if math.isnan(value) else f'<td data-value="{value:.6f}">{percent(value)}</td>'
