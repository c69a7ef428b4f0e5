"""Image stores after kills, full disks, damage and changed sources: nothing done is lost, nothing false looks whole."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import image_files as files
import numpy as np
import pytest

from basicsr.data import image_store_build, image_store_plan
from basicsr.data.image_store import ImageStore, Progress
from basicsr.data.image_store_build import build_store, build_stores, verify_store
from basicsr.data.image_store_index import read_index
from basicsr.data.image_store_journal import claim
from basicsr.data.image_store_plan import BuildOptions
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for i in range(6):
        files.write(tmp_path / "photos" / f"{i}.png", files.photo(i, 60, 80))
    return tmp_path / "photos"


def flip(path: Path, position: int) -> None:
    with open(path, "r+b") as handle:
        handle.seek(position)
        byte = handle.read(1)[0]
        handle.seek(position)
        handle.write(bytes([byte ^ 1]))


def assert_right(store: Path, source: Path) -> None:
    opened = ImageStore(store)
    opened.check_fresh()
    for name in opened.names():
        np.testing.assert_array_equal(opened.image(name).read(), read_image(source / name))
    assert opened.damaged() == []


def stop_after(count: int) -> Progress:
    def stop(done: int, total: int, name: str) -> None:
        if done == count:
            raise KeyboardInterrupt

    return stop


def test_a_killed_build_goes_on_and_never_looks_whole(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    code = (
        "import sys, time\nfrom basicsr.data.image_store_build import build_store\n"
        "def slow(done, total, name):\n    print(done, flush=True); time.sleep(0.05)\n"
        "build_store(sys.argv[1], sys.argv[2], 2, slow)\n"
    )
    command = [sys.executable, "-c", code, str(source), str(store)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "BasicSR")}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "3":
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with pytest.raises(UserError, match="its build has not finished"):
        ImageStore(store)
    report = build_store(source, store)
    assert report.kept >= 3 and report.kept + report.written == 6
    assert sorted(p.name for p in store.iterdir()) == ["images.bin", "index.json"]
    assert_right(store, source)


def test_torn_line_of_a_first_interruption_costs_nothing_at_the_second(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    for count in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            build_store(source, store, progress=stop_after(count))
        with open(store / "building.jsonl", "a") as journal:
            journal.write('{"name": "5.png", "in')
    assert build_store(source, store).kept == 4
    assert_right(store, source)


def test_confirmed_pixels_are_not_read_again_and_others_are(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "a.store"
    monkeypatch.setattr(image_store_build, "_CONFIRM_BYTES", 30_000)  # two images of 14,400 in pages of 4,096
    with pytest.raises(KeyboardInterrupt):
        build_store(source, store, progress=stop_after(3))
    lines = [json.loads(line) for line in (store / "building.jsonl").read_text().splitlines()]
    assert [line.get("name") for line in lines] == ["0.png", "1.png", None, "2.png"]
    flip(store / "images.bin", lines[3]["info"]["offset"])
    assert build_store(source, store).kept == 2
    assert_right(store, source)


def test_truncated_pixels_are_made_anew_and_the_store_is_unfinished_meanwhile(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    build_store(source, store)
    os.truncate(store / "images.bin", 40_000)
    with pytest.raises(UserError, match=r"has 40,000 bytes, the store's index speaks of .*Build what is missing"):
        ImageStore(store)
    with pytest.raises(KeyboardInterrupt):
        build_store(source, store, progress=stop_after(5))
    with pytest.raises(UserError, match="its build has not finished"):
        ImageStore(store)  # long enough again, but not with the pixels that the old index speaks of
    assert build_store(source, store).kept == 5
    assert_right(store, source)


def test_flipped_bytes_are_named_and_only_these_images_repaired(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    build_store(source, store)
    images = read_index(store).images
    for name in ("1.png", "5.png"):
        flip(store / "images.bin", images[name].offset + 777)
    assert verify_store(store) == ["1.png", "5.png"]
    assert build_store(source, store).written == 0  # a look at sizes and times does not see it
    report = build_stores([(source, store)], BuildOptions(repair=True))[0]
    assert (report.written, report.kept) == (2, 4)
    assert_right(store, source)


@pytest.mark.parametrize(
    "find, put", [('"height": 60', '"height": 61'), ("uint8", "uint9"), ("{", ""), ("1.png", "7.png")]
)
def test_a_damaged_index_is_refused_and_built_anew(source: Path, tmp_path: Path, find: str, put: str) -> None:
    store = tmp_path / "a.store"
    build_store(source, store)
    text = (store / "index.json").read_text()
    (store / "index.json").write_text(text.replace(find, put, 1))
    with pytest.raises(UserError, match=r"index\.json: .*Build it again: python tools/build_image_store\.py"):
        ImageStore(store)
    assert build_store(source, store).written == 6
    assert_right(store, source)


def test_changed_content_of_same_size_and_time_is_found_by_checksum(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    files.write(source / "x.bmp", files.photo(1))
    build_store(source, store)
    stat = (source / "x.bmp").stat()
    flip(source / "x.bmp", stat.st_size // 2)
    os.utime(source / "x.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert build_store(source, store).written == 0
    assert build_stores([(source, store)], BuildOptions(by_content=True))[0].written == 1
    assert_right(store, source)


def test_new_times_of_copied_sources_are_noted(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    build_store(source, store)
    for path in source.iterdir():
        os.utime(path, (1, 1))
    assert build_store(source, store).written == 0
    assert {info.source_mtime_ns for info in read_index(store).images.values()} == {10**9}
    before = (store / "index.json").stat().st_mtime_ns
    build_store(source, store)  # nothing to do: nothing is written
    assert (store / "index.json").stat().st_mtime_ns == before


def test_a_stale_store_names_the_sources_and_a_command_that_a_shell_takes(tmp_path: Path) -> None:
    source = tmp_path / "my photos"
    for i in range(5):
        files.write(source / f"{i}.png", files.photo(i))
    build_store(source, tmp_path / "my photos.store")
    for i in range(5):
        files.write(source / f"{i}.png", files.photo(i + 10))
    with pytest.raises(UserError) as caught:
        ImageStore(tmp_path / "my photos.store").check_fresh()
    assert "5 files changed (0.png, 1.png, 2.png and 2 more)" in str(caught.value)
    assert f"build_image_store.py '{source}' '{source}.store'" in str(caught.value)


def test_room_for_all_stores_is_checked_before_the_first_byte(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    for i in range(6):
        files.write(other / f"{i}.png", files.photo(i, 60, 80))
    one = 6 * 16384  # 60 * 80 * 3 bytes in pages
    usage = namedtuple("usage", "total used free")
    free = image_store_plan.SPARE_BYTES + one
    monkeypatch.setattr(image_store_plan.shutil, "disk_usage", lambda place: usage(2 * free, free, free))
    jobs = [(source, tmp_path / "a.store"), (other, tmp_path / "b.store")]
    with pytest.raises(UserError, match=r"a\.store, .*b\.store: 12 decoded images need 0\.00 GiB.* has 0\.06 GiB free"):
        build_stores(jobs)
    assert not (tmp_path / "a.store").exists() and not (tmp_path / "b.store").exists()
    assert [report.written for report in build_stores(jobs[:1])] == [6]
    assert [report.written for report in build_stores(jobs)] == [0, 6]  # what is there needs no room


@pytest.mark.parametrize("limit", [50_000, 16_384 * 2])
def test_a_disk_that_fills_up_in_the_middle_leaves_nothing_half_written(
    source: Path, tmp_path: Path, limit: int
) -> None:
    store = tmp_path / "a.store"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        with pytest.raises(UserError, match=r"cannot be written: File too large.*What is finished is kept"):
            build_store(source, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert (store / "images.bin").stat().st_size == limit // 16384 * 16384
    with pytest.raises(UserError, match="its build has not finished"):
        ImageStore(store)
    assert build_store(source, store).kept == limit // 16384
    assert_right(store, source)


def test_no_space_names_what_is_free_and_what_is_missing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_store_build, "_write_image", full)
    with pytest.raises(UserError, match=r"No space left on device \(.* GiB free now, 0\.00 GiB still to be written\)"):
        build_store(source, tmp_path / "a.store")


def test_two_builds_of_one_store_exclude_each_other(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    with claim(store), pytest.raises(UserError, match="another process is building this store"):
        build_store(source, store)
    assert not store.exists()
    with pytest.raises(UserError, match="two folders cannot be written to one store"):
        build_stores([(source, store), (source, tmp_path / "photos" / ".." / "a.store")])
    build_store(source, store)
    assert_right(store, source)


def test_a_store_of_another_folder_is_not_replaced(source: Path, tmp_path: Path) -> None:
    build_store(source, tmp_path / "a.store")
    files.write(tmp_path / "else" / "0.png", files.photo(3))
    with pytest.raises(UserError, match=r"was made from .*photos, not from .*else"):
        build_store(tmp_path / "else", tmp_path / "a.store")
    source.rename(tmp_path / "moved")
    assert build_store(tmp_path / "moved", tmp_path / "a.store").kept == 6


def test_damaged_images_of_one_folder_do_not_keep_the_other_from_its_store(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    files.write(other / "0.png", files.photo(1))
    files.truncate(source / "2.png")
    with pytest.raises(UserError, match=r"1 of 7 images .*\n.*2\.png: the image is damaged"):
        build_stores([(source, tmp_path / "a.store"), (other, tmp_path / "b.store")])
    assert ImageStore(tmp_path / "b.store").names() == ["0.png"]


def test_names_that_are_not_text(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for name in ("new\nline.png", "latin\udce4.png", "-dash.png", "q\"uote's %s{}.png"):
        files.write(source / "plain.png", files.photo(len(name)))
        try:
            (source / "plain.png").rename(source / name)
        except OSError:
            pytest.skip("this disk has no such names")
    store = tmp_path / "a.store"
    with pytest.raises(KeyboardInterrupt):
        build_store(source, store, progress=stop_after(2))
    assert build_store(source, store).kept == 2
    assert_right(store, source)


def test_ctrl_c_does_not_wait_for_what_has_not_begun(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = image_store_build._decode
    begun: list[str] = []
    monkeypatch.setattr(
        image_store_build, "_decode", lambda path: (begun.append(path.name), time.sleep(0.02), real(path))[2]
    )
    with pytest.raises(KeyboardInterrupt):
        build_store(source, tmp_path / "a.store", workers=1, progress=stop_after(1))
    assert len(begun) < 6
