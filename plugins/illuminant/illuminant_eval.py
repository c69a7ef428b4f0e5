"""How well a network and the classical methods find the light of the same pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.classification.confusion import confusion_matrix, recalls
from plugins.color_science.angle_statistics import AngleStatistics, angle_statistics
from plugins.illuminant.centroids import Centroids, angle_degrees
from plugins.illuminant.classic_methods import METHODS
from plugins.illuminant.illuminant_metric import answered_lights
from plugins.illuminant.light_images import to_linear

Array = np.ndarray[Any, Any]

NETWORK, MIXTURE = "network", "network (mixture)"
GREY, ORACLE = "no correction", "right class"
"""Rows beside the methods: always answering grey, and always answering the centroid of the right class."""


@dataclass(frozen=True)
class LitSample:
    """A picture whose light is known.

    Attributes:
        name: What tables call it.
        image: (H, W, 3) float32 RGB in [0, 1], in the network's encoding.
        light: (3,) linear, of sum 1.
        mask: (H, W) bool, the pixels that may be looked at; None for all.
        group: What it is counted under beside the whole, such as the kind of lamp.
    """

    name: str
    image: Array
    light: Array
    mask: Array | None = None
    group: str = ""


@dataclass(frozen=True)
class Answers:
    """What every method said of every picture.

    Attributes:
        names: N names.
        groups: N groups.
        truth: (N, 3) lights.
        lights: Method to its (N, 3) lights.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    truth: Array
    lights: Mapping[str, Array]

    def subset(self, keep: Array) -> Answers:
        """Those of the pictures where ``keep`` (N,) is true."""
        chosen = np.flatnonzero(keep)
        return Answers(
            tuple(self.names[i] for i in chosen),
            tuple(self.groups[i] for i in chosen),
            self.truth[chosen],
            {method: lights[chosen] for method, lights in self.lights.items()},
        )


@dataclass(frozen=True)
class Row:
    """One method's figures.

    Attributes:
        method: The method.
        accuracy: Share of pictures whose light falls into the right class.
        balanced_accuracy: The mean of that over the classes that occur.
        angles: Angular error in degrees.
    """

    method: str
    accuracy: float
    balanced_accuracy: float
    angles: AngleStatistics


def without_masked(image: Array, mask: Array | None) -> Array:
    """The picture with the pixels that may not be looked at replaced by the mean of the others.

    Args:
        image: (H, W, 3).
        mask: (H, W) bool, the pixels to keep; None for all.
    """
    if mask is None or mask.all():
        return image
    if not mask.any():
        raise ValueError("every pixel is masked out")
    return np.where(mask[..., None], image, image[mask].mean(0)).astype(np.float32)


def answer_all(samples: Iterable[LitSample], network: nn.Module, encoding: str, centroids: Centroids) -> Answers:
    """Ask the network and every classical method.

    Args:
        samples: The pictures, in the network's encoding.
        network: A classifier of light, in evaluation mode.
        encoding: The network's, ``srgb`` or ``linear``.
        centroids: Its classes.

    Raises:
        UserError: There is no picture.
    """
    found: dict[str, list[Array]] = {name: [] for name in (NETWORK, MIXTURE, *METHODS, GREY)}
    names, groups, truth = [], [], []
    for sample in samples:
        logits = _logits(network, without_masked(sample.image, sample.mask))
        found[NETWORK].append(answered_lights(logits, centroids.array))
        found[MIXTURE].append(answered_lights(logits, centroids.array, "mixture"))
        linear = to_linear(sample.image, encoding)
        for name, method in METHODS.items():
            found[name].append(_estimate(method, linear, sample.mask))
        found[GREY].append(np.full(3, 1 / 3))
        names.append(sample.name)
        groups.append(sample.group)
        truth.append(np.asarray(sample.light, dtype=np.float64))
    if not names:
        raise UserError("there is no picture to measure on.")
    lights = {name: np.array(values) for name, values in found.items()}
    known = np.array(truth)
    lights[ORACLE] = centroids.array[centroids.assign(known)[0]]
    return Answers(tuple(names), tuple(groups), known, lights)


def _estimate(method: Callable[..., Array], linear: Array, mask: Array | None) -> Array:
    try:
        return method(linear, mask)
    except ValueError:
        return np.full(3, 1 / 3)  # nothing but clipped or black pixels: a camera would leave it as it is


@torch.no_grad()
def _logits(network: nn.Module, image: Array) -> Array:
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[None]
    result: Array = network(tensor)[0].double().numpy()
    return result


def rows(answers: Answers, centroids: Centroids) -> list[Row]:
    """The figures of every method, in the order of ``answers.lights``."""
    classes = centroids.assign(answers.truth)[0]
    table = []
    for method, lights in answers.lights.items():
        guesses = centroids.assign(lights)[0]
        matrix = confusion_matrix(classes, guesses, len(centroids))
        balanced = float(np.nanmean(recalls(matrix)))
        angles = angle_statistics(angle_degrees(lights, answers.truth))
        table.append(Row(method, float((guesses == classes).mean()), balanced, angles))
    return table


def beaten_methods(table: Sequence[Row]) -> list[str]:
    """The classical methods that err more than the network both in the mean and in the worst 25 %."""
    angles = {row.method: row.angles for row in table}
    own = angles[NETWORK]
    return [m for m in METHODS if own.mean < angles[m].mean and own.worst25 < angles[m].worst25]


_HEAD = ("method", "accuracy", "balanced", "mean", "median", "trimean", "best 25 %", "worst 25 %", "p95")


def cells(row: Row) -> tuple[str, ...]:
    """The row as text: shares in per cent, angles in degrees."""
    a = row.angles
    values = (a.mean, a.median, a.trimean, a.best25, a.worst25, a.p95)
    shares = (f"{100 * row.accuracy:.1f} %", f"{100 * row.balanced_accuracy:.1f} %")
    return (row.method, *shares, *(f"{value:.2f}" for value in values))


def text_table(table: Sequence[Row]) -> str:
    """The rows as aligned text."""
    lines = [_HEAD, *[cells(row) for row in table]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    return "\n".join("  ".join(line) for line in padded)


def markdown_table(table: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    head = f"| {' | '.join(_HEAD)} |\n|---|{'---:|' * (len(_HEAD) - 1)}"
    return "\n".join([head, *[f"| {' | '.join(cells(row))} |" for row in table]])


def by_group(answers: Answers, centroids: Centroids) -> Iterator[tuple[str, int, list[Row]]]:
    """Group, number of its pictures, and its rows, for every group."""
    groups = np.array(answers.groups)
    for group in sorted(set(answers.groups)):
        keep = groups == group
        yield group, int(keep.sum()), rows(answers.subset(keep), centroids)


def write_answers(answers: Answers, centroids: Centroids, path: Path) -> None:
    """Write one line a picture: its light and class, and every method's answer and error, as csv."""
    stream = io.StringIO()
    table = csv.writer(stream)
    methods = list(answers.lights)
    head = [f"{method} {part}" for method in methods for part in ("r", "g", "b", "degrees")]
    table.writerow(["name", "group", "class", "r", "g", "b", *head])
    classes = centroids.assign(answers.truth)[0]
    errors = {method: angle_degrees(lights, answers.truth) for method, lights in answers.lights.items()}
    for i, name in enumerate(answers.names):
        line: list[Any] = [name, answers.groups[i], centroids.names[classes[i]], *answers.truth[i].round(6)]
        for method in methods:
            line += [*answers.lights[method][i].round(6), round(float(errors[method][i]), 4)]
        table.writerow(line)
    write_atomic(path, lambda file: file.write(stream.getvalue().encode()))
