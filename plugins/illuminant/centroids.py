"""The classes of light: k-means centroids of illuminant directions, and the class of a light."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError

CLASS_NAMES = ("Very_Cool", "Cool", "Neutral", "Warm", "Very_Warm")
"""Names of five classes, from blue light to red light."""
OUTLIER_DEGREES = 10.0
"""A light further than this from every centroid belongs to no class."""
_KEYS = ("names", "rgb", "shares", "counts", "sensor", "separations")


@dataclass(frozen=True)
class Centroids:
    """The centroids of one sensor's lights, ordered from cool to warm (rising R/B).

    Attributes:
        names: One name a class.
        rgb: One (r, g, b) a class, in linear light, positive, of sum 1.
        shares: Share of the lights they were made from in each class; of sum 1.
        counts: Number of those lights in each class.
        sensor: Camera (or colour space) whose RGB this is. Centroids of one sensor mean nothing to another.
        separations: Smallest angle to another centroid of each class, in degrees.
        source: Where the lights came from.
    """

    names: tuple[str, ...]
    rgb: tuple[tuple[float, float, float], ...]
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    sensor: str
    separations: tuple[float, ...]
    source: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The centroids, (K, 3) float64."""
        return np.asarray(self.rgb, dtype=np.float64)

    def assign(self, lights: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Give lights the class of the nearest centroid by angle.

        Args:
            lights: (..., 3), positive, of any scale: only the direction counts.

        Returns:
            Class indices (...), int64, and the angles to those centroids in degrees (...), float64.

        Raises:
            ValueError: A light is not positive and finite.
        """
        angles = angle_degrees(np.asarray(lights, dtype=np.float64)[..., None, :], self.array)
        nearest = angles.argmin(-1)
        return nearest, np.take_along_axis(angles, nearest[..., None], -1)[..., 0]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings: what the json file and a checkpoint hold."""
        return json.loads(json.dumps(asdict(self)))


def angle_degrees(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Angle between RGB directions, the recovery angular error of colour constancy.

    Args:
        a: (..., 3), of any positive scale.
        b: (..., 3), broadcast against ``a``.

    Returns:
        Degrees in [0, 180], float64. Exact for small angles, where the arc cosine of a dot product is not.

    Raises:
        ValueError: A direction is zero or not finite.
    """
    first, second = _unit(a), _unit(b)
    # Kahan's form: accurate at every angle.
    return np.degrees(2 * np.arctan2(_length(first - second), _length(first + second)))


def _length(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.sqrt(np.square(vector).sum(-1))


def _unit(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = np.asarray(vector, dtype=np.float64)
    length = _length(values)
    if not np.isfinite(length).all() or (length <= 0).any():
        raise ValueError("a direction needs finite numbers that are not all zero")
    return values / length[..., None]


def separations(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Smallest angle of each centroid (K, 3) to another one, in degrees, (K,)."""
    angles = angle_degrees(rgb[:, None], rgb[None])
    np.fill_diagonal(angles, np.inf)
    return angles.min(1)


def centroids_from(content: Mapping[str, Any], where: str) -> Centroids:
    """Build centroids from plain data.

    Args:
        content: What :meth:`Centroids.as_dict` gave.
        where: The file, for messages.

    Raises:
        UserError: A key is missing, or the values do not fit together; the message says which.
    """
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise UserError(f"{where}: not a centroids file: {', '.join(missing)} missing; see export_centroids.")
    try:
        rgb = np.asarray(content["rgb"], dtype=np.float64)
        count = len(content["names"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: rgb: not a table of numbers ({error}).") from error
    if rgb.shape != (count, 3) or count < 2:
        raise UserError(f"{where}: rgb: {count} names need {count} rows of r, g, b (at least 2), got {rgb.shape}.")
    if not np.isfinite(rgb).all() or (rgb <= 0).any():
        raise UserError(f"{where}: rgb: every value must be a positive number.")
    for key in ("shares", "counts", "separations"):
        if len(content[key]) != count:
            raise UserError(f"{where}: {key}: {len(content[key])} values for {count} names.")
    return Centroids(
        tuple(map(str, content["names"])),
        _rows(_of_sum_one(rgb)),
        tuple(map(float, content["shares"])),
        tuple(map(int, content["counts"])),
        str(content["sensor"]),
        tuple(map(float, content["separations"])),
        str(content.get("source", "")),
    )


def _of_sum_one(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    total = rgb.sum(1, keepdims=True)
    # Dividing by a sum that is 1 but for rounding would change the last digit at every reading.
    return np.where(np.abs(total - 1) < 1e-9, rgb, rgb / total)


def _rows(rgb: np.ndarray[Any, Any]) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(r), float(g), float(b)) for r, g, b in rgb)


def make_centroids(
    rgb: np.ndarray[Any, Any], counts: Sequence[int], sensor: str, names: Sequence[str] = CLASS_NAMES, source: str = ""
) -> Centroids:
    """Order centroids from cool to warm and name them.

    Args:
        rgb: (K, 3), positive, of any scale.
        counts: Lights in each class, in the order of ``rgb``.
        sensor: Camera or colour space.
        names: K names, from cool to warm.
        source: Where the lights came from.
    """
    order = np.argsort(rgb[:, 0] / rgb[:, 2], kind="stable")
    directions = (rgb / rgb.sum(1, keepdims=True))[order]
    tally = np.asarray(counts, dtype=np.int64)[order]
    return Centroids(
        tuple(names),
        _rows(directions),
        tuple((tally / max(1, tally.sum())).tolist()),
        tuple(tally.tolist()),
        sensor,
        tuple(separations(directions).tolist()),
        source,
    )


def read_centroids(path: str | Path) -> Centroids:
    """Read ``centroids.json``.

    Raises:
        UserError: The file is missing, damaged or something else; the message names the file and the key.
    """
    file = Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({error.strerror}): it holds the classes' centroids; tools/export_centroids.py "
            "writes it."
        ) from error
    except ValueError as error:
        raise UserError(f"{file}: not a json file ({error}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a centroids file: it holds a {type(content).__name__}, not a mapping.")
    return centroids_from(content, str(file))
