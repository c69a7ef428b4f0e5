"""Jobs, outcomes and sheets of photo enhancement."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from plugins.color_fidelity.enhance import Job, enhance_all, enhance_photo, plan_jobs
from plugins.color_fidelity.enhance_files import Photo, read_photo
from plugins.color_fidelity.enhance_run import Runner


class Brighten(nn.Module):
    def __init__(self, by: float = 0.1) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.by


def save(path: Path, value: int = 100, side: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(path)
    return path


def test_jobs_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.bmp", "sub/c.png", ".hidden.png"):
        save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("x")
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out")
    assert [job.target.name for job in jobs] == ["a.jpg", "b.png"]
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out", recursive=True, suffix=".tif")
    assert [str(job.target.relative_to(tmp_path / "out")) for job in jobs] == ["a.tif", "b.tif", "sub/c.tif"]


def test_photos_of_one_stem_have_sheets_of_their_own(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.png"):
        save(tmp_path / "in" / name)
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out")
    assert [job.sheet.name for job in jobs] == ["a.jpg_compare.jpg", "a.png_compare.jpg", "b_compare.jpg"]


def test_jobs_of_one_photo(tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png")
    assert plan_jobs(photo, tmp_path / "out") == [Job(photo, tmp_path / "out" / "a.png")]
    assert plan_jobs(photo, tmp_path / "b.jpg") == [Job(photo, tmp_path / "b.jpg")]


def test_a_plan_that_would_lose_a_file_is_refused(tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png")
    with pytest.raises(UserError, match="would overwrite it"):
        plan_jobs(photo, tmp_path)
    save(tmp_path / "a.bmp")
    with pytest.raises(UserError, match=r"a\.bmp and .*a\.png would both become"):
        plan_jobs(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="no such photo or folder"):
        plan_jobs(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in it"):
        plan_jobs(tmp_path / "empty", tmp_path / "out")


def test_the_pixels_change_and_the_rest_stays() -> None:
    alpha = np.arange(64, dtype=np.uint16).reshape(8, 8)
    photo = Photo(np.full((8, 8, 3), 20000, np.uint16), alpha=alpha, exif=b"Exif\0\0x", icc_profile=b"p")
    after = enhance_photo(photo, Runner(Brighten(0.1)))
    assert after.rgb.dtype == np.uint16 and np.abs(after.rgb.astype(int) - 26554).max() <= 1
    assert after.alpha is alpha and (after.exif, after.icc_profile) == (photo.exif, photo.icc_profile)
    with pytest.raises(UserError, match="NaN"):
        enhance_photo(photo, Runner(Brighten(float("nan"))))


def test_a_bad_photo_is_reported_and_the_others_are_done(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    save(tmp_path / "in" / "c.png")
    jobs, run = plan_jobs(tmp_path / "in", tmp_path / "out"), Runner(Brighten())
    outcomes = list(enhance_all(jobs, run))
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "b.png" in outcomes[1].message and sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png",
        "c.png",
    ]
    assert read_photo(tmp_path / "out" / "a.png").rgb.max() == 126  # (100 / 255 + 0.1) * 255, rounded
    assert [outcome.status for outcome in enhance_all(jobs, run)] == ["skipped", "failed", "skipped"]
    assert [outcome.status for outcome in enhance_all(jobs, run, overwrite=True)] == ["done", "failed", "done"]


def test_a_compare_sheet_shows_before_and_after(tmp_path: Path) -> None:
    save(tmp_path / "in" / "wide.png", side=2000)
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out")
    assert [outcome.status for outcome in enhance_all(jobs, Runner(Brighten(0.2)), compare=True)] == ["done"]
    sheet = np.asarray(Image.open(tmp_path / "out" / "wide_compare.jpg"))
    assert sheet.shape == (1600, 1600 * 2 + 16, 3)
    assert abs(int(sheet[800, 100, 0]) - 100) <= 2 and abs(int(sheet[800, -100, 0]) - 151) <= 2


def test_an_output_of_the_wrong_kind_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    photo = tmp_path / "in" / "a.png"
    photo.parent.mkdir()
    Image.new("RGB", (8, 8)).save(photo)
    with pytest.raises(UserError, match="need a folder"):
        plan_jobs(photo.parent, photo)
    with pytest.raises(UserError, match=r"cannot write '\.gif'"):
        plan_jobs(photo, tmp_path / "out.gif")
    with pytest.raises(UserError, match=r"another format than \.jpg"):
        plan_jobs(photo, tmp_path / "out.png", suffix=".jpg")
    assert plan_jobs(photo, tmp_path / "out.jpeg", suffix=".jpg")[0].target == tmp_path / "out.jpeg"
    assert plan_jobs(photo, tmp_path / "model.v2")[0].target == tmp_path / "model.v2" / "a.png"
