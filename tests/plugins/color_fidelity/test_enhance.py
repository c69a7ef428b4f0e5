"""Jobs, outcomes and sheets of photo enhancement."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from plugins.color_fidelity.enhance import Plan, enhance_all, enhance_photo
from plugins.color_fidelity.enhance_files import Photo, read_photo
from plugins.color_fidelity.enhance_plan import Job, megapixels, plan_jobs
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
    assert [outcome.status for outcome in enhance_all(jobs, run, Plan(overwrite=True))] == ["done", "failed", "done"]


def test_a_compare_sheet_shows_before_and_after(tmp_path: Path) -> None:
    save(tmp_path / "in" / "wide.png", side=2000)
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out")
    assert [outcome.status for outcome in enhance_all(jobs, Runner(Brighten(0.2)), Plan(compare=True))] == ["done"]
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


def test_two_photos_that_would_become_one_file_fail_by_name_and_the_others_are_done(tmp_path: Path) -> None:
    for name in ("a.bmp", "a.png", "b.png"):
        save(tmp_path / "in" / name)
    outcomes = list(enhance_all(plan_jobs(tmp_path / "in", tmp_path / "out"), Runner(Brighten())))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "done"]
    assert all("a.bmp and" in each.message and "--keep-ending" in each.message for each in outcomes[:2])
    apart = plan_jobs(tmp_path / "in", tmp_path / "out", keep_ending=True)
    assert [job.target.name for job in apart] == ["a.bmp.png", "a.png", "b.png"]
    assert not any(job.obstacle for job in apart)


def test_results_in_an_output_folder_inside_the_source_are_no_sources(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "sub" / "b.png")
    for _ in range(2):
        jobs = plan_jobs(tmp_path, tmp_path / "enhanced", recursive=True)
        assert [job.source.name for job in jobs] == ["a.png", "b.png"]
        assert all(outcome.status != "failed" for outcome in enhance_all(jobs, Runner(Brighten())))


def test_a_sheet_never_takes_the_place_of_a_photo(tmp_path: Path) -> None:
    for name in ("a.jpg", "a_compare.jpg"):
        save(tmp_path / "in" / name)
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out")
    list(enhance_all(jobs, Runner(Brighten()), Plan(compare=True)))
    assert len({*(job.sheet for job in jobs), *(job.target for job in jobs)}) == 4
    with Image.open(tmp_path / "out" / "a_compare.jpg") as image:
        assert image.size == (8, 8)


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").symlink_to(tmp_path / "gone.png")
    outcomes = list(enhance_all(plan_jobs(tmp_path / "in", tmp_path / "out"), Runner(Brighten())))
    assert [outcome.status for outcome in outcomes] == ["done", "failed"] and "b.png" in outcomes[1].message


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_max_side_scales_the_photo_its_alpha_and_its_size_tags(depth: type) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = 60, 40
    photo = Photo(np.full((40, 60, 3), 200, depth), alpha=np.full((40, 60), 100, depth), exif=exif.tobytes())
    small = photo.scaled_down(30)
    assert small.rgb.shape == (20, 30, 3) and small.alpha is not None and small.alpha.shape == (20, 30)
    assert small.rgb.dtype == depth and (small.rgb == 200).all() and (small.alpha == 100).all()
    after = Image.Exif()
    after.load(small.exif or b"")
    assert dict(after.get_ifd(0x8769)) == {0xA002: 30, 0xA003: 20}
    assert photo.scaled_down(60) is photo and photo.scaled_down(None) is photo


def test_megapixels_are_those_of_the_header(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", side=200)
    assert megapixels(Job(path, path)) == pytest.approx(0.04)
    assert megapixels(Job(path, path), max_side=100) == pytest.approx(0.01)
    (tmp_path / "b.png").write_bytes(b"x")
    assert megapixels(Job(tmp_path / "b.png", path)) == 0
