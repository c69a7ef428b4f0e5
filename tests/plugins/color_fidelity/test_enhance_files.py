"""What a photo file carries beside its colours survives reading and writing."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms

from basicsr.engine.errors import UserError
from plugins.color_fidelity.enhance_files import Photo, _upright, read_photo, write_photo

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BASE, IFD = ExifTags.Base, ExifTags.IFD


def pixels(depth: type = np.uint8, height: int = 12, width: int = 18) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(depth).max, (height, width, 3), endpoint=True).astype(depth)


def exif_block(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[BASE.Make], exif[BASE.Model], exif[BASE.Orientation] = "Maker", "Model 1", orientation
    exif.get_ifd(IFD.Exif)[BASE.ExposureTime] = 0.01
    exif.get_ifd(IFD.GPSInfo)[1] = "N"
    return exif.tobytes()


def reread_exif(path: Path) -> Image.Exif:
    with Image.open(path) as image:
        exif = image.getexif()
        exif.get_ifd(IFD.Exif)
        exif.get_ifd(IFD.GPSInfo)
        return exif


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_profile_and_resolution_are_kept(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(pixels()).save(source, exif=exif_block(), icc_profile=PROFILE, dpi=(300, 300))
    write_photo(target, read_photo(source))
    with Image.open(target) as image:
        assert image.info["icc_profile"] == PROFILE
        assert [round(float(each)) for each in image.info["dpi"]] == [300, 300]
    exif = reread_exif(target)
    assert (exif[BASE.Make], exif[BASE.Model]) == ("Maker", "Model 1")
    assert float(exif.get_ifd(IFD.Exif)[BASE.ExposureTime]) == pytest.approx(0.01)
    assert exif.get_ifd(IFD.GPSInfo)[1] == "N"


def test_jpeg_is_written_at_full_colour_resolution(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_photo(path, Photo(pixels(height=32, width=32)))
    with Image.open(path) as image:
        assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)  # type: ignore[attr-defined]
        assert max(image.quantization[0]) <= 12  # type: ignore[attr-defined]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_is_turned_upright_and_its_tag_reset(tmp_path: Path, orientation: int) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(pixels()).save(source, exif=exif_block(orientation))
    write_photo(target, read_photo(source))
    with Image.open(source) as image:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(np.asarray(Image.open(target)), expected)
    assert reread_exif(target).get(BASE.Orientation) == 1


def test_orientations_agree_with_pillow() -> None:
    planes = pixels()
    assert _upright(planes, 6).shape == (18, 12, 3)
    assert np.array_equal(_upright(planes, 3), planes[::-1, ::-1])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("kind", ["rgb", "rgba", "grey", "grey+alpha"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_depth_alpha_and_grey_are_kept(tmp_path: Path, suffix: str, kind: str, depth: type) -> None:
    rgb = pixels(depth)
    grey = "grey" in kind
    if grey:
        rgb = np.repeat(rgb[..., :1], 3, axis=2)
    alpha = pixels(depth)[..., 2] if "a" in kind.removeprefix("grey") else None
    path = tmp_path / f"a{suffix}"
    write_photo(path, Photo(rgb, grey=grey, alpha=alpha, icc_profile=None if grey else PROFILE))
    back = read_photo(path)
    assert back.rgb.dtype == depth and np.array_equal(back.rgb, rgb)
    assert (back.alpha is None) == (alpha is None)
    assert alpha is None or np.array_equal(back.alpha, alpha)
    assert grey or back.icc_profile == PROFILE
    if grey and alpha is None:
        assert back.grey


def test_sixteen_bits_with_profile_and_exif(tmp_path: Path) -> None:
    photo = Photo(pixels(np.uint16), exif=exif_block(), icc_profile=PROFILE, dpi=(240.0, 240.0))
    write_photo(tmp_path / "a.png", photo)
    write_photo(tmp_path / "a.tif", photo)
    assert reread_exif(tmp_path / "a.png")[BASE.Make] == "Maker"
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        assert tags["Make"].value == "Maker" and tags["InterColorProfile"].value == PROFILE
    for name in ("a.png", "a.tif"):
        assert cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED).dtype == np.uint16
        assert np.array_equal(read_photo(tmp_path / name).rgb, photo.rgb)


def test_sixteen_bits_become_eight_in_a_jpeg(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg", Photo(np.full((16, 16, 3), 65535, np.uint16), alpha=np.zeros((16, 16), np.uint16)))
    assert read_photo(tmp_path / "a.jpg").rgb.min() == 255


def test_colours_under_a_transparent_tiff_are_not_darkened(tmp_path: Path) -> None:
    """OpenCV multiplies an 8-bit TIFF's colours by its alpha."""
    rgba = np.dstack([np.full((4, 4, 3), 200, np.uint8), np.full((4, 4), 100, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.tif")
    assert read_photo(tmp_path / "a.tif").rgb.min() == 200


def test_palette_and_black_and_white_files(tmp_path: Path) -> None:
    Image.fromarray(pixels()).quantize(8).save(tmp_path / "p.png")
    Image.fromarray(pixels()).convert("1").save(tmp_path / "b.png")
    assert not read_photo(tmp_path / "p.png").grey
    black = read_photo(tmp_path / "b.png")
    assert black.grey and set(np.unique(black.rgb)) == {0, 255}


def test_cmyk_becomes_rgb_without_its_profile(tmp_path: Path) -> None:
    Image.fromarray(pixels(height=16, width=16)).convert("CMYK").save(tmp_path / "a.jpg")
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.rgb.shape == (16, 16, 3) and photo.icc_profile is None


def test_new_pixels_are_clipped_and_rounded_and_grey_stays_grey() -> None:
    photo = Photo(np.zeros((1, 3, 3), np.uint8)).with_pixels(np.array([[[-1, 0.5, 2], [0.1, 0.2, 0.3], [1, 1, 1]]]))
    assert photo.rgb[0, 0].tolist() == [0, 128, 255]
    grey = Photo(np.zeros((1, 1, 3), np.uint8), grey=True).with_pixels(np.array([[[1.0, 0.0, 0.0]]]))
    assert grey.rgb[0, 0].tolist() == [76, 76, 76]


@pytest.mark.parametrize(
    ("name", "content"), [("empty.png", b""), ("text.png", b"hello there"), ("cut.png", None), ("cut.jpg", None)]
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is None:
        buffer = io.BytesIO()
        Image.fromarray(pixels(height=64, width=64)).save(buffer, format="PNG" if name.endswith("png") else "JPEG")
        content = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    path.write_bytes(content)
    with pytest.raises(UserError, match=name):
        read_photo(path)


def test_an_unknown_output_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write '\.gif'"):
        write_photo(tmp_path / "a.gif", Photo(pixels()))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_rotated_tiff_is_turned_once(tmp_path: Path, dtype: type) -> None:
    pixels = np.arange(8 * 12 * 3).reshape(8, 12, 3).astype(dtype)
    path = tmp_path / "turned.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(read_photo(path).rgb, pixels.transpose(1, 0, 2)[:, ::-1])
