"""Paired data for colour fidelity: jitter of the input alone, colourful crops, and nothing at all by default."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from basicsr.data.image_store_build import build_store
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.engine.errors import UserError
from plugins.color_fidelity.color_paired_dataset import ColorPairedImageDataset, jitter


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A grey target with one red field in a corner, and a dimmer input of it."""
    for half, factor in (("gt", 1.0), ("lq", 0.6)):
        image = np.full((160, 240, 3), 120, np.float64)
        image[112:160, 176:240] = (40, 50, 200)  # BGR
        (tmp_path / half).mkdir()
        cv2.imwrite(str(tmp_path / half / "a.png"), np.rint(image * factor).astype(np.uint8))
    return tmp_path


def options(root: Path, **changes: Any) -> dict[str, Any]:
    opt = {
        "name": "c",
        "type": "ColorPairedImageDataset",
        "phase": "train",
        "dataroot_gt": str(root / "gt"),
        "dataroot_lq": str(root / "lq"),
        "gt_size": 32,
        "use_hflip": True,
        "use_rot": False,
    }
    return {**opt, **changes}


def draw(dataset: PairedImageDataset, seed: int, index: int = 0) -> dict[str, Any]:
    random.seed(seed)
    return dataset[index]


def unchanged(sample: dict[str, Any]) -> bool:
    """Whether the input shows one of the two values that its file holds in red."""
    return min(abs(float(sample["lq"].max()) - value / 255) for value in (72, 120)) < 1e-3


def colourful(sample: dict[str, Any]) -> bool:
    return bool((sample["gt"][0] - sample["gt"][1]).max() > 0.2)


def test_off_by_default_is_the_engines_data_set(photos: Path) -> None:
    ours, plain = ColorPairedImageDataset(options(photos)), PairedImageDataset(options(photos))
    for seed in range(5):
        a, b = draw(ours, seed), draw(plain, seed)
        assert torch.equal(a["lq"], b["lq"]) and torch.equal(a["gt"], b["gt"])


def test_jitter_changes_the_input_only(photos: Path) -> None:
    dataset = ColorPairedImageDataset(options(photos, jitter_prob=1.0, jitter_exposure=[0.5, 1.0]))
    plain = ColorPairedImageDataset(options(photos))
    sources = {round(float(v), 5) for v in torch.cat([draw(plain, s)["gt"].flatten() for s in range(30)]).unique()}
    for seed in range(10):
        sample = draw(dataset, seed)
        assert {round(float(v), 5) for v in sample["gt"].unique()} <= sources
        assert not unchanged(sample) and 0 <= sample["lq"].min() and sample["lq"].max() <= 1
        assert torch.equal(sample["lq"], draw(dataset, seed)["lq"])


def test_jitter_share(photos: Path) -> None:
    dataset = ColorPairedImageDataset(
        options(photos, jitter_prob=0.25, jitter_exposure=[1, 1], jitter_contrast=[1, 1], jitter_white_balance=[0, 0])
    )
    changed = sum(not unchanged(draw(dataset, seed)) for seed in range(300))
    assert 50 <= changed <= 105


def test_jitter_formula() -> None:
    image = np.random.default_rng(0).uniform(0.05, 0.6, (9, 11, 3)).astype(np.float32)
    np.testing.assert_allclose(jitter(image, 0, 1, 0, 0), image, atol=1e-5)

    def linear(rgb: np.ndarray) -> np.ndarray:
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)

    np.testing.assert_allclose(linear(jitter(image, 0.5, 1, 0, 0)), linear(image) * 2**0.5, rtol=1e-3)
    balanced = linear(jitter(image, 0, 1, 0.2, -0.3)) / linear(image)
    np.testing.assert_allclose(balanced.mean(axis=(0, 1)), [2**0.2, 1, 2**-0.3], rtol=1e-3)
    grey = np.full((4, 4, 3), 1.055 * 0.18 ** (1 / 2.4) - 0.055, np.float32)
    np.testing.assert_allclose(jitter(grey, 0, 1.5, 0, 0), grey, atol=1e-4)
    stronger = jitter(image, 0, 1.3, 0, 0)
    dark, bright = image.mean(axis=2) < 0.2, image.mean(axis=2) > 0.55
    assert (stronger[dark] <= image[dark] + 1e-5).all() and (stronger[bright] >= image[bright] - 1e-5).all()


def test_colourful_crops_are_drawn_where_the_target_has_colour(photos: Path) -> None:
    uniform = ColorPairedImageDataset(options(photos))
    always = ColorPairedImageDataset(options(photos, chroma_crop_prob=1.0))
    half = ColorPairedImageDataset(options(photos, chroma_crop_prob=0.5))
    base, all_of_them, mixed = (sum(colourful(draw(d, s)) for s in range(200)) for d in (uniform, always, half))
    assert all_of_them == 200 and base < 100 and base + 30 < mixed < 190
    lq = draw(always, 1)["lq"]
    np.testing.assert_allclose(lq, draw(always, 1)["gt"] * 0.6, atol=0.005)  # the pair stays a pair


def test_crop_corners_stay_random_and_inside(photos: Path) -> None:
    dataset = ColorPairedImageDataset(options(photos, chroma_crop_prob=1.0))
    random.seed(0)
    corners = {dataset.choose_corner(0, (160, 240), 32) for _ in range(300)}
    assert len(corners) > 100
    assert all(0 <= top <= 128 and 0 <= left <= 208 for top, left in corners)


def test_grey_image_falls_back_to_any_crop(tmp_path: Path) -> None:
    for half in ("gt", "lq"):
        (tmp_path / half).mkdir()
        cv2.imwrite(str(tmp_path / half / "a.png"), np.full((64, 64, 3), 99, np.uint8))
    dataset = ColorPairedImageDataset(options(tmp_path, chroma_crop_prob=1.0))
    assert draw(dataset, 0)["gt"].shape == (3, 32, 32)


def test_store_and_folder_choose_the_same_crops(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for half in ("gt", "lq"):
        build_store(photos / half, photos / f"{half}.store")
    folder = ColorPairedImageDataset(options(photos, chroma_crop_prob=1.0))
    store = ColorPairedImageDataset(options(photos, chroma_crop_prob=1.0, io_backend={"type": "mmap"}))
    for seed in range(5):
        assert torch.equal(draw(folder, seed)["gt"], draw(store, seed)["gt"])


def test_the_chroma_map_is_made_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.color_fidelity import color_paired_dataset

    calls = []
    real = color_paired_dataset._cumulated_chroma
    monkeypatch.setattr(color_paired_dataset, "_cumulated_chroma", lambda p: (calls.append(1), real(p))[1])
    dataset = ColorPairedImageDataset(options(photos, chroma_crop_prob=1.0))
    for seed in range(5):
        draw(dataset, seed)
    assert len(calls) == 1


def test_scale_two_and_oversampling(tmp_path: Path) -> None:
    image = np.full((96, 128, 3), 120, np.uint8)
    image[64:, 96:] = (30, 200, 40)
    for half, step in (("gt", 1), ("lq", 2)):
        (tmp_path / half).mkdir()
        cv2.imwrite(str(tmp_path / half / "a.png"), image[::step, ::step])
    (tmp_path / "meta.txt").write_text("a.png\na.png\na.png\n")
    dataset = ColorPairedImageDataset(
        options(tmp_path, scale=2, chroma_crop_prob=1.0, meta_info_file=str(tmp_path / "meta.txt"))
    )
    assert len(dataset) == 3
    for seed in range(20):
        sample = draw(dataset, seed, index=2)
        assert sample["lq"].shape == (3, 16, 16) and (sample["gt"][1] - sample["gt"][0]).max() > 0.5


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"jitter_prob": 1.5}, "jitter_prob"),
        ({"chroma_crop_prob": -1}, "chroma"),
        ({"jitter_exposure": [1, 0]}, "lowest"),
        ({"jitter_contrast": [0, 1]}, "posit"),
        ({"jitter_white_balance": 0.1}, "jitter_white_balance"),
    ],
)
def test_wrong_values_are_named(photos: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        ColorPairedImageDataset(options(photos, **changes))


def test_the_context_is_the_whole_input_and_shares_the_crops_jitter(photos: Path) -> None:
    dataset = ColorPairedImageDataset(options(photos, context_size=8))
    sample = draw(dataset, 0)
    assert sample["context"].shape == (3, 8, 8)
    whole = cv2.imread(str(photos / "lq" / "a.png"))[..., ::-1] / 255
    assert sample["context"].mean(dim=(1, 2)).numpy() == pytest.approx(whole.mean(axis=(0, 1)), abs=0.01)
    assert "context" not in ColorPairedImageDataset(options(photos, context_size=8, phase="val"))[0]
    assert "context" not in draw(ColorPairedImageDataset(options(photos)), 0)
    jittered = ColorPairedImageDataset(options(photos, context_size=8, jitter_prob=0.5, jitter_exposure=[-1, -1]))
    dimmer = 0.8 * sample["context"].mean()
    seen = {(unchanged(item), bool(item["context"].mean() < dimmer)) for item in map_draws(jittered)}
    assert seen == {(True, False), (False, True)}


def map_draws(dataset: PairedImageDataset) -> list[dict[str, Any]]:
    return [draw(dataset, seed) for seed in range(20)]


def test_whole_photos_take_the_place_of_crops(photos: Path) -> None:
    always = draw(ColorPairedImageDataset(options(photos, whole_photo_prob=1.0, use_hflip=False)), 0)
    gt = cv2.imread(str(photos / "gt" / "a.png"))[..., ::-1]
    expected = cv2.resize(np.ascontiguousarray(gt), (32, 32), interpolation=cv2.INTER_AREA) / 255
    assert always["gt"].permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1e-6)
    assert always["lq"].shape == always["gt"].shape
    some = map_draws(ColorPairedImageDataset(options(photos, whole_photo_prob=0.5, use_hflip=False)))
    assert 4 < sum(torch.equal(item["gt"], always["gt"]) for item in some) < 16


def test_a_store_gives_the_same_context_as_files(photos: Path) -> None:
    for half in ("gt", "lq"):
        build_store(photos / half, photos / f"{half}.store")
    stored = options(photos, context_size=8, dataroot_gt=str(photos / "gt.store"), dataroot_lq=str(photos / "lq.store"))
    from_files, from_store = ColorPairedImageDataset(options(photos, context_size=8)), ColorPairedImageDataset(stored)
    assert torch.equal(draw(from_files, 3)["context"], draw(from_store, 3)["context"])


@pytest.mark.parametrize("wrong", [{"context_size": -2}, {"context_size": 7}, {"whole_photo_prob": 1.5}])
def test_impossible_context_options_are_named(photos: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        ColorPairedImageDataset(options(photos, **wrong))
