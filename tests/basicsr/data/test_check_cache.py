"""Remembered verdicts of tools/check_data.py: right as long as the file is the same, lost by no kill, never a crash."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import image_files as files
import pytest

from basicsr.data import check_files
from basicsr.data.check import DataSetToCheck, Report, check_data
from basicsr.data.check_cache import VerdictCache, default_cache
from basicsr.data.image_store_build import build_store
from basicsr.data.work_progress import WorkProgress
from basicsr.utils.lmdb_util import make_lmdb_from_imgs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    files.make_pairs(tmp_path, 4)
    files.truncate(tmp_path / "lq" / "0002.png")
    files.write(tmp_path / "gt" / "0003.png", files.photo(3)[..., 0])
    return tmp_path


def check(data: Path, ending: str = "", **arguments: bool) -> Report:
    with VerdictCache(data / "cache" / "v.jsonl", "1", **arguments) as cache:
        entry = DataSetToCheck("x", f"{data}/gt{ending}", f"{data}/lq{ending}")
        return check_data([entry], cache=cache)


def test_a_second_check_reads_nothing_and_says_the_same(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = check(data)
    assert first.remembered == 0 and [finding.kind for finding in first.findings] == ["damaged", "grey"]
    with monkeypatch.context() as patched:
        patched.setattr(check_files, "verify_image", None)  # would be called for every file that is read
        second = check(data)
    assert second.remembered == second.images == 8
    assert (second.findings, second.pairs, second.nbytes) == (first.findings, first.pairs, first.nbytes)


def test_only_changed_files_are_read_again(data: Path) -> None:
    check(data)
    files.write(data / "lq" / "0002.png", files.photo(2) // 2)
    os.utime(data / "gt" / "0000.png", (1, 1))
    report = check(data)
    assert report.remembered == 6 and [finding.kind for finding in report.findings] == ["grey"]
    assert check(data, forget=True).remembered == 0


def test_a_check_that_was_stopped_goes_on_and_torn_lines_cost_one_verdict(data: Path) -> None:
    def stop(done: int, total: int, path: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    cache = VerdictCache(data / "v.jsonl", "1")  # never closed, as after a kill
    with pytest.raises(KeyboardInterrupt):
        check_data([DataSetToCheck("x", f"{data}/gt", f"{data}/lq")], 1, stop, cache)
    with open(data / "v.jsonl", "ab") as file:
        file.write(b'{"path": "/a", "sta')
    with VerdictCache(data / "v.jsonl", "1") as cache:
        assert check_data([DataSetToCheck("x", f"{data}/gt", f"{data}/lq")], cache=cache).remembered == 3
    with VerdictCache(data / "v.jsonl", "1") as cache:
        assert check_data([DataSetToCheck("x", f"{data}/gt", f"{data}/lq")], cache=cache).remembered == 8


def test_verdicts_of_stores_and_lmdbs_are_remembered_too(tmp_path: Path) -> None:
    files.make_pairs(tmp_path, 2)
    for half in ("gt", "lq"):
        build_store(tmp_path / half, tmp_path / f"{half}.store")
        names = ["0000.png", "0001.png"]
        make_lmdb_from_imgs(str(tmp_path / half), str(tmp_path / f"{half}.lmdb"), names, [n[:-4] for n in names])
    for ending in (".store", ".lmdb"):
        assert (check(tmp_path, ending).remembered, check(tmp_path, ending).remembered) == (0, 4)
    with open(tmp_path / "gt.store" / "images.bin", "r+b") as pixels:
        pixels.write(b"\xff\x00\xff")
    report = check(tmp_path, ".store")
    assert [finding.kind for finding in report.findings] == ["stale-store"]
    assert "0000.png" in report.findings[0].message and "--repair" in report.findings[0].message
    assert check(tmp_path, ".store").findings == report.findings


def test_strange_and_foreign_lines_are_passed_over(data: Path) -> None:
    check(data)
    path = data / "cache" / "v.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines() if line]
    for line, verdict in zip(lines, [None, 3, {"size": "x"}, {"found": []}], strict=False):
        line["verdict"] = verdict
    lines[4]["by"] = "another version"
    path.write_bytes(b"\xff\xfe\n[1]\n" + "".join(json.dumps(line) + "\n" for line in lines).encode())
    report = check(data)
    assert report.remembered == 3 and [finding.kind for finding in report.findings] == ["damaged", "grey"]


def test_a_cache_that_cannot_be_written_is_said_and_does_no_harm(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "cache").write_text("a file where the folder should be")
    assert len(check(data).findings) == 2
    assert "verdicts are not remembered" in caplog.text


def test_a_cache_full_of_old_verdicts_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basicsr.data.check_cache._MOST_STALE", 10)
    (tmp_path / "a.png").write_bytes(b"x")
    for round_ in range(40):
        with VerdictCache(tmp_path / "v.jsonl", "1") as cache:
            cache.put(str(tmp_path / "a.png"), f"{round_}", [round_])
            cache.put(str(tmp_path / "gone.png"), "1", [1])
    assert len((tmp_path / "v.jsonl").read_bytes().splitlines()) < 30
    with VerdictCache(tmp_path / "v.jsonl", "1") as cache:
        assert cache.get(str(tmp_path / "a.png"), "39") == [39]


def test_place_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/basicsr/check_data.jsonl")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_cache() == Path("/home/me/.cache/basicsr/check_data.jsonl")


def test_progress_in_a_log_file_gives_the_time_that_is_left() -> None:
    now = [0.0]
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("basicsr.data.work_progress.time.monotonic", lambda: now[0])
        with WorkProgress("check", every=10.0, stream=stream) as progress:
            for done in range(51, 101):  # 50 were done by an earlier run
                now[0] += 2.0
                progress(done, 100, f"{done}.png")
            now[0] += 4.0
            progress(1, 2, "next phase")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "check: 55/100 (55%), 0.5 img/s, 0:01:30 left, 55.png"
    assert lines[-1] == "check: 100/100 (100%), 0.5 img/s, 0:00:00 left, 100.png" and len(lines) == 10


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_a_bar() -> None:
    stream = _Terminal()
    with WorkProgress("check", stream=stream) as progress:
        for done in range(1, 4):
            progress(done, 3, "x")
    assert "3/3" in stream.getvalue() and "check" in stream.getvalue()
