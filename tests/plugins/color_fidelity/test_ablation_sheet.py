"""Sheets: what rows, overlays and settings become."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from basicsr.engine.errors import UserError
from basicsr.engine.options_merge import load_options
from basicsr.engine.options_sections import check_options
from plugins.color_fidelity.ablation import check_run, load_sheet, resolved_text
from plugins.color_fidelity.ablation_options import Settings, as_yaml, option_changes, read_settings
from tests.plugins.color_fidelity.ablation_kit import ROOT, ROWS, make_sheet, tiny_sheet

SHEET = ROOT / "options" / "ablation"
ONE_TERM = {"l1", "chroma", "hue", "saturation", "bias", "lab", "oklab", "luma", "ssim"}
TWO_CORES = SHEET / "overlays" / "two_cores.yml"
FILES = sorted(path for path in SHEET.glob("*.yml") if not path.name.startswith("_"))


def overlay(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "overlay.yml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_row_passes_the_strict_check_and_says_why_it_is_there(path: Path) -> None:
    assert not check_options(load_options(path), ROOT, True, paths=False).errors
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ") and f"name: Ablation_{path.stem}\n" in text


def test_every_row_passes_the_check_under_the_overlay() -> None:
    sheet = load_sheet(SHEET, ROOT, ROOT / "x", overlay=TWO_CORES)
    for run in sheet.runs:
        options = check_run(run, ROOT, paths=False)
        assert options["network_g"]["width"] == 16 and "perceptual_opt" not in options["train"]
    assert sheet.same == {"l1": "continued"}  # there is no perceptual term to leave out
    assert set(sheet.sets) == {"test", "stress"} and set(sheet.photos) == {"test", "stress"}
    lists = {row.name: row.options["datasets"]["train"].get("meta_info_file") for row in sheet.rows}
    assert {name for name, value in lists.items() if value} == {"oversample", "all"}
    assert lists["all"] == "datasets/demo/train/colorful.txt"


def test_rows_differ_from_the_reference_in_what_they_say_only() -> None:
    rows = {row.name: row.options for row in load_sheet(SHEET, ROOT, ROOT / "x").rows}
    assert set(rows) == {path.stem for path in FILES}
    own_loss = {"continued", "chroma_crops", "oversample", "jitter", "whole_photos", "context"}
    for name, options in rows.items():
        for line in option_changes(rows["continued"], options):
            key = line.partition(":")[0]
            is_data = key.startswith("datasets.train.") and name not in ONE_TERM
            is_loss = key.startswith("train.") and "_opt." in key and name not in own_loss
            is_network = key.startswith(("network_g.", "path.strict_load_g")) and "context" in name
            assert is_data or is_loss or is_network, (name, line)
    for name in ONE_TERM:
        keys = {line.split(".")[1] for line in option_changes(rows["continued"], rows[name])}
        assert len(keys) == 1, name
    both = option_changes(rows["mask_soft"], rows["mask_hard"])
    assert both == [f"train.{name}_opt.mask_type: soft -> hard" for name in ("chroma", "hue", "saturation")]


def test_runs_get_name_seed_and_a_file_that_runs_by_itself(tmp_path: Path) -> None:
    sheet = tiny_sheet(tmp_path, ROWS, {"reference": "own"}, seeds=[4, 7])
    assert [run.name for run in sheet.runs] == ["Tiny_chroma_s4", "Tiny_own_s4", "Tiny_chroma_s7", "Tiny_own_s7"]
    run = sheet.runs[2]
    path = tmp_path / "resolved.yml"
    path.write_text(resolved_text(run, "abc"))
    loaded = load_options(path)
    assert loaded.root.plain() == run.options
    assert (run.options["manual_seed"], run.options["name"]) == (7, "Tiny_chroma_s7")
    assert not check_options(loaded, ROOT, True).errors


def test_overlay_wins_removes_keys_and_names_the_experiments(tmp_path: Path) -> None:
    folder = make_sheet(tmp_path, {**ROWS, "more": {"train": {"ema_decay": 0.0}}})
    content = {
        "name": "Big",
        "train": {"total_iter": 9, "chroma_opt": None},
        "ablation": {"rows": {"more": {"label": "much more", "options": {"train": {"total_iter": 11}}}}},
    }
    sheet = load_sheet(folder, ROOT, tmp_path, overlay=overlay(tmp_path, content))
    assert [run.name for run in sheet.runs] == ["Big_more_s0", "Big_chroma_s0"]  # own is chroma without its only term
    assert [run.total_iter for run in sheet.runs] == [11, 9]
    assert sheet.same == {"own": "chroma"} and sheet.row("more").label == "much more"
    assert "ablation" not in sheet.runs[0].options


def test_a_row_may_describe_itself_and_the_smoke_options_come_last(tmp_path: Path) -> None:
    rows = {**ROWS, "own": {"ablation": {"label": "Own", "group": "g"}}}
    sheet = tiny_sheet(tmp_path, rows, {"smoke": {"train": {"total_iter": 1}}}, smoke=True)
    own = sheet.row("own")
    assert (own.label, own.group) == ("Own", "g") and "ablation" not in own.options
    assert all(run.total_iter == 1 and run.name.endswith("_smoke") for run in sheet.runs)


def test_sets_are_the_validation_sets_unless_named(tmp_path: Path) -> None:
    assert list(tiny_sheet(tmp_path, ROWS).sets) == ["Val"]
    common = {"sets": {"stress": {"lq": "data/lq", "gt": "/data/gt", "photo": "(.+)-"}}}
    sheet = tiny_sheet(tmp_path, ROWS, common)
    assert list(sheet.sets) == ["stress"] and sheet.photos == {"stress": "(.+)-"}
    assert sheet.sets["stress"]["dataroot_lq"] == str(ROOT / "data" / "lq")
    assert sheet.sets["stress"]["dataroot_gt"] == "/data/gt"


@pytest.mark.parametrize(
    ("common", "message"),
    [
        ({"setz": {}}, "ablation.setz: unknown key"),
        ({"sets": {"a": {"lq": "x"}}}, "ablation.sets.a: must be"),
        ({"rows": {"none": {}}}, "there is no row 'none'"),
        ({"rows": {"own": {"colour": 1}}}, "ablation.rows.own.colour: unknown key"),
        ({"sets": 3}, "ablation.sets: must hold keys"),
        ({"sets": {"a": {"lq": 1, "gt": 2}}}, "ablation.sets.a: must be"),
        ({"sets": {"a": {"lq": "x", "gt": "y", "photo": "(("}}}, "photo: '..' is no regular expression"),
        ({"sets": {"a": {"lq": "x", "gt": "y", "photo": "abc"}}}, "photo: 'abc' has no group"),
        ({"reference": ["own"]}, "ablation.reference: must be a name"),
        ({"baseline": True}, "ablation.baseline: must be a weights file or false"),
        ({"rows": {"own": "text"}}, "ablation.rows.own: must be"),
        ({"rows": {"own": {"options": 5}}}, "ablation.rows.own: must be"),
    ],
)
def test_wrong_settings_are_user_errors(tmp_path: Path, common: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny_sheet(tmp_path, ROWS, common)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": 5}, "row chroma: train: must hold keys"),
        ({"train": None}, "row chroma: train.total_iter: must be a number"),
        ({"train": {"total_iter": "many"}}, "train.total_iter: must be a number"),
        ({"datasets": [1]}, "datasets: must hold keys"),
        ({"datasets": {"val": 3}}, "datasets.val: must hold keys"),
        ({"path": "folder"}, "path: must hold keys"),
        ({"scale": "x"}, "scale: must be a whole number"),
    ],
)
def test_overlays_of_a_wrong_form_are_user_errors(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny_sheet(tmp_path, ROWS, overlay=overlay(tmp_path, content))


def test_rows_from_different_weights_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="start from different weights"):
        tiny_sheet(tmp_path, {**ROWS, "other": {"path": {"pretrain_network_g": "x.pth"}}})


def test_unknown_row_missing_folder_and_reserved_name_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no row 'nine'; there are: chroma, own"):
        load_sheet(make_sheet(tmp_path, ROWS), ROOT, tmp_path, rows=["nine"])
    with pytest.raises(UserError, match="no such folder"):
        load_sheet(tmp_path / "none", ROOT, tmp_path)
    with pytest.raises(UserError, match="'input' is the name of a row"):
        tiny_sheet(tmp_path, {**ROWS, "input": {"train": {"total_iter": 3}}})
    with pytest.raises(UserError, match="no such option file"):
        load_sheet(tmp_path / "sheet", ROOT, tmp_path, overlay=tmp_path / "none.yml")


def test_a_mistake_in_a_row_names_file_and_line(tmp_path: Path) -> None:
    sheet = tiny_sheet(tmp_path, {"own": {"train": {"total_itr": 3}}})
    with pytest.raises(UserError, match=r"(?s)row own.*own.yml:4: train.total_itr: unknown key.*total_iter"):
        check_run(sheet.runs[0], ROOT)


def test_changes_count_what_decides_the_training_only() -> None:
    before = {"name": "a", "train": {"total_iter": 3, "x": None}, "val": {"val_freq": 1}, "network_g": {"enc": [1]}}
    after = {"name": "b", "train": {"total_iter": 4}, "logger": {"print_freq": 1}, "network_g": {"enc": (1,)}}
    assert option_changes(before, after) == ["train.total_iter: 3 -> 4"]
    listed = {"datasets": {"train": {"meta_info_file": "x.txt"}}}
    assert option_changes({}, listed) == ["datasets.train.meta_info_file: (not set) -> x.txt"]


def test_yaml_of_options_is_read_back_as_it_was(tmp_path: Path) -> None:
    options = {"a": 1e-4, "b": "1e-4", "c": None, "d": [0.9, True], "e": "yes", "f": "é", "g": "", "h": {"i": [{}]}}
    path = tmp_path / "options.yml"
    path.write_text(as_yaml(options), encoding="utf-8")
    assert load_options(path).root.plain() == options


def test_the_page_names_every_row_and_its_example_is_legal() -> None:
    text = (ROOT / "docs" / "color_ablation.md").read_text(encoding="utf-8")
    for name in load_sheet(SHEET, ROOT, ROOT / "x").settings.rows:
        assert f"`{name}`" in text, name
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    settings = read_settings(yaml.safe_load(example)["ablation"], "the page")
    assert set(settings.sets) == {"test", "stress"}
    assert all(f"{field.name}:" in example for field in dataclasses.fields(Settings))
