"""Scenes as arrays, and the data set of scenes with masks."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basicsr.data import build_dataset
from basicsr.engine.errors import UserError
from plugins.illuminant import illuminant_mask_dataset  # noqa: F401 - registers the data set
from plugins.illuminant.illuminant_map import map_errors
from plugins.illuminant.illuminant_scene import Scene, scene_of, usable_lights
from plugins.illuminant.light_images import to_linear
from plugins.illuminant.lsmi_mask_files import illuminant_map, write_mask_file
from tests.plugins.illuminant.illuminant_map_kit import CENTROIDS, changed, mask_file, row_of, write_scenes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lsmi")
    write_scenes(folder, {"train": 4, "val": 2})
    return folder


def dataset(root: Path, **changes: Any) -> Any:
    options = {"name": "d", "type": "IlluminantMaskDataset", "dataroot": str(root), "dataroot_masks": f"{root}/masks"}
    return build_dataset({**options, "encoding": "linear", "split": "val", "phase": "val", **changes})


def scene(seed: int = 0, size: tuple[int, int] = (40, 56)) -> tuple[Scene, Any]:
    masks, image = mask_file(np.random.default_rng(seed), size, 1, "train")
    return scene_of(masks, image.astype(np.float32)), masks


def test_a_validation_sample_is_the_whole_scene(root: Path) -> None:
    data = dataset(root)
    sample = data[0]
    assert len(data) == 2 and sample["lq_path"].endswith("Place5_12.tiff")
    assert {key: tuple(sample[key].shape) for key in ("lq", "gt", "shares", "valid", "centroids")} == {
        "lq": (3, 48, 64), "gt": (3, 48, 64), "shares": (5, 48, 64), "valid": (1, 48, 64), "centroids": (5, 3),
    }  # fmt: skip
    known = sample["valid"][0] > 0
    torch.testing.assert_close(sample["shares"].sum(0), known.float(), atol=1e-5, rtol=0)
    assert 0.9 < known.float().mean() < 1
    assert float(sample["shares"][:, ~known].abs().max()) == 0
    assert float(sample["lq"][:, ~known].abs().max()) == 0
    assert float(dataset(root, hide_unknown=False)[0]["lq"][:, ~known].min()) > 0
    # The picture is the reflectance times the map: divided by it, the two halves have the same colour on average.
    flat = sample["lq"] / sample["gt"]
    ratio = (flat[0] / flat[1])[known]
    assert abs(float(ratio.log().mean())) < 0.5
    fields = data.record_fields()
    assert (fields["encoding"], fields["centroids"]["sensor"]) == ("linear", "toy")


def test_encoding_is_applied_to_the_picture_alone(root: Path) -> None:
    linear, coded = dataset(root)[1], dataset(root, encoding="srgb")[1]
    torch.testing.assert_close(linear["gt"], coded["gt"])
    undone = to_linear(coded["lq"].numpy(), "srgb")
    np.testing.assert_allclose(undone, linear["lq"].numpy(), atol=1e-5)
    assert float((coded["lq"] - linear["lq"]).mean()) > 0.1


def test_training_samples_follow_pythons_chance(root: Path) -> None:
    data = dataset(root, phase="train", split="train", image_size=32, relight_prob=0.5)
    samples = []
    for seed in (1, 1, 2):
        random.seed(seed)
        samples.append([data[index] for index in (0, 1, 2)])
    for key in ("lq", "gt", "shares", "valid"):
        torch.testing.assert_close(samples[0][0][key], samples[1][0][key])
        assert samples[0][0][key].shape[1:] == (32, 32)
    assert any(not torch.equal(a["lq"], b["lq"]) for a, b in zip(samples[0], samples[2], strict=True))


def test_cache_changes_nothing(root: Path) -> None:
    cached, plain = dataset(root, short_side=40), dataset(root, short_side=40, cache_mb=0)
    first = cached[0]
    for again in (cached[0], plain[0]):
        for key in ("lq", "gt", "shares", "valid"):
            assert torch.equal(first[key], again[key])
    assert first["lq"].shape == (3, 40, 53)


def test_shrinking_never_mixes_in_what_is_unknown() -> None:
    whole, _ = scene()
    small = whole.shrunk(20)
    assert small.size == (20, 28)
    # 2 x 2 blocks: valid where all four are, and there the mean of them.
    blocks = whole.valid.reshape(20, 2, 28, 2)
    np.testing.assert_array_equal(small.valid, blocks.all((1, 3)))
    means = whole.mixture.reshape(20, 2, 28, 2, 2).mean((1, 3))
    np.testing.assert_allclose(small.mixture[small.valid], means[small.valid], atol=1e-5)
    np.testing.assert_allclose(small.mixture[small.valid].sum(1), 1, atol=1e-5)
    assert not small.mask[~small.valid].any()
    odd = whole.shrunk(17)
    np.testing.assert_allclose(odd.mixture[odd.valid].sum(1), 1, atol=1e-5)
    assert whole.shrunk(100) is whole and whole.shrunk(None) is whole


def test_mirrors_and_cuts_move_everything_alike() -> None:
    whole, _ = scene(1)
    turned = whole.mirrored(True, True)
    for name in ("image", "mixture", "mask", "valid"):
        np.testing.assert_array_equal(getattr(turned, name), getattr(whole, name)[::-1, ::-1])
        np.testing.assert_array_equal(getattr(whole.cut(3, 5, 10, 20), name), getattr(whole, name)[3:13, 5:25])


def test_other_lights_are_exact() -> None:
    """A scene under new lights is the one that the new lights would have made."""
    rng = np.random.default_rng(3)
    whole, masks = scene(3)
    reflectance = rng.random((*whole.size, 3)) * 0.3 + 0.02
    known = np.where(whole.valid[..., None], masks.mixture, [1.0, 0.0])
    lit = replace(whole, image=(reflectance * illuminant_map(known, whole.lights)).astype(np.float32))
    fresh = CENTROIDS.array[[4, 0]] * 5
    result = lit.relit(fresh, CENTROIDS, 0.8)
    expected = np.clip(0.8 * reflectance * illuminant_map(known, fresh), 0, 1)
    np.testing.assert_allclose(result.image[whole.valid], expected[whole.valid], atol=1e-5)
    assert map_errors(illuminant_map(known, fresh), result.light_map(), whole.valid).maximum < 1e-3
    np.testing.assert_allclose(result.mask[..., 4], whole.mixture[..., 0], atol=1e-6)
    np.testing.assert_allclose(result.mask[..., 0], whole.mixture[..., 1], atol=1e-6)
    same = whole.relit(whole.lights, CENTROIDS)
    np.testing.assert_allclose(same.image, whole.image, atol=1e-6)


def test_other_surfaces_leave_the_light_as_it_is() -> None:
    """What is grey under a pixel's light stays grey; other colours change; a blown pixel stays white."""
    whole, masks = scene(3)
    known = np.where(whole.valid[..., None], masks.mixture, [1.0, 0.0])
    light = illuminant_map(known, whole.lights)
    grey = replace(whole, image=(0.3 * light / light.max()).astype(np.float32))
    same = grey.recolored(120, 1.5)
    np.testing.assert_allclose(same.image[whole.valid], grey.image[whole.valid], atol=1e-5)
    np.testing.assert_array_equal(same.light_map(), grey.light_map())
    assert same.mask is grey.mask and same.lights is grey.lights
    red = replace(grey, image=grey.image * np.float32([1, 0.5, 0.5]))
    turned = red.recolored(120, 1.0).image / grey.image  # a third of a turn: red surfaces become green ones
    assert (turned[whole.valid][:, 1] > turned[whole.valid][:, 0] + 0.1).all()
    blown = replace(grey, image=np.ones_like(grey.image))
    np.testing.assert_array_equal(blown.recolored(90, 0.5).image, 1)


def test_clipped_pixels_lose_their_light_under_others() -> None:
    whole, _ = scene(4)
    whole.image[20, 20] = 1.0
    whole.image[21, 20] = [1.0, 0.4, 0.2]
    result = whole.relit(CENTROIDS.array[[0, 4]], CENTROIDS, 0.5)
    np.testing.assert_allclose(result.image[20, 20], 1)
    assert not result.valid[20, 20] and not result.valid[21, 20] and result.valid[22, 20]
    assert not result.mask[21, 20].any()


def test_pixels_of_a_degenerate_light_are_not_valid() -> None:
    _, masks = scene(5)
    masks.mixture[:, :10] = [1, 0]
    broken = changed(masks, degenerate=np.array([False, True]), hard=True)
    result = scene_of(broken, np.zeros((*masks.size, 3), np.float32))
    assert 0 < result.valid.sum() < masks.valid.sum()
    assert result.mixture[result.valid][:, 1].max() < 1e-3


def test_lights_that_are_outliers_are_not_drawn(tmp_path: Path) -> None:
    _, masks = scene(6)
    write_mask_file(tmp_path / "a.npz", changed(masks, outlier=np.array([True, False]), hard=True))
    np.testing.assert_array_equal(usable_lights(tmp_path / "a.npz"), masks.lights[1:])
    (tmp_path / "b.npz").write_text("no")
    with pytest.raises(UserError, match=r"b\.npz"):
        usable_lights(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "train"}, "image_size"),
        ({"short_side": 16, "image_size": 32}, "at most short_side"),
        ({"encoding": "raw"}, "encoding"),
        ({"split": "test"}, "no picture of split test"),
        ({"camera": "sony"}, "camera sony"),
        ({"relight_prob": 2}, "relight_prob"),
        ({"exposure_range": [2, 1]}, "exposure_range"),
        ({"dataroot_masks": "/nowhere"}, "centroids"),
    ],
)
def test_wrong_options_are_user_errors(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataset(root, **options)


def test_too_small_pictures_and_other_centroids_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="smaller than image_size"):
        dataset(root, phase="train", split="train", image_size=60)[0]
    write_scenes(tmp_path, {"val": 1})
    masks, _ = mask_file(np.random.default_rng(0), (48, 64), 1, "val")
    other = changed(masks, sensor="other")
    write_mask_file(tmp_path / "masks" / row_of(masks).npz, other)
    with pytest.raises(UserError, match="other centroids"):
        dataset(tmp_path)[0]
