"""Reading, computing and writing at once: order, bounds, records, stops."""

import errno
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from plugins.color_fidelity import enhance
from plugins.color_fidelity.enhance import READ_AHEAD, Plan, enhance_all
from plugins.color_fidelity.enhance_files import Photo, read_photo
from plugins.color_fidelity.enhance_plan import Job, plan_jobs
from plugins.color_fidelity.enhance_record import RECORD_NAME, OutputRecord, differences
from plugins.color_fidelity.enhance_run import Runner
from plugins.color_fidelity.enhance_stop import StopSignal
from plugins.color_fidelity.enhance_summary import Tally

SETTINGS = {"checkpoint": "a.pth", "sha256": "1" * 64, "max_side": None}


class Slow(nn.Module):
    """Takes its time, and may send a signal at one of its calls."""

    def __init__(self, seconds: float = 0.0, signal_at: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)
        self.seconds, self.signal_at, self.calls = seconds, signal_at, 0

    def forward(self, image: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.signal_at:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(self.seconds)
        return image * self.weight


def folder(tmp_path: Path, count: int, side: int = 8) -> list[Job]:
    (tmp_path / "in").mkdir()
    for index in range(count):
        Image.fromarray(np.full((side, side, 3), index, np.uint8)).save(tmp_path / "in" / f"{index:02}.png")
    return plan_jobs(tmp_path / "in", tmp_path / "out")


def slow_files(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[int]:
    """Let reading and writing take time; the list holds how many photos are between them, one entry a read."""
    level, levels, lock = [0], [], threading.Lock()
    plain_read, plain_write = enhance.read_photo, enhance.write_photo

    def read(path: Path) -> Photo:
        with lock:
            level[0] += 1
            levels.append(level[0])
        time.sleep(seconds)
        return plain_read(path)

    def write(path: Path, photo: Photo) -> None:
        time.sleep(seconds)
        plain_write(path, photo)
        with lock:
            level[0] -= 1

    monkeypatch.setattr(enhance, "read_photo", read)
    monkeypatch.setattr(enhance, "write_photo", write)
    return levels


def test_stages_overlap_in_order_with_a_bounded_number_of_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = slow_files(monkeypatch, 0.04)
    jobs = folder(tmp_path, 12)
    took = {}
    for overlap in (False, True):
        start = time.perf_counter()
        outcomes = list(enhance_all(jobs, Runner(Slow(0.04)), Plan(overwrite=True, overlap=overlap)))
        took[overlap] = time.perf_counter() - start
        assert [outcome.job for outcome in outcomes] == jobs and {each.status for each in outcomes} == {"done"}
        assert min(outcomes[0].seconds[stage] for stage in ("read", "compute", "write")) > 0.03
    assert took[True] < 0.7 * took[False]
    assert max(levels) <= 2 * READ_AHEAD + 3
    for index, job in enumerate(jobs):
        assert read_photo(job.target).rgb.max() == index


def test_many_photos_wait_for_a_slow_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = slow_files(monkeypatch, 0.0)
    plain = enhance.write_photo
    monkeypatch.setattr(enhance, "write_photo", lambda path, photo: (time.sleep(0.02), plain(path, photo)))
    outcomes = list(enhance_all(folder(tmp_path, 15), Runner(Slow())))
    assert len(outcomes) == 15 and max(levels) <= 2 * READ_AHEAD + 3


def test_an_unexpected_error_about_one_photo_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = enhance.read_photo

    def read(path: Path) -> Photo:
        if path.name == "01.png":
            raise MemoryError("no room")
        return plain(path)

    monkeypatch.setattr(enhance, "read_photo", read)
    outcomes = list(enhance_all(folder(tmp_path, 3), Runner(Slow())))
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "01.png: MemoryError: no room" in outcomes[1].message


def test_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, photo: Photo) -> None:
        raise UserError(f"cannot write {path}") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(enhance, "write_photo", full)
    net = Slow(0.01)
    with pytest.raises(UserError, match="no further photo could be written"):
        list(enhance_all(folder(tmp_path, 20), Runner(net)))
    assert net.calls < 8


@pytest.mark.parametrize("overlap", [False, True])
def test_ctrl_c_writes_what_was_computed_and_drops_the_photo_in_the_network(tmp_path: Path, overlap: bool) -> None:
    jobs = folder(tmp_path, 8)
    net = Slow(0.05, signal_at=4)
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests themselves run in the background
    with StopSignal() as stop:
        outcomes = list(enhance_all(jobs, Runner(net), Plan(stop=stop, overlap=overlap)))
    assert stop.status == 130 and net.calls == 4
    assert [outcome.job for outcome in outcomes] == jobs[:3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00.png", "01.png", "02.png"]
    assert signal.getsignal(signal.SIGINT) is before


def states(record: OutputRecord, jobs: list[Job]) -> list[str]:
    return [record.state(job) for job in jobs]


def test_a_record_knows_by_what_each_output_was_made(tmp_path: Path) -> None:
    jobs, run = folder(tmp_path, 4), Runner(Slow())
    out = tmp_path / "out"
    with OutputRecord(out, SETTINGS) as record:
        list(enhance_all(jobs[:3], run, Plan(record=record)))
        assert states(record, jobs) == ["made", "made", "made", "missing"]
        record.refuse_mixture(jobs)
    with OutputRecord(out, {**SETTINGS, "checkpoint": "renamed.pth"}) as record:
        assert record.state(jobs[0]) == "made"
        Image.new("RGB", (9, 9)).save(jobs[1].source)
        Image.new("RGB", (99, 99)).save(jobs[2].target)  # somebody's own work
        assert states(record, jobs) == ["made", "source changed", "unknown", "missing"]
        outcomes = list(enhance_all(jobs, run, Plan(record=record)))
        assert [outcome.status for outcome in outcomes] == ["skipped", "done", "skipped", "done"]
        assert "not made by a recorded run" in outcomes[2].message
    with OutputRecord(out, {**SETTINGS, "checkpoint": "b.pth", "sha256": "2" * 64, "max_side": 7}) as record:
        with pytest.raises(UserError, match=r"3 photos there \(00\.png, .*a\.pth \(1111.*instead of b\.pth.*--force"):
            record.refuse_mixture(jobs)
        outcomes = list(enhance_all(jobs, run, Plan(record=record, force=True)))
        assert {outcome.status for outcome in outcomes} == {"done"}
        outcomes = list(enhance_all(jobs, run, Plan(record=record, force=True)))
        assert {outcome.status for outcome in outcomes} == {"skipped"}


def test_a_record_cut_short_by_a_crash_goes_on(tmp_path: Path) -> None:
    jobs, run = folder(tmp_path, 3), Runner(Slow())
    with OutputRecord(tmp_path / "out", SETTINGS) as record:
        list(enhance_all(jobs[:2], run, Plan(record=record)))
    path = tmp_path / "out" / RECORD_NAME
    path.write_bytes(path.read_bytes()[:-30])
    (tmp_path / "out" / ".02.png.123.tmp-write").write_bytes(b"half")
    with OutputRecord(tmp_path / "out", SETTINGS) as record:
        assert [left.name for left in record.clear_leftovers(jobs)] == [".02.png.123.tmp-write"]
        assert states(record, jobs) == ["made", "unknown", "missing"]
        list(enhance_all(jobs, run, Plan(record=record)))
    with OutputRecord(tmp_path / "out", SETTINGS) as record:
        assert states(record, jobs) == ["made", "unknown", "made"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [RECORD_NAME, "00.png", "01.png", "02.png"]


def test_differences_of_settings_read_well() -> None:
    assert differences({"max_side": 100}, {"max_side": None}) == ["max_side 100 instead of none"]
    assert differences(SETTINGS, dict(SETTINGS)) == []


def test_time_left_is_weighted_by_megapixels(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, side in (("a", 100), ("b", 300)):
        Image.new("RGB", (side, side)).save(tmp_path / "in" / f"{name}.png")
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out")
    now = [0.0]
    tally = Tally(jobs, clock=lambda: now[0])
    outcomes = enhance_all(jobs, Runner(Slow()))
    now[0] = 10.0
    assert "left 0:01:30" in tally.add(next(outcomes))
    assert "left 0:00:00" in tally.add(next(outcomes))
    figures = tally.as_dict()
    assert figures["done"] == 2 and figures["megapixels"] == 0.1 and figures["megapixels_per_second"] == 0.01
    assert set(figures["stage_seconds"]) == {"read", "compute", "write"} and figures["not_reached"] == 0


def test_an_animation_is_done_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in (50, 90)]
    frames[0].save(tmp_path / "in" / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    (outcome,) = enhance_all(plan_jobs(tmp_path / "in", tmp_path / "out"), Runner(Slow()))
    assert outcome.status == "done" and outcome.warning == "only the first of its frames"
