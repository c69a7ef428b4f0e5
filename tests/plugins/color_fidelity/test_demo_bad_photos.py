"""A folder of one's own photos with bad files in it: they are named and left out, the rest is used."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.engine.errors import UserError
from plugins.color_fidelity.demo_photos import FEWEST_PHOTOS, SplitPlan, folder_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for index in range(FEWEST_PHOTOS + 2):
        small = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"p{index:02d}.png"), cv2.resize(small, (48, 36), interpolation=cv2.INTER_CUBIC))
    return tmp_path


def test_bad_photos_are_named_and_skipped(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {photo.name: photo.pixels for photo in folder_photos(folder, 48, 0, SplitPlan())}
    whole = (folder / "p03.png").read_bytes()
    (folder / "p03.png").write_bytes(whole[: len(whole) // 2])
    (folder / "p05.png").write_text("<html>not found</html>")
    with caplog.at_level(logging.WARNING, "basicsr"):
        after = {photo.name: photo.pixels for photo in folder_photos(folder, 48, 0, SplitPlan())}
    assert set(before) - set(after) == {"0003-p03", "0005-p05"} and set(after) < set(before)
    assert "p03.png: the image is damaged" in caplog.text and "p05.png: not an image but text" in caplog.text
    assert f"2 of {FEWEST_PHOTOS + 2} photos were skipped" in caplog.text


def test_too_few_good_photos_are_an_error(folder: Path) -> None:
    for index in range(3):
        (folder / f"p{index:02d}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"14 photos found, of which 3 cannot be read; .* at least 12"):
        folder_photos(folder, 48, 0, SplitPlan())
