"""TIFF and other files whose decoders do more, or less, than decode."""

from __future__ import annotations

import io
from pathlib import Path

import image_files as files
import numpy as np
import pytest
import tifffile
from PIL import Image

from basicsr.data.data_util import list_images
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import decode_image, read_header, read_image

RGB = files.photo(3, 24, 40)
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p.swapaxes(0, 1)[:, ::-1],
    7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
    8: lambda p: p.swapaxes(0, 1)[::-1],
}


def tiff(pixels: np.ndarray, **arguments: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **arguments)
    return buffer.getvalue()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once_though_its_decoders_turn_it(orientation: int, depth: int) -> None:
    stored = RGB if depth == 8 else RGB.astype(np.uint16) * 257
    content = tiff(stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    wanted = UPRIGHT[orientation](stored)
    header, notes = read_header(content, "a.tif"), []
    np.testing.assert_array_equal(decode_image(content, "a.tif", lambda kind, _: notes.append(kind)), wanted)
    assert (header.height, header.width) == wanted.shape[:2]
    assert ("exif-rotated" in notes) == (orientation != 1)
    np.testing.assert_array_equal(decode_image(content, "a.tif", box=(3, 4, 10, 12)), wanted[3:13, 4:16])


@pytest.mark.parametrize("depth", [8, 16])
def test_alpha_does_not_darken_the_colours_of_a_tiff(depth: int) -> None:
    rgba = np.dstack([RGB, RGB[..., 0]])
    stored = rgba if depth == 8 else rgba.astype(np.uint16) * 257
    content = tiff(stored, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(decode_image(content, "a.tif"), stored[..., :3])


def test_a_cmyk_tiff_has_the_colours_of_a_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).convert("CMYK").save(path)
    np.testing.assert_array_equal(read_image(path), np.asarray(Image.fromarray(RGB).convert("CMYK").convert("RGB")))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint32])
def test_a_tiff_of_other_samples_is_not_called_damaged(dtype: type) -> None:
    for pixels, photometric in ((RGB, "rgb"), (RGB[..., 0], "minisblack")):
        with pytest.raises(UserError, match=r"a\.tif: not supported: .*8 or 16 bits"):
            decode_image(tiff(pixels.astype(dtype), photometric=photometric), "a.tif")


def test_a_deep_tiff_of_separate_planes_is_refused_instead_of_read_wrongly() -> None:
    planes = RGB.transpose(2, 0, 1)
    deep = tiff(planes.astype(np.uint16) * 257, photometric="rgb", planarconfig="separate")
    with pytest.raises(UserError, match="separate planes"):
        decode_image(deep, "a.tif")
    plain = tiff(np.ascontiguousarray(planes), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode_image(plain, "a.tif"), RGB)


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_further_frames_are_noted(tmp_path: Path, ending: str) -> None:
    path, notes = tmp_path / f"a.{ending}", []
    frames = [Image.fromarray(files.photo(seed)) for seed in range(3)]
    extra = {"lossless": True} if ending == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **extra)
    np.testing.assert_array_equal(read_image(path, lambda kind, _: notes.append(kind)), files.photo(0))
    assert notes == ["frames"]


def test_a_header_of_too_many_pixels_is_too_large_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"a\.png: not supported: more than"):
        read_image(path)


def test_a_link_to_itself_or_to_nowhere_is_named_instead_of_a_traceback_or_silence(tmp_path: Path) -> None:
    files.write(tmp_path / "good.png", RGB)
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "lost.png").symlink_to("nowhere.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "linked.png").symlink_to("folder.png")
    assert list_images(tmp_path) == ["good.png", "loop.png", "lost.png"]
    for name in ("loop.png", "lost.png"):
        with pytest.raises(UserError, match=name):
            read_image(tmp_path / name)
