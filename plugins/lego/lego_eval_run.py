"""A whole evaluation: answers, figures, baselines, calibration, in one object that files and page are written from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plugins.classification.class_metric import log_softmax
from plugins.lego import lego_eval_baselines as baselines
from plugins.lego import lego_eval_stats as stats
from plugins.lego.lego_classifier_arch import COLOR, PART
from plugins.lego.lego_eval import Answers, LegoRecord, answer_all, choose, labels_of, load_classifier, shared_pieces
from plugins.lego.lego_manifest import SOURCES, VAL, Classes, Record, read_manifest

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int, str], None]
IMAGE, PIECE = "image", "piece"
NETWORK, MAJORITY = "network", "commonest class"
LAB, LAB_BALANCED = "nearest median Lab, as shot", "nearest median Lab, background made white"


@dataclass(frozen=True)
class Row:
    """A line of the table of methods.

    Attributes:
        head: part or color.
        method: Which method.
        per: ``image``, or ``piece`` for votes of the views.
        figures: Its figures.
    """

    head: str
    method: str
    per: str
    figures: stats.Figures


@dataclass(frozen=True)
class ClassRow:
    """A class's figures; ``precision`` and ``recall`` are shares, NaN where nothing counts."""

    number: int
    count: int
    recall: float
    precision: float
    pieces: int
    often: int
    """The class that it was most often taken for; -1 where it never was."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known after an evaluation.

    Attributes:
        weights: File.
        manifest: File.
        split: train, val or test.
        answers: Images and logits.
        classes: Head to classes.
        rows: Table of methods.
        sources: Head to (source, figures).
        votes: Head to votes of the pieces.
        calibration: Head to calibration on this split, at the temperature in use.
        fitted: Head to the temperature fitted on the validation split; a head without one is missing.
        notes: What a reader has to know.
    """

    weights: Path
    manifest: Path
    split: str
    answers: Answers
    classes: Mapping[str, Classes]
    rows: list[Row]
    sources: Mapping[str, list[tuple[str, stats.Figures]]]
    votes: Mapping[str, stats.Votes]
    calibration: Mapping[str, stats.Calibration]
    fitted: Mapping[str, float]
    notes: list[str] = field(default_factory=list)

    def probabilities(self, head: str) -> Array:
        """(N, K) at the temperature in use."""
        found: Array = np.exp(log_softmax(self.answers.logits[head] / self.calibration[head].temperature))
        return found


@dataclass(frozen=True)
class EvalOptions:
    """What to evaluate.

    Attributes:
        weights: Weights file of a LegoModel.
        manifest: ``manifest.csv``.
        split: train, val or test.
        sources: Sources that count; None for real captures only.
        device: Where to compute.
        with_baselines: Whether to measure the median-Lab neighbours, which read the training images.
    """

    weights: Path
    manifest: Path
    split: str = "test"
    sources: Sequence[str] | None = None
    device: torch.device | str = "cpu"
    with_baselines: bool = True


def evaluate(options: EvalOptions, progress: Progress | None = None) -> Evaluation:
    """Evaluate a network on a split of a manifest.

    Args:
        options: What.
        progress: Called with how many images are done, of how many, and the last one's name; each of up to four passes
            (validation split for the temperature, the split itself, training and test images for the Lab neighbours)
            counts anew.

    Raises:
        UserError: A file is missing or damaged, images are synthetic and were not asked for, or nothing is left.
    """
    network, record = load_classifier(options.weights)
    records = read_manifest(options.manifest)
    chosen = choose(records, options.split, options.sources, options.manifest)
    folder = options.manifest.parent
    answers = answer_all(network, record, chosen, folder, options.device, progress)
    val = [one for one in records if one.split == VAL and one.source in _sources(options.sources)]
    if options.split == VAL:
        judged: Answers | None = answers
    else:
        judged = answer_all(network, record, val, folder, options.device, progress) if val else None
    fitted = _temperatures(judged)
    result = summarized(options, record, answers, fitted)
    result.notes.extend(_notes(options, records, chosen, judged, result))
    rows = [*result.rows, *_baseline_rows(options, record, records, answers, progress)]
    return replace(result, rows=sorted(rows, key=lambda row: row.head != PART))


def summarized(options: EvalOptions, record: LegoRecord, answers: Answers, fitted: Mapping[str, float]) -> Evaluation:
    """The figures of answers, without baselines and notes."""
    groups = stats.groups_of(answers.records)
    rows: list[Row] = []
    sources, votes, calibration = {}, {}, {}
    for head, logits in answers.logits.items():
        labels = answers.labels[head]
        temperature = fitted.get(head, record.temperature.get(head, 1.0))
        votes[head] = stats.votes(answers, head, temperature)
        rows.append(Row(head, NETWORK, IMAGE, stats.figures(logits, labels, groups)))
        if votes[head].members:
            rows.append(Row(head, NETWORK, PIECE, stats.figures(votes[head].scores, votes[head].labels)))
        if (labels >= 0).any():
            calibration[head] = stats.calibration(logits, labels, temperature)
        else:
            calibration[head] = stats.Calibration(temperature, stats.NAN, stats.NAN, [], [])
        sources[head] = [
            (source, stats.figures(logits[mine], labels[mine], groups[mine]))
            for source in SOURCES
            if (mine := np.array([one.source == source for one in answers.records])).any()
        ]
    return Evaluation(
        options.weights, options.manifest, options.split, answers, record.classes, rows, sources, votes, calibration,
        dict(fitted),
    )  # fmt: skip


def class_rows(result: Evaluation, head: str) -> list[ClassRow]:
    """Figures of every class that occurs or was answered, the worst recognised first."""
    logits, labels = result.answers.logits[head], result.answers.labels[head]
    matrix = stats.confusion_matrix(labels, logits.argmax(1), logits.shape[1])
    pieces: dict[int, set[str]] = {}
    for label, record in zip(labels.tolist(), result.answers.records, strict=True):
        pieces.setdefault(label, set()).update([record.piece] if record.piece else [])
    rows = []
    for number in range(len(matrix)):
        count, taken, right = int(matrix[number].sum()), int(matrix[:, number].sum()), int(matrix[number, number])
        if not count and not taken:
            continue
        wrong = matrix[number].copy()
        wrong[number] = 0
        rows.append(
            ClassRow(
                number,
                count,
                right / count if count else stats.NAN,
                right / taken if taken else stats.NAN,
                len(pieces.get(number, ())),
                int(wrong.argmax()) if wrong.any() else -1,
            )
        )
    return sorted(rows, key=lambda row: (not row.count, row.recall if row.count else 0, -row.count, row.number))


def _sources(sources: Sequence[str] | None) -> tuple[str, ...]:
    return ("real",) if sources is None else tuple(sources)


def _temperatures(judged: Answers | None) -> dict[str, float]:
    if judged is None:
        return {}
    found = {head: stats.fitted_temperature(logits, judged.labels[head]) for head, logits in judged.logits.items()}
    return {head: value for head, value in found.items() if np.isfinite(value)}


def _baseline_rows(
    options: EvalOptions, record: LegoRecord, records: Sequence[Record], answers: Answers, progress: Progress | None
) -> list[Row]:
    rows = []
    groups = stats.groups_of(answers.records)
    for head in answers.logits:
        labels, count = answers.labels[head], len(record.classes[head])
        known = record.classes[head].numbers()
        train = baselines.training_records(records, lambda one, k=known, h=head: _class_id(one, h) in k)  # type: ignore[misc]
        if not train or not (labels >= 0).any():
            continue
        truth = labels_of(train, record.classes)[0][head]
        scores = baselines.majority(truth, count, len(labels))
        rows.append(Row(head, MAJORITY, IMAGE, stats.figures(scores, labels, groups)))
        if head == COLOR and options.with_baselines:
            folder, judged = options.manifest.parent, labels >= 0
            before = baselines.median_labs([folder / one.path for one in train], progress)
            files = [file for file, here in zip(answers.files, judged, strict=True) if here]
            after = baselines.median_labs(files, progress)
            for name, first, second in zip((LAB, LAB_BALANCED), before, after, strict=True):
                found = baselines.neighbour_votes(first, truth, second, count)
                rows.append(Row(head, name, IMAGE, stats.figures(found, labels[judged], groups[judged])))
    return rows


def _class_id(record: Record, head: str) -> str:
    return record.part if head == PART else str(record.color)


def _notes(
    options: EvalOptions,
    records: Sequence[Record],
    chosen: Sequence[Record],
    judged: Answers | None,
    result: Evaluation,
) -> list[str]:
    notes = []
    shared = shared_pieces(records, chosen)
    if shared:
        notes.append(
            f"{len(shared)} pieces are also in the training split ({', '.join(shared[:5])}): the figures are too good."
        )
    for head, count in result.answers.outside.items():
        if count:
            notes.append(f"{count} images have a {_word(head)} that the network does not know; they are not counted.")
        if not (result.answers.labels[head] >= 0).any():
            notes.append(f"No image has a known {_word(head)}: there are no figures of it.")
    synthetic = sum(one.source != "real" for one in chosen)
    if synthetic:
        notes.append(f"{synthetic} of the {len(chosen)} images are synthetic: these are no figures of real bricks.")
    for head, value in result.fitted.items():
        if not 0.051 < value < 19.5:
            notes.append(f"The temperature of the {_word(head)} is at its limit: the confidence means nothing.")
    if judged is None:
        notes.append("The validation split has no such image: no temperature was fitted.")
    elif options.split == VAL:
        notes.append("The temperature was fitted on these very images: its calibration error here is too good.")
    return notes


def _word(head: str) -> str:
    return "colour" if head == COLOR else head
