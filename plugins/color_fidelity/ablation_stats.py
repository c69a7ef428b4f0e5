"""From figures of images and seeds to figures of rows, with intervals over photographs and seeds.

A row's figure is the mean over images of each image's mean over seeds. Its uncertainty has two sources: other photos
would have given other figures, and so would other seeds. Every seed's network sees every photo, so the two are crossed:
the bootstrap draws photos with replacement and, independently, seeds with replacement, and takes the means of what it
drew. Against a reference both rows get the same draws (paired), seed by seed where both have the same seeds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plugins.color_fidelity.ablation_eval import Judged
from plugins.color_fidelity.fidelity import FIGURES

SAMPLES = 4000
LEVEL = 0.95
RATIO = "sat_ratio"
WORSE = {"de00_mean": 0.5, "hue_abs_deg": 2.0, RATIO: 0.03}
"""An image got worse where its figure (for the ratio: its distance from 1) rose by more than this."""

_SEED = 20050101


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class RowFigures:
    """A row on one set.

    Attributes:
        row: Name of the row.
        set: Name of the set.
        seeds: Number of trainings (0: not trained).
        images: Number of images.
        mean: Figure to its mean with interval.
        seed_sd: Figure to the standard deviation of the seeds' means.
        change: Figure to its change against the reference, with a paired interval.
        closed: Share of the reference's saturation gap, ``|1 - mean ratio|``, that is closed.
        worse: Figure to the number of images that got worse by more than :data:`WORSE`.
    """

    row: str
    set: str
    seeds: int
    images: int
    mean: dict[str, Interval]
    seed_sd: dict[str, float]
    change: dict[str, Interval]
    closed: Interval
    worse: dict[str, int]


class Table:
    """Figures of one set as arrays: row to (seeds, images) for each figure.

    Args:
        judged: Everything that was measured on the set.
        photo: Regular expression whose first group names the photograph of an image; empty: every image is one.
    """

    def __init__(self, judged: Sequence[Judged], photo: str = "") -> None:
        self.images = list(judged[0].images)
        self.rows: dict[str, list[Judged]] = {}
        for item in judged:
            self.rows.setdefault(item.row, []).append(item)
        names = [_photo(image, photo) for image in self.images]
        order = {name: index for index, name in enumerate(dict.fromkeys(names))}
        self.photo = np.array([order[name] for name in names])
        self.photos = len(order)

    def values(self, row: str, key: str) -> np.ndarray:
        """(seeds, images); NaN where undefined or infinite."""
        found = np.array([[item.images[name][key] for name in self.images] for item in self.rows[row]])
        found[~np.isfinite(found)] = np.nan
        return found

    def seeds(self, row: str) -> tuple[int | None, ...]:
        """The seeds of a row, in the order of its values."""
        return tuple(item.seed for item in self.rows[row])


def _photo(image: str, pattern: str) -> str:
    match = re.search(pattern, image) if pattern else None
    return match[1] if match and match.groups() else image


class Bootstrap:
    """The draws of photographs and seeds, the same for every row and figure of a table.

    Args:
        table: The table.
        samples: Number of draws.
    """

    def __init__(self, table: Table, samples: int = SAMPLES) -> None:
        self.table = table
        self.samples = samples
        rng = np.random.default_rng(_SEED)
        self.photos = rng.multinomial(table.photos, [1 / table.photos] * table.photos, size=samples).astype(float)
        self._seeds: dict[tuple[int | None, ...], np.ndarray] = {}

    def seed_weights(self, seeds: tuple[int | None, ...]) -> np.ndarray:
        """How often each seed is drawn, as shares: (samples, seeds). Rows with the same seeds get the same draws."""
        if seeds not in self._seeds:
            rng = np.random.default_rng([_SEED, len(seeds), *(0 if seed is None else seed + 1 for seed in seeds)])
            self._seeds[seeds] = rng.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), size=self.samples) / len(
                seeds
            )
        return self._seeds[seeds]

    def means(self, values: np.ndarray, seeds: tuple[int | None, ...]) -> tuple[float, np.ndarray]:
        """The mean of (seeds, images) and its draws (samples,). An image that is undefined for a seed is left out."""
        defined = np.isfinite(values).all(axis=0)
        if not defined.any():
            return math.nan, np.full(self.samples, np.nan)
        by_photo = np.zeros((self.table.photos, len(values) + 1))
        photos = self.table.photo[defined]
        np.add.at(by_photo, photos, np.column_stack([values[:, defined].T, np.ones(len(photos))]))
        drawn = self.photos @ by_photo
        with np.errstate(invalid="ignore", divide="ignore"):
            per_seed = drawn[:, :-1] / drawn[:, -1:]
        return float(values[:, defined].mean()), (per_seed * self.seed_weights(seeds)).sum(axis=1)


def interval(value: float, draws: np.ndarray) -> Interval:
    """The percentile interval of the draws that are defined."""
    known = draws[np.isfinite(draws)]
    if not len(known) or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def summarise_set(
    judged: Sequence[Judged], reference: str | None, photo: str = "", samples: int = SAMPLES
) -> dict[str, RowFigures]:
    """All rows of one set.

    Args:
        judged: What was measured on the set.
        reference: Row that changes are counted against; None for none.
        photo: See :class:`Table`.
        samples: Draws of the bootstrap.
    """
    table = Table(judged, photo)
    bootstrap = Bootstrap(table, samples)
    return {row: _row(row, judged[0].set, table, bootstrap, reference) for row in table.rows}


def _row(row: str, set_name: str, table: Table, bootstrap: Bootstrap, reference: str | None) -> RowFigures:
    seeds = table.seeds(row)
    mean, spread, change = {}, {}, {}
    compared = reference is not None and reference in table.rows and row != reference
    closed, worse = UNKNOWN, {}
    for key in FIGURES:
        values = table.values(row, key)
        mean[key] = interval(*bootstrap.means(values, seeds))
        spread[key] = _seed_sd(values)
        if compared and reference is not None:
            change[key], share = _change(key, values, seeds, table, bootstrap, reference)
            closed = share if key == RATIO else closed
    if compared and reference is not None:
        worse = {key: count_worse(key, table.values(row, key), table.values(reference, key)) for key in WORSE}
    trained = sum(seed is not None for seed in seeds)
    return RowFigures(row, set_name, trained, len(table.images), mean, spread, change, closed, worse)


def _seed_sd(values: np.ndarray) -> float:
    defined = np.isfinite(values).all(axis=0)
    if len(values) < 2 or not defined.any():
        return math.nan
    return float(values[:, defined].mean(axis=1).std(ddof=1))


def _change(
    key: str, values: np.ndarray, seeds: tuple[int | None, ...], table: Table, bootstrap: Bootstrap, reference: str
) -> tuple[Interval, Interval]:
    """Change of the mean and the share of the gap to 1 that it closes, over the images that both rows define."""
    before = table.values(reference, key)
    both = np.isfinite(values).all(axis=0) & np.isfinite(before).all(axis=0)
    after_mean, after = bootstrap.means(np.where(both, values, np.nan), seeds)
    before_mean, drawn = bootstrap.means(np.where(both, before, np.nan), table.seeds(reference))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = 1 - np.abs(1 - after) / np.abs(1 - drawn)
    share = 1 - abs(1 - after_mean) / abs(1 - before_mean) if before_mean != 1 else math.nan
    return interval(after_mean - before_mean, after - drawn), interval(share, shares)


def count_worse(key: str, values: np.ndarray, before: np.ndarray) -> int:
    """Images whose mean over seeds got worse by more than :data:`WORSE`."""
    after_mean, before_mean = values.mean(axis=0), before.mean(axis=0)
    if key == RATIO:
        after_mean, before_mean = np.abs(1 - after_mean), np.abs(1 - before_mean)
    with np.errstate(invalid="ignore"):
        return int(np.count_nonzero(after_mean - before_mean > WORSE[key]))


def summarise(
    judged: Sequence[Judged], reference: str | None, photos: Mapping[str, str], samples: int = SAMPLES
) -> dict[str, dict[str, RowFigures]]:
    """Set to row to figures, in the order measured."""
    names = list(dict.fromkeys(item.set for item in judged))
    return {
        name: summarise_set([item for item in judged if item.set == name], reference, photos.get(name, ""), samples)
        for name in names
    }
