"""The strict check of an option file, mistake by mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from basicsr.engine.options_merge import load_options
from basicsr.engine.options_sections import check_options
from tests.basicsr.engine.option_cases import GOOD, REMOVE, Checks, make_check, messages, only

FILES = Path(__file__).parent / "option_files"


@pytest.fixture()
def check(tmp_path: Path) -> Checks:
    return make_check(tmp_path)


def test_a_right_file_has_no_errors_and_converted_values(check: Checks) -> None:
    report = check(paths=True, train__optim_g__lr="1e-3", val__val_freq=5e1)
    assert messages(report) == [] and report.warnings == []
    assert report.values["train"]["optim_g"]["lr"] == 0.001
    assert report.values["val"]["val_freq"] == 50 and isinstance(report.values["val"]["val_freq"], int)


@pytest.mark.parametrize("file", sorted(FILES.glob("*.yml")), ids=lambda item: item.stem)
def test_files_in_upstreams_and_nafnets_form_pass_unchanged(file: Path, tmp_path: Path) -> None:
    report = check_options(load_options(file), tmp_path, is_train="test" not in file.stem, paths=False)
    assert messages(report) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sclae": 2}, "sclae: unknown key of the top level; did you mean 'scale'?"),
        ({"ema_decay": 0.9}, "ema_decay: unknown key of the top level; it belongs under 'train'"),
        ({"train__val_freq": 3}, "train.val_freq: unknown key of 'train'; it belongs under 'val'"),
        ({"train__ema_decai": 0.9}, "train.ema_decai: unknown key of 'train'; did you mean 'ema_decay'?"),
        ({"train__optm_g": {"lr": 1}}, "train.optm_g: unknown key of 'train'; did you mean 'optim_g'?"),
        ({"datasets__train__gt_sizes": 3}, "unknown key of PairedImageDataset; did you mean 'gt_size'?"),
        ({"network_g__widht": 3}, "network_g.widht: unknown key of NAFNet; did you mean 'width'?"),
        ({"train__pixel_opt__los_weight": 3}, "unknown key of L1Loss; did you mean 'loss_weight'?"),
        ({"val__metrics__psnr__crop_boder": 3}, "unknown key of calculate_psnr; did you mean 'crop_border'?"),
        ({"path__pretrain_network_x": "a"}, "unknown key of 'path'; did you mean 'pretrain_network_g'?"),
        ({"logger__wandb__projekt": "x"}, "logger.wandb.projekt: unknown key of WandbOptions; did you mean 'project'?"),
        ({"network_g__width": "wide"}, "network_g.width: expected a whole number, got the text 'wide'"),
        ({"train__optim_g__betas": 0.9}, "train.optim_g.betas: expected a list of 2"),
        ({"train": None}, "train: missing; training needs total_iter"),
        ({"datasets__val": 3}, "datasets.val: expected a mapping with the 'type' of the dataset, got the number 3"),
        ({"logger": [1]}, "logger: expected a mapping, got the list [1]"),
        ({"name": REMOVE}, "name: missing; the top level needs it (text"),
        ({"train__total_iter": REMOVE}, "train.total_iter: missing; say how long to train"),
        ({"train__scheduler": REMOVE}, "train.scheduler: missing; 'train' needs it"),
        ({"train__scheduler": None}, "train.scheduler: missing; 'train' needs it"),
        ({"train__pixel_opt": REMOVE}, "train.pixel_opt: missing; training needs at least one loss"),
        ({"train__optim_g": REMOVE}, "train.optim_g: missing; training needs an optimizer"),
        ({"train__optim_g__lr": REMOVE}, "train.optim_g.lr: missing"),
        ({"datasets__train": REMOVE}, "datasets.train: missing; there is nothing to train on"),
        ({"datasets__train__batch_size_per_gpu": REMOVE}, "datasets.train.batch_size_per_gpu: missing"),
        ({"network_g": REMOVE}, "network_g: missing; training needs a network"),
        ({"val__val_freq": REMOVE}, "val.val_freq: missing; there is a validation set (val)"),
        ({"val__metrics__psnr__type": REMOVE}, "val.metrics.psnr.type: missing; one of: "),
        ({"train__pixel_opt": {"tpe": "L1Loss"}}, "train.pixel_opt.type: missing; 'tpe' was probably meant so"),
        ({"train__pixel_opt": "L1Loss"}, "train.pixel_opt: expected a mapping with the 'type' of the loss"),
        ({"train__pixel_opt__type": "L1Los"}, "no loss of the name 'L1Los' is registered. Did you mean 'L1Loss'"),
        ({"network_g__type": "Nafnet"}, "no arch of the name 'Nafnet' is registered. Did you mean 'NAFNet'"),
        ({"model_type": "Qqqqqqq"}, "model_type: no model of the name 'Qqqqqqq' is registered. Registered: "),
        ({"datasets__test": GOOD["datasets"]["train"]}, "datasets.test: a training run has one 'train' and any number"),
        ({"datasets__train__use_flip": True}, "'use_flip' and 'use_hflip' are two names for one thing"),
        ({"path__param_key": "a", "path__param_key_g": "b"}, "'param_key' and 'param_key_g' are two names for one"),
        ({"train__grad_clip": 1, "train__use_grad_clip": True}, "two names for one thing; keep one"),
        ({"train__mixup": True}, "train.mixup: expected false, got true"),
        ({"train__scheduler__restart_weights": [1, 1]}, "has 2 values, 'periods' has 1; they must be as many"),
        ({"train__scheduler__periods": [60]}, "the periods end at iteration 60, train.total_iter is 100"),
        ({"train__pixel_opt__end_iter": 0}, "train.pixel_opt.end_iter: 0 is not after start_iter"),
        ({"train__pixel_opt__start_iter": 101}, "the loss would never count"),
        ({"datasets__train__prefetch_mode": "cuda"}, "prefetch_mode: needs pin_memory: true"),
        ({"datasets__train__prefetch_mode": "gpu"}, "prefetch_mode: expected cpu or cuda or ~"),
        ({"val__best_metric": "psnl"}, "val.best_metric: val.metrics has no 'psnl'; did you mean 'psnr'?"),
        ({"val__best_metric": "heldout/psnr"}, "no validation set has the name 'heldout'; did you mean 'held_out'?"),
        ({"train__total_iter": 0, "train__scheduler__periods": [1]}, "train.total_iter: must be at least 1, is 0"),
        ({"train__ema_decay": 1}, "train.ema_decay: must be below 1"),
        ({"name": "../x"}, "name: '../x' cannot be the name of a folder"),
        ({"name": "."}, "name: '.' cannot be the name of a folder"),
        ({"name": "a//b"}, "name: 'a//b' cannot be the name of a folder"),
        ({"name": "a\nb"}, "name: 'a\\nb' cannot be the name of a folder"),
        ({"train__total_iter": -3, "train__scheduler__periods": [1]}, "train.total_iter: must be at least 1, is -3"),
        ({"datasets__train__io_backend": {"type": "disc"}}, "type: no storage of the name 'disc'; did you mean"),
        ({"datasets__val__io_backend": {"typ": "disk"}}, "io_backend.type: missing; there are: disk, lmdb"),
        ({"datasets__val__io_backend": {"type": "disk", "lock": 1}}, "lock: unknown key of the storage 'disk'"),
        ({"datasets__train__batch_size_per_gpu": 2.5}, "batch_size_per_gpu: expected a whole number, got"),
        ({"val__grids": True, "val__crop_size_w": 8}, "val.crop_size_h: missing; grids: true needs it"),
        ({"train__optim_g__lr": -1}, "train.optim_g.lr: must be at least 0, is -1"),
        ({"manual_seed": -1}, "manual_seed: must be at least 0, is -1"),
        ({"manual_seed": 10**20}, "manual_seed: must be below 2**63"),
        ({"datasets__train__dataset_enlarge_ratio": 0}, "dataset_enlarge_ratio: must be above 0, is 0"),
        ({"plugins": ["no_such_plugin_x"]}, "plugins: 'no_such_plugin_x' is not installed"),
        ({"plugins": "color"}, "plugins: expected a list of texts or ~, got the text 'color'"),
        ({"unknown_keys": "never"}, "unknown_keys: expected error or warn"),
    ],
)
def test_one_mistake_is_one_error(check: Checks, changes: dict[str, Any], message: str) -> None:
    assert message in only(check(**changes))


def test_two_validation_sets_of_one_name_are_refused_because_their_images_would_overwrite_each_other(
    check: Checks,
) -> None:
    assert "'held_out' is also the name of datasets.val" in only(check(datasets__val_2=GOOD["datasets"]["val"]))


def test_what_is_probably_not_meant_so_is_a_warning(check: Checks) -> None:
    scheduler = {"type": "MultiStepLR", "milestones": [50, 500]}
    assert "[500] lie beyond" in str(check(train__scheduler=scheduler).warnings[0])
    scheduler = {"type": "TrueCosineAnnealingLR", "T_max": 50}
    assert "rises again after 50" in str(check(train__scheduler=scheduler).warnings[0])


def test_nothing_written_means_the_default_and_removes_a_component(check: Checks) -> None:
    nothing = {"train__warmup_iter": None, "train__perceptual_opt": None, "datasets__val_2": None}
    report = check(**nothing, val__metrics={"psnr": None})
    assert messages(report) == []
    assert "warmup_iter" not in report.values["train"] and "perceptual_opt" not in report.values["train"]
    assert report.values["val"]["metrics"] == {} and "val_2" not in report.values["datasets"]


def test_unknown_keys_can_be_warnings(check: Checks) -> None:
    report = check(unknown_keys="warn", gt_usm=True)
    assert messages(report) == []
    assert "gt_usm: unknown key of the top level" in str(report.warnings[0])
    assert report.values["gt_usm"] is True


def test_forced_keys_are_checked_too_and_named_as_such(check: Checks) -> None:
    report = check(force=("train:optm_g:lr=1",))
    assert str(report.errors[0]).startswith("--force_yml train:optm_g:lr=1: train.optm_g: unknown key of 'train'")


def test_forced_text_that_looks_like_a_number_is_text_where_text_is_wanted(check: Checks) -> None:
    assert check(force=("name=001",)).values["name"] == "001"


def test_an_error_in_a_base_names_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(yaml.dump({**GOOD, "sclae": 2}), encoding="utf-8")
    (tmp_path / "child.yml").write_text("base: base.yml\nscal: 3\n", encoding="utf-8")
    report = check_options(load_options(tmp_path / "child.yml"), tmp_path, True, paths=False)
    places = {problem.key: Path(problem.place.file).name for problem in report.errors}
    assert places == {"sclae": "base.yml", "scal": "child.yml"}


def test_testing_needs_no_training_section(check: Checks) -> None:
    changes = {"train": REMOVE, "logger": REMOVE, "val__val_freq": REMOVE}
    report = check(is_train=False, datasets={"anything": GOOD["datasets"]["val"]}, **changes)
    assert messages(report) == []
