"""Photos and pairs as data: splits, degradations, labels, fitted labels, mixing."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from basicsr.engine.errors import UserError
from plugins.diagnostic.degradation import degrade
from plugins.diagnostic.degradation_draws import (
    HELD_OUT,
    TRAINING,
    draw_degradation,
    labels_of,
    recoverable,
)
from plugins.diagnostic.degraded_photo_dataset import DegradedPhotoDataset, to_planes
from plugins.diagnostic.edited_pair_dataset import EditedPairDataset, MixedPhotoDataset
from plugins.diagnostic.estimate import Estimate
from plugins.diagnostic.label_fit import fit_labels
from plugins.diagnostic.photo_list import list_photos, part_of


def scene(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """Soft patches of muted colours, RGB uint8."""
    rng = np.random.default_rng(seed)
    patches = rng.uniform(70, 170, (4, 5, 3)).astype(np.float32)
    return cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "val2017"
    for number in range(30):
        write(folder / ("sub" if number % 2 else ".") / f"{number:012d}.png", scene(number))
    return folder


def options(folder: Path, **more: Any) -> dict[str, Any]:
    return {"name": "p", "dataroot": str(folder), "image_size": 48, **more}


def test_the_split_is_by_photo_and_stable(photos: Path) -> None:
    parts = {split: list_photos(photos, None, split, "d") for split in ("train", "val", "test")}
    names = [path.name for part in parts.values() for path in part]
    assert sorted(names) == sorted(path.name for path in list_photos(photos, None, "all", "d")) and len(names) == 30
    before = parts["test"]
    write(photos / "another.png", scene(99))
    assert [path for path in list_photos(photos, None, "test", "d") if path.stem != "another"] == before
    assert all(part_of(path.stem) < 7 for path in parts["train"])


def test_a_list_chooses_and_a_missing_photo_is_named(photos: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "list.txt"
    chosen.write_text("000000000001.png\n./000000000002.png\n".replace("./", ""))
    data = DegradedPhotoDataset(options(photos, list_file=str(chosen)))
    assert [path.name for path in data.photos] == ["000000000001.png", "000000000002.png"]
    chosen.write_text("nowhere.png\n")
    with pytest.raises(UserError, match=r"1 of 1 photos are not in .*nowhere.png"):
        DegradedPhotoDataset(options(photos, list_file=str(chosen)))


def test_a_sample_is_its_photo_degraded_as_labelled(photos: Path) -> None:
    data = DegradedPhotoDataset(options(photos, phase="val", give_original=True, copies=3, split="val"))
    assert len(data) == 3 * len(data.photos)
    for index in range(3):
        sample = data[index]
        label = sample["labels"]["estimate"]
        light = degrade(sample["original"][None], label[None])[0]
        # developing (curve, noise, JPEG) moves single values, not the level
        assert abs(float(light.mean() - sample["image"].mean())) < 0.08
        assert sample["image"].shape == (3, 48, 48) and sample["labels"]["known"].shape == (4,)


def test_validation_repeats_itself_and_training_follows_its_seed(photos: Path) -> None:
    val = DegradedPhotoDataset(options(photos, phase="val"))
    random.seed(1)
    first = val[3]["image"]
    random.seed(2)
    assert torch.equal(first, val[3]["image"]) and "original" not in val[3]
    assert not torch.equal(val[0]["labels"]["estimate"], val[1]["labels"]["estimate"])
    train = DegradedPhotoDataset(options(photos))
    seen = []
    for seed in (1, 1, 2):
        random.seed(seed)
        seen.append(train[0]["image"])
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


def test_held_out_operators_are_disjoint_and_identity_has_its_share() -> None:
    assert not {*TRAINING.curves} & {*HELD_OUT.curves} and not {*TRAINING.spaces} & {*HELD_OUT.spaces}
    assert not {*TRAINING.samplings} & {*HELD_OUT.samplings}
    rng = random.Random(0)
    draws = [draw_degradation(rng, HELD_OUT, 0.3) for _ in range(600)]
    assert 0.24 < np.mean([draw.estimate == Estimate() for draw in draws]) < 0.36
    assert {draw.camera["curve"].family for draw in draws} == {"sine", "cubic"}
    classes = np.bincount([labels_of(draw.estimate, (True,) * 4)["exposure_class"] for draw in draws], minlength=3)
    assert (classes > 80).all()
    assert all(abs(draw.estimate.ev) <= 0.2 or abs(draw.estimate.ev) >= 0.75 for draw in draws)


def test_labels_that_clipping_destroys_are_masked() -> None:
    photo = to_planes(scene(1))
    assert recoverable(photo, photo) == (True, True, True, True)
    white = torch.ones_like(photo)
    assert recoverable(photo, white) == (False, False, False, False)
    grey = photo.mean(0, keepdim=True).expand(3, -1, -1)
    assert recoverable(grey, grey) == (True, True, True, False)
    label = labels_of(Estimate(ev=1.0, log_saturation=-0.5), (True, True, True, False))
    assert (label["exposure_class"], label["saturation_class"]) == (2, -1)
    blown = photo.clone()
    blown[0] = 1.0
    assert recoverable(photo, blown) == (True, False, False, False)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"crop_scale": [0.9, 0.2]}, "crop_scale must be two rising"),
        ({"image_size": 8}, "image_size must be at least 32"),
        ({"identity_share": 2.0}, "identity_share must be"),
        ({"operators": "all"}, "operators must be"),
        ({"split": "rest"}, "split must be one of"),
        ({"copies": 0}, "copies must be"),
    ],
)
def test_wrong_options(photos: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DegradedPhotoDataset(options(photos, **more))


def test_bad_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        DegradedPhotoDataset(options(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photo in"):
        DegradedPhotoDataset(options(tmp_path / "empty"))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jpg").write_text("this is no picture")
    with pytest.raises(UserError, match=r"a\.jpg"):
        DegradedPhotoDataset(options(tmp_path / "text"))[0]


def test_fitting_finds_what_was_applied() -> None:
    good = torch.stack([to_planes(scene(seed, 24, 24)) for seed in range(3)])
    truth = torch.tensor([[-1.0, 0.2, -0.2, -0.4], [0.4, -0.1, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0]])
    fitted = fit_labels(degrade(good, truth, eight_bit=True), good)
    assert torch.allclose(fitted.estimates, truth, atol=0.03) and (fitted.residuals < 0.6).all()
    with pytest.raises(ValueError, match="one shape"):
        fit_labels(good, good[:2])


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, str]:
    truth = Estimate(-1.0, 0.2, -0.2, -0.3).batch()
    for number in range(8):
        good = scene(number)
        spoilt = degrade(to_planes(good)[None], truth)[0]
        write(tmp_path / "expert" / f"{number}.png", good)
        write(tmp_path / "input" / f"{number}.png", (spoilt * 255).round().byte().permute(1, 2, 0).numpy())
    return {
        "dataroot_input": str(tmp_path / "input"),
        "dataroot_expert": str(tmp_path / "expert"),
        "label_file": str(tmp_path / "labels.json"),
    }


def test_pairs_have_fitted_labels_that_are_kept(pairs: dict[str, str]) -> None:
    data = EditedPairDataset({"name": "e", "phase": "val", "image_size": 48, "give_original": True, **pairs})
    sample = data[0]
    assert torch.allclose(sample["labels"]["estimate"], torch.tensor([-1.0, 0.2, -0.2, -0.3]), atol=0.05)
    assert sample["labels"]["exposure_class"] == 0 and sample["original"].mean() > sample["image"].mean()
    kept = Path(pairs["label_file"])
    content = json.loads(kept.read_text())
    content["labels"] = {key: [0.0, 0.0, 0.0, 0.0, 1.0] for key in content["labels"]}
    kept.write_text(json.dumps(content))
    again = EditedPairDataset({"name": "e", "phase": "val", **pairs})
    assert not again.estimates.any(), "the file is to be used"
    kept.write_text("[]")
    with pytest.raises(UserError, match="no fitted labels"):
        EditedPairDataset({"name": "e", **pairs})


def test_a_pair_that_cannot_be_explained_is_left_out(pairs: dict[str, str]) -> None:
    write(Path(pairs["dataroot_expert"]) / "3.png", scene(77))
    assert len(EditedPairDataset({"name": "e", **pairs})) == 7
    (Path(pairs["dataroot_expert"]) / "4.png").unlink()
    with pytest.raises(UserError, match=r"1 of 8 photos have no expert's version .*4\.png"):
        EditedPairDataset({"name": "e", **pairs})


def test_mixing_by_ratio(pairs: dict[str, str], photos: Path) -> None:
    def shares(share: float) -> float:
        mixed = MixedPhotoDataset(
            {"name": "m", "phase": "train", "image_size": 32, "dataroot": str(photos), "pair_share": share, **pairs}
        )
        random.seed(0)
        return float(np.mean(["input" in mixed[index % len(mixed)]["lq_path"] for index in range(60)]))

    assert shares(0.0) == 0 and shares(1.0) == 1 and 0.5 < shares(0.75) < 0.95
    with pytest.raises(UserError, match="is for training"):
        MixedPhotoDataset({"name": "m", "phase": "val", "dataroot": str(photos), **pairs})


def test_the_reddest_greenest_light_is_drawn_again() -> None:
    """Its blue lies beyond what an estimate may be, which once ended a training after some thousand samples."""

    class Extreme(random.Random):
        """Gives the end of every range, until it has been asked a few times."""

        def __init__(self) -> None:
            super().__init__(0)
            self.asked = 0

        def randrange(self, *args: Any, **kwargs: Any) -> int:
            return 1

        def uniform(self, a: float, b: float) -> float:
            self.asked += 1
            return b if self.asked < 4 else (a + b) / 2

        def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
            return mu + 5 * sigma if self.asked < 4 else mu

    drawn = draw_degradation(Extreme(), TRAINING, 0.0).estimate
    assert -1.5 <= drawn.log_bg < 0
