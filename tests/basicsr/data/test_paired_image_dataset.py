"""Paired and single image data sets: upstream's contract, and its defects."""

from __future__ import annotations

import logging
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import image_files as files
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from basicsr.data import build_dataset
from basicsr.data.data_util import (
    duf_downsample,
    generate_frame_indices,
    generate_gaussian_kernel,
    match_names,
    paired_paths_from_folder,
    paired_paths_from_lmdb,
    paired_paths_from_meta_info_file,
    paths_from_folder,
    paths_from_lmdb,
    read_img_seq,
)
from basicsr.data.image_store_build import build_store
from basicsr.data.paired_image_dataset import PairedImageDataset, PairedImageOptions
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.engine.errors import UserError
from basicsr.utils.lmdb_util import make_lmdb_from_imgs


def options(root: Path, **changes: Any) -> dict[str, Any]:
    opt = {
        "name": "Test",
        "type": "PairedImageDataset",
        "phase": "train",
        "dataroot_gt": str(root / "gt"),
        "dataroot_lq": str(root / "lq"),
        "io_backend": {"type": "disk"},
        "scale": 1,
        "gt_size": 16,
        "use_hflip": True,
        "use_rot": True,
    }
    opt.update(changes)
    return {key: value for key, value in opt.items() if value is not ...}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return files.make_pairs(tmp_path, 3)


def make_lmdbs(root: Path) -> None:
    for half in ("gt", "lq"):
        names = sorted(p.name for p in (root / half).iterdir())
        keys = [os.path.splitext(name)[0] for name in names]
        make_lmdb_from_imgs(str(root / half), str(root / f"{half}.lmdb"), names, keys)


# ---- upstream's contract


def test_training_sample_from_folders(pairs: Path) -> None:
    dataset = build_dataset(options(pairs))
    assert isinstance(dataset, PairedImageDataset)
    assert dataset.io_backend_opt["type"] == "disk"
    assert len(dataset) == 3 and dataset.mean is None and dataset.std is None
    assert dataset.gt_folder == str(pairs / "gt") and dataset.lq_folder == str(pairs / "lq")
    sample = dataset[0]
    assert set(sample) == {"lq", "gt", "lq_path", "gt_path"}
    assert sample["gt"].shape == sample["lq"].shape == (3, 16, 16)
    assert sample["gt"].dtype == torch.float32
    assert sample["lq_path"] == str(pairs / "lq" / "0000.png") and sample["gt_path"] == str(pairs / "gt" / "0000.png")


def test_sample_is_the_crop_that_the_generator_chose(pairs: Path) -> None:
    dataset = PairedImageDataset(options(pairs))
    random.seed(5)
    sample = dataset[1]
    random.seed(5)
    top, left = random.randint(0, 48 - 16), random.randint(0, 64 - 16)
    crop = files.photo(1)[top : top + 16, left : left + 16]
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    if random.random() < 0.5:
        crop = crop[::-1]
    if random.random() < 0.5:
        crop = crop.transpose(1, 0, 2)
    np.testing.assert_array_equal(sample["gt"].numpy(), (crop.astype(np.float32) / 255).transpose(2, 0, 1))
    np.testing.assert_array_equal(sample["lq"].numpy(), ((crop // 2).astype(np.float32) / 255).transpose(2, 0, 1))


def test_scale_and_test_phase(tmp_path: Path) -> None:
    root = files.make_pairs(tmp_path, 2, scale=2)
    sample = PairedImageDataset(options(root, scale=2))[0]
    assert sample["gt"].shape == (3, 16, 16) and sample["lq"].shape == (3, 8, 8)
    files.write(root / "gt" / "0000.png", files.photo(0, 49, 65))
    for phase in ("val", "test"):
        sample = PairedImageDataset(options(root, scale=2, phase=phase, gt_size=...))[0]
        assert sample["lq"].shape == (3, 24, 32) and sample["gt"].shape == (3, 48, 64)


def test_meta_info_file_and_template(pairs: Path) -> None:
    (pairs / "lq" / "0001.png").rename(pairs / "lq" / "0001x1.png")
    meta = pairs / "meta.txt"
    meta.write_text("0001.png (48,64,3)\n\n0001.png\n")
    dataset = PairedImageDataset(options(pairs, meta_info_file=str(meta), filename_tmpl="{}x1"))
    assert len(dataset) == 2  # a repeated line is a repeated sample
    assert dataset.paths[0] == dataset.paths[1]
    assert dataset[0]["lq_path"] == str(pairs / "lq" / "0001x1.png")


def test_meta_info_file_with_sub_folders_and_spaces(tmp_path: Path) -> None:
    for half in ("gt", "lq"):
        files.write(tmp_path / half / "s" / "a b.png", files.photo())
    meta = tmp_path / "meta.txt"
    meta.write_text("s/a b.png (48,64,3)\n")
    assert len(PairedImageDataset(options(tmp_path, meta_info_file=str(meta)))) == 1
    assert paired_paths_from_meta_info_file([str(tmp_path / "lq"), str(tmp_path / "gt")], ["lq", "gt"], str(meta), "{}")


def test_lmdb(pairs: Path) -> None:
    make_lmdbs(pairs)
    roots = {"dataroot_gt": str(pairs / "gt.lmdb"), "dataroot_lq": str(pairs / "lq.lmdb")}
    dataset = PairedImageDataset(options(pairs, io_backend={"type": "lmdb"}, **roots))
    assert dataset.io_backend_opt["type"] == "lmdb" and len(dataset) == 3
    sample = dataset[2]
    assert sample["lq_path"] == sample["gt_path"] == "0002"
    assert paths_from_lmdb(str(pairs / "gt.lmdb")) == ["0000", "0001", "0002"]
    with pytest.raises(ValueError, match="ending in .lmdb"):
        PairedImageDataset(options(pairs, io_backend={"type": "lmdb"}))


@pytest.mark.parametrize("backend", ["lmdb", "mmap", "by ending", "beside"])
def test_all_backends_give_the_same_samples(pairs: Path, backend: str) -> None:
    plain = PairedImageDataset(options(pairs))
    ending, io_backend = "", {"type": "mmap"}
    if backend == "lmdb":
        make_lmdbs(pairs)
        ending, io_backend = ".lmdb", {"type": "lmdb"}
    else:
        for half in ("gt", "lq"):
            build_store(pairs / half, pairs / f"{half}.store")
        ending = "" if backend == "beside" else ".store"
    opt = options(pairs, dataroot_gt=str(pairs / f"gt{ending}"), dataroot_lq=str(pairs / f"lq{ending}"))
    opt["io_backend"] = None if backend == "by ending" else io_backend
    other = PairedImageDataset(opt)
    for i in range(3):
        random.seed(i)
        a = plain[i]
        random.seed(i)
        b = other[i]
        assert torch.equal(a["gt"], b["gt"]) and torch.equal(a["lq"], b["lq"])


def test_color_y_mean_and_std(pairs: Path) -> None:
    luma = PairedImageDataset(options(pairs, color="y", phase="val"))[0]["gt"]
    assert luma.shape == (1, 48, 64)
    red, green, blue = (files.photo(0)[..., c].astype(np.float64) / 255 for c in range(3))
    expected = (16 + 65.481 * red + 128.553 * green + 24.966 * blue) / 255
    np.testing.assert_allclose(luma[0].numpy(), expected, atol=1e-6)
    normal = PairedImageDataset(options(pairs, mean=[0.5, 0.4, 0.3], std=[0.5, 0.6, 0.7], phase="val"))[0]["gt"]
    np.testing.assert_allclose(normal[1].numpy(), (green - 0.4) / 0.6, atol=1e-6)


def test_single_image_dataset(pairs: Path) -> None:
    opt = {"name": "s", "type": "SingleImageDataset", "dataroot_lq": str(pairs / "lq"), "io_backend": {"type": "disk"}}
    dataset = build_dataset(opt)
    assert isinstance(dataset, SingleImageDataset) and len(dataset) == 3
    sample = dataset[0]
    assert set(sample) == {"lq", "lq_path"} and sample["lq"].shape == (3, 48, 64)
    assert sample["lq_path"] == str(pairs / "lq" / "0000.png")
    assert SingleImageDataset({**opt, "color": "y"})[0]["lq"].shape == (1, 48, 64)
    (pairs / "meta.txt").write_text("0002.png\n")
    assert SingleImageDataset({**opt, "meta_info_file": str(pairs / "meta.txt")})[0]["lq_path"].endswith("0002.png")
    make_lmdbs(pairs)
    from_lmdb = SingleImageDataset({"dataroot_lq": str(pairs / "lq.lmdb")})
    assert from_lmdb[0]["lq_path"] == "0000" and torch.equal(from_lmdb[0]["lq"], sample["lq"])
    build_store(pairs / "lq", pairs / "lq.store")
    assert torch.equal(SingleImageDataset({"dataroot_lq": str(pairs / "lq.store")})[0]["lq"], sample["lq"])


def test_works_in_an_ordinary_loader_with_processes(pairs: Path) -> None:
    make_lmdbs(pairs)
    roots = {"dataroot_gt": str(pairs / "gt.lmdb"), "dataroot_lq": str(pairs / "lq.lmdb"), "io_backend": None}
    dataset = PairedImageDataset(options(pairs, **roots))
    dataset[0]  # opened here first: the loader's processes must open it again
    assert len(list(DataLoader(dataset, num_workers=1))) == 3


def test_options_object_and_mapping_are_equal_and_unchanged(pairs: Path) -> None:
    opt = options(pairs, io_backend={"type": "disk"})
    before = repr(opt)
    PairedImageDataset(opt)[0]
    assert repr(opt) == before
    typed = PairedImageOptions(dataroot_gt=str(pairs / "gt"), dataroot_lq=str(pairs / "lq"), gt_size=16)
    assert len(PairedImageDataset(typed)) == 3


# ---- NAFNet's dialect


def test_nafnet_keys_use_flip_and_padding(tmp_path: Path) -> None:
    root = files.make_pairs(tmp_path, 1, height=10, width=40)
    nafnet = options(root, use_hflip=..., use_flip=True)
    sample = PairedImageDataset(nafnet)[0]
    assert sample["gt"].shape == (3, 16, 16)
    with pytest.raises(UserError, match=r"smaller than patch size.*0000.png.*pad_small"):
        PairedImageDataset(options(root))[0]
    padded = PairedImageDataset(options(root, pad_small=True, use_hflip=False, use_rot=False))[0]["gt"]
    np.testing.assert_array_equal(padded[:, 10].numpy(), padded[:, 9].numpy())  # reflected at the bottom
    np.testing.assert_array_equal(padded[:, 15].numpy(), padded[:, 4].numpy())
    with pytest.raises(UserError, match="two names for one thing"):
        PairedImageDataset(options(root, use_flip=True))


# ---- defects of upstream


def test_missing_use_hflip_or_io_backend_is_no_bare_key_error(pairs: Path) -> None:
    dataset = PairedImageDataset(options(pairs, use_hflip=..., use_rot=..., io_backend=...))
    assert dataset[0]["gt"].shape == (3, 16, 16)


@pytest.mark.parametrize("key", ["dataroot_gt", "dataroot_lq", "gt_size"])
def test_missing_required_key_is_named(pairs: Path, key: str) -> None:
    with pytest.raises(UserError, match=key):
        PairedImageDataset(options(pairs, **{key: ...}))


def test_missing_type_is_named(pairs: Path) -> None:
    with pytest.raises(UserError, match="'type' is missing"):
        build_dataset(options(pairs, type=...))


def test_all_wrong_values_are_reported_together(pairs: Path) -> None:
    with pytest.raises(UserError) as caught:
        PairedImageDataset(options(pairs, gt_size=15, scale=2, color="yuv", crops_per_image=0, cache_mb=-1))
    for key in ("gt_size", "color", "crops_per_image", "cache_mb"):
        assert key in str(caught.value)


@pytest.mark.parametrize(
    "io_backend, text",
    [({"type": "zip"}, "zip"), ({"db": 1}, "needs a 'type'"), ({"type": "memcached"}, "server_list_cfg|mc")],
)
def test_wrong_backends_are_named(pairs: Path, io_backend: dict[str, Any], text: str) -> None:
    with pytest.raises((UserError, TypeError), match=text):
        PairedImageDataset(options(pairs, io_backend=io_backend))[0]


def test_ds_store_hidden_files_and_other_kinds_are_ignored(pairs: Path) -> None:
    for name in (".DS_Store", "._0000.png", "Thumbs.db", "notes.txt"):
        (pairs / "gt" / name).write_bytes(b"x")
    (pairs / "lq" / "sub").mkdir()
    assert len(PairedImageDataset(options(pairs))) == 3
    assert len(paths_from_folder(pairs / "gt")) == 3


def test_pairing_is_sorted(pairs: Path) -> None:
    for name in ("zz.png", "aa.png"):
        for half in ("gt", "lq"):
            files.write(pairs / half / name, files.photo())
    paths = [Path(p["gt_path"]).name for p in PairedImageDataset(options(pairs)).paths]
    assert paths == sorted(paths)


def test_pairing_time_is_linear() -> None:
    names = [f"{i}.png" for i in range(20000)]
    start = time.process_time()
    matched, lonely_gts, lonely_lqs = match_names(names[::-1], names)
    assert time.process_time() - start < 1.0  # upstream: 4.9 s
    assert len(matched) == 20000 and not lonely_gts and not lonely_lqs


def test_files_without_partner_are_named_on_both_sides(pairs: Path) -> None:
    (pairs / "lq" / "0001.png").unlink()
    files.write(pairs / "lq" / "extra.png", files.photo())
    with pytest.raises(UserError) as caught:
        PairedImageDataset(options(pairs))
    assert "0001.png" in str(caught.value) and "extra.png" in str(caught.value)
    for i in range(8):
        files.write(pairs / "gt" / f"more{i}.png", files.photo())
    with pytest.raises(UserError, match=r"9 gt images without lq partner.*more0.png.*\.\.\."):
        PairedImageDataset(options(pairs))


def test_pairs_may_have_different_endings(pairs: Path) -> None:
    (pairs / "lq" / "0001.png").unlink()
    files.write(pairs / "lq" / "0001.jpg", files.photo(1))
    assert Path(PairedImageDataset(options(pairs)).paths[1]["lq_path"]).name == "0001.jpg"


def test_template_must_hold_the_name(pairs: Path) -> None:
    with pytest.raises(UserError, match="filename_tmpl"):
        paired_paths_from_folder([str(pairs / "lq"), str(pairs / "gt")], ["lq", "gt"], "x4")


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        PairedImageDataset(options(tmp_path))
    for half in ("gt", "lq"):
        (tmp_path / half).mkdir()
    with pytest.raises(UserError, match="holds no lq images"):
        PairedImageDataset(options(tmp_path))


def test_size_mismatch_names_both_files(pairs: Path) -> None:
    files.write(pairs / "lq" / "0000.png", files.photo(0, 48, 60))
    with pytest.raises(UserError, match=r"GT \(48, 64\).*LQ \(48, 60\).*gt/0000.png.*lq/0000.png"):
        PairedImageDataset(options(pairs))[0]


def test_listed_files_that_are_missing_are_named_at_the_start(pairs: Path) -> None:
    (pairs / "meta.txt").write_text("0000.png\nnot_there.png\n")
    with pytest.raises(UserError, match="not_there.png"):
        PairedImageDataset(options(pairs, meta_info_file=str(pairs / "meta.txt")))


def test_corrupt_image_error_names_the_file(pairs: Path) -> None:
    files.truncate(pairs / "gt" / "0001.png")
    with pytest.raises(UserError, match="gt/0001.png"):
        PairedImageDataset(options(pairs))[1]


def test_lmdb_keys_that_differ_behind_a_dot_do_not_collide(tmp_path: Path) -> None:
    for half in ("gt", "lq"):
        for i, name in enumerate(("a.one.png", "a.two.png")):
            files.write(tmp_path / half / name, files.photo(i))
    make_lmdbs(tmp_path)
    roots = {"dataroot_gt": str(tmp_path / "gt.lmdb"), "dataroot_lq": str(tmp_path / "lq.lmdb"), "io_backend": None}
    dataset = PairedImageDataset(options(tmp_path, phase="val", **roots))
    assert [pair["gt_path"] for pair in dataset.paths] == ["a.one", "a.two"]
    assert not torch.equal(dataset[0]["gt"], dataset[1]["gt"])


def test_lmdbs_with_different_keys_name_them(pairs: Path) -> None:
    make_lmdbs(pairs)
    shutil.rmtree(pairs / "lq.lmdb")
    (pairs / "lq" / "0001.png").rename(pairs / "lq" / "other.png")
    shutil.rmtree(pairs / "gt.lmdb")
    make_lmdbs(pairs)
    with pytest.raises(UserError, match="0001.*other|other.*0001"):
        paired_paths_from_lmdb([str(pairs / "lq.lmdb"), str(pairs / "gt.lmdb")], ["lq", "gt"])


def test_16_bit_alpha_and_grey_are_logged_once_a_kind_and_kept(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)
    for i in range(3):
        files.write(pairs / "gt" / f"{i:04d}.png", deep)
        files.write(pairs / "lq" / f"{i:04d}.png", files.photo(i)[..., 0])
    dataset = PairedImageDataset(options(pairs, phase="val"))
    with caplog.at_level(logging.INFO, "basicsr"):
        samples = [dataset[i] for i in range(3)]
    np.testing.assert_allclose(samples[0]["gt"].numpy(), (deep / 65535.0).transpose(2, 0, 1), atol=1e-7)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert any("gt" in t and "16-bit" in t and "0000.png" in t for t in texts)
    assert any("lq" in t and "grey" in t for t in texts)


def test_read_img_seq_and_frame_indices(pairs: Path) -> None:
    frames, names = read_img_seq(str(pairs / "gt"), require_mod_crop=True, scale=5, return_imgname=True)
    assert frames.shape == (3, 3, 45, 60) and names == ["0000", "0001", "0002"]
    assert torch.is_tensor(read_img_seq([str(pairs / "gt" / "0000.png")]))
    expected = {
        "replicate": [0, 0, 0, 1, 2],
        "reflection": [2, 1, 0, 1, 2],
        "reflection_circle": [4, 3, 0, 1, 2],
        "circle": [3, 4, 0, 1, 2],
    }
    for padding, indices in expected.items():
        assert generate_frame_indices(0, 5, 5, padding) == indices
    assert generate_frame_indices(4, 5, 5, "reflection") == [2, 3, 4, 3, 2]
    with pytest.raises(ValueError):
        generate_frame_indices(0, 5, 4)


def test_duf_downsample_is_a_blur_and_a_grid() -> None:
    kernel = generate_gaussian_kernel(13, 1.6)
    assert kernel.shape == (13, 13) and abs(kernel.sum() - 1) < 1e-12 and kernel[6, 6] == kernel.max()
    frames = torch.rand(1, 2, 3, 32, 48, dtype=torch.float64)
    small = duf_downsample(frames)
    assert small.shape == (1, 2, 3, 8, 12)
    expected = (frames[0, 1, 2, 10:23, 14:27] * torch.from_numpy(kernel)).sum()  # centred on the pixel (4 * 4, 4 * 5)
    torch.testing.assert_close(small[0, 1, 2, 4, 5], expected)
    with pytest.raises(UserError):
        duf_downsample(frames, scale=5)
