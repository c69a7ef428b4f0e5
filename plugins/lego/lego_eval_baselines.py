"""What a network has to beat: the commonest class, and for colours the nearest median Lab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plugins.color_science.spaces import linear_to_srgb, rgb_to_lab, srgb_to_linear
from plugins.lego.lego_eval import read_rgb8
from plugins.lego.lego_manifest import REAL, TRAIN, Record
from plugins.lego.lego_resize import border_color, resize_square

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int, str], None]

NEIGHBOURS = 15
LARGEST = 5000
"""Training images that the nearest neighbours are sought among: evenly spaced ones where there are more."""
_SIDE = 64
_APART = 12.0
"""Lab distance from the background beyond which a pixel is brick."""
_LEAST_BRICK = 0.02
_PAPER = 0.9


def training_records(records: Sequence[Record], known: Callable[[Record], bool]) -> list[Record]:
    """Real training captures whose class is known; synthetic ones where there are none."""
    mine = [record for record in records if record.split == TRAIN and known(record)]
    real = [record for record in mine if record.source == REAL]
    kept = real or mine
    places = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), LARGEST)).round().astype(int))
    return [kept[place] for place in places] if kept else []


def majority(labels: Array, classes: int, count: int) -> Array:
    """Scores (``count``, K) of always answering the commonest training class, then the next, and so on.

    Args:
        labels: (M,) classes of the training images, negative ones are left out.
        classes: K.
        count: Answers wanted.
    """
    sizes = np.bincount(labels[labels >= 0], minlength=classes).astype(np.float64)
    return np.repeat(sizes[None], count, 0)


def median_labs(files: Sequence[Path], progress: Progress | None = None, workers: int = 2) -> tuple[Array, Array]:
    """The brick's median Lab in each picture.

    The background is the median of the picture's border, the brick what differs from it.

    Args:
        files: N pictures.
        progress: Called with how many are done, of how many, and the last one's name.
        workers: Threads.

    Returns:
        (N, 3) as shot, and (N, 3) with the background made white.

    Raises:
        UserError: A picture cannot be read.
    """
    plain, balanced = np.empty((len(files), 3)), np.empty((len(files), 3))
    with ThreadPoolExecutor(workers) as pool:
        for place, (first, second) in enumerate(pool.map(_medians, files)):
            plain[place], balanced[place] = first, second
            if progress is not None:
                progress(place + 1, len(files), files[place].name)
    return plain, balanced


def _medians(path: Path) -> tuple[Array, Array]:
    pixels = resize_square(read_rgb8(path), _SIDE)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
    background = torch.from_numpy(border_color(pixels).astype(np.float32) / 255).view(3, 1, 1)
    lab = rgb_to_lab(image)
    brick = (lab - rgb_to_lab(background)).square().sum(0).sqrt() > _APART
    if brick.float().mean() < _LEAST_BRICK:  # a white brick on white paper: what is in the middle
        brick = torch.zeros_like(brick)
        brick[_SIDE // 3 : 2 * _SIDE // 3, _SIDE // 3 : 2 * _SIDE // 3] = True
    white = srgb_to_linear(background).clamp(min=0.02)
    relative = rgb_to_lab(linear_to_srgb((srgb_to_linear(image) / white * _PAPER).clamp(0, 1)))
    first, second = (values[:, brick].median(1).values.double().numpy() for values in (lab, relative))
    return first, second


def neighbour_votes(train: Array, labels: Array, test: Array, classes: int, neighbours: int = NEIGHBOURS) -> Array:
    """Scores (N, K): how many of the nearest training colours have each class; the nearer one breaks a tie.

    Args:
        train: (M, 3) Lab.
        labels: (M,) classes.
        test: (N, 3) Lab.
        classes: K.
        neighbours: How many vote; all where there are fewer.
    """
    scores = np.zeros((len(test), classes))
    count = min(neighbours, len(train))
    for row, color in enumerate(test):
        distance = np.linalg.norm(train - color, axis=1)
        nearest = np.argsort(distance, kind="stable")[:count]
        np.add.at(scores[row], labels[nearest], 1 + 1e-3 / (1 + distance[nearest]))
    return scores
