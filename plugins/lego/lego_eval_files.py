"""An evaluation as files: every answer as csv, everything as JSON, confusion matrices as pictures, a table as text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.image_io import encode_png
from plugins.classification.confusion import confusion_matrix, confusion_picture
from plugins.lego import lego_eval_stats as stats
from plugins.lego.lego_eval_run import Evaluation, class_rows
from plugins.lego.lego_manifest import write_csv

Array = np.ndarray[Any, Any]

ANSWERS, PIECES, FIGURES, PAGE = "answers.csv", "pieces.csv", "figures.json", "report.html"
WORDS = {"part": "part", "color": "colour"}
"""Heads as the texts call them."""


def matrix_file(head: str) -> str:
    """Name of a confusion matrix's picture."""
    return f"confusion_{head}.png"


def write_files(result: Evaluation, folder: Path) -> list[Path]:
    """Write all but the page.

    Args:
        result: The evaluation.
        folder: Where; it is made.

    Returns:
        The files.

    Raises:
        UserError: The disk refused.
    """
    rows = answer_rows(result)
    write_csv(folder / ANSWERS, list(rows[0]), rows)
    written = [folder / ANSWERS]
    pieces = piece_rows(result)
    if pieces:
        write_csv(folder / PIECES, list(pieces[0]), pieces)
        written.append(folder / PIECES)
    text = json.dumps(_plain(as_json(result, rows)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(folder / FIGURES, lambda stream: stream.write(text.encode("utf-8", "backslashreplace")))
    written.append(folder / FIGURES)
    for head in result.answers.logits:
        picture = matrix_picture(result, head)
        if picture is not None:
            content = encode_png(picture, 6)
            write_atomic(folder / matrix_file(head), lambda stream, data=content: stream.write(data))  # type: ignore[misc]
            written.append(folder / matrix_file(head))
    return written


def answer_rows(result: Evaluation) -> list[dict[str, Any]]:
    """A row an image: what it is, what was answered with which confidence, the rank of the truth, the next answers."""
    rows = [
        {"path": one.path, "source": one.source, "piece": one.piece, "part": one.part, "color": one.color}
        for one in result.answers.records
    ]
    for head, logits in result.answers.logits.items():
        names, probabilities = result.classes[head].ids, result.probabilities(head)
        labels = result.answers.labels[head]
        ranks = stats.ranks(logits, labels)
        best = np.argsort(-logits, axis=1, kind="stable")[:, : stats.TOP]
        for place, row in enumerate(rows):
            row[f"{head}_answer"] = names[best[place, 0]]
            row[f"{head}_confidence"] = round(float(probabilities[place, best[place, 0]]), 6)
            row[f"{head}_rank"] = int(ranks[place]) or ""
            row[f"{head}_top"] = " ".join(
                f"{names[number]}:{probabilities[place, number]:.4f}" for number in best[place]
            )
    return rows


def piece_rows(result: Evaluation) -> list[dict[str, Any]]:
    """A row a piece and head: its views, how many are right alone, and what they say together."""
    rows = []
    for head, votes in result.votes.items():
        names, answers = result.classes[head].ids, result.answers
        alone = answers.logits[head].argmax(1) == answers.labels[head]
        for place, members in enumerate(votes.members):
            confidence = np.exp(stats.log_softmax(votes.scores[place]))
            best = int(votes.scores[place].argmax())
            rows.append(
                {
                    "head": head,
                    "piece": answers.records[members[0]].piece,
                    "truth": names[votes.labels[place]],
                    "answer": names[best],
                    "confidence": round(float(confidence[best]), 6),
                    "right": int(best == votes.labels[place]),
                    "views": len(members),
                    "right_views": int(alone[members].sum()),
                }
            )
    return rows


def as_json(result: Evaluation, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything as plain data, NaN where there is no figure."""
    heads = {}
    for head in result.answers.logits:
        names, logits, labels = result.classes[head].ids, result.answers.logits[head], result.answers.labels[head]
        heads[head] = {
            "sources": {source: asdict(figures) for source, figures in result.sources[head]},
            "calibration": asdict(result.calibration[head]),
            "fitted_temperature": result.fitted.get(head, math.nan),
            "classes": [
                {
                    "id": names[row.number], "name": result.classes[head].names[row.number], "images": row.count,
                    "pieces": row.pieces, "recall": row.recall, "precision": row.precision,
                    "most_often_taken_for": names[row.often] if row.often >= 0 else None,
                }
                for row in class_rows(result, head)
            ],
            "confused": [
                {"truth": names[pair.truth], "answer": names[pair.answer], "images": pair.count, "share": pair.share}
                for pair in stats.confused_pairs(logits, labels, 50)
            ],
        }  # fmt: skip
    return {
        "weights": str(result.weights), "manifest": str(result.manifest), "split": result.split,
        "images": len(result.answers.records), "notes": result.notes,
        "methods": [asdict(row) for row in result.rows], "heads": heads, "answers": answers,
    }  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def matrix_picture(result: Evaluation, head: str) -> Array | None:
    """The confusion matrix of the classes that occur or were answered; None where there is nothing to show."""
    logits, labels = result.answers.logits[head], result.answers.labels[head]
    matrix = confusion_matrix(labels, logits.argmax(1), logits.shape[1])
    there = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    if not len(there):
        return None
    names = [result.classes[head].names[number] for number in there]
    title = f"{WORDS[head]}, {result.split}: {len(there)} of {len(matrix)} classes"
    return confusion_picture(matrix[np.ix_(there, there)], names, title)


def text_table(result: Evaluation) -> str:
    """The table of methods for a terminal."""
    cells = [["", "per", "n", "top-1", "95 %", "top-5", "balanced"]]
    for row in result.rows:
        figures = row.figures
        cells.append(
            [
                f"{WORDS[row.head]}: {row.method}", row.per, str(figures.count), percent(figures.top1),
                between(figures), percent(figures.top5), percent(figures.balanced),
            ]
        )  # fmt: skip
    return aligned(cells)


def calibration_lines(result: Evaluation) -> list[str]:
    """A sentence on the confidence of each head."""
    lines = []
    for head, one in result.calibration.items():
        if one.bins:
            origin = "fitted on val" if head in result.fitted else "of the weights file"
            lines.append(
                f"{WORDS[head]}: calibration error {one.plain:.3f}, with temperature {one.temperature:.3f} ({origin}) "
                f"{one.error:.3f}"
            )
    return lines


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Columns under each other, the first to the left."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in cells
    )


def percent(share: float) -> str:
    """A share in percent; empty where there is none."""
    return "" if math.isnan(share) else f"{share:.1%}"


def between(figures: stats.Figures) -> str:
    """The interval of ``top1``; empty where there is none."""
    return "" if math.isnan(figures.low) else f"{100 * figures.low:.1f}-{100 * figures.high:.1f}"
