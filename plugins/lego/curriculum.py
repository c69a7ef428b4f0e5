"""Which image comes when: exact shares of the sources by epoch, rare classes more often; nothing has to be saved.

The order is a pure function of the seed and the epoch, so a run that was interrupted goes on with the same images and
any number of processes draws the same multiset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from basicsr.data.sample_order import mix, permutation
from basicsr.engine.errors import UserError

Array = np.ndarray[Any, Any]

_KEPT_EPOCHS = 2
_DRAW, _MIXED, _SEED = 0xC1A, 0xC1B, 0xC1C


@dataclass(frozen=True)
class Stage:
    """Shares of the sources in some epochs.

    Attributes:
        until: The first epoch (from 0) that is no longer of this stage; None for all that follow.
        shares: Source to its share; they are brought to a sum of 1.
    """

    until: int | None
    shares: Mapping[str, float]


def read_stages(entries: Sequence[Mapping[str, Any]], where: str, known: Sequence[str]) -> list[Stage]:
    """Read ``curriculum`` of an option file: ``[{until_epoch: 5, real: 0.2, legacy: 0.4}, {real: 1.0}]``.

    Raises:
        UserError: A stage has a wrong key or value, or the epochs do not rise, or the last one ends.
    """
    stages: list[Stage] = []
    for number, entry in enumerate(entries):
        at = f"{where}: curriculum[{number}]"
        if not isinstance(entry, Mapping):
            raise UserError(f"{at}: {entry!r} is no stage; write {{until_epoch: 5, {known[0]}: 0.5, {known[-1]}: 0.5}}")
        shares = {key: value for key, value in entry.items() if key != "until_epoch"}
        wrong = [key for key in shares if key not in known]
        if wrong:
            raise UserError(f"{at}: '{wrong[0]}' is no source; there are {', '.join(known)}, and until_epoch")
        if not all(isinstance(value, int | float) and 0 <= value < np.inf for value in shares.values()):
            raise UserError(f"{at}: shares are numbers from 0 on, got {shares}")
        if sum(shares.values()) <= 0:
            raise UserError(f"{at}: no source has a share above 0")
        until, last = entry.get("until_epoch"), number == len(entries) - 1
        if last and until is None:
            stages.append(Stage(None, shares))
            continue
        if not isinstance(until, int) or until <= (stages[-1].until or 0 if stages else 0):
            raise UserError(f"{at}: until_epoch: {until!r}: give whole numbers that rise from stage to stage")
        # What the last stage says holds for as long as training goes on.
        stages.append(Stage(None if last else until, shares))
    return stages


def shares_of_counts(counts: Mapping[str, int]) -> list[Stage]:
    """One stage in which every image is as likely."""
    return [Stage(None, dict(counts))]


def counts_by_source(shares: Mapping[str, float], caps: Mapping[str, int], total: int) -> dict[str, int]:
    """Divide an epoch over the sources: their shares, none above its cap; what a cap cuts off goes to the others.

    Args:
        shares: Source to share; those without images (cap 0) do not count.
        caps: Source to the most images that it may give.
        total: Images of an epoch.

    Returns:
        Source to count; the sum is ``total`` or, where all are at their caps, the sum of the caps.
    """
    counts: dict[str, int] = {name: 0 for name in caps}
    open_names = [name for name in sorted(caps) if caps[name] > 0 and shares.get(name, 0) > 0]
    left = total
    while open_names and left > 0:
        # Everything open is divided anew: a source at its cap leaves the rest to the others.
        wanted = _rounded({name: shares[name] for name in open_names}, left)
        full = [name for name in open_names if wanted[name] >= caps[name]]
        if not full:
            counts.update(wanted)
            return counts
        for name in full:
            counts[name] = caps[name]
            left -= caps[name]
            open_names.remove(name)
        if left < 0:  # rounding gave a source one more than its cap
            break
    return counts


def _rounded(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers in proportion to shares, by the largest remainder."""
    whole = sum(shares.values())
    exact = {name: total * share / whole for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_rest = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in by_rest[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def expected_repeats(classes: Array, count: int, power: float, max_repeat: int) -> Array:
    """How often each image is drawn in the mean: classes weigh by their size to the ``power``, with a cap.

    Args:
        classes: (N,) class of each image; any integers.
        count: Images to draw, at most ``N * max_repeat``.
        power: 1 leaves the data's own frequencies, 0 makes all classes alike.
        max_repeat: Most draws of one image.

    Returns:
        (N,) float64 of the sum ``count``, none above ``max_repeat``.
    """
    _, place, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    weight = sizes.astype(np.float64) ** (power - 1)
    mean = np.zeros(len(sizes))
    open_classes, left = np.ones(len(sizes), bool), float(count)
    while left > 0 and open_classes.any():
        mass = (weight * sizes)[open_classes].sum()
        scaled = np.where(open_classes, weight * left / mass, mean)
        over = open_classes & (scaled >= max_repeat)
        if not over.any():
            mean = scaled
            break
        mean[over] = max_repeat
        left -= max_repeat * float(sizes[over].sum())
        open_classes &= ~over
    result: Array = mean[place.reshape(-1)]
    return result


def systematic(mean: Array, count: int, *key: int) -> Array:
    """Draw ``count`` of N images by systematic resampling: image i comes floor or ceil of ``mean[i]`` times.

    Args:
        mean: (N,) of the sum ``count``.
        count: Images to draw.
        *key: What the draw depends on.

    Returns:
        (count,) int64 indices.
    """
    order = permutation(len(mean), *key, 1)
    ends = np.cumsum(mean[order])
    ends *= count / ends[-1]
    offset = mix(*key, 2) / 2**64
    ends += offset
    ends[-1] = count + min(offset, 0.5)  # free of rounding: exactly count whole steps lie below
    steps = np.floor(ends).astype(np.int64)
    drawn: Array = np.repeat(order, np.diff(steps, prepend=0))
    return drawn


class CurriculumOrder:
    """An endless order of images; see :class:`basicsr.data.sample_order.Order`.

    Args:
        sources: (N,) number of each image's source.
        classes: (N,) class to balance by.
        names: Name of each number of a source.
        stages: Shares of the sources over the epochs, in order.
        epoch_size: Images of one epoch.
        power: See :func:`expected_repeats`.
        max_repeat: Most draws of one image in one epoch.
        seed: ``manual_seed``.

    Raises:
        UserError: The sources of a stage cannot give so many images.
    """

    def __init__(
        self,
        sources: Array,
        classes: Array,
        names: Sequence[str],
        stages: Sequence[Stage],
        epoch_size: int,
        power: float = 0.5,
        max_repeat: int = 10,
        seed: int = 0,
    ) -> None:
        self.epoch_len, self.seed, self.power, self.max_repeat = epoch_size, seed, power, max_repeat
        self._stages = list(stages)
        self._members = {name: np.flatnonzero(sources == number) for number, name in enumerate(names)}
        self._classes = classes
        caps = {name: len(members) * max_repeat for name, members in self._members.items()}
        self.plan = [counts_by_source(stage.shares, caps, epoch_size) for stage in self._stages]
        for stage, counts in zip(self._stages, self.plan, strict=True):
            if sum(counts.values()) < epoch_size:
                some = ", ".join(f"{name} {len(self._members[name])}" for name in stage.shares if name in self._members)
                raise UserError(
                    f"curriculum: the stage {_text(stage)} can give {sum(counts.values())} images at most, each "
                    f"max_repeat {max_repeat} times, but epoch_size is {epoch_size}; images there are: {some}. Lower "
                    "epoch_size, raise max_repeat, or give another source a share."
                )
        self._means: dict[tuple[str, int], Array] = {}
        self._epochs: dict[int, Array] = {}

    def stage(self, epoch: int) -> int:
        """The number of the stage of an epoch."""
        for number, stage in enumerate(self._stages):
            if stage.until is None or epoch < stage.until:
                return number
        return len(self._stages) - 1

    def epoch(self, number: int) -> Array:
        """The images of an epoch, (epoch_len,) int64, in order."""
        if number not in self._epochs:
            self._epochs = {n: order for n, order in self._epochs.items() if abs(n - number) < _KEPT_EPOCHS}
            self._epochs[number] = self._draw(number)
        return self._epochs[number]

    def _draw(self, number: int) -> Array:
        drawn = []
        for place, (name, count) in enumerate(sorted(self.plan[self.stage(number)].items())):
            if count == 0:
                continue
            members = self._members[name]
            if (name, count) not in self._means:
                means = expected_repeats(self._classes[members], count, self.power, self.max_repeat)
                self._means[name, count] = means
            drawn.append(members[systematic(self._means[name, count], count, self.seed, number, place, _DRAW)])
        images = np.concatenate(drawn)
        mixed: Array = images[permutation(len(images), self.seed, number, _MIXED)]
        return mixed

    def index(self, position: int) -> int:
        """The image at a position, from 0."""
        number, offset = divmod(position, self.epoch_len)
        return int(self.epoch(number)[offset])

    def seed_at(self, position: int) -> int:
        """The 64-bit seed of the random choices made for the image at a position."""
        return mix(self.seed, position, _SEED)


def _text(stage: Stage) -> str:
    return "{" + ", ".join(f"{name}: {share:g}" for name, share in stage.shares.items()) + "}"
