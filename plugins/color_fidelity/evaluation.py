"""Measure many images of many runs: the programming interface behind ``tools/eval_color.py`` and the demo.

    from plugins.color_fidelity.evaluation import Pair, evaluate
    from plugins.color_fidelity.report import figure_table, markdown_table, write_csv, write_json
    from plugins.color_fidelity.report_html import write_html

    pairs = [Pair("baseline", "held-out", "kitchen", pred=..., target=..., lq=...), ...]   # or plain tuples
    result = evaluate(pairs, reference="baseline")
    result.summary("fine-tuned", "stress").mean["sat_ratio"]       # mean over the images of the last iteration
    result.change("fine-tuned", "stress", "sat_ratio").low         # against the reference, with an interval
    print(markdown_table(result))                                  # one row a run
    print(figure_table(result, "stress", ("psnr", "sat_ratio")))   # one column a run: input | baseline | ... | target
    write_csv(result, path); write_json(result, path); write_html(result, path, title="...")

Images are measured one by one and then averaged. Where inputs (``lq``) are given, a row ``input`` holds them against
their targets; a row ``target`` holds the targets against themselves. The keys of the figures are those of
``plugins.color_fidelity.fidelity.FIGURES``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image
from plugins.color_fidelity.evaluation_stats import Change, Summary, compare, summarise
from plugins.color_fidelity.fidelity import measure_with_map
from plugins.color_fidelity.report_images import Shot, make_shot
from plugins.color_science.fast import available_cores

INPUT_ROW = "input"
TARGET_ROW = "target"
MOST_PICTURED = 8
"""Checkpoints of a set that get pictures in a report; all of them get figures."""

_JPEG = (".jpg", ".jpeg")

PairTuple = tuple[str, str, str, "str | Path", "str | Path", "str | Path | None"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pair:
    """A prediction and its target.

    Attributes:
        row: What made the prediction: a run, a model, a column of the table.
        set: Name of the image set.
        image: Name of the image, the same in every row.
        pred: File of the prediction.
        target: File of the target.
        lq: File of the network's input, if known.
        iteration: Training iteration of the checkpoint, if known.
    """

    row: str
    set: str
    image: str
    pred: Path
    target: Path
    lq: Path | None = None
    iteration: int | None = None


@dataclass(frozen=True)
class Record:
    """A measured pair.

    Attributes:
        pair: What was measured.
        figures: The keys of ``fidelity.FIGURES``.
        size: (width, height).
        shot: Small pictures for a report, where they were asked for.
    """

    pair: Pair
    figures: dict[str, float]
    size: tuple[int, int]
    shot: Shot | None = field(default=None, repr=False, compare=False)


@dataclass
class Evaluation:
    """All measurements of one call of :func:`evaluate`.

    Attributes:
        records: One a pair: input rows first, then in the order given, then target rows.
        reference: Row that changes are counted against, or None.
        warnings: What a reader of the figures should know about the files.
    """

    records: list[Record]
    reference: str | None
    warnings: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[str]:
        """Names of the rows in order: input, runs, target."""
        return list(dict.fromkeys(record.pair.row for record in self.records))

    @property
    def runs(self) -> list[str]:
        """The rows that are predictions: all but input and target."""
        return [row for row in self.rows if row not in (INPUT_ROW, TARGET_ROW)]

    @property
    def sets(self) -> list[str]:
        """Names of the image sets in order."""
        return list(dict.fromkeys(record.pair.set for record in self.records))

    def iterations(self, row: str, set_name: str) -> list[int | None]:
        """The iterations of a row in a set, ascending; ``[None]`` where the files name none."""
        found = {r.pair.iteration for r in self.records if r.pair.row == row and r.pair.set == set_name}
        return sorted(found, key=lambda value: -1 if value is None else value)

    def image_count(self, set_name: str) -> int:
        """Number of different images in a set."""
        return len({record.pair.image for record in self.records if record.pair.set == set_name})

    def select(self, row: str, set_name: str, iteration: int | str | None = "last") -> list[Record]:
        """Records of a row in a set, at one iteration (``last`` by default)."""
        if iteration == "last":
            present = self.iterations(row, set_name)
            iteration = present[-1] if present else None
        return [
            record
            for record in self.records
            if record.pair.row == row and record.pair.set == set_name and record.pair.iteration == iteration
        ]

    def summary(self, row: str, set_name: str, iteration: int | str | None = "last") -> Summary:
        """Figures over the images of a set.

        Raises:
            UserError: If nothing was measured there.
        """
        records = self.select(row, set_name, iteration)
        if not records:
            raise UserError(
                f"nothing was measured for '{row}' in the set '{set_name}'; rows: {', '.join(self.rows)}; "
                f"sets: {', '.join(self.sets)}"
            )
        return summarise([(record.pair.image, record.figures) for record in records])

    def change(self, row: str, set_name: str, key: str, reference: str | None = None) -> Change:
        """What a row changes against the reference on the images both have, at the last iterations.

        Args:
            row: Name of the row.
            set_name: Name of the set.
            key: Name of the figure.
            reference: Another reference than the evaluation's own.

        Raises:
            UserError: If there is no reference.
        """
        other = reference or self.reference
        if other is None:
            raise UserError("there is no reference row to compare with: name one (--reference NAME)")
        before = {record.pair.image: record.figures[key] for record in self.select(other, set_name)}
        after = {record.pair.image: record.figures[key] for record in self.select(row, set_name)}
        return compare(key, before, after)


def evaluate(
    pairs: Iterable[Pair | PairTuple],
    *,
    reference: str | None = None,
    input_row: bool = True,
    target_row: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
    picture_side: Callable[[int], int] | None = None,
) -> Evaluation:
    """Measure pairs of images on all cores.

    Args:
        pairs: ``Pair`` objects, or tuples (row, set, image, pred, target, lq or None).
        reference: Row that changes are counted against. By default the first run where there are several, else the
            input where it is known.
        input_row: Add a row of the inputs against their targets where inputs are known.
        target_row: Add a row of the targets against themselves.
        jobs: Images measured at the same time; all cores by default.
        progress: Called with (done, total) as images are finished.
        picture_side: Called with the number of pictures; the longer side of those that each record is to keep for a
            report. Without it no pictures are made.

    Returns:
        The measurements. They do not depend on ``jobs``.

    Raises:
        UserError: If there is no pair, one is given twice, a file cannot be read, the sizes of a pair differ, or the
            reference does not exist.
    """
    todo = _with_extra_rows([_as_pair(pair) for pair in pairs], input_row, target_row)
    _check_unique(todo)
    _check_reference(reference, list(dict.fromkeys(pair.row for pair in todo)))
    shown = pictured(todo) if picture_side is not None else set()
    side = picture_side(len(shown)) if picture_side is not None else 0
    notes: list[tuple[str, str]] = []
    measured = _measure_all(todo, notes, shown, side, jobs or available_cores(), progress)
    records = [measured[index] for index in range(len(todo))]
    result = Evaluation(records, None, _warnings(todo, notes))
    result.reference = _reference(result, reference)
    return result


def _measure_all(
    todo: list[Pair],
    notes: list[tuple[str, str]],
    shown: set[int],
    side: int,
    jobs: int,
    progress: Progress | None,
) -> dict[int, Record]:
    """Measure all pairs, those of one target together; notes are added to ``notes``."""
    groups: dict[Path, list[int]] = {}
    for index, pair in enumerate(todo):
        groups.setdefault(pair.target, []).append(index)
    measured: dict[int, Record] = {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_measure_group, todo, indices, notes, shown, side) for indices in groups.values()]
        try:
            if progress is not None:
                progress(0, len(todo))
            for future in as_completed(futures):
                measured.update(future.result())
                if progress is not None:
                    progress(len(measured), len(todo))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return measured


def _as_pair(pair: Pair | PairTuple) -> Pair:
    if not isinstance(pair, Pair):
        row, set_name, image, pred, target, lq = pair
        return Pair(row, set_name, image, Path(pred), Path(target), None if lq is None else Path(lq))
    return pair


def _with_extra_rows(pairs: list[Pair], input_row: bool, target_row: bool) -> list[Pair]:
    if not pairs:
        raise UserError("there is no image to evaluate")
    present = {pair.row for pair in pairs}
    # the first pair of each image decides; a later one may be the first that knows the input
    known: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        key = (pair.set, pair.image)
        if key not in known or (known[key].lq is None and pair.lq is not None):
            known[key] = pair
    inputs = [
        replace(pair, row=INPUT_ROW, pred=pair.lq, iteration=None) for pair in known.values() if pair.lq is not None
    ]
    targets = [replace(pair, row=TARGET_ROW, pred=pair.target, iteration=None) for pair in known.values()]
    first = inputs if input_row and INPUT_ROW not in present else []
    last = targets if target_row and TARGET_ROW not in present else []
    return first + pairs + last


def _check_unique(pairs: Sequence[Pair]) -> None:
    seen: dict[tuple[str, str, str, int | None], Pair] = {}
    for pair in pairs:
        key = (pair.row, pair.set, pair.image, pair.iteration)
        if key in seen:
            raise UserError(
                f"the image '{pair.image}' of the set '{pair.set}' is given twice for '{pair.row}': "
                f"{seen[key].pred} and {pair.pred}"
            )
        seen[key] = pair


def pictured(pairs: Sequence[Pair]) -> set[int]:
    """Which pairs get pictures: inputs, targets, the last checkpoint of every run, and others evenly spread."""
    versions: dict[str, dict[str, set[int]]] = {}
    for pair in pairs:
        found = versions.setdefault(pair.set, {}).setdefault(pair.row, set())
        if pair.iteration is not None:
            found.add(pair.iteration)
    keep: set[tuple[str, str, int | None]] = set()
    for set_name, runs in versions.items():
        trained = sum(1 for iterations in runs.values() if iterations)
        share = max(1, MOST_PICTURED // max(1, trained))
        for row, iterations in runs.items():
            ordered = sorted(iterations, reverse=True)
            picked = np.linspace(0, len(ordered) - 1, min(share, len(ordered))).round().astype(int)
            keep |= {(set_name, row, ordered[place]) for place in picked} or {(set_name, row, None)}
    return {place for place, pair in enumerate(pairs) if (pair.set, pair.row, pair.iteration) in keep}


def _measure_group(
    pairs: list[Pair], indices: list[int], notes: list[tuple[str, str]], shown: set[int], side: int
) -> dict[int, Record]:
    """Measure all predictions of one target, which is read once. (``list.append`` is safe between threads.)"""

    def note(kind: str, name: str) -> None:
        notes.append((kind, name))

    target = read_image(pairs[indices[0]].target, note)
    records = {}
    for index in indices:
        pair = pairs[index]
        pred = target if pair.pred == pair.target else read_image(pair.pred, note)
        _check_size(pair, pred, target)
        figures, difference = measure_with_map(pred, target, threads=1)
        shot = make_shot(pred, None if pred is target else difference, side) if index in shown else None
        records[index] = Record(pair, figures, (target.shape[1], target.shape[0]), shot)
    return records


def _check_size(pair: Pair, pred: np.ndarray, target: np.ndarray) -> None:
    if pred.shape != target.shape:
        sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in (pred, target)]
        raise UserError(
            f"{pair.pred} is {sizes[0]} pixels and its target {pair.target} is {sizes[1]}: they must be of one size "
            f"to be compared. Nothing is resized here, because resizing changes colours at edges."
        )


def _check_reference(wanted: str | None, rows: Sequence[str]) -> None:
    if wanted is not None and wanted not in rows:
        raise UserError(f"there is no row '{wanted}' to be the reference; there are: {', '.join(rows)}")


def _reference(result: Evaluation, wanted: str | None) -> str | None:
    if wanted is not None:
        return wanted
    if len(result.runs) > 1:
        return result.runs[0]
    return INPUT_ROW if INPUT_ROW in result.rows else None


def _warnings(pairs: list[Pair], notes: list[tuple[str, str]]) -> list[str]:
    texts = []
    jpegs = [pair.pred for pair in pairs if pair.row not in (INPUT_ROW, TARGET_ROW) and _is_jpeg(pair.pred)]
    if jpegs:
        texts.append(
            f"{_files(len(jpegs), 'prediction')} JPEG (first: {jpegs[0]}): compression alone costs about 1.5 ΔE00. "
            f"Save predictions as PNG."
        )
    said = {
        "icc": "with a colour profile that is not sRGB: converted to sRGB before measuring",
        "icc-unreadable": "with a colour profile that cannot be used: taken as sRGB",
        "grey": "without colour: expanded to three equal channels",
        "alpha": "with an alpha channel: it is ignored",
        "cmyk": "in CMYK: converted to RGB",
    }
    for kind, text in said.items():
        names = sorted({name for key, name in notes if key == kind})
        if names:
            texts.append(f"{len(names)} file{'s' if len(names) > 1 else ''} {text} (first: {names[0]}).")
    return texts


def _files(count: int, noun: str) -> str:
    return f"{count} {noun} is a" if count == 1 else f"{count} {noun}s are"


def _is_jpeg(path: Path) -> bool:
    return path.suffix.lower() in _JPEG


def format_figure(value: float, digits: int) -> str:
    """A figure as text: ``n/a`` where it is undefined, ``∞`` where it is infinite."""
    if math.isnan(value):
        return "n/a"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"
