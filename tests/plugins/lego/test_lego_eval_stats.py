"""Figures of answers: intervals, votes, temperature, confusions, baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from plugins.lego import lego_eval_baselines as baselines
from plugins.lego import lego_eval_stats as stats
from plugins.lego.lego_eval import Answers, choose, labels_of, shared_pieces
from plugins.lego.lego_manifest import Classes, Record
from tests.plugins.lego.lego_kit import BLUE, RED, YELLOW, brick, save


def record(path: str, piece: str = "p", part: str = "3001", color: int = 4, **more: str) -> Record:
    return Record(path, more.get("source", "real"), part, color, piece, more.get("split", "test"), "")


def answers_of(logits: np.ndarray, labels: list[int], records: list[Record]) -> Answers:
    return Answers(
        records, [Path(one.path) for one in records], {"part": np.array(labels)}, {"part": logits}, {"part": 0}
    )


def test_views_vote_with_the_mean_of_their_log_probabilities() -> None:
    # Two unsure wrong views against a sure right one; by counting heads the piece would be wrong.
    logits = np.log(np.array([[0.45, 0.55], [0.45, 0.55], [0.95, 0.05], [0.1, 0.9]]))
    records = [record(f"{n}.png", "a") for n in range(3)] + [record("3.png", "")]
    votes = stats.votes(answers_of(logits, [0, 0, 0, 1], records), "part")
    assert [list(members) for members in votes.members] == [[0, 1, 2]]  # the image without a piece takes no part
    assert votes.scores.argmax(1).tolist() == [0] and votes.labels.tolist() == [0]
    assert np.allclose(votes.scores[0], logits[:3].mean(0))


def test_a_session_with_two_parts_votes_for_each_by_itself() -> None:
    records = [record("0.png", "monday", "3001"), record("1.png", "monday", "3003")]
    votes = stats.votes(answers_of(np.array([[4.0, 0], [0, 4.0]]), [0, 1], records), "part")
    assert len(votes.members) == 2 and (votes.scores.argmax(1) == votes.labels).all()
    assert stats.groups_of([*records, record("2.png", ""), record("3.png", "")]).tolist() == [0, 1, 2, 3]


@settings(max_examples=5, deadline=None)
@given(st.floats(0.2, 5.0), st.integers(0, 1000))
def test_the_temperature_that_spoilt_the_logits_is_found(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (2000, 4))
    chances = np.exp(stats.log_softmax(logits))
    labels = (chances.cumsum(1) < rng.random((2000, 1))).sum(1)
    labels[:5] = -1
    found = stats.fitted_temperature(logits * factor, labels)
    assert found == pytest.approx(factor, rel=0.15)
    honest = stats.calibration(logits * factor, labels, found)
    assert honest.error < 0.045
    if factor > 2:
        assert honest.plain > 2 * honest.error


def test_unknown_labels_do_not_count() -> None:
    logits = np.eye(7)[[0, 1, 2, 3]]
    found = stats.figures(logits, np.array([0, 2, -1, -1]))
    assert (found.count, found.top1, found.balanced) == (2, 0.5, 0.5)
    assert stats.figures(logits, np.full(4, -1)).count == 0
    assert np.isnan(stats.fitted_temperature(logits, np.full(4, -1)))
    assert stats.ranks(logits, np.array([0, 2, -1, -1])).tolist() == [1, 3, 0, 0]


def test_the_interval_knows_that_views_of_a_piece_are_alike() -> None:
    hits = np.repeat(np.arange(20) % 2 == 0, 10)
    pieces = np.repeat(np.arange(20), 10)
    low, high = stats.interval(hits, pieces)
    lower, higher = stats.interval(hits, np.arange(200))
    assert low < 0.32 and high > 0.68  # as wide as that of 20 answers, not of 200
    assert lower > 0.4 and higher < 0.6
    assert np.isnan(stats.interval(hits[:10], pieces[:10])[0])


def test_confused_pairs_come_by_number_with_the_most_confident_first() -> None:
    logits = np.array([[0, 2.0, 0], [0, 5.0, 0], [3.0, 0, 0], [0, 0, 1.0], [1.0, 0, 0]])
    pairs = stats.confused_pairs(logits, np.array([0, 0, 0, 1, -1]))
    assert [(pair.truth, pair.answer, pair.count) for pair in pairs] == [(0, 1, 2), (1, 2, 1)]
    assert pairs[0].images.tolist() == [1, 0] and pairs[0].share == pytest.approx(2 / 3)


def test_synthetic_images_are_refused_unless_they_are_asked_for() -> None:
    records = [record("a"), record("b", "", source="render"), record("c", "q", split="val")]
    with pytest.raises(UserError, match="has real 1, render 1.*--source real"):
        choose(records, "test", None, Path("m.csv"))
    assert [one.path for one in choose(records, "test", ["real"], Path("m.csv"))] == ["a"]
    assert [one.path for one in choose(records, "test", ["render", "real"], Path("m.csv"))] == ["a", "b"]
    assert [one.path for one in choose(records, "val", None, Path("m.csv"))] == ["c"]
    with pytest.raises(UserError, match="no legacy image in the split val; it has real 1"):
        choose(records, "val", ["legacy"], Path("m.csv"))


def test_pieces_on_both_sides_are_told() -> None:
    trained = [record("a", "p1", split="train"), record("b", "p2", split="train")]
    held = [record("c", "p2"), record("d", "p3"), record("e", "")]
    assert shared_pieces([*trained, *held], held) == ["p2"]
    assert shared_pieces(trained, trained) == []


def test_the_networks_own_numbering_rules() -> None:
    classes = {"part": Classes(("3003", "3001"), ("a", "b")), "color": Classes(("4",), ("Red",))}
    records = [record("a"), record("b", part="3024", color=1), record("c", part="", color=9999)]
    labels, outside = labels_of(records, classes)
    assert labels["part"].tolist() == [1, -1, -1] and labels["color"].tolist() == [0, -1, -1]
    assert outside == {"part": 1, "color": 1}


def test_the_median_lab_tells_colours_apart_and_paper_takes_the_light_away(tmp_path: Path) -> None:
    files, labels = [], []
    for number in range(18):
        image = brick((RED, BLUE, YELLOW)[number % 3], number % 2, number).astype(np.float64)
        if number >= 12:  # under a lamp
            image = 255 * ((image / 255) ** 2.2 * np.array([0.95, 0.55, 0.2])) ** (1 / 2.2)
        files.append(save(tmp_path / f"{number}.png", image.round().astype(np.uint8)))
        labels.append(number % 3)
    plain, balanced = baselines.median_labs(files)
    truth = np.array(labels)
    scores = [baselines.neighbour_votes(v[:12], truth[:12], v[12:], 3, 3) for v in (plain, balanced)]
    right = [(one.argmax(1) == truth[12:]).mean() for one in scores]
    assert right[1] == 1.0
    moved = [np.linalg.norm(v[12:15] - v[:3], axis=1).mean() for v in (plain, balanced)]
    assert moved[1] < 0.5 * moved[0]


def test_a_white_brick_on_white_paper_has_a_colour(tmp_path: Path) -> None:
    plain, _ = baselines.median_labs([save(tmp_path / "w.png", np.full((40, 40, 3), 250, np.uint8))])
    assert plain[0, 0] > 95


def test_the_commonest_class_comes_first_then_the_next() -> None:
    scores = baselines.majority(np.array([2, 2, 2, 0, 0, -1, -1, -1, -1]), 4, 5)
    assert scores.shape == (5, 4) and np.argsort(-scores[0])[:2].tolist() == [2, 0]
