"""Processes that read validation images stay between validations where the options ask for it."""

from __future__ import annotations

import gc
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from basicsr.engine.validation import shard
from tests.basicsr.models.model_kit import KitSet, loader
from tests.basicsr.tiny_run import OPTIONS, make_project, run_here, write_options


class PidSet(KitSet):
    """Samples that tell which process read them."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**super().__getitem__(index), "pid": os.getpid()}


def readers(whole: Any) -> set[int]:
    return {int(batch["pid"]) for batch in shard(whole, 0, 1, workers=1)}


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_workers_of_a_validation_set_are_kept_and_end_with_it(persistent: bool) -> None:
    dataset = PidSet()
    dataset.opt["persistent_workers"] = persistent  # type: ignore[assignment]
    whole = loader(dataset)
    first, second = readers(whole), readers(whole)
    assert len(first) == 1 and os.getpid() not in first
    assert (first == second) is persistent
    del whole
    gc.collect()
    assert not first & {child.pid for child in multiprocessing.active_children()}


def test_a_run_with_persistent_validation_workers_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path)
    val = {**OPTIONS["datasets"]["val"], "persistent_workers": True, "num_worker_per_gpu": 1}
    options = write_options(tmp_path / "tiny.yml", datasets__val=val, train__total_iter=8)
    run_here(monkeypatch, tmp_path, options)
    (log,) = (tmp_path / "experiments" / "tiny").glob("train_*.log")
    assert log.read_text().count("Validation Val") == 2
    gc.collect()
    assert not multiprocessing.active_children()
