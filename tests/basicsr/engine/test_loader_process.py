"""Loader processes: a bad file is named without a traceback, a signal to the whole group does not kill them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from basicsr.data import train_stream
from basicsr.data.train_stream import build_train_stream
from basicsr.engine import validation
from basicsr.engine.errors import UserError
from basicsr.engine.interrupt import StopRequest
from basicsr.engine.loader_process import start_loader_process
from basicsr.engine.validation import prefetched, shard
from tests.basicsr.tiny_run import environment, make_project, write_options


class Photos(Dataset):
    """Six samples, of which number four cannot be read."""

    def __init__(self, broken: int = 4) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.broken:
            raise UserError(f"{index}.png: the file is empty (0 bytes).")
        return {"lq": torch.zeros(3, 2, 2), "lq_path": f"{index}.png"}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_validation_image_is_named_without_the_loaders_traceback(workers: int) -> None:
    batches = prefetched(shard(DataLoader(Photos()), 0, 1, workers))
    assert len(list(islice(batches, 4))) == 4
    with pytest.raises(UserError, match=r"^4\.png: the file is empty \(0 bytes\)\.$"):
        next(batches)


def test_a_further_start_function_is_called() -> None:
    called: list[int] = []
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    try:
        start_loader_process(3, then=called.append)
    finally:
        torch.set_num_threads(threads)
        signal.signal(signal.SIGTERM, handler)
    assert called == [3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_loaders_of_the_training_stream_survive_sigterm_until_the_loop_is_left() -> None:
    section = {"batch_size_per_gpu": 1, "num_worker_per_gpu": 1}
    with StopRequest() as stop:
        stop.arm()
        stream = build_train_stream(Photos(broken=-1), section, {"manual_seed": 1})
        next(stream)
        (worker,) = stream._iterator._workers  # type: ignore[union-attr]
        os.kill(worker.pid, signal.SIGTERM)
        for _ in range(30):
            next(stream)
        assert worker.is_alive()
    stream.close()
    worker.join(timeout=10)
    assert not worker.is_alive()


def start_amid_a_signal(worker_id: int, then: Callable[[int], object] | None = None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # torch's handler is in place, ours not yet
    start_loader_process(worker_id, then)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("phase", ["train", "val"])
def test_a_signal_while_a_loader_process_starts_does_not_kill_it(phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_stream, "start_loader_process", start_amid_a_signal)
    monkeypatch.setattr(validation, "start_loader_process", start_amid_a_signal)
    with StopRequest() as stop:
        stop.arm()
        batches: Iterator[Any] = prefetched(shard(DataLoader(Photos(broken=-1)), 0, 1, 1))
        if phase == "train":
            section = {"batch_size_per_gpu": 1, "num_worker_per_gpu": 1}
            batches = build_train_stream(Photos(broken=-1), section, {"manual_seed": 1})
        assert len(list(islice(batches, 6))) == 6
        assert stop.asked() == 0  # the signal was the loader's alone
        batches.close()  # type: ignore[attr-defined]


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_whole_group_saves_and_ends_with_its_status(
    tmp_path: Path, signum: signal.Signals, status: int
) -> None:
    make_project(tmp_path)
    options = write_options(tmp_path / "t.yml", train__total_iter=100_000, logger__save_checkpoint_freq=100_000)
    flags = ["datasets:train:num_worker_per_gpu=2", "val:num_worker=1"]
    script = f"from basicsr.train import train_pipeline; train_pipeline({str(tmp_path)!r})"
    command = [sys.executable, "-c", script, "-opt", str(options), "--force_yml", *flags]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
    log: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if "iter:       3" in line:
            time.sleep(0.2)
            os.killpg(process.pid, signum)
            break
    rest = process.stderr.read()
    assert process.wait(timeout=60) == status, "".join(log) + rest
    assert "its state is saved" in rest and "Traceback" not in rest
    assert len(list((tmp_path / "experiments" / "tiny" / "training_states").glob("*.state"))) == 1
