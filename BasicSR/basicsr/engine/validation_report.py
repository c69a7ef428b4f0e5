"""From values of images to the figures of a set, and their log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SetResult:
    """One metric on one set.

    Attributes:
        mean: Over the images whose value is finite. Where none is: infinite if all are infinite alike, else NaN.
        count: Images in the mean.
        infinite: Images left out because their value is infinite (the PSNR of equal images).
        undefined: Images left out because their value is NaN (a measure on a mask that is empty).
    """

    mean: float
    count: int
    infinite: int = 0
    undefined: int = 0

    @property
    def note(self) -> str:
        """What the mean leaves out; empty if nothing."""
        kinds = ((self.infinite, "infinite"), (self.undefined, "undefined"))
        left_out = [f"{number} {what}" for number, what in kinds if number]
        total = self.count + self.infinite + self.undefined
        return f"(of {total} images {' and '.join(left_out)}, not in the mean)" if left_out else ""


def summarise(values: Sequence[float]) -> SetResult:
    """Average the finite values, in the given order.

    Args:
        values: One per image.
    """
    finite = [value for value in values if math.isfinite(value)]
    infinite = [value for value in values if math.isinf(value)]
    undefined = len(values) - len(finite) - len(infinite)
    if finite:
        mean = math.fsum(finite) / len(finite)
    elif infinite and len(set(infinite)) == 1:
        mean = infinite[0]
    else:
        mean = math.nan
    return SetResult(mean, len(finite), len(infinite), undefined)


def log_text(
    dataset_name: str,
    results: Mapping[str, float],
    best: Mapping[str, Mapping[str, Any]] | None,
    notes: Mapping[str, str] | None = None,
) -> str:
    """The block that the log gets.

    Args:
        dataset_name: The set.
        results: Metric label to mean.
        best: Metric label to its best value and iteration; None in testing.
        notes: Metric label to a remark.
    """
    text = f"Validation {dataset_name}\n"
    for label, value in results.items():
        text += f"\t # {label}: {value:.4f}"
        if best is not None and label in best:
            text += f"\tBest: {best[label]['val']:.4f} @ {best[label]['iter']} iter"
        note = (notes or {}).get(label)
        text += f"\t{note}\n" if note else "\n"
    return text
