"""From figures of images to figures of a set: means, the worst image, and the change against a reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plugins.color_fidelity.fidelity import FIGURES

NAN = float("nan")
BOOTSTRAP_SAMPLES = 2000
CONFIDENCE = 0.95
_SEED = 20050101
_EQUAL = 1e-9


@dataclass(frozen=True)
class Summary:
    """Figures over the images of a set, each a dict by figure. Images where a figure is undefined do not count.

    Attributes:
        images: Number of images.
        mean: Mean; of PSNR, over the images that differ from their target at all.
        median: Median.
        minimum: Smallest.
        maximum: Largest.
        worst: Figure of the worst image, by the figure's own direction.
        worst_image: Name of that image, empty where there is none.
        defined: Number of images on which the figure is defined.
    """

    images: int
    mean: dict[str, float]
    median: dict[str, float]
    minimum: dict[str, float]
    maximum: dict[str, float]
    worst: dict[str, float]
    worst_image: dict[str, str]
    defined: dict[str, int]


@dataclass(frozen=True)
class Change:
    """Change of one figure against a reference, over the images that both have.

    Attributes:
        mean: Mean of new minus old, in the figure's own unit.
        low: Lower end of its 95 % interval, from a paired bootstrap over the images.
        high: Upper end.
        gain: Mean improvement: positive is better whatever the figure's direction.
        better: Number of images that got better.
        worse: Number of images that got worse.
        images: Number of images compared.
        worst_image: The image that lost most, empty where none lost.
    """

    mean: float
    low: float
    high: float
    gain: float
    better: int
    worse: int
    images: int
    worst_image: str


def finite_mean(values: Sequence[float]) -> float:
    """Mean over finite values, so that one infinite PSNR does not hide the others; infinite if all are, NaN if none."""
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        return math.fsum(finite) / len(finite)
    return math.inf if any(math.isinf(value) for value in values) else NAN


def badness(key: str, value: float) -> float:
    """A figure as a loss: larger is worse. Figures that say nothing about quality have none (NaN)."""
    better = FIGURES[key].better
    if better == "higher":
        return -value
    if better == "lower":
        return value
    return abs(1 - value) if better == "one" else NAN


def summarise(images: Sequence[tuple[str, Mapping[str, float]]]) -> Summary:
    """Summarise (name, figures) of the images of a set."""
    parts: dict[str, dict[str, float]] = {name: {} for name in ("mean", "median", "minimum", "maximum", "worst")}
    worst_image: dict[str, str] = {}
    defined: dict[str, int] = {}
    for key in FIGURES:
        known = [(name, figures[key]) for name, figures in images if not math.isnan(figures[key])]
        values = [value for _, value in known]
        defined[key] = len(known)
        parts["mean"][key] = finite_mean(values)
        parts["median"][key] = float(np.median(values)) if values else NAN
        parts["minimum"][key] = min(values, default=NAN)
        parts["maximum"][key] = max(values, default=NAN)
        judged = known if FIGURES[key].better != "none" else []
        name, value = max(judged, key=lambda item, key=key: badness(key, item[1]), default=("", NAN))  # type: ignore[misc]
        parts["worst"][key], worst_image[key] = value, name
    return Summary(
        len(images),
        parts["mean"],
        parts["median"],
        parts["minimum"],
        parts["maximum"],
        parts["worst"],
        worst_image,
        defined,
    )


def compare(key: str, before: Mapping[str, float], after: Mapping[str, float]) -> Change:
    """Paired comparison of one figure, by image name.

    The interval is the percentile interval of a bootstrap over images with a fixed seed, so that it is reproducible.
    Images where either value is undefined or infinite do not count.
    """
    names = [name for name in before if name in after and math.isfinite(before[name]) and math.isfinite(after[name])]
    if not names:
        return Change(NAN, NAN, NAN, NAN, 0, 0, 0, "")
    difference = np.array([after[name] - before[name] for name in names])
    gains = np.array([badness(key, before[name]) - badness(key, after[name]) for name in names])
    rng = np.random.default_rng(_SEED)
    samples = difference[rng.integers(0, len(names), (BOOTSTRAP_SAMPLES, len(names)))].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(value) for value in np.quantile(samples, (tail, 1 - tail)))
    lost = int(np.argmin(gains)) if np.isfinite(gains).all() else -1
    return Change(
        mean=float(difference.mean()),
        low=low,
        high=high,
        gain=float(gains.mean()),
        better=int((gains > _EQUAL).sum()),
        worse=int((gains < -_EQUAL).sum()),
        images=len(names),
        worst_image=names[lost] if lost >= 0 and gains[lost] < -_EQUAL else "",
    )
