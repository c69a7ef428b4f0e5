"""Which pairs go into the colour-stress set, the test set and training, and how often training shows each."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from basicsr.engine.errors import UserError

STRESS, TEST, TRAIN, KEPT, DROPPED = "stress", "test", "train", "kept", "dropped"
SPLITS = (STRESS, TEST, TRAIN, KEPT, DROPPED)

MIN_COVERAGE = 0.02
"""Least share of a picture that must be colourful for the stress set."""

MAX_HELD_OUT = 0.5
"""Largest share of all pairs that stress and test set may take together."""

_STRESS_SHARE, _STRESS_MOST = 0.10, 60
_TEST_SHARE, _TEST_MOST = 0.08, 50


@dataclass(frozen=True)
class Candidate:
    """One pair that may be placed.

    Attributes:
        name: Its target's name.
        score: How much it matters: colour to lose, or lost.
        coverage: Share of the picture that is colourful.
        hue: Sector that most of its colour lies in.
        group: Number of its group of near-duplicates, which is never divided.
    """

    name: str
    score: float
    coverage: float
    hue: str
    group: int


@dataclass(frozen=True)
class SplitSizes:
    """What is held out.

    Attributes:
        stress: Pairs of the stress set; None: a tenth of all, at most 60. 0 for none.
        test: Pairs of the test set; None: 8 % of all, at most 50. 0 for none.
        pool_share: Share of the most colourful pairs that the stress set takes; the others train. It is drawn from the
            first ``stress / pool_share`` pairs of the ranking.
    """

    stress: int | None = None
    test: int | None = None
    pool_share: float = 0.5

    def settle(self, count: int) -> tuple[int, int]:
        """The sizes for ``count`` pairs.

        Raises:
            UserError: A size is negative, or both together are more than half of the pairs.
        """
        if not 0 < self.pool_share <= 1:
            raise UserError(f"--pool-share {self.pool_share}: it must be above 0 and at most 1")
        sizes = []
        for flag, given, share, most in (
            ("--stress", self.stress, _STRESS_SHARE, _STRESS_MOST),
            ("--test", self.test, _TEST_SHARE, _TEST_MOST),
        ):
            if given is not None and given < 0:
                raise UserError(f"{flag} {given}: it must be 0 or more")
            sizes.append(given if given is not None else min(most, max(1, round(share * count))))
        if sum(sizes) > MAX_HELD_OUT * count:
            raise UserError(
                f"{count} pairs can be divided, and a stress set of {sizes[0]} with a test set of {sizes[1]} would "
                "leave less than half of them for training; give smaller numbers with --stress and --test (0 for none)"
            )
        return sizes[0], sizes[1]


@dataclass(frozen=True)
class _Group:
    """The pairs of one scene as one: the mean of their scores, the hue of the first."""

    places: tuple[int, ...]
    score: float
    coverage: float
    hue: str
    draw: int


def choose(candidates: Sequence[Candidate], sizes: SplitSizes, seed: int) -> tuple[list[str], list[str]]:
    """Give every pair its split.

    The stress set takes a share of the most colourful groups, no hue more than another as far as there are pictures of
    it, at random within a hue; the rest of them trains, so that the network still sees such colours. The test set is
    drawn evenly over the ranking of what is left: it is like everyday data.

    Args:
        candidates: The pairs.
        sizes: What to hold out.
        seed: Decides the draws, together with the names: another order of the pairs gives the same sets.

    Returns:
        The split of each pair, and the reason.

    Raises:
        UserError: The sizes do not fit the number of pairs, or no pair is colourful enough for a stress set.
    """
    stress_size, test_size = sizes.settle(len(candidates))
    groups = _grouped(candidates, seed)
    splits, reasons = [TRAIN] * len(candidates), ["not held out"] * len(candidates)
    pool = _pool(groups, math.ceil(stress_size / sizes.pool_share)) if stress_size else []
    if stress_size and not pool:
        raise UserError(
            f"no pair has colour on more than {MIN_COVERAGE:.0%} of its target, so there is nothing for a "
            "colour-stress set; --stress 0 leaves it out"
        )
    stress = _by_hue(pool, stress_size, sizes.pool_share)
    chosen = {group.places for group in stress}
    rest = [group for group in groups if group.places not in chosen]
    for group in stress:
        _place(group, STRESS, f"among the {_pairs(pool)} most colourful, hue {group.hue}", splits, reasons)
    for group in pool:
        if group.places not in chosen:
            _place(group, TRAIN, f"among the {_pairs(pool)} most colourful, left to training", splits, reasons)
    for group in _evenly(rest, test_size):
        _place(group, TEST, "drawn evenly over the ranking", splits, reasons)
    return splits, reasons


def repeats(scores: Sequence[float], groups: Sequence[int], most: int) -> list[int]:
    """How often a training list names each pair: in proportion to its score, from once to ``most`` times.

    A pair of the mean score is named twice; near-duplicates share what one of them would get.

    Args:
        scores: Of the training pairs.
        groups: Their groups.
        most: The cap.

    Raises:
        UserError: The cap is below 1.
    """
    if most < 1:
        raise UserError(f"--max-repeat {most}: it must be 1 or more")
    mean = sum(scores) / max(1, len(scores))
    members = Counter(groups)
    return [
        min(most, max(1, round(2 * score / max(mean, 1e-9) / members[group])))
        for score, group in zip(scores, groups, strict=True)
    ]


def _grouped(candidates: Sequence[Candidate], seed: int) -> list[_Group]:
    """The groups, highest score first."""
    places: dict[int, list[int]] = {}
    for place, candidate in enumerate(candidates):
        places.setdefault(candidate.group, []).append(place)
    groups = []
    for members in places.values():
        members.sort(key=lambda place: candidates[place].name)
        some = [candidates[place] for place in members]
        draw = zlib.crc32(f"{seed}:{some[0].name}".encode())
        score, coverage = (
            sum(values) / len(some) for values in zip(*((c.score, c.coverage) for c in some), strict=True)
        )
        groups.append(_Group(tuple(members), score, coverage, some[0].hue, draw))
    return sorted(groups, key=lambda group: (-group.score, candidates[group.places[0]].name))


def _pool(groups: Sequence[_Group], pairs: int) -> list[_Group]:
    """The first groups that are colourful, up to a number of pairs."""
    pool: list[_Group] = []
    for group in groups:
        if group.coverage >= MIN_COVERAGE:
            pool.append(group)
            if _pairs(pool) >= pairs:
                break
    return pool


def _pairs(groups: Sequence[_Group]) -> int:
    return sum(len(group.places) for group in groups)


def _by_hue(pool: Sequence[_Group], size: int, share: float) -> list[_Group]:
    """Draw groups for the stress set, the hue that has fewest pairs so far first."""
    by_hue: dict[str, list[_Group]] = {}
    for group in sorted(pool, key=lambda group: group.draw):
        by_hue.setdefault(group.hue, []).append(group)
    # At most this share of each hue, rounded up, so that training keeps some of it.
    waiting = {hue: members[: math.ceil(share * len(members))] for hue, members in by_hue.items()}
    taken: list[_Group] = []
    counts = dict.fromkeys(waiting, 0)
    room = size
    while room and any(waiting.values()):
        hue = min((h for h in waiting if waiting[h]), key=lambda h: (counts[h], waiting[h][0].draw))
        group = waiting[hue].pop(0)
        if len(group.places) <= room:
            taken.append(group)
            counts[hue] += len(group.places)
            room -= len(group.places)
    return taken


def _evenly(groups: Sequence[_Group], size: int) -> list[_Group]:
    """Draw one group from each of ``size`` equal stretches of the ranking, until so many pairs are taken."""
    stretches = [groups[len(groups) * k // size : len(groups) * (k + 1) // size] for k in range(size)]
    taken: list[_Group] = []
    for stretch in sorted((s for s in stretches if s), key=lambda stretch: min(group.draw for group in stretch)):
        fitting = [group for group in stretch if len(group.places) <= size - _pairs(taken)]
        if fitting:
            taken.append(min(fitting, key=lambda group: group.draw))
    return taken


def _place(group: _Group, split: str, reason: str, splits: list[str], reasons: list[str]) -> None:
    for place in group.places:
        splits[place], reasons[place] = split, reason
