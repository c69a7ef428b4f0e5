"""The strict check: everything at once, missing paths, third-party components."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from basicsr.engine.options_fill import fill_defaults
from basicsr.engine.options_merge import load_options
from basicsr.engine.options_sections import check_options
from basicsr.engine.options_yaml import read_yaml
from basicsr.utils import registry as registries
from tests.basicsr.engine.option_cases import GOOD, Checks, make_check, messages, only


@pytest.fixture()
def check(tmp_path: Path) -> Checks:
    return make_check(tmp_path)


TEN_MISTAKES = """\
name: ten
model_type: SRModel
plugins: []
sclae: 1
num_gpu: 0
datasets:
  train:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: data/missing
    dataroot_lq: data/lq
    io_backend: {type: disk}
    gt_size: large
    use_hflip: true
    use_flip: true
    batch_size_per_gpu: 2
  val:
    name: held_out
    type: PairedImageDataset
    dataroot_gt: data/gt
    dataroot_lq: data/lq
    io_backend: {type: disk}
network_g:
  type: NAFNet
  widht: 4
path:
  pretrain_network_g: weights/none.pth
train:
  total_iter: 100
  optim_g: {type: AdamW, lr: 1e-3}
  scheduler:
    type: CosineAnnealingRestartLR
    periods: [50, 50]
    restart_weights: [1]
  pixel_opt:
    type: L1Los
  pixel_opt:
    type: L1Loss
val:
  val_freq: 50
  metrics:
    psnr:
      type: calculate_psnr
      crop_boder: 0
      crop_border: 0
"""

EXPECTED = (
    (4, "sclae", "did you mean 'scale'?"),
    (10, "datasets.train.dataroot_gt", "no such folder"),
    (13, "datasets.train.gt_size", "expected a whole number"),
    (15, "datasets.train.use_flip", "two names for one thing"),
    (25, "network_g.widht", "did you mean 'width'?"),
    (27, "path.pretrain_network_g", "no such file"),
    (34, "train.scheduler.restart_weights", "has 1 value, 'periods' has 2"),
    (37, "train.pixel_opt", "written twice in the same mapping (first in line 35)"),
    (44, "val.metrics.psnr.crop_boder", "did you mean 'crop_border'?"),
)


def test_ten_mistakes_are_reported_at_once_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2
    import torch

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise LookupError("an image or a weight was read")

    for module, name in ((cv2, "imread"), (cv2, "imdecode"), (torch, "load")):
        monkeypatch.setattr(module, name, forbidden)
    for folder in ("gt", "lq"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "a.png").write_bytes(b"not an image")
    file = tmp_path / "ten.yml"
    file.write_text(TEN_MISTAKES.replace("type: L1Loss", "type: L1Los"), encoding="utf-8")
    report = check_options(load_options(file), tmp_path, is_train=True)
    found = [(problem.place.line, problem.key) for problem in report.errors]
    expected = [*EXPECTED, (38, "train.pixel_opt.type", "Did you mean 'L1Loss'")]
    assert sorted(found) == sorted((line, key) for line, key, _ in expected) and len(found) == 10
    lines = report.text().splitlines()
    for line, key, advice in expected:
        assert any(text.startswith(f"  {file}:{line}: {key}: ") and advice in text for text in lines), (line, key)
    assert len(lines) < 24, "it must fit on one screen"


class TestPaths:
    def test_missing_data_and_weights_say_what_to_put_where(self, check: Checks, tmp_path: Path) -> None:
        report = check(paths=True, datasets__train__dataroot_gt="photos/gt", path__pretrain_network_g="w/net.pth")
        text = report.text()
        assert f"datasets.train.dataroot_gt: no such folder: {tmp_path}/photos/gt; put the target images there" in text
        assert f"path.pretrain_network_g: no such file: {tmp_path}/w/net.pth" in text
        assert "make_demo_data.py" in text and "make demo" in text and "datasets/README.md" in text
        assert len(text.splitlines()) < 24

    def test_a_misspelt_folder_is_suggested(self, check: Checks, tmp_path: Path) -> None:
        report = check(paths=True, datasets__train__dataroot_gt="dta/gt")
        assert f"did you mean {tmp_path}/data/gt?" in only(report)

    def test_a_store_beside_the_place_of_its_folder_is_data(self, check: Checks, tmp_path: Path) -> None:
        for half in ("gt", "lq"):
            (tmp_path / "kept" / f"{half}.store").mkdir(parents=True)
        roots = {f"datasets__train__dataroot_{half}": f"kept/{half}" for half in ("gt", "lq")}
        assert messages(check(paths=True, **roots, datasets__train__io_backend={"type": "mmap"})) == []
        assert len(check(paths=True, **roots).errors) == 2

    def test_weights_of_another_run_name_its_option_file(self, check: Checks, tmp_path: Path) -> None:
        (tmp_path / "options").mkdir()
        (tmp_path / "options" / "first.yml").write_text("name: first_run\n", encoding="utf-8")
        report = check(paths=True, path__pretrain_network_g="experiments/first_run/models/net_g_latest.pth")
        assert "train it first: python BasicSR/basicsr/train.py -opt options/first.yml" in only(report)

    def test_a_run_that_resumes_does_not_need_its_first_weights(self, check: Checks, tmp_path: Path) -> None:
        states = tmp_path / "experiments" / "good" / "training_states"
        states.mkdir(parents=True)
        (states / "10.state").write_bytes(b"")
        check(path__pretrain_network_g="gone.pth")
        loaded = load_options(tmp_path / "x.yml")
        assert messages(check_options(loaded, tmp_path, True, auto_resume=True)) == []
        assert len(check_options(loaded, tmp_path, True, auto_resume=False).errors) == 1

    def test_a_missing_state_is_named(self, check: Checks) -> None:
        assert "path.resume_state: no such file" in only(check(paths=True, path__resume_state="x/10.state"))

    def test_a_missing_meta_file_is_named(self, check: Checks) -> None:
        report = check(paths=True, datasets__train__meta_info_file="meta.txt")
        assert "datasets.train.meta_info_file: no such file" in only(report)


@dataclass(frozen=True)
class OwnTrain:
    """Own.

    Attributes:
        gan_start: When.
    """

    gan_start: int = 0


@dataclass(frozen=True)
class OwnOptions:
    """Own keys of a model.

    Attributes:
        gt_usm: Whether the target is sharpened.
        train: More of train.
    """

    gt_usm: bool = False
    train: OwnTrain | None = None


class PickyModel:
    loss_keys = ("pixel_opt", "perceptual_opt")

    def __init__(self, opt: OwnOptions | Mapping[str, Any]) -> None: ...

    def init_training_settings(self) -> None: ...


class PickyChild(PickyModel):
    pass


class FreeChild(PickyModel):
    def init_training_settings(self) -> None: ...


class UncheckedLoss(nn.Module):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__()


@pytest.fixture()
def components() -> Iterator[None]:
    registries.MODEL_REGISTRY.keys()
    registries.LOSS_REGISTRY.keys()
    for model in (PickyModel, PickyChild, FreeChild):
        registries.MODEL_REGISTRY.register(model)
    registries.LOSS_REGISTRY.register(UncheckedLoss)
    yield
    for model in (PickyModel, PickyChild, FreeChild):
        del registries.MODEL_REGISTRY._obj_map[model.__name__]
    del registries.LOSS_REGISTRY._obj_map["UncheckedLoss"]


@pytest.mark.usefixtures("components")
class TestThirdParty:
    def test_a_loss_that_the_model_would_ignore_is_an_error(self, check: Checks) -> None:
        loss = {"type": "L1Loss"}
        for model in ("PickyModel", "PickyChild"):
            expected = f"train.ssim_opt: the model {model} would ignore this loss; it reads: perceptual_opt, pixel_opt"
            assert only(check(model_type=model, train__ssim_opt=loss)) == expected
        assert messages(check(model_type="FreeChild", train__ssim_opt=loss)) == []
        assert messages(check(train__ssim_opt=loss)) == []

    def test_a_model_declares_keys_of_its_own(self, check: Checks) -> None:
        assert messages(check(model_type="PickyModel", gt_usm=True, train__gan_start=3)) == []
        message = only(check(model_type="PickyModel", gt_usn=True))
        assert "did you mean 'gt_usm'?" in message
        assert "gt_usm: expected true or false" in only(check(model_type="PickyModel", gt_usm=3))

    def test_a_component_that_takes_any_keyword_is_not_checked(self, check: Checks) -> None:
        assert messages(check(train__pixel_opt={"type": "UncheckedLoss", "whatever": 1, "start_iter": 2})) == []


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all keys of nested mappings."""
    for key, member in value.items():
        yield (*path, key)
        if isinstance(member, dict):
            yield from leaves(member, (*path, key))


ODD = [None, 0, -1, 1.5, "", "x", True, [], [1, "a"], {}, {"type": 3}, {"type": "L1Loss"}, {1: 2}]


CHANGES = st.tuples(st.sampled_from(list(leaves(GOOD))), st.sampled_from(ODD))


@settings(max_examples=60, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=3), st.booleans())
def test_no_value_in_any_place_makes_the_check_itself_fail(
    changes: list[tuple[tuple[str, ...], Any]], is_train: bool
) -> None:
    opt = copy.deepcopy(GOOD)
    for path, value in changes:
        section: Any = opt
        for key in path[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section[path[-1]] = copy.deepcopy(value)
    loaded = read_yaml(yaml.dump(opt), "x.yml")
    report = check_options(loaded, Path("/nonexistent"), is_train)
    if not [problem for problem in report.errors if "no such" not in problem.message]:
        filled = fill_defaults(report.values, is_train)
        assert isinstance(filled["val"]["save_img"], bool)
        # The keys of a network's weights are filled in where there is that network.
        assert filled.get("network_g") is None or filled["path"]["param_key_g"]
