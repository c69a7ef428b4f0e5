"""Photo files, advice of files and folders, and tools/optimize_photo.py."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from basicsr.engine.errors import UserError
from plugins.diagnostic import generate_preview, model_files, photo_advice
from plugins.diagnostic.estimate import Estimate
from plugins.diagnostic.filters_sheet import before_after, filters_sheet
from plugins.diagnostic.photo_advice import Adviser, advise_all, plan_jobs, refuse_overwriting
from plugins.diagnostic.photo_files import encode_photo, read_photo, read_small_srgb
from tests.plugins.diagnostic.diagnostic_api_kit import (
    ToldNetwork,
    camera_exif,
    good_photo,
    jpeg_of,
    png_of,
    save_random_model,
    spoilt,
)
from tools import optimize_photo

PHOTO = good_photo(96)
TRUTH = Estimate(-1.0, 0.15, -0.15, -0.3)
DARK = spoilt(PHOTO, TRUTH)


def wide_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool finds a network that knows the truth, and no scene weights."""
    monkeypatch.setattr(model_files, "load_diagnostic_model", lambda *_: ToldNetwork(TRUTH))
    monkeypatch.delenv("BASICSR_SCENE_WEIGHTS", raising=False)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/nowhere")


def test_exif_profile_and_alpha_come_out_again() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = read_photo(jpeg_of(DARK[:60], 95, exif=camera_exif(6), icc_profile=profile, dpi=(300, 300)), "a")
    assert photo.rgb.shape == (96, 60, 3)
    with Image.open(io.BytesIO(encode_photo(photo, ".jpg"))) as image:
        exif = image.getexif()
        assert exif[0x010F] == "Maker" and exif[0x0112] == 1 and exif.get_ifd(0x8769)[0x829A] == pytest.approx(0.01)
        assert image.info["icc_profile"] == profile and image.info["dpi"] == (300, 300)
        assert image.size == (60, 96)
    alpha = np.arange(96 * 96, dtype=np.uint8).reshape(96, 96, 1)
    clear = read_photo(png_of(np.concatenate([DARK, alpha], 2)), "b")
    with Image.open(io.BytesIO(encode_photo(clear, ".png"))) as image:
        assert np.array_equal(np.asarray(image), np.concatenate([DARK, alpha], 2))
    with pytest.raises(UserError, match=".gif"):
        encode_photo(clear, ".gif")


def test_pixels_of_another_space_stay_in_it_and_the_model_sees_srgb(monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.diagnostic import photo_files

    monkeypatch.setattr(photo_files.icc, "converter", lambda profile: lambda rgb: 255 - rgb)
    content = png_of(DARK, icc_profile=wide_profile())
    photo = read_photo(content, "a")
    assert np.array_equal(photo.rgb, DARK) and np.array_equal(photo.srgb(), 255 - DARK)
    small = read_small_srgb(jpeg_of(np.full((600, 600, 3), 40, np.uint8), icc_profile=wide_profile()), "a", 224)
    assert small.shape == (300, 300, 3) and abs(int(small.mean()) - 215) <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_reduced_decode_gives_the_same_advice(orientation: int) -> None:
    class Meter(ToldNetwork):
        """Estimates from the mean of each channel, to which a wrong decode would matter."""

        def forward(self, image):  # type: ignore[no-untyped-def]
            red, green, blue = (float(value) for value in image.mean((0, 2, 3)))
            corner = float(image[:, :, :40, :40].mean())
            self.truth = Estimate(4 * (green - 0.5), red - green, blue - green, corner - 0.5)
            return super().forward(image)

    large = cv2.resize(DARK, (1200, 900), interpolation=cv2.INTER_CUBIC)
    content = jpeg_of(large, 92, exif=camera_exif(orientation))
    reduced = read_small_srgb(content, "a", photo_advice.SMALLEST_SIDE)
    assert min(reduced.shape[:2]) in (225, 226, 300, 450)
    adviser = Adviser(Meter(TRUTH))
    first = adviser.look_at_file(content, "a").advice(1.0).final_params
    second = adviser.look(read_photo(content, "a").srgb()).advice(1.0).final_params
    assert first == pytest.approx(second, abs=0.004) and first["gamma"] > 1.05


@pytest.mark.parametrize("size", [(900, 700), (96, 96)])
def test_damaged_files_are_named(size: tuple[int, int]) -> None:
    content = jpeg_of(cv2.resize(PHOTO, size))
    for broken in (content[: len(content) // 2], content[:200], b"", b"hello, not a photo"):
        for read in (read_photo, lambda data, name: read_small_srgb(data, name, 224)):
            with pytest.raises(UserError, match="bad.jpg"):
                read(broken, "bad.jpg")


def test_a_batch_names_bad_files_and_goes_on(tmp_path: Path, told: None, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.jpg").write_bytes(jpeg_of(DARK, 95, exif=camera_exif()))
    (source / "b.jpg").write_text("text")
    (source / "c.png").write_bytes(png_of(DARK))
    (source / "c.bmp").write_bytes(b"BM")
    status = optimize_photo.main([str(source), "-o", str(output), "--fusion-weight", "1"])
    shown = capsys.readouterr()
    assert status == 1 and f"FAILED: {source / 'b.jpg'}" in shown.err and "2 of 4 photos failed" in shown.err
    assert "brighten by 1.00 EV" in shown.out and "4/4" in shown.err
    names = sorted(path.name for path in output.iterdir())
    sheets = [
        f"{stem}_{kind}" for stem in ("a", "c_png") for kind in ("advice.json", "before_after.jpg", "filters.jpg")
    ]
    assert names == sorted([*sheets, "a_corrected.jpg", "c_png_corrected.png"])
    record = json.loads((output / "a_advice.json").read_text())
    assert record["final_params"]["gamma"] > 1.3 and record["model_used"] and record["fusion_weight"] == 1
    with Image.open(output / "c_png_corrected.png") as image:
        after = np.asarray(image)
    assert np.abs(after.astype(int) - PHOTO).mean() < 0.2 * np.abs(DARK.astype(int) - PHOTO).mean()
    with Image.open(output / "a_corrected.jpg") as image:
        assert image.getexif()[0x010F] == "Maker"


def test_nothing_is_overwritten_unasked(tmp_path: Path, told: None, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(png_of(DARK))
    call = [str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--json"]
    assert optimize_photo.main(call) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed[0]["scene_label"] == "Generic" and len(printed) == 1
    before = (tmp_path / "out" / "a_corrected.png").stat().st_mtime_ns
    with pytest.raises(UserError, match="a_corrected.png and 3 more: exists already"):
        optimize_photo.main(call)
    assert (tmp_path / "out" / "a_corrected.png").stat().st_mtime_ns == before
    assert optimize_photo.main([*call, "--overwrite", "--format", "png"]) == 0


def test_calls_that_cannot_work_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no photo in this folder"):
        plan_jobs(tmp_path, tmp_path / "out", None, "jpg")
    with pytest.raises(UserError, match="no such photo or folder"):
        plan_jobs(tmp_path / "gone", tmp_path / "out", None, "jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        plan_jobs(tmp_path / "a.jpg", tmp_path / "file", None, "jpg")
    with pytest.raises(UserError, match="--fusion-weight"):
        optimize_photo.main([str(tmp_path / "a.jpg"), "--fusion-weight", "2"])
    refuse_overwriting(plan_jobs(tmp_path / "a.jpg", tmp_path / "out", "png", "png"))


def test_without_a_model_the_preset_alone_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "_folders", lambda: [tmp_path])
    monkeypatch.delenv(model_files.MODEL_VARIABLE, raising=False)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "a.png").write_bytes(png_of(DARK))
    call = [str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]
    with pytest.raises(UserError, match="diagnostic model is missing"):
        optimize_photo.main(call)
    assert not (tmp_path / "out").exists()
    assert optimize_photo.main([*call, "--fusion-weight", "0"]) == 0
    assert (tmp_path / "out" / "a_corrected.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    assert optimize_photo.main([*call, "--fusion-weight", "0", "--overwrite", "--format", "jpg"]) == 0
    save_random_model(tmp_path / model_files.MODEL_FILE)
    assert optimize_photo.main([*call, "--overwrite"]) == 0


def test_sheets_show_each_filter_and_fit_the_page(tmp_path: Path) -> None:
    advice = Adviser(ToldNetwork(TRUTH)).look(DARK).advice(1.0)
    sheet = filters_sheet(DARK, advice)
    tile = sheet[16 + 30 : 16 + 30 + 96, 16 : 16 + 96]
    assert np.array_equal(tile, DARK) and len(advice.recommended_filters) == 3
    last = sheet[16 + 142 + 30 : 16 + 142 + 30 + 96, 16 + 276 : 16 + 276 + 96]
    assert np.array_equal(last, generate_preview(DARK, advice))
    quiet = filters_sheet(DARK, Adviser(ToldNetwork(Estimate())).look(DARK).advice(1.0))
    assert quiet.shape[0] == 96 + 30 + 32
    wide = np.zeros((100, 4000, 3), np.uint8)
    assert before_after(wide, wide).shape[1] == 1600 + 32
    outcomes = list(advise_all(plan_jobs(tmp_path / "gone.jpg", tmp_path, None, "jpg"), Adviser(None), 0.0))
    assert outcomes[0].advice is None and "gone.jpg" in outcomes[0].problem
