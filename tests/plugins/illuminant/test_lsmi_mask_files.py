from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from basicsr.engine.errors import UserError
from plugins.illuminant.lsmi_arrays import npz_bytes, read_npz
from plugins.illuminant.lsmi_mask_files import (
    ManifestRow,
    MaskFile,
    illuminant_map,
    manifest_bytes,
    read_manifest,
    read_mask_file,
    read_scene_image,
    write_mask_file,
)

CENTROIDS = np.array([[0.2, 0.4, 0.4], [0.3, 0.4, 0.3], [0.4, 0.4, 0.2]])


def masks(height: int = 6, width: int = 8, **changes: Any) -> MaskFile:
    mixture = np.random.default_rng(0).dirichlet([1, 1], (height, width)).astype(np.float32)
    valid = np.ones((height, width), bool)
    valid[0, 0] = False
    mixture[0, 0] = -1
    mask = np.zeros((height, width, 3), np.float32)
    mask[..., 1] = np.where(valid, mixture[..., 0], 0)
    made = MaskFile(
        mask, np.where(valid, mixture[..., 1], 0).astype(np.float32), valid, CENTROIDS[1:], np.array([1, 2]),
        np.array([0.0, 12.0]), np.array([False, True]), np.array([False, False]), True, mixture, ("a", "b", "c"),
        CENTROIDS, "cam", "sony", "Place1", "Place1_12", "train", "sony/Place1/Place1_12.tiff", 128.0, 4095.0,
    )  # fmt: skip
    return replace(made, **changes)


def test_a_mask_file_comes_back_as_it_was_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = masks()
    write_mask_file(tmp_path / "new" / "a.npz", made)
    write_mask_file(tmp_path / "b.npz", made)
    assert (tmp_path / "new" / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = read_mask_file(tmp_path / "b.npz")
    for name in MaskFile.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(made, name))
        assert type(getattr(back, name)) is type(getattr(made, name))
    assert back.mask.dtype == np.float32 and back.size == (6, 8)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mask": np.zeros((6, 8, 2), np.float32)}, "mask"),
        ({"other": np.zeros((6, 7), np.float32)}, "other"),
        ({"other": np.full((6, 8), np.nan, np.float32)}, "other"),
        ({"other": np.zeros((6, 8), np.float32)}, "add up"),
        ({"lights": -CENTROIDS[1:]}, "lights"),
        ({"light_class": np.array([1, 3])}, "light_class"),
        ({"black": 5000.0}, "black"),
        ({"format_version": 2}, "format_version"),
        ({"class_names": ("a", "b")}, "mask"),
    ],
)
def test_fields_that_do_not_fit_are_named_on_writing_and_on_reading(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    wrong = masks(**changes)
    with pytest.raises(UserError, match=field):
        write_mask_file(tmp_path / "w.npz", wrong)
    assert not (tmp_path / "w.npz").exists()
    write_mask_file(tmp_path / "r.npz", masks())
    arrays = read_npz(tmp_path / "r.npz") | {key: np.asarray(value) for key, value in changes.items()}
    (tmp_path / "r.npz").write_bytes(npz_bytes(arrays))
    with pytest.raises(UserError, match=field):
        read_mask_file(tmp_path / "r.npz")


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_mask_file(path, masks())
    whole = path.read_bytes()
    for content in (whole[:-40], whole[: len(whole) // 2], b"", b"text", b"PK\3\4" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.npz"):
            read_mask_file(path)
    np.savez(path, mask=np.array([object()]))
    with pytest.raises(UserError, match=r"a\.npz"):
        read_mask_file(path)
    (tmp_path / "c.npz").write_bytes(npz_bytes({"mask": np.zeros(3)}))
    with pytest.raises(UserError, match="other, valid"):
        read_mask_file(tmp_path / "c.npz")
    with pytest.raises(UserError, match="missing"):
        read_mask_file(tmp_path / "missing.npz")


ROW = ManifestRow(
    "sony/Place1/Place1_12.tiff", "train/a.npz", "train", "sony", "Place1", "Place1_12", 2, ("Cool", "Warm"),
    (1.5, 12.25), True, 0.25, 0.5, (0.5, 0.25), 6, 8, 128.0, 4095.0, ("clipped_chart",),
)  # fmt: skip


def test_the_manifest_comes_back(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, image_id='Place,1 "x"', classes=(), degrees=(), flags=(), hard=False)]
    (tmp_path / "manifest.csv").write_bytes(manifest_bytes(rows))
    assert read_manifest(tmp_path) == rows
    assert read_manifest(tmp_path / "manifest.csv") == rows


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    good = manifest_bytes([ROW]).decode()
    for text, message in (
        (good.replace("0.25", "x"), "line 2: .*'x'|line 2"),
        ("image,npz\na,b\n", "line 2: split"),
        ("", "lists no image"),
        (good.splitlines()[0] + "\n", "lists no image"),
    ):
        (tmp_path / "manifest.csv").write_text(text)
        with pytest.raises(UserError, match=message):
            read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not a csv"):
        read_manifest(tmp_path)
    with pytest.raises(UserError, match=r"manifest\.csv"):
        read_manifest(tmp_path / "nowhere")


def test_the_illuminant_map_weighs_lights_that_are_equally_green() -> None:
    lights = np.array([[2.0, 4.0, 8.0], [3.0, 1.0, 1.0]])
    mixture = np.array([[[1, 0], [0, 1], [0.25, 0.75]]])
    expected = [[[0.5, 1, 2], [3, 1, 1], [2.375, 1, 1.25]]]
    np.testing.assert_allclose(illuminant_map(mixture, lights), expected)


@pytest.mark.parametrize("compression", [None, "cv2-lzw"])
def test_the_picture_is_linear_rgb_without_its_black_level(tmp_path: Path, compression: str | None) -> None:
    pixels = np.random.default_rng(1).integers(0, 5000, (6, 8, 3), dtype=np.uint16)
    pixels[0, 0] = 128, 4095, 65535
    path = tmp_path / "sony" / "Place1" / "Place1_12.tiff"
    path.parent.mkdir(parents=True)
    if compression:
        cv2.imwrite(str(path), pixels[..., ::-1])
    else:
        tifffile.imwrite(path, pixels, photometric="rgb")
    for source in (masks(), ROW):
        image = read_scene_image(tmp_path, source)
        assert image.dtype == np.float32 and image[0, 0].tolist() == [0, 1, 1]
        np.testing.assert_allclose(image, np.clip((pixels - 128.0) / 3967, 0, 1), atol=1e-6)


def test_a_picture_larger_than_its_masks_is_averaged_and_another_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "sony" / "Place1" / "Place1_12.tiff"
    path.parent.mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(200, 4000, (12, 16, 3), dtype=np.uint16)
    tifffile.imwrite(path, pixels, photometric="rgb")
    image = read_scene_image(tmp_path, ROW)
    blocks = pixels.reshape(6, 2, 8, 2, 3).mean((1, 3))
    np.testing.assert_allclose(image, (blocks - 128) / 3967, atol=1e-5)
    for shape in ((8, 6, 3), (5, 8, 3), (12, 8, 3)):
        tifffile.imwrite(path, np.zeros(shape, np.uint16), photometric="rgb")
        with pytest.raises(UserError, match="not of the same picture"):
            read_scene_image(tmp_path, ROW)
    whole = path.read_bytes()
    for content in (whole[:-10], whole[:6], b"not a picture", b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="Place1_12"):
            read_scene_image(tmp_path, ROW)
