"""The memory-mapped store: equal to its source, resumable, never silently stale."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import image_files as files
import numpy as np
import pytest

from basicsr.data import image_store_build, image_store_plan
from basicsr.data.image_store import ImageStore
from basicsr.data.image_store_build import build_store, verify_store
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i in range(4):
        files.write(folder / f"{i}.png", files.photo(i, 30 + i, 41))
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    files.write(folder / "deep.png", deep)
    files.exif_jpeg(folder / "turned.jpg", files.photo(9), 6)
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


def test_pixels_equal_the_image_reader(source: Path, tmp_path: Path) -> None:
    report = build_store(source, tmp_path / "a.store", workers=3)
    assert (report.written, report.kept, report.removed) == (6, 0, 0)
    store = ImageStore(tmp_path / "a.store")
    assert store.names() == ["0.png", "1.png", "2.png", "3.png", "deep.png", "turned.jpg"]
    for name in store.names():
        whole = read_image(source / name)
        image = store.image(name)
        assert (image.height, image.width) == whole.shape[:2]
        np.testing.assert_array_equal(image.read(), whole)
        assert image.read().dtype == whole.dtype
        np.testing.assert_array_equal(image.read((3, 5, 7, 11)), whole[3:10, 5:16])
        np.testing.assert_array_equal(image.points(7), whole[::7, ::7])
        image.read()[:] = 0  # what is handed out is a copy
        np.testing.assert_array_equal(image.read(), whole)
    assert verify_store(tmp_path / "a.store") == []
    assert all(info.offset % 4096 == 0 for info in store.index.images.values())


def test_a_store_travels_to_other_processes_without_its_pixels(source: Path, tmp_path: Path) -> None:
    build_store(source, tmp_path / "a.store")
    store = ImageStore(tmp_path / "a.store")
    store.image("0.png").read()
    packed = pickle.dumps(store)
    assert len(packed) < 5000
    np.testing.assert_array_equal(pickle.loads(packed).image("0.png").read(), store.image("0.png").read())


def test_second_build_does_only_what_changed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.store"
    build_store(source, target)
    assert build_store(source, target).written == 0
    files.write(source / "1.png", files.photo(50, 60, 70))
    files.write(source / "new.png", files.photo(51))
    (source / "2.png").unlink()
    report = build_store(source, target)
    assert (report.written, report.kept, report.removed) == (2, 4, 1)
    assert report.bytes_unused > 0
    store = ImageStore(target)
    store.check_fresh()
    for name in store.names():
        np.testing.assert_array_equal(store.image(name).read(), read_image(source / name))


def test_a_copied_or_touched_source_counts_as_unchanged(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.store"
    build_store(source, target)
    for path in source.iterdir():
        os.utime(path, (1, 1))
    ImageStore(target).check_fresh()
    assert build_store(source, target).written == 0


@pytest.mark.parametrize("change", ["changed", "new", "gone"])
def test_a_stale_store_is_refused_when_the_data_set_starts(tmp_path: Path, change: str) -> None:
    root = files.make_pairs(tmp_path, 3)
    for half in ("gt", "lq"):
        build_store(root / half, root / f"{half}.store")
    if change == "changed":
        files.write(root / "lq" / "0001.png", files.photo(77))
    elif change == "new":
        files.write(root / "lq" / "0009.png", files.photo(77))
    else:
        (root / "lq" / "0002.png").unlink()
    opt = {
        "dataroot_gt": str(root / "gt"),
        "dataroot_lq": str(root / "lq"),
        "gt_size": 16,
        "io_backend": {"type": "mmap"},
    }
    with pytest.raises(UserError, match=rf"out of date.*1 file {change}.*build_image_store.py"):
        PairedImageDataset(opt)


def test_a_store_without_its_source_folder_is_used(tmp_path: Path) -> None:
    root = files.make_pairs(tmp_path, 2)
    for half in ("gt", "lq"):
        build_store(root / half, root / f"{half}.store")
        shutil.rmtree(root / half)
    opt = {"dataroot_gt": str(root / "gt.store"), "dataroot_lq": str(root / "lq.store"), "gt_size": 16}
    sample = PairedImageDataset(opt)[0]
    assert sample["gt_path"] == str(root / "gt.store" / "0000.png")


def test_interrupted_build_goes_on(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, names = tmp_path / "a.store", []

    def stop(done: int, total: int, name: str) -> None:
        names.append(name)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(source, target, progress=stop)
    with pytest.raises(UserError, match="no finished image store"):
        ImageStore(target)
    # a crash may leave half an image and half a line
    with open(target / "images.bin", "ab") as pixels:
        pixels.write(b"half an image")
    with open(target / "building.jsonl", "a") as journal:
        journal.write('{"name": "3.png", "in')
    decoded: list[str] = []
    real = image_store_build._decode
    monkeypatch.setattr(image_store_build, "_decode", lambda path: (decoded.append(path.name), real(path))[1])
    report = build_store(source, target)
    assert (report.written, report.kept) == (3, 3) and not set(decoded) & set(names)
    store = ImageStore(target)
    for name in store.names():
        np.testing.assert_array_equal(store.image(name).read(), read_image(source / name))
    assert not (target / "building.jsonl").exists()


def test_pixels_lost_after_a_power_failure_are_made_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.store"

    def stop(done: int, total: int, name: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(source, target, progress=stop)
    content = bytearray((target / "images.bin").read_bytes())
    content[10] ^= 1
    (target / "images.bin").write_bytes(bytes(content))
    assert build_store(source, target).kept == 2
    assert verify_store(target) == []


def test_all_damaged_images_are_named_and_the_others_kept(source: Path, tmp_path: Path) -> None:
    files.truncate(source / "1.png")
    (source / "2.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 of 6 images") as caught:
        build_store(source, tmp_path / "a.store")
    assert "1.png" in str(caught.value) and "2.png" in str(caught.value)
    files.write(source / "1.png", files.photo(1))
    files.write(source / "2.png", files.photo(2))
    assert build_store(source, tmp_path / "a.store").kept == 4


def test_disk_space_is_checked_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(image_store_plan.shutil, "disk_usage", lambda place: usage(1000, 900, 100))
    with pytest.raises(UserError, match="GiB free"):
        build_store(source, tmp_path / "a.store")
    assert not (tmp_path / "a.store").exists()


def test_damage_is_found(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.store"
    build_store(source, target)
    info = ImageStore(target).index.images["2.png"]
    content = bytearray((target / "images.bin").read_bytes())
    content[info.offset + 5] ^= 255
    (target / "images.bin").write_bytes(bytes(content))
    assert verify_store(target) == ["2.png"]
    (target / "images.bin").write_bytes(bytes(content[:5000]))
    with pytest.raises(UserError, match="has 5,000 bytes.*Build what is missing"):
        ImageStore(target)
    (target / "index.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        ImageStore(target)
    (target / "index.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(UserError, match="not the index"):
        ImageStore(target)


def test_wrong_places_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must end in .store"):
        build_store(source, tmp_path / "a")
    (tmp_path / "b.store").mkdir()
    (tmp_path / "b.store" / "thesis.doc").write_text("x")
    with pytest.raises(UserError, match="other files"):
        build_store(source, tmp_path / "b.store")
    with pytest.raises(UserError, match="no such folder"):
        build_store(tmp_path / "nothing", tmp_path / "c.store")
    opt = {"dataroot_gt": str(source), "dataroot_lq": str(source), "gt_size": 16, "io_backend": {"type": "mmap"}}
    with pytest.raises(UserError, match="Build it"):
        PairedImageDataset(opt)
    with pytest.raises(UserError, match="leave io_backend out"):
        PairedImageDataset({**opt, "dataroot_gt": "a.store", "dataroot_lq": "b.store", "io_backend": {"type": "disk"}})


def test_a_disk_that_fills_up_is_a_user_error_and_the_build_goes_on_later(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(image_store_build, "write_index", full)
        with pytest.raises(UserError, match=r"a\.store: cannot be written: No space left on device"):
            build_store(source, tmp_path / "a.store")
    assert build_store(source, tmp_path / "a.store").kept == 6
