"""Evaluation of many images: pairs from files, aggregation, comparison with a reference, failing conditions."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from basicsr.engine.errors import UserError
from plugins.color_fidelity.evaluation import Evaluation, Pair, evaluate
from plugins.color_fidelity.evaluation_files import at_iterations, folder_pairs, row_name, tree_pairs
from plugins.color_fidelity.evaluation_rules import failures, parse_rule
from plugins.color_fidelity.evaluation_stats import compare, finite_mean, summarise
from plugins.color_fidelity.fidelity import FIGURES
from tests.plugins.color_fidelity.evaluation_kit import faded, make_folder, make_run, save, target_image


def names(pairs: list[Pair]) -> set[tuple[str, str, int | None, str]]:
    return {(pair.set, pair.image, pair.iteration, pair.target.name) for pair in pairs}


@pytest.fixture
def two_runs(tmp_path: Path) -> Evaluation:
    base = make_run(tmp_path / "base", {100: 0.7, 200: 0.75})
    color = make_run(tmp_path / "color", {100: 0.8, 200: 0.95})
    inputs = make_folder(tmp_path / "lq", 0.5)
    return evaluate(tree_pairs("base", base, lq=inputs) + tree_pairs("color", color))


class TestFiles:
    def test_one_validation_set(self, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", {5: 0.8, 10: 0.9}, names=("room", "room_2", "x_gt", "100"))
        expected = {("val", n, it, f"{n}_{it}_gt.png") for n in ("room", "room_2", "x_gt", "100") for it in (5, 10)}
        assert names(tree_pairs("run", run)) == expected
        assert names(tree_pairs("run", run / "visualization")) == expected

    def test_several_validation_sets_with_equal_names(self, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", {5: 0.8}, names=("room",), sets=("held-out", "stress"))
        found = names(tree_pairs("run", run))
        assert found == {("held-out", "room", 5, "room_5_gt.png"), ("stress", "room", 5, "room_5_gt.png")}

    def test_upstream_saves_no_target_so_the_dataset_has_it(self, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run", {5: 0.8}, gt=False)
        with pytest.raises(UserError, match=r"2 prediction\(s\) have no target .* --gt"):
            tree_pairs("run", run)
        gt = make_folder(tmp_path / "gt", 1.0)
        assert names(tree_pairs("run", run, gt=gt)) == {("val", "a", 5, "a.png"), ("val", "b_2", 5, "b_2.png")}

    def test_test_mode_with_and_without_suffix(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("a_1", "a_12")):
            save(tmp_path / "plain" / "Set5" / f"{name}.png", target_image(seed))
            save(tmp_path / "plain" / "Set5" / f"{name}_gt.png", target_image(seed))
            save(tmp_path / "ours" / "Set5" / f"{name}_my_run.png", target_image(seed))
            save(tmp_path / "ours" / "Set5" / f"{name}_gt.png", target_image(seed))
        expected = {("Set5", "a_1", None, "a_1_gt.png"), ("Set5", "a_12", None, "a_12_gt.png")}
        assert names(tree_pairs("plain", tmp_path / "plain")) == expected
        assert names(tree_pairs("ours", tmp_path / "ours")) == expected

    def test_plain_folders_with_suffix_and_other_ending(self, tmp_path: Path) -> None:
        pred = make_folder(tmp_path / "pred", 0.8, suffix="_ours_x2")
        gt, lq = make_folder(tmp_path / "gt", 1.0), make_folder(tmp_path / "lq", 0.5)
        pairs = folder_pairs("ours", pred, gt, lq)
        assert names(pairs) == {("val", "a", None, "a.png"), ("val", "b_2", None, "b_2.png")}
        assert all(pair.lq is not None and pair.lq.name == pair.target.name for pair in pairs)

    def test_missing_things_are_named(self, tmp_path: Path) -> None:
        pred, gt = make_folder(tmp_path / "pred", 0.8), make_folder(tmp_path / "gt", 1.0, names=("a",))
        with pytest.raises(UserError, match=r"b_2\.png"):
            folder_pairs("ours", pred, gt)
        with pytest.raises(UserError, match="no folder"):
            folder_pairs("ours", pred, tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match="no image"):
            tree_pairs("run", tmp_path / "empty")

    def test_a_target_found_twice_is_refused(self, tmp_path: Path) -> None:
        pred = make_folder(tmp_path / "pred", 0.8, names=("a",))
        make_folder(tmp_path / "gt" / "one", 1.0, names=("a",))
        make_folder(tmp_path / "gt" / "two", 1.0, names=("a",))
        with pytest.raises(UserError, match="several images are called 'a'"):
            folder_pairs("ours", pred, tmp_path / "gt")

    def test_a_run_is_named_by_its_experiment(self, tmp_path: Path) -> None:
        assert row_name(tmp_path / "NAFNet_1" / "visualization") == "NAFNet_1"
        assert row_name(tmp_path / "results") == "results"


class TestEvaluate:
    def test_rows_iterations_and_figures(self, two_runs: Evaluation) -> None:
        assert two_runs.rows == ["input", "base", "color", "target"]
        assert two_runs.runs == ["base", "color"]
        assert two_runs.iterations("base", "val") == [100, 200]
        assert two_runs.reference == "base"
        sat = {row: two_runs.summary(row, "val").mean["sat_ratio"] for row in two_runs.rows}
        assert sat["input"] < sat["base"] < sat["color"] < sat["target"] == 1
        assert two_runs.summary("base", "val", 100).mean["sat_ratio"] < sat["base"]
        assert two_runs.summary("target", "val").mean["psnr"] == math.inf
        assert two_runs.image_count("val") == 2

    def test_plain_tuples(self, tmp_path: Path) -> None:
        pred, gt = make_folder(tmp_path / "pred", 0.8), make_folder(tmp_path / "gt", 1.0)
        rows = [("ours", "stress", name, str(pred / f"{name}.png"), gt / f"{name}.png", None) for name in ("a", "b_2")]
        result = evaluate(rows, target_row=False, jobs=1)
        assert result.rows == ["ours"] and result.reference is None
        assert result.summary("ours", "stress").images == 2
        with pytest.raises(UserError, match="no reference"):
            result.change("ours", "stress", "psnr")

    def test_change_against_the_reference(self, two_runs: Evaluation) -> None:
        change = two_runs.change("color", "val", "sat_ratio")
        assert change.low <= change.mean <= change.high
        assert change.gain > 0 and (change.better, change.worse, change.images) == (2, 0, 2)
        back = two_runs.change("base", "val", "sat_ratio", reference="color")
        assert back.worse == 2 and back.worst_image in ("a", "b_2")
        assert back.mean == pytest.approx(-change.mean)

    def test_does_not_depend_on_jobs_and_reports_progress(self, tmp_path: Path) -> None:
        pairs = tree_pairs("run", make_run(tmp_path / "run", {1: 0.8, 2: 0.9}))
        seen: list[tuple[int, int]] = []
        one = evaluate(pairs, jobs=1, progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (6, 6)
        for first, second in zip(one.records, evaluate(pairs, jobs=3).records, strict=True):
            assert first.pair == second.pair
            assert first.figures == pytest.approx(second.figures, rel=0, abs=0, nan_ok=True)

    def test_size_mismatch_names_both_files(self, tmp_path: Path) -> None:
        gt = save(tmp_path / "gt.png", target_image(0))
        pred = save(tmp_path / "pred.png", target_image(0)[:, :-2])
        with pytest.raises(UserError, match=r"pred\.png is 30 x 24 pixels and its target .*gt\.png is 32 x 24"):
            evaluate([Pair("ours", "val", "x", pred, gt)])

    def test_unreadable_and_repeated_images_are_named(self, tmp_path: Path) -> None:
        gt = save(tmp_path / "gt.png", target_image(0))
        (tmp_path / "bad.png").write_text("no image")
        with pytest.raises(UserError, match=r"bad\.png"):
            evaluate([Pair("ours", "val", "x", tmp_path / "bad.png", gt)])
        with pytest.raises(UserError, match="given twice"):
            evaluate([Pair("ours", "val", "x", gt, gt), Pair("ours", "val", "x", gt, gt)])
        with pytest.raises(UserError, match="no image to evaluate"):
            evaluate([])
        with pytest.raises(UserError, match="no row 'base'"):
            evaluate([Pair("ours", "val", "x", gt, gt)], reference="base")

    def test_16_bit_is_not_cut_to_8(self, tmp_path: Path) -> None:
        image = target_image(0)
        gt = save(tmp_path / "gt.png", image, deep=True)
        deep = save(tmp_path / "deep.png", image + 0.4 / 255, deep=True)
        figures = evaluate([Pair("ours", "val", "x", deep, gt)]).records[0].figures
        assert figures["psnr"] == pytest.approx(-20 * math.log10(0.4 / 255), abs=0.1)

    def test_warns_about_jpeg_and_profiles(self, tmp_path: Path) -> None:
        gt = save(tmp_path / "gt.png", target_image(0))
        jpeg = save(tmp_path / "pred.jpg", target_image(0))
        profile = save(tmp_path / "profile.png", target_image(0))
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        with Image.open(profile) as image:
            image.load()
            image.save(profile, icc_profile=lab.tobytes())
        result = evaluate([Pair("a", "val", "x", jpeg, gt), Pair("b", "val", "x", profile, gt)])
        assert any("JPEG" in text and "pred.jpg" in text for text in result.warnings)
        assert any("colour profile" in text and "profile.png" in text for text in result.warnings)


class TestStatistics:
    def test_one_infinite_psnr_does_not_poison_the_mean(self) -> None:
        assert finite_mean([20.0, math.inf, 30.0]) == 25
        assert finite_mean([math.inf]) == math.inf
        assert math.isnan(finite_mean([math.nan]))

    def test_images_without_a_figure_do_not_count(self) -> None:
        figures = [dict.fromkeys(FIGURES, value) for value in (0.8, math.nan, 1.1)]
        summary = summarise(list(zip("xyz", figures, strict=True)))
        assert summary.images == 3 and summary.defined["sat_ratio"] == 2
        assert summary.mean["sat_ratio"] == pytest.approx(0.95)
        assert (summary.worst["sat_ratio"], summary.worst_image["sat_ratio"]) == (0.8, "x")
        assert (summary.worst["de00_mean"], summary.worst_image["de00_mean"]) == (1.1, "z")

    def test_interval_covers_a_known_mean(self) -> None:
        rng = np.random.default_rng(0)
        covered = 0
        for _ in range(40):
            before = {str(k): 0.0 for k in range(30)}
            after = {str(k): float(v) for k, v in enumerate(rng.normal(1, 2, 30))}
            change = compare("psnr", before, after)
            covered += change.low <= 1 <= change.high
        assert covered >= 34

    def test_nearer_to_one_is_better_from_both_sides(self) -> None:
        change = compare("sat_ratio", {"x": 0.8, "y": 1.0, "z": 1.3}, {"x": 0.9, "y": 1.05, "z": 1.1})
        assert (change.better, change.worse, change.worst_image) == (2, 1, "y")
        assert compare("sat_ratio", {"x": math.nan}, {"x": 1.0}).images == 0


class TestRules:
    def test_parsed(self) -> None:
        rule = parse_rule("color: ft:stress/de00_mean.worst >= 1.5e1")
        assert (rule.row, rule.set, rule.key, rule.statistic) == ("color: ft", "stress", "de00_mean", "worst")
        assert (rule.operator, rule.limit) == (">=", 15)
        assert parse_rule("sat_ratio<.9").row is None

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("sat_ratio", "not a condition"),
            ("sat_ratio<x", "not a condition"),
            ("__import__('os')<1", "not a condition"),
            ("sat_ration<0.9", "did you mean 'sat_ratio'"),
            ("sat_ratio.avg<0.9", "no statistic 'avg'"),
        ],
    )
    def test_bad_expressions_are_user_errors(self, text: str, error: str) -> None:
        with pytest.raises(UserError, match=error):
            parse_rule(text)

    def test_holds_or_not(self, two_runs: Evaluation) -> None:
        def failed(*texts: str) -> list[str]:
            return failures(two_runs, [parse_rule(text) for text in texts])

        assert len(failed("sat_ratio<0.999")) == 2
        assert len(failed("color:sat_ratio<0.9", "base:sat_ratio<0.9")) == 1
        assert failed("color:val/de00_mean.worse>0") == []
        assert failed("input:psnr.min>0") != [] and failed("psnr.max<0") == []
        with pytest.raises(UserError, match="no run 'colour'"):
            failed("colour:psnr<1")

    def test_an_undefined_figure_cannot_pass(self, tmp_path: Path) -> None:
        grey = save(tmp_path / "grey.png", np.full((16, 16, 3), 0.5))
        result = evaluate([Pair("ours", "val", "x", grey, grey)])
        assert "not defined" in failures(result, [parse_rule("sat_ratio<0.9")])[0]


def test_faded_helper_fades() -> None:
    image = target_image(0)
    assert cv2.absdiff(faded(image, 1.0), image).max() < 1e-6


def test_checkpoints_are_chosen_by_iteration(tmp_path: Path) -> None:
    pairs = tree_pairs("a", make_run(tmp_path / "a", {100: 0.7, 200: 0.8})) + tree_pairs(
        "b", make_run(tmp_path / "b", {50: 0.7, 100: 0.8})
    )
    assert {(pair.row, pair.iteration) for pair in at_iterations(pairs, "last")} == {("a", 200), ("b", 100)}
    assert {(pair.row, pair.iteration) for pair in at_iterations(pairs, "100,last")} == {
        ("a", 100),
        ("a", 200),
        ("b", 100),
    }
    with pytest.raises(UserError, match="'a' has none of them; it has 100, 200"):
        at_iterations(pairs, "50")
    with pytest.raises(UserError, match="is not a list of iterations"):
        at_iterations(pairs, "1e3")
