"""The demo's paired data: disjoint splits, the same files for the same seed, nothing overwritten by accident."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.engine.errors import UserError
from plugins.color_fidelity.demo_data import (
    BOLD,
    CONTACT_SHEET,
    MANIFEST,
    PALE,
    DemoDataOptions,
    make_demo_data,
    repaint,
)
from plugins.color_fidelity.demo_photos import CATALOGUE, SPLITS, SplitPlan, divide, packaged_photos
from plugins.color_science import apply_to_arrays, rgb_to_oklab
from plugins.sample_photos import sample_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 'photos': half of them nearly grey, half colourful."""
    path = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(20):
        grey = rng.integers(40, 200, (6, 8, 1))
        image = np.clip(grey + rng.integers(-3, 4, (6, 8, 3)) * (1 if index % 2 else 25), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path / f"p{index:02d}.png"), cv2.resize(image, (96, 72), interpolation=cv2.INTER_CUBIC))
    return path


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_same_seed_writes_same_files_and_other_seed_others(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_demo_data(DemoDataOptions(out=tmp_path / name, photos=folder, size=64, seed=seed))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a") != files(tmp_path / "c")


def test_layout_manifest_and_disjoint_photos(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    ticks: list[tuple[int, int]] = []
    shots = dict.fromkeys(SPLITS, 1) | {"train": 2}
    options = DemoDataOptions(out=out, photos=folder, size=64, shots=shots)
    written = make_demo_data(options, lambda done, total: ticks.append((done, total)))
    assert ticks[-1] == (len(written), len(written))
    with open(out / MANIFEST, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    homes: dict[str, set[str]] = {}
    for row in rows:
        homes.setdefault(row["source"], set()).add(row["split"])
        for kind in ("lq", "gt"):
            image = cv2.imread(str(out / row["split"] / kind / f"{row['name']}.png"))
            assert image is not None and image.shape == (int(row["height"]), int(row["width"]), 3)
            assert max(image.shape) <= 64
        assert float(row["exposure_ev"]) < 0
    assert len(homes) == 20 and all(len(splits) == 1 for splits in homes.values())
    assert {row["split"] for row in rows} == set(SPLITS)
    assert (out / CONTACT_SHEET).is_file()
    names = (out / "train" / "all.txt").read_text().split()
    assert sorted(names) == sorted(p.name for p in (out / "train" / "gt").iterdir())
    assert set((out / "train" / "colorful.txt").read_text().split()) == set(names)


def test_only_training_photos_are_repainted(folder: Path, tmp_path: Path) -> None:
    shots = dict.fromkeys(SPLITS, 3)
    written = make_demo_data(DemoDataOptions(out=tmp_path / "x", photos=folder, size=64, shots=shots, recolor=True))
    for item in written:
        shot = int(item.name[-1])
        if item.split != "train" or shot == 0:
            assert (item.hue_turn_deg, item.chroma_factor) == (0.0, 1.0)
        else:
            low, high = BOLD if shot == 1 else PALE
            assert low <= item.chroma_factor <= high


def test_repainting_turns_hues_and_scales_chroma_but_keeps_lightness_and_grey() -> None:
    photo = np.array([[[160, 110, 120], [90, 90, 90], [0, 0, 0]]], np.uint8)
    assert np.array_equal(repaint(photo, 0.0, 1.0), photo)
    pale = repaint(photo, 120.0, 0.5)
    assert pale[0, 1:].tolist() == [[90, 90, 90], [0, 0, 0]]
    before, after = (apply_to_arrays(rgb_to_oklab, image)[0, 0] for image in (photo, pale))
    assert after[0] == pytest.approx(before[0], abs=0.005)
    assert np.hypot(*after[1:]) / np.hypot(*before[1:]) == pytest.approx(0.5, abs=0.08)
    turned = np.degrees(np.arctan2(after[2], after[1]) - np.arctan2(before[2], before[1])) % 360
    assert turned == pytest.approx(120, abs=8)


def test_existing_folder_is_refused_and_only_own_folder_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "holiday.txt").write_text("keep me")
    options = DemoDataOptions(out=out, photos=folder, size=64)
    with pytest.raises(UserError, match="exists"):
        make_demo_data(options)
    with pytest.raises(UserError, match="not written by this tool"):
        make_demo_data(DemoDataOptions(out=out, photos=folder, size=64, force=True))
    assert (out / "holiday.txt").read_text() == "keep me"


def test_too_few_photos_and_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        make_demo_data(DemoDataOptions(out=tmp_path / "x", photos=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="0 photos found"):
        make_demo_data(DemoDataOptions(out=tmp_path / "x", photos=tmp_path))
    assert not (tmp_path / "x").exists()


def test_stress_and_val_color_are_colorful_and_training_mostly_is_not() -> None:
    scores = np.random.default_rng(0).random(160).tolist()
    splits = divide(scores, 0, SplitPlan())
    median = float(np.median(scores))
    assert all(score >= median for score, split in zip(scores, splits, strict=True) if split in ("stress", "val_color"))
    train = [score for score, split in zip(scores, splits, strict=True) if split == "train"]
    assert sum(score > median for score in train) / len(train) == pytest.approx(0.15, abs=0.02)


def test_packaged_photographs_are_there_credited_and_in_one_split() -> None:
    photos = packaged_photos(320)
    assert {photo.split for photo in photos} == set(SPLITS)
    assert len({photo.name for photo in photos}) == len(photos)
    for photo in photos:
        assert photo.pixels.dtype == np.uint8 and photo.pixels.shape[2] == 3
        assert min(photo.pixels.shape[:2]) >= 128, f"{photo.name} is smaller than the demo's crop"
        assert photo.credit
    assert {entry.photo.name for entry in CATALOGUE} == {photo.name for photo in sample_photos()}


def test_regions_of_a_photograph_do_not_overlap() -> None:
    tiles = {photo.name: photo.pixels for photo in packaged_photos(4096) if photo.name.startswith("astronaut")}
    whole = np.vstack([np.hstack([tiles[f"astronaut-{r}{c}"] for c in range(2)]) for r in range(2)])
    assert whole.shape == (512, 512, 3)
