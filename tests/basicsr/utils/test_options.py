"""The command line and what ``parse_options`` returns."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from basicsr.engine import distributed
from basicsr.engine.errors import UserError
from basicsr.utils import options
from basicsr.utils.options import copy_opt_file, dict2str, ordered_yaml, parse_options, yaml_load
from tests.basicsr.engine.option_cases import GOOD

Parse = Callable[..., dict[str, Any]]


@pytest.fixture()
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for folder in ("gt", "lq"):
        (tmp_path / "data" / folder).mkdir(parents=True)

    def run(*arguments: str, is_train: bool = True, **changes: Any) -> dict[str, Any]:
        file = tmp_path / "x.yml"
        file.write_text(yaml.dump({**GOOD, **changes}, sort_keys=False), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["train.py", "-opt", str(file), *arguments])
        return parse_options(tmp_path, is_train)[0]

    return run


def test_what_is_added(parse: Parse, tmp_path: Path) -> None:
    opt = parse(manual_seed=3)
    assert (opt["dist"], opt["rank"], opt["world_size"]) == (False, 0, 1)
    assert opt["is_train"] is True and opt["auto_resume"] is False
    assert opt["datasets"]["train"]["phase"] == "train" and opt["datasets"]["val"]["phase"] == "val"
    assert opt["datasets"]["val"]["scale"] == 1 and opt["datasets"]["val"]["batch_size_per_gpu"] == 1
    assert opt["datasets"]["train"]["dataroot_gt"] == str(tmp_path / "data" / "gt")
    run = tmp_path / "experiments" / "good"
    assert opt["path"]["experiments_root"] == opt["path"]["log"] == str(run)
    assert opt["path"]["models"] == str(run / "models")
    assert opt["path"]["training_states"] == str(run / "training_states")
    assert opt["path"]["visualization"] == str(run / "visualization")
    assert opt["path"]["param_key_g"] == "params" and opt["path"]["strict_load_g"] is True
    assert opt["val"]["pbar"] is False and opt["logger"]["wandb"] == {"project": None, "resume_id": None}
    assert opt["val"]["metrics"]["psnr"] == {"better": "higher", "type": "calculate_psnr", "crop_border": 0}
    assert opt["network_g"] == GOOD["network_g"]


def test_for_testing(parse: Parse, tmp_path: Path) -> None:
    changes = {"train": None, "datasets": {"test_a": GOOD["datasets"]["val"]}}
    opt = parse(is_train=False, **changes)
    assert opt["path"]["results_root"] == opt["path"]["log"] == str(tmp_path / "results" / "good")
    assert opt["datasets"]["test_a"]["phase"] == "test" and "train" not in opt and opt["is_train"] is False


def test_folders_of_experiments_can_lie_elsewhere_and_home_is_expanded(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    datasets = {key: {**item, "dataroot_gt": "~/data/gt"} for key, item in GOOD["datasets"].items()}
    opt = parse(path={"experiments_root": "~/runs"}, datasets=datasets)
    assert opt["path"]["experiments_root"] == str(tmp_path / "runs" / "good")
    assert opt["datasets"]["train"]["dataroot_gt"] == str(tmp_path / "data" / "gt")


def test_nafnets_param_key_is_for_every_network(parse: Parse) -> None:
    assert parse(path={"param_key": "params_ema"})["path"]["param_key_g"] == "params_ema"


def test_the_seed_is_set_after_force_yml(parse: Parse) -> None:
    opt = parse("--force_yml", "manual_seed=77", manual_seed=3)
    assert opt["manual_seed"] == 77
    drawn = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(77), np.random.seed(77), torch.manual_seed(77)
    assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())


def test_a_missing_seed_is_drawn_and_logged(
    parse: Parse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(options, "draw_seed", lambda: 1234)
    assert parse()["manual_seed"] == 1234


@pytest.mark.parametrize(
    ("arguments", "name"), [(("--debug",), "debug_good"), (("--force_yml", "name=a_debug"), "a_debug")]
)
def test_debug_mode_logs_saves_and_validates_often(parse: Parse, arguments: tuple[str, ...], name: str) -> None:
    opt = parse(*arguments)
    assert opt["name"] == name and opt["path"]["experiments_root"].endswith(name)
    assert (opt["val"]["val_freq"], opt["logger"]["print_freq"], opt["logger"]["save_checkpoint_freq"]) == (8, 1, 8)


def test_more_gpus_than_there_are_is_a_warning(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    warnings: list[str] = []
    monkeypatch.setattr("logging.Logger.warning", lambda self, text, *args: warnings.append(text % args))
    assert parse(num_gpu=8, device="cpu")["num_gpu"] == 0 and warnings == []
    assert parse(num_gpu=8)["num_gpu"] in (0, 1)
    assert warnings[0].startswith("num_gpu: 8 asked for")


def test_local_rank_is_accepted_in_both_spellings(parse: Parse) -> None:
    """torch >= 2 passes --local-rank, which upstream's parser rejects."""
    for flag in ("--local_rank=1", "--local-rank=1"):
        assert parse(flag)["rank"] == 0


def test_upstream_bare_key_errors_are_defaults_or_messages(parse: Parse) -> None:
    """Upstream dies with KeyError: 'use_hflip', 'save_img', 'use_tb_logger', 'num_gpu', 'type'."""
    changes: dict[str, Any] = {"val": {"val_freq": 5}, "logger": None}
    opt = parse(**changes)
    assert opt["val"]["save_img"] is False and opt["logger"]["use_tb_logger"] is True
    with pytest.raises(UserError, match=r"network_g\.type: missing"):
        parse(network_g={"width": 3})


def test_everything_wrong_is_one_user_error(parse: Parse) -> None:
    with pytest.raises(UserError, match=r"2 mistakes in the options \(nothing was started\)"):
        parse("--force_yml", "sclae=1", "train:ema_decai=3")


def test_of_several_processes_only_the_first_lists_the_mistakes(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match="^the options are wrong; the first process"):
        parse("--force_yml", "sclae=1")


def test_nccl_in_a_file_does_not_stop_a_run_on_the_cpu(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(distributed, "init", lambda launcher, backend, *rest: bool(seen.append(backend)))
    parse(dist_params={"backend": "nccl", "port": 29500})
    assert seen == ["auto"]


def test_options_are_not_changed_by_building_from_them(parse: Parse) -> None:
    first, second = parse(manual_seed=1), parse(manual_seed=1)
    first["network_g"].pop("type")
    first["val"]["metrics"]["psnr"].pop("type")
    assert second["network_g"]["type"] == "NAFNet" and parse(manual_seed=1) == second


def test_help_teaches(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit) as caught:
        parse_options(".")
    text = capsys.readouterr().out
    assert caught.value.code == 0
    for part in ("--force_yml train:total_iter=2000", "torchrun", "tools/check_options.py", "docs/options.md", "[1, 2"):
        assert part in text


def test_dict2str_has_upstreams_form() -> None:
    assert dict2str({"a": 1, "b": {"c": [1, 2]}}) == "\n  a: 1\n  b:[\n    c: [1, 2]\n  ]\n"


def test_yaml_load_takes_a_path_or_an_open_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yml"
    file.write_text("b: 1e-3\na: {c: ~}\n", encoding="utf-8")
    expected = {"b": 0.001, "a": {"c": None}}
    with file.open(encoding="utf-8") as opened:
        assert yaml_load(opened) == yaml_load(str(file)) == yaml_load(file) == expected
    assert yaml_load("b: 1\na: 2\n") == {"b": 1, "a": 2}
    with pytest.raises(UserError, match="written twice"):
        yaml_load("b: 1\nb: 2\n")


def test_ordered_yaml_keeps_the_order() -> None:
    loader, dumper = ordered_yaml()
    loaded = yaml.load("b: 1\na: 2\n", Loader=loader)
    assert isinstance(loaded, OrderedDict) and list(loaded) == ["b", "a"]
    assert yaml.dump(loaded, Dumper=dumper) == "b: 1\na: 2\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [("~", None), ("none", None), ("true", True), ("False", False), ("3", 3), ("!!float 5", 5.0), ("x", "x")],
)
def test_upstreams_forced_values(text: str, value: Any) -> None:
    assert options._postprocess_yml_value(text) == value


def test_the_copy_of_an_option_file_says_how_it_was_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-opt", "x.yml"])
    (tmp_path / "run").mkdir()
    (tmp_path / "x.yml").write_text("name: x  # kept\n", encoding="utf-8")
    (tmp_path / "y.yml").write_text("base: x.yml\nscale: 2\n", encoding="utf-8")
    copy_opt_file(tmp_path / "x.yml", tmp_path / "run")
    text = (tmp_path / "run" / "x.yml").read_text(encoding="utf-8")
    assert text.startswith("# GENERATE TIME: ") and "# CMD: train.py -opt x.yml\n" in text and "name: x  # kept" in text
    copy_opt_file(tmp_path / "y.yml", tmp_path / "run")
    assert yaml_load(tmp_path / "run" / "y.yml") == {"name": "x", "scale": 2}
