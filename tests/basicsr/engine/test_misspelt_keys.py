"""A required key that is misspelt is one mistake, not two."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from basicsr.engine.options_merge import load_options
from basicsr.engine.options_sections import check_options
from tests.basicsr.engine.option_cases import GOOD


def errors(folder: Path, *renamed: tuple[str, str], **top: Any) -> list[str]:
    """What the check says of :data:`GOOD` with keys renamed, section by section, and others at the top."""
    options = copy.deepcopy(GOOD) | top
    for key, name in renamed:
        *sections, last = key.split(".")
        place = options
        for section in sections:
            place = place[section]
        entries = list(place.items())
        place.clear()
        place.update({name if old == last else old: value for old, value in entries})
    (folder / "t.yml").write_text(yaml.safe_dump(options, sort_keys=False))
    report = check_options(load_options(folder / "t.yml"), folder, True, paths=False)
    return [str(problem).partition("t.yml:")[2] for problem in report.errors]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("name", "nmae"),
        ("datasets", "dataset"),
        ("datasets.train", "trian"),
        ("datasets.train.dataroot_gt", "dataroot_g"),
        ("datasets.train.batch_size_per_gpu", "batchsize_per_gpu"),
        ("network_g", "netwrok_g"),
        ("train", "trian"),
        ("train.total_iter", "total_iters"),
        ("train.optim_g", "optim"),
        ("train.optim_g.lr", "lrr"),
        ("train.scheduler", "schedular"),
        ("train.scheduler.periods", "period"),
        ("train.pixel_opt", "pixel"),
        ("val.val_freq", "val_frq"),
        ("val.metrics.psnr.crop_border", "crop_boarder"),
    ],
)
def test_misspelt_required_key_is_reported_once(tmp_path: Path, key: str, name: str) -> None:
    (message,) = errors(tmp_path, (key, name))
    assert name in message and "missing" not in message


def test_what_is_missing_beside_a_misspelt_key_is_still_reported(tmp_path: Path) -> None:
    found = errors(tmp_path, ("train.total_iter", "frobnicate"), ("train.pixel_opt", "pixel_op"))
    assert len(found) == 3 and sum("total_iter: missing" in message for message in found) == 1


def test_where_unknown_keys_only_warn_the_missing_one_is_the_error(tmp_path: Path) -> None:
    (message,) = errors(tmp_path, ("train.total_iter", "total_iters"), unknown_keys="warn")
    assert "train.total_iter: missing" in message
