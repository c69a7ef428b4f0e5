"""The image reader: every kind of file is kept, converted explicitly, or named."""

from __future__ import annotations

from pathlib import Path

import cv2
import image_files as files
import numpy as np
import pytest
from PIL import Image, ImageCms

from basicsr.engine import icc
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import decode_image, read_file_header, read_image, to_float, verify_image

RGB = files.photo(1)


class Notes(list):
    def __call__(self, kind: str, name: str) -> None:
        self.append(kind)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "ppm"])
def test_8_bit_colour_is_read_exactly(tmp_path: Path, ending: str) -> None:
    notes = Notes()
    pixels = read_image(files.write(tmp_path / f"a.{ending}", RGB), notes)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, RGB)
    assert notes == []


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_is_kept_not_cut_to_8(tmp_path: Path, ending: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    notes = Notes()
    path = files.write(tmp_path / f"a.{ending}", deep)
    pixels = read_image(path, notes)
    np.testing.assert_array_equal(pixels, deep)
    assert notes == ["16-bit"]
    assert read_file_header(path).bit_depth == 16
    np.testing.assert_allclose(to_float(pixels), deep / 65535.0, atol=1e-7)


def test_grey_and_alpha_are_converted_and_noted(tmp_path: Path) -> None:
    notes = Notes()
    grey = read_image(files.write(tmp_path / "g.png", RGB[..., 0]), notes)
    np.testing.assert_array_equal(grey, np.repeat(RGB[..., :1], 3, axis=2))
    assert notes == ["grey"]
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 7, np.uint8)])
    notes.clear()
    np.testing.assert_array_equal(read_image(files.write(tmp_path / "a.png", rgba), notes), RGB)
    assert notes == ["alpha"]
    notes.clear()
    grey_alpha = np.dstack([RGB[..., 0], np.full(RGB.shape[:2], 9, np.uint8)])
    np.testing.assert_array_equal(read_image(files.write(tmp_path / "ga.png", grey_alpha), notes), grey)
    assert sorted(notes) == ["alpha", "grey"]


def test_16_bit_grey(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    notes = Notes()
    pixels = read_image(files.write(tmp_path / "g.png", deep), notes)
    np.testing.assert_array_equal(pixels, np.repeat(deep[..., None], 3, axis=2))
    assert sorted(notes) == ["16-bit", "grey"]


def test_palette_image_is_read_as_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_image_and_box(tmp_path: Path, orientation: int) -> None:
    notes = Notes()
    path = files.exif_jpeg(tmp_path / "a.jpg", RGB, orientation)
    whole = read_image(path, notes)
    # OpenCV's own colour mode applies the orientation: an independent answer
    np.testing.assert_array_equal(whole, cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])
    assert notes == ([] if orientation == 1 else ["exif-rotated"])
    assert (read_file_header(path).height, read_file_header(path).width) == whole.shape[:2]
    np.testing.assert_array_equal(decode_image(path.read_bytes(), "a", box=(5, 7, 11, 13)), whole[5:16, 7:20])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [0, 6])
def test_png_rows_equal_the_cut_of_the_whole(tmp_path: Path, channels: int, dtype: type, level: int) -> None:
    pixels = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, (40, 33, channels)).astype(dtype)
    pixels[10:20] = 5
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])
    content, whole = path.read_bytes(), read_image(path)
    for box in [(0, 0, 1, 1), (3, 4, 10, 12), (25, 0, 9, 33), (30, 20, 10, 13)]:
        top, left, height, width = box
        np.testing.assert_array_equal(
            decode_image(content, "a", box=box), whole[top : top + height, left : left + width]
        )


def test_cmyk_is_converted(tmp_path: Path) -> None:
    notes = Notes()
    pixels = read_image(files.cmyk_jpeg(tmp_path / "a.jpg", RGB), notes)
    assert notes == ["cmyk"]
    assert np.abs(pixels.astype(int) - RGB).mean() < 4


def test_foreign_profile_is_converted_like_littlecms(tmp_path: Path) -> None:
    notes = Notes()
    path = files.write(tmp_path / "a.png", RGB, icc_profile=files.ADOBE_RGB)
    pixels = read_image(path, notes)
    assert notes == ["icc"]
    image = ImageCms.profileToProfile(
        Image.fromarray(RGB),
        ImageCms.ImageCmsProfile(__import__("io").BytesIO(files.ADOBE_RGB)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert np.abs(pixels.astype(int) - np.asarray(image)).max() <= 1
    assert np.abs(pixels.astype(int) - RGB).max() > 5
    np.testing.assert_array_equal(decode_image(path.read_bytes(), "a", box=(4, 5, 6, 7)), pixels[4:10, 5:12])


def test_foreign_profile_keeps_16_bit() -> None:
    convert = icc.converter(files.ADOBE_RGB)
    assert convert is not None
    deep = np.random.default_rng(0).integers(0, 65536, (50, 50, 3)).astype(np.uint16)
    done = convert(deep)
    assert done.dtype == np.uint16
    eight = convert(np.rint(deep / 257.0).astype(np.uint8)).astype(float)
    # 8 bits of a dark code stand for a wide range after a change of gamma: compare the bulk
    assert np.abs(done / 257.0 - eight).mean() < 0.6


def test_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    notes = Notes()
    profile = files.srgb_profile()
    np.testing.assert_array_equal(read_image(files.write(tmp_path / "a.png", RGB, icc_profile=profile), notes), RGB)
    assert notes == [] and icc.is_srgb(profile)


def test_unusable_profile_is_noted_and_ignored(tmp_path: Path) -> None:
    notes = Notes()
    np.testing.assert_array_equal(read_image(files.write(tmp_path / "a.png", RGB, icc_profile=b"x" * 200), notes), RGB)
    assert notes == ["icc-unreadable"]


def _bad_files(folder: Path) -> dict[str, Path]:
    text = folder / "text.png"
    text.write_text("this is no picture\n")
    (folder / "empty.png").write_bytes(b"")
    binary = folder / "binary.jpg"
    binary.write_bytes(bytes(range(128, 256)) * 3)
    return {
        "0 bytes": folder / "empty.png",
        "text": text,
        "starts with bytes": binary,
        "ends early": files.truncate(files.write(folder / "cut.png", RGB)),
        "truncated": files.truncate(files.write(folder / "cut.jpg", RGB, quality=95)),
        "checksum": files.flip_byte(files.write(folder / "flipped.png", RGB)),
    }


def test_bad_files_are_named_with_what_is_wrong(tmp_path: Path) -> None:
    for reason, path in _bad_files(tmp_path).items():
        with pytest.raises(UserError) as caught:
            read_image(path)
        assert str(path) in str(caught.value) and reason in str(caught.value), str(caught.value)
        with pytest.raises(UserError):
            decode_image(path.read_bytes(), str(path), box=(40, 0, 4, 4))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing.png"):
        read_image(tmp_path / "nothing.png")


def test_box_outside_is_refused(tmp_path: Path) -> None:
    content = files.encode(RGB)
    for box in [(-1, 0, 4, 4), (0, 0, 49, 4), (0, 60, 4, 5), (0, 0, 0, 4)]:
        with pytest.raises(UserError, match="outside"):
            decode_image(content, "a.png", box=box)


def test_reading_a_png_header_does_not_decode_the_image(tmp_path: Path) -> None:
    path = files.truncate(files.write(tmp_path / "a.png", RGB), 0.5)
    assert read_file_header(path).width == 64
    with pytest.raises(UserError):
        verify_image(path.read_bytes(), str(path))


def test_a_thumbnail_in_the_header_does_not_hide_truncation(tmp_path: Path) -> None:
    thumbnail = files.encode(RGB[:16, :16], "JPEG")
    content = files.encode(
        files.photo(5, 200, 200), "JPEG", exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail
    )
    with pytest.raises(UserError, match="truncated|damaged"):
        decode_image(content[: int(len(content) * 0.7)], "a.jpg")
