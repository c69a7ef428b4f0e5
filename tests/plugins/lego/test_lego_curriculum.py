"""The order of training images: exact shares, capped and balanced draws, the same whatever the number of processes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from plugins.lego.curriculum import CurriculumOrder, Stage, counts_by_source, expected_repeats, read_stages, systematic

NAMES = ("legacy", "b200c", "real", "render")
PLAN = [
    {"until_epoch": 5, "real": 0.2, "legacy": 0.4, "b200c": 0.4},
    {"until_epoch": 15, "real": 0.5, "legacy": 0.25, "b200c": 0.25},
    {"real": 0.7, "legacy": 0.15, "b200c": 0.15},
]


def make(seed: int = 3, epoch_size: int = 200, **options: object) -> CurriculumOrder:
    sources = np.repeat([0, 1, 2], [300, 500, 40])
    classes = np.r_[np.arange(300) % 7, np.arange(500) % 5, np.minimum(np.arange(40), 4)]
    return CurriculumOrder(sources, classes, NAMES, read_stages(PLAN, "x", NAMES), epoch_size, seed=seed, **options)


def test_every_epoch_has_exactly_the_shares_of_its_stage() -> None:
    order = make()
    for epoch, wanted in ((0, (80, 80, 40)), (4, (80, 80, 40)), (5, (50, 50, 100)), (15, (30, 30, 140))):
        images = order.epoch(epoch)
        assert tuple(np.bincount(np.digitize(images, [300, 800]), minlength=3)) == wanted
        assert len(images) == order.epoch_len == 200


@given(st.integers(1, 5), st.integers(0, 2**40))
@settings(max_examples=15, deadline=None)
def test_any_number_of_processes_draws_the_same_samples(world_size: int, seed: int) -> None:
    alone = [(make(seed).index(p), make(seed).seed_at(p)) for p in (0, 199, 200)]
    order = make(seed)
    ranks = [[(order.index(p), order.seed_at(p)) for p in range(400) if p % world_size == r] for r in range(world_size)]
    assert Counter(sum(ranks, [])) == Counter((order.index(p), order.seed_at(p)) for p in range(400))
    assert [(order.index(p), order.seed_at(p)) for p in (0, 199, 200)] == alone


def test_order_changes_with_epoch_and_seed_and_is_no_queue() -> None:
    order = make()
    assert (order.epoch(0) != order.epoch(1)).any() and (order.epoch(0) != make(seed=4).epoch(0)).any()
    sources = np.digitize(order.epoch(0), [300, 800])
    assert len(set(sources[:20])) == 3  # mixed, not one source after the other


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12),
    st.floats(0, 1),
    st.integers(1, 6),
    st.floats(0.01, 1),
    st.integers(0, 2**63),
)
@settings(max_examples=60, deadline=None)
def test_draws_are_the_floor_or_ceil_of_what_is_expected(
    sizes: list[int], power: float, cap: int, share: float, key: int
) -> None:
    classes = np.repeat(np.arange(len(sizes)), sizes)
    count = max(1, int(share * cap * len(classes)))
    mean = expected_repeats(classes, count, power, cap)
    assert mean.sum() == pytest.approx(count) and mean.max() <= cap + 1e-9
    draws = np.bincount(systematic(mean, count, key), minlength=len(classes))
    assert draws.sum() == count and draws.max() <= cap
    assert (draws >= np.floor(mean - 1e-6)).all() and (draws <= np.ceil(mean + 1e-6)).all()


def test_classes_weigh_by_their_size_to_a_power() -> None:
    classes = np.repeat([0, 1], [100, 4])
    even = expected_repeats(classes, 52, 0.0, 100)
    assert even[:100].sum() == pytest.approx(26) and even[100:].sum() == pytest.approx(26)
    own = expected_repeats(classes, 52, 1.0, 100)
    assert own == pytest.approx(np.full(104, 0.5))
    capped = expected_repeats(classes, 52, 0.0, 3)
    assert capped[100:] == pytest.approx(3) and capped[:100].sum() == pytest.approx(40)


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), min_size=1), st.integers(1, 500), st.data())
@settings(max_examples=60, deadline=None)
def test_sources_at_their_cap_leave_the_rest_to_the_others(shares: dict, total: int, data: st.DataObject) -> None:
    caps = {name: data.draw(st.integers(0, 300)) for name in NAMES}
    counts = counts_by_source(shares, caps, total)
    usable = sum(caps[name] for name, share in shares.items() if share > 0)
    assert sum(counts.values()) == min(total, usable)
    assert all(counts[name] <= caps[name] for name in NAMES)


def test_an_epoch_that_the_sources_cannot_fill_is_refused_with_figures() -> None:
    with pytest.raises(UserError, match=r"at most, each max_repeat 1 times, but epoch_size is 900.*real 40"):
        make(epoch_size=900, max_repeat=1)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([{"real": 1}, {"real": 1}], r"curriculum\[0\]: until_epoch: None"),
        ([{"until_epoch": 5, "real": 1}, {"until_epoch": 4, "real": 1}], "numbers that rise"),
        ([{"real": -1}], "numbers from 0 on"),
        ([{"real": 0}], "no source has a share"),
        ([{"photos": 1}], "'photos' is no source; there are legacy"),
        (["real"], "is no stage"),
    ],
)
def test_wrong_stages_are_explained(stages: list, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_stages(stages, "x", NAMES)


def test_an_end_of_the_last_stage_is_no_end() -> None:
    assert read_stages([{"until_epoch": 5, "real": 1}], "x", NAMES) == [Stage(None, {"real": 1})]
