"""Classes of light by k-means on the directions of measured lights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError
from plugins.color_science.angle_statistics import AngleStatistics, angle_statistics
from plugins.illuminant.centroids import CLASS_NAMES, Centroids, make_centroids

Array = np.ndarray[Any, Any]

STARTS = 20
SPLITS = 6
_SEED = 0


@dataclass(frozen=True)
class CentroidFit:
    """Centroids and how well they stand for the lights they were made from.

    Attributes:
        centroids: The classes, from cool to warm.
        lights: (N, 3) float64 of sum 1, as given.
        classes: (N,) class of each light.
        degrees: (N,) angle of each light to its class's centroid: the error of a classifier that is always right and
            answers the centroid.
        overall: Statistics of ``degrees``.
        within: The same for each class.
        agreement: Share of lights that get the same class from the centroids of either half of the lights, for several
            divisions into halves; empty where there are too few lights.
    """

    centroids: Centroids
    lights: Array
    classes: Array
    degrees: Array
    overall: AngleStatistics
    within: tuple[AngleStatistics, ...]
    agreement: tuple[float, ...]


def class_names(count: int) -> tuple[str, ...]:
    """Very_Cool to Very_Warm for five classes, else Class_0 (the coolest), Class_1, ..."""
    return CLASS_NAMES if count == len(CLASS_NAMES) else tuple(f"Class_{k}" for k in range(count))


def fit_centroids(lights: Array, sensor: str, count: int = 5, source: str = "") -> CentroidFit:
    """Group lights by direction.

    k-means (scikit-learn) on unit vectors; then each light belongs to the centroid of the smallest angle. Neither
    the lights' order nor their scale changes the result, and it is the same at every call.

    Args:
        lights: (N, 3) positive linear RGB.
        sensor: Camera or colour space whose RGB it is.
        count: Number of classes.
        source: Where the lights come from.

    Raises:
        UserError: scikit-learn is missing, a light is not positive, or there are fewer different lights than classes.
    """
    values = np.asarray(lights, dtype=np.float64)
    where = source or "the lights"
    if values.ndim != 2 or values.shape[1] != 3:
        raise UserError(f"{where}: lights must be a table of r, g, b, got an array of shape {values.shape}.")
    if not np.isfinite(values).all() or (values <= 0).any():
        raise UserError(f"{where}: every r, g, b must be a positive number.")
    if count < 2:
        raise UserError(f"{count} classes cannot be told apart: take at least 2.")
    centroids = _fit(values, sensor, count, source)
    classes, degrees = centroids.assign(values)
    within = tuple(angle_statistics(degrees[classes == k]) for k in range(count))
    return CentroidFit(
        centroids,
        values / values.sum(1, keepdims=True),
        classes,
        degrees,
        angle_statistics(degrees),
        within,
        _split_half_agreement(values, sensor, count),
    )


def _fit(lights: Array, sensor: str, count: int, source: str) -> Centroids:
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise UserError(
            "k-means needs scikit-learn, which is not installed: pip install 'basicsr[illuminant]'."
        ) from error
    unit = lights / np.sqrt(np.square(lights).sum(1, keepdims=True))
    unit = unit[np.lexsort(unit.T)]
    different = len(np.unique(unit.round(9), axis=0))
    if different < count:
        raise UserError(f"{source or 'the lights'}: {different} different lights cannot make {count} classes.")
    found = KMeans(count, n_init=STARTS, random_state=_SEED, algorithm="lloyd").fit(unit).cluster_centers_
    # The nearest centre of k-means is by distance and its centres lie inside the sphere: by angle a few lights move.
    draft = make_centroids(found, [0] * count, sensor, class_names(count), source)
    tally = np.bincount(draft.assign(lights)[0], minlength=count)
    if not tally.all():
        raise UserError(f"{source or 'the lights'}: a class of {count} is left without a light; take fewer classes.")
    return make_centroids(draft.array, tally.tolist(), sensor, class_names(count), source)


def _split_half_agreement(lights: Array, sensor: str, count: int) -> tuple[float, ...]:
    if len(np.unique(lights, axis=0)) < 8 * count:
        return ()
    order = lights[np.lexsort(lights.T)]
    shares = []
    for split in range(SPLITS):
        shuffled = np.random.default_rng([_SEED, split]).permutation(len(order))
        try:
            first, second = (_fit(order[half], sensor, count, "") for half in np.array_split(shuffled, 2))
        except UserError:
            return ()  # a half has too few different lights
        shares.append(float((first.assign(order)[0] == second.assign(order)[0]).mean()))
    return tuple(shares)
