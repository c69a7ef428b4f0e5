"""Recognition without torch: answers, thresholds, views, and every kind of bad picture and model."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from basicsr.engine.image_io import decode_image
from plugins.lego import inference_image as images
from plugins.lego.inference import ClassifierLoader, ModelFileError
from plugins.lego.inference_image import ImageError, read_picture
from tests.plugins.lego.lego_onnx_kit import BLUE, GREEN, RED, encoded, facts, made_model, plain, png_header

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> ClassifierLoader:
    return ClassifierLoader(made_model(tmp_path_factory.mktemp("model") / "made.onnx"), threads=1)


def test_a_picture_is_named(loader: ClassifierLoader) -> None:
    answer = loader.predict(encoded(plain(RED)))
    assert (answer.part_id, answer.color_id) == ("3001", "4")
    logits = np.array([220, 20, 20]) / 25.5
    expected = np.exp(logits) / np.exp(logits).sum()
    assert answer.color_confidence == pytest.approx(expected[0], abs=1e-5)
    assert [one.id for one in answer.colors] == ["4", "2", "1"] and answer.parts[0].name == "Brick 3001"
    assert sum(one.confidence for one in answer.colors) == pytest.approx(1)
    assert loader.predict(encoded(plain(BLUE))).color_id == "1"
    assert answer.as_dict()["colors"][0] == {"id": "4", "name": "4", "confidence": answer.color_confidence}


def test_confidence_is_divided_by_the_temperature_and_low_ones_are_unknown(tmp_path: Path) -> None:
    path = made_model(tmp_path / "a.onnx", temperature={"part": 1.0, "color": 4.0}, unknown_below={"color": 0.9})
    answer = ClassifierLoader(path).predict(encoded(plain(RED)))
    logits = np.array([220, 20, 20]) / 25.5 / 4
    assert answer.color_confidence == pytest.approx(float((np.exp(logits) / np.exp(logits).sum())[0]), abs=1e-5)
    assert answer.color_id == "unknown" and answer.colors[0].id == "4" and answer.part_id == "3001"
    sure = ClassifierLoader(path, unknown_below={"color": 0.1, "part": 0.999}).predict(encoded(plain(RED)))
    assert sure.color_id == "4" and sure.part_id == "unknown"
    with pytest.raises(ValueError, match="unknown_below"):
        ClassifierLoader(path, unknown_below={"shape": 0.5})


def test_views_of_one_brick_are_averaged(loader: ClassifierLoader) -> None:
    views = [encoded(plain(color)) for color in (RED, BLUE, BLUE)]
    answer = loader.predict_views(views)
    single = [loader.predict(view) for view in views]
    mean = np.mean([next(one.confidence for one in each.colors if one.id == "1") for each in single])
    assert answer.color_id == "1" and answer.color_confidence == pytest.approx(float(mean))
    with pytest.raises(images.ImageTypeError, match="picture 2"):
        loader.predict_views([views[0], b"text"])
    with pytest.raises(ImageError):
        loader.predict_views([])


def test_a_model_of_one_head_answers_for_that_one(tmp_path: Path) -> None:
    only = {"color": facts()["classes"]["color"]}
    answer = ClassifierLoader(made_model(tmp_path / "a.onnx", classes=only)).predict(encoded(plain(GREEN)))
    assert answer.part_id is None and answer.parts == () and answer.color_id == "2"


def test_pictures_are_read_as_in_training() -> None:
    rng = np.random.default_rng(0)
    photo = np.kron(rng.integers(0, 255, (5, 7, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    files = [encoded(photo), encoded(photo, "JPEG", quality=90), encoded(photo, "WEBP", lossless=True)]
    for turn in range(1, 9):
        exif[0x0112] = turn
        files += [encoded(photo, "JPEG", quality=90, exif=exif), encoded(photo, exif=exif)]
    files.append(encoded(photo[..., 0]))
    files.append(encoded(np.concatenate([photo, photo[..., :1]], 2)))
    files.append(encoded(photo[..., 0].astype(np.uint16) * 256 + 3))
    buffer = io.BytesIO()
    Image.fromarray(photo).quantize(16).save(buffer, "PNG")
    files.append(buffer.getvalue())
    for number, content in enumerate(files):
        expected = decode_image(content, "it")
        if expected.dtype == np.uint16:
            expected = (expected >> 8).astype(np.uint8)
        got = read_picture(content)
        assert got.shape == expected.shape and got.dtype == np.uint8, number
        assert np.abs(got.astype(int) - expected).max() <= 1, number


def test_another_profile_becomes_srgb() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = plain((200, 90, 40))
    assert np.abs(read_picture(encoded(photo, icc_profile=lab)).astype(int) - photo).max() <= 1
    assert np.array_equal(read_picture(encoded(photo, icc_profile=b"no profile")), photo)


def bad_pictures() -> list[tuple[bytes, type[ImageError]]]:
    photo = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    png, jpeg, webp = encoded(photo), encoded(photo, "JPEG"), encoded(photo, "WEBP")
    frames = io.BytesIO()
    Image.fromarray(photo).save(frames, "WEBP", save_all=True, append_images=[Image.fromarray(255 - photo)])
    wide = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + b"\0" * 20
    return [
        (b"", images.ImageDamagedError),
        (b"hello", images.ImageTypeError),
        (b"GIF89a" + png, images.ImageTypeError),
        (encoded(photo, "BMP"), images.ImageTypeError),
        (png[: len(png) // 2], images.ImageDamagedError),
        (jpeg[: len(jpeg) // 2], images.ImageDamagedError),
        (webp[: len(webp) // 2], images.ImageDamagedError),
        (png[:20], images.ImageDamagedError),
        (b"\xff\xd8\xff", images.ImageDamagedError),
        (webp[:16], images.ImageDamagedError),
        (frames.getvalue(), images.ImageFramesError),
        (png_header(13_000, 13_000), images.ImageSizeError),
        (png_header(9_500, 9_500), images.ImageSizeError),
        (png_header(6_000, 6_000), images.ImageSizeError),
        (wide, images.ImageSizeError),
        (b"\xff\xd8\xff" + b"\0" * images.MAX_BYTES, images.ImageSizeError),
    ]


@pytest.mark.parametrize(("content", "kind"), bad_pictures(), ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.filterwarnings("error")
def test_bad_pictures_are_refused_by_their_kind(
    content: bytes, kind: type[ImageError], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[tuple[int, int]] = []
    if kind is images.ImageSizeError:
        monkeypatch.setattr(Image.Image, "load", lambda self: decoded.append(self.size))
    with pytest.raises(kind):
        read_picture(content)
    assert not decoded  # refused by the header


def test_what_is_no_bytes_is_refused(loader: ClassifierLoader) -> None:
    with pytest.raises(images.ImageTypeError, match="str"):
        loader.predict("brick.jpg")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_damaged_exif_is_no_reason_to_refuse() -> None:
    photo = plain(RED)
    content = encoded(photo, "JPEG", exif=b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, 9, 0x0112, 77, 2**31))
    assert read_picture(content).shape == photo.shape


def test_models_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"no model")
    wrong = {
        "missing.onnx": "no such file",
        "text.onnx": "no ONNX model",
        "plain.onnx": "lacks its metadata",
        "newer.onnx": "version 2",
        "few.onnx": "names 1 classes",
        "resize.onnx": "resized in a way",
        "temperature.onnx": "above 0",
    }
    made_model(tmp_path / "plain.onnx", format="other")
    made_model(tmp_path / "newer.onnx", format_version=2)
    made_model(tmp_path / "few.onnx", classes={"part": [{"id": "1"}]})
    made_model(tmp_path / "resize.onnx", input={"size": 16, "mode": "letterbox", "filter": "cubic"})
    made_model(tmp_path / "temperature.onnx", temperature={"part": 0})
    for name, message in wrong.items():
        with pytest.raises(ModelFileError, match=f"{name}.*{message}"):
            ClassifierLoader(tmp_path / name)


def test_it_runs_where_there_is_no_torch(tmp_path: Path) -> None:
    path = made_model(tmp_path / "made.onnx")
    (tmp_path / "red.png").write_bytes(encoded(plain(RED)))
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchvision', 'cv2', 'basicsr', 'scipy', 'onnx', 'numba'):
            raise ImportError(name + ' is not there')
sys.meta_path.insert(0, Refuse())
from plugins.lego.inference import ClassifierLoader
print(ClassifierLoader(sys.argv[1]).predict(open(sys.argv[2], 'rb').read()).color_id)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "red.png")],
        capture_output=True, text=True, check=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.stdout.strip() == "4"
