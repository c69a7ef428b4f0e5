"""The lights of a data set: outliers, balance of the classes, and new lights to draw."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError
from plugins.color_science.illuminants import sample_lights
from plugins.illuminant.centroids import OUTLIER_DEGREES, Centroids
from plugins.illuminant.truth_files import LitImage
from plugins.illuminant.truth_table import read_lights

Array = np.ndarray[Any, Any]

SAMPLED = 2000
"""Lights that are made up where none were measured."""
_SHOWN = 5


@dataclass(frozen=True)
class LightPool:
    """Lights to draw from.

    Attributes:
        lights: (N, 3) float64 of sum 1.
        classes: (N,) the class of each.
        groups: Indices to draw from: one group, or one a class that has lights.
    """

    lights: Array
    classes: Array
    groups: tuple[Array, ...]

    def draw(self, rng: random.Random) -> Array:
        """Draw a group, each as often, then a light of it, (3,)."""
        group = self.groups[rng.randrange(len(self.groups))]
        return self.lights[int(group[rng.randrange(len(group))])]

    def class_shares(self, count: int) -> Array:
        """Share of each of ``count`` classes in what is drawn, (K,) float64."""
        parts = [np.bincount(self.classes[group], minlength=count) / len(group) for group in self.groups]
        return np.mean(parts, axis=0)


def light_pool(
    file: Path | None, own: Array | None, centroids: Centroids, by_class: bool, keep_outliers: bool, seed: int
) -> LightPool:
    """Collect lights for re-illumination.

    Args:
        file: Table of lights, or folder of ``.wp`` files; None: ``own``.
        own: (N, 3) lights of the data set; None: made up, see :func:`~plugins.color_science.illuminants.sample_lights`.
        centroids: The classes.
        by_class: Draw the class first.
        keep_outliers: Also use lights that belong to no class.
        seed: For made-up lights.

    Raises:
        UserError: The file is wrong, or no light is left.
    """
    if file is not None:
        lights, source = read_lights(file), str(file)
    elif own is not None:
        lights, source = np.asarray(own, dtype=np.float64), "the lights of the truth"
    else:
        lights, source = sample_lights(SAMPLED, np.random.default_rng(seed)), "the sampled lights"
    classes, degrees = centroids.assign(lights)
    kept = np.ones(len(lights), bool) if keep_outliers else degrees <= OUTLIER_DEGREES
    if not kept.any():
        raise UserError(
            f"{source}: none of the {len(lights)} lights is within {OUTLIER_DEGREES:g} degrees of a class of the "
            f"sensor '{centroids.sensor}': lights and centroids must be of one sensor."
        )
    lights, classes = lights[kept], classes[kept]
    everything = np.arange(len(lights))
    groups = [everything[classes == k] for k in range(len(centroids))] if by_class else [everything]
    empty = [name for name, group in zip(centroids.names, groups, strict=False) if by_class and not len(group)]
    if empty:
        logging.getLogger("basicsr").warning("%s: no light to draw of the classes %s.", source, ", ".join(empty))
    return LightPool(lights, classes, tuple(group for group in groups if len(group)))


def drop_outliers(images: Sequence[LitImage], centroids: Centroids, keep: bool, where: str) -> list[LitImage]:
    """Leave out, or only name, the photos whose light is over ``OUTLIER_DEGREES`` from every class.

    Raises:
        UserError: More than half are: the centroids are not those of this sensor.
    """
    degrees = centroids.assign(np.array([image.light for image in images]))[1]
    far = [image.path.name for image, angle in zip(images, degrees, strict=True) if angle > OUTLIER_DEGREES]
    if not far:
        return list(images)
    some = ", ".join(far[:_SHOWN]) + (f" and {len(far) - _SHOWN} more" if len(far) > _SHOWN else "")
    if 2 * len(far) > len(images) and not keep:
        raise UserError(
            f"{where}: the lights of {len(far)} of {len(images)} photos are over {OUTLIER_DEGREES:g} degrees from "
            f"every class ({some}): the centroids are those of the sensor '{centroids.sensor}'. Make those of this "
            "sensor with tools/export_centroids.py, or set outlier: keep."
        )
    logging.getLogger("basicsr").warning(
        "%s: %d of %d photos have a light over %g degrees from every class and are %s: %s.",
        where, len(far), len(images), OUTLIER_DEGREES, "kept in the nearest class" if keep else "left out", some,
    )  # fmt: skip
    return list(images) if keep else [i for i, angle in zip(images, degrees, strict=True) if angle <= OUTLIER_DEGREES]


def balanced(classes: Array, count: int) -> Array:
    """Order of an epoch in which every class that occurs has about as many samples as the largest one.

    Args:
        classes: (N,) class of each photo.
        count: Number of classes.

    Returns:
        Indices of photos, each at least once, int64.
    """
    tally = np.bincount(classes, minlength=count)
    parts = [np.resize(np.flatnonzero(classes == k), tally.max()) for k in range(count) if tally[k]]
    return np.sort(np.concatenate(parts))


def expected_counts(classes: Array, count: int, pool: LightPool | None, relit: float, copies: int) -> Array:
    """Samples of each class in one pass, (count,) int64, with a share ``relit`` of them under a light of ``pool``."""
    own = np.bincount(classes, minlength=count).astype(np.float64)
    if pool is not None:
        own = (1 - relit) * own + relit * len(classes) * pool.class_shares(count)
    return np.rint(copies * own).astype(np.int64)
