"""Which sample comes when: a pure function of the seed and the position, the same on every library version.

Numbers come from the SplitMix64 finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
2014), not from a library's generator whose streams may change between versions.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def mix(*values: int) -> int:
    """Hash integers to 64 bits; order matters."""
    state = 0
    for value in values:
        state = _finalise((state + _GOLDEN + (value & _MASK)) & _MASK)
    return state


def _finalise(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def permutation(length: int, *key: int) -> np.ndarray:
    """A permutation of ``range(length)`` that depends on ``key`` only, as int64."""
    with np.errstate(over="ignore"):
        z = np.uint64(mix(*key)) + np.uint64(_GOLDEN) * np.arange(1, length + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.argsort(z, kind="stable")


class Order(Protocol):
    """An endless order of samples: a pure function of a seed and the position, so that no state has to be saved.

    A data set with a method ``sample_order(seed) -> Order`` decides itself what comes when: a curriculum, class
    balance, shares of several sources. Position ``p`` goes to process ``p % world_size``, so every number of processes
    draws the same samples.

    Attributes:
        epoch_len: Samples of one epoch.
    """

    epoch_len: int

    def index(self, position: int) -> int:
        """The data set's index at a position, from 0."""

    def seed_at(self, position: int) -> int:
        """The 64-bit seed of the random choices of the sample at a position."""


class SampleOrder:
    """The infinite order of samples.

    It is made of rounds: in each, every index comes once, in an order of its own. An epoch, ``size * ratio`` samples,
    is only a way of counting. With ``crops_per_image`` above 1, so many neighbouring positions have the same index.

    Args:
        size: Samples of the data set.
        ratio: ``dataset_enlarge_ratio``.
        crops_per_image: Neighbouring positions of one index.
        seed: ``manual_seed``.
    """

    def __init__(self, size: int, ratio: float = 1, crops_per_image: int = 1, seed: int = 0) -> None:
        self.size, self.crops_per_image, self.seed = size, crops_per_image, seed
        self.epoch_len = max(1, int(np.ceil(size * ratio - 1e-9)))
        self._rounds: dict[int, np.ndarray] = {}

    def epoch(self, position: int) -> int:
        """The epoch of a position."""
        return position // self.epoch_len

    def index(self, position: int) -> int:
        """The data set's index at a position."""
        number, offset = divmod(position // self.crops_per_image, self.size)
        if number not in self._rounds:
            # Two rounds meet in one batch; older ones are not asked for again.
            self._rounds = {n: order for n, order in self._rounds.items() if n >= number - 1}
            self._rounds[number] = permutation(self.size, self.seed, number, 0x0DE)
        return int(self._rounds[number][offset])

    def seed_at(self, position: int) -> int:
        """The 64-bit seed of the random choices of the sample at a position."""
        return mix(self.seed, position, 0xA06)
