"""LSMI read in both layouts: masks equal to the truth, faults found, broken files counted and named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.lsmi_layout import PREPROCESSED, RAW, Levels, SceneImage, list_images
from plugins.illuminant.lsmi_masks import assign_lights, class_masks, make_masks, shrink
from plugins.illuminant.lsmi_read import ReadScene, read_scene
from plugins.illuminant.lsmi_synthetic_files import read_truth_file
from tests.plugins.illuminant.lsmi_kit import centroids, edit_json, make, photos


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made"), cameras=("galaxy", "nikon", "sony"))


@pytest.mark.parametrize("layout", [RAW, PREPROCESSED])
def test_masks_equal_the_truth_for_every_camera_and_number_of_lights(made: Path, layout: str) -> None:
    listing = list_images(made, layout, single=True)
    seen = {(image.camera, image.lights) for image in listing.images}
    assert seen == {(c, n) for c in ("galaxy", "nikon", "sony") for n in ((1,), (1, 2), (1, 3), (1, 2, 3))}
    hard = 0
    for image in listing.images:
        scene = read_scene(image)
        masks = make_masks(scene, centroids(), "x")
        truth = read_truth_file(made, image.camera, image.image_id)
        truth = truth if layout == RAW else truth.cut()
        np.testing.assert_allclose(masks.lights, truth.lights, atol=1e-12)
        expected = np.zeros((*masks.size, 6))
        for number, light in enumerate(truth.lights):
            angles = angle_degrees(light, centroids().array)
            expected[..., 5 if angles.min() > 10 else angles.argmin()] += truth.mixture[..., number]
        valid = masks.valid
        assert valid.mean() > 0.5
        if layout == RAW or image.split == "train":
            assert not (valid & truth.charts).any()
        np.testing.assert_allclose(masks.mask[valid], expected[valid][:, :5], atol=1e-6)
        np.testing.assert_allclose(masks.other[valid], expected[valid][:, 5], atol=1e-6)
        assert not masks.mask[~valid].any() and not masks.other[~valid].any()
        assert masks.hard == bool(expected[..., 5].any())
        assert scene.flags == ()
        hard += masks.hard
    assert 0 < hard < len(listing.images)


def test_the_nearest_class_is_told_by_angle_and_far_or_failed_lights_are_other() -> None:
    known = centroids()
    lights = np.array([known.array[0] * 7, known.array[4], [0.55, 0.4, 0.05], [1 / 3] * 3])
    degenerate = np.array([False, False, False, True])
    assigned = assign_lights(lights, degenerate, known)
    assert assigned.classes.tolist()[:2] == [0, 4]
    assert assigned.outlier.tolist() == [False, False, True, False]
    assert assigned.degrees[3] == 0 and assigned.degrees[2] > 10
    assert not assign_lights(lights, degenerate, known, 60.0).outlier.any()


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (3, 4, 3), elements=st.floats(0.01, 1)), st.lists(st.integers(0, 1), min_size=3, max_size=3))
def test_shares_of_one_class_add_up_and_nothing_is_lost(weights: np.ndarray, classes: list[int]) -> None:
    mixture = weights / weights.sum(-1, keepdims=True)
    valid = weights[..., 0] > 0.3
    dropped = np.array([False, False, True])
    mask, other = class_masks(mixture, valid, np.array(classes), dropped, 2)
    np.testing.assert_allclose(mask.sum(-1) + other, valid, atol=1e-6)
    np.testing.assert_allclose(other, np.where(valid, mixture[..., 2], 0), atol=1e-6)
    if classes[0] == classes[1]:
        assert not mask[..., 1 - classes[0]].any()


def scene_of(mixture: np.ndarray) -> ReadScene:
    known = mixture[..., 0] >= 0
    image = SceneImage(RAW, "sony", "train", "Place1", (1, 2), Path("Place1_12.tiff"), Levels(0, 1))
    return ReadScene(image, mixture, known, known, centroids().array[:2], np.zeros(2, bool), ())


def test_unknown_pixels_take_no_part_in_a_smaller_mask() -> None:
    mixture = np.full((8, 8, 2), 0.25)
    mixture[..., 1] = 0.75
    mixture[0, 0] = mixture[1, 1] = -1  # half of the first block, which stays known
    mixture[2:4, 0:2] = -1
    mixture[4, 4:6] = mixture[5, 4] = -1  # three quarters of a block
    small = shrink(scene_of(mixture), 4)
    assert small.mixture.shape == (4, 4, 2)
    unknown = np.zeros((4, 4), bool)
    unknown[1, 0] = unknown[2, 2] = True
    np.testing.assert_array_equal(small.known, ~unknown)
    np.testing.assert_array_equal(small.valid, ~unknown)
    np.testing.assert_allclose(small.mixture[~unknown], [[0.25, 0.75]] * 14)
    assert (small.mixture[unknown] == -1).all()
    assert shrink(scene_of(mixture), 8).mixture is mixture


# --- faults of the published maps ---------------------------------------------------------------------------------


def test_a_clipped_chart_is_flagged_and_the_light_measured_again(tmp_path: Path) -> None:
    root = make(tmp_path, size=128, scenes=3, three=0.0, layouts=(RAW,), faults=("clipped_chart",))
    flagged, moved, mended = 0, [], []
    for image in list_images(root).images:
        truth = read_truth_file(root, "nikon", image.image_id)
        published, measured = read_scene(image), read_scene(image, "chart")
        flagged += "clipped_chart" in published.flags
        moved.append(angle_degrees(published.lights, truth.lights)[1])
        mended.append(angle_degrees(measured.lights, truth.lights)[1])
    assert flagged and max(moved) > 2 and max(mended) < 1.5
    clean = make(tmp_path / "clean", size=128, scenes=2, three=0.0, layouts=(RAW,), measured=True)
    for image in list_images(clean).images:
        assert "clipped_chart" not in read_scene(image).flags


def test_dark_pixels_that_wrapped_are_found_and_left_out(tmp_path: Path) -> None:
    dark = photos(tmp_path / "dark", brightest=12)
    settings = {"scenes": 3, "three": 1.0, "layouts": (RAW,), "cameras": ("sony",), "photos": dark}
    root = make(tmp_path, **settings, faults=("wrap",))
    found = 0
    for image in list_images(root).images:
        first = cv2.imread(str(image.first_image), cv2.IMREAD_UNCHANGED)[..., 1]
        wrapped = first < image.levels.black
        scene = read_scene(image)
        assert not (scene.valid & wrapped).any()
        assert ("wrapped_dark" in scene.flags) == bool(wrapped.any())
        found += bool(wrapped.any())
    assert found >= 3
    right = make(tmp_path / "right", **settings, measured=True)
    for image in list_images(right).images:
        assert "wrapped_dark" not in read_scene(image).flags


def test_lights_that_meta_lacks_are_measured_on_the_charts_or_solved_from_the_map(tmp_path: Path) -> None:
    root = make(tmp_path, size=128, scenes=2)
    for folder in ("nikon", "nikon_128"):
        edit_json(root / folder / "meta.json", lambda meta: [info.pop("Light2") for info in meta.values()])
    for layout, flag, worst in ((RAW, "lights_from_chart", 1.5), (PREPROCESSED, "lights_from_illum", 1e-6)):
        for image in list_images(root, layout).images:
            scene = read_scene(image)
            truth = read_truth_file(root, "nikon", image.image_id)
            if 2 in image.lights:
                assert flag in scene.flags
            assert angle_degrees(scene.lights, truth.lights).max() < worst


# --- broken files -------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "nikon", tmp_path / "nikon")
    shutil.copytree(made / "nikon_40", tmp_path / "nikon_40")
    return tmp_path


def first_of(root: Path, layout: str = RAW) -> SceneImage:
    return next(image for image in list_images(root, layout).images if len(image.lights) == 2)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def saved(path: Path, values: Any) -> None:
    np.save(path, values, allow_pickle=True)


MIXTURE_FAULTS: dict[str, Any] = {
    "not a readable npy": halved,
    "empty|not a readable": lambda path: path.write_bytes(b""),
    "shape": lambda path: saved(path, np.zeros((40, 53, 3))),
    "shape .40,": lambda path: saved(path, np.zeros((40,))),
    "pixels, the picture": lambda path: saved(path, np.full((20, 53, 2), 0.5)),
    "objects|pickle|Object": lambda path: saved(path, np.array([[[object(), 1]]])),
    "expected an array of numbers": lambda path: saved(path, np.array([[["a", "b"]]])),
    "no pixel has a known": lambda path: saved(path, np.full((40, 53, 2), -1.0)),
    "no pixel has": lambda path: saved(path, np.full((40, 53, 2), np.nan)),
    "no pixel": lambda path: saved(path, np.full((40, 53, 2), 0.9)),
    "no such|cannot be read|not found|No such": lambda path: path.unlink(),
}


@pytest.mark.parametrize("message", MIXTURE_FAULTS)
def test_a_broken_mixture_is_refused_by_name(copied: Path, message: str) -> None:
    image = first_of(copied)
    MIXTURE_FAULTS[message](image.mixture)
    with pytest.raises(UserError, match=message) as caught:
        read_scene(image)
    assert str(image.mixture) in str(caught.value)


def test_a_broken_picture_is_refused_by_name(copied: Path) -> None:
    image = first_of(copied)
    whole = image.image.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-3], whole[:7], b"text", b""):
        image.image.write_bytes(content)
        with pytest.raises(UserError, match=image.image.name):
            read_scene(image)


def test_nan_and_shares_that_are_none_are_invalid_pixels_only(copied: Path) -> None:
    image = first_of(copied)
    mixture = np.load(image.mixture)
    mixture[5, 5], mixture[6, 6], mixture[7, 7] = (np.nan, 0.5), (16.0, -15.0), (0.5, -1)
    np.save(image.mixture, mixture.astype(np.float32))
    scene = read_scene(image)
    assert not scene.known[[5, 6, 7], [5, 6, 7]].any() and (scene.mixture[[5, 6, 7], [5, 6, 7]] == -1).all()
    assert set(scene.flags) == {"nan_in_mixture", "wrapped_dark"}
    assert scene.known.mean() > 0.9 and np.isfinite(scene.mixture).all()


@pytest.mark.parametrize("top", [1, 255])
def test_chart_masks_of_0_and_1_and_of_0_and_255_are_the_same(copied: Path, top: int) -> None:
    image = next(image for image in list_images(copied, PREPROCESSED).images if image.split == "train")
    expected = read_scene(image).valid
    mask = cv2.imread(str(image.chart_mask), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(image.chart_mask), mask * top)
    np.testing.assert_array_equal(read_scene(image).valid, expected)
    assert not expected[mask == 0].any() and read_scene(image, keep_charts=True).valid.sum() > expected.sum()
    image.chart_mask.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"_mask\.png"):
        read_scene(image)
    image.chart_mask.unlink()
    assert read_scene(image).flags == ("no_chart_mask",)


def test_resized_maps_whose_unknown_pixels_became_0_lose_the_pixels_that_touch_them(copied: Path) -> None:
    image = first_of(copied, PREPROCESSED)
    mixture = np.load(image.mixture)
    mixture[10, 10], mixture[10, 11] = 0.0, mixture[10, 11] * 0.6
    np.save(image.mixture, mixture)
    scene = read_scene(image)
    assert not scene.known[10, 10:12].any() and scene.flags == ()


@pytest.mark.parametrize("value", [[float("nan")] * 3, [0, 1, 1], [-1, 1, 1], [1e-4, 1, 1], [1e400, 1, 1]])
def test_a_light_that_cannot_be_one_is_degenerate_and_goes_to_other(made: Path, value: list[float]) -> None:
    image = first_of(made)
    scene = read_scene(replace(image, info={**image.info, "Light2": value}))
    assert scene.degenerate.tolist() == [False, True]
    masks = make_masks(scene, centroids(), "x")
    assert masks.hard and not masks.outlier[1] and masks.light_degrees[1] == 0
    truth = read_truth_file(made, image.camera, image.image_id)
    np.testing.assert_allclose(masks.other[masks.valid] >= truth.mixture[..., 1][masks.valid] - 1e-6, True)


@pytest.mark.parametrize("value", [None, "x", [1, 1], [1, 1, "x"], [1, 1, None], {"r": 1}])
def test_a_light_that_is_no_light_counts_as_missing(made: Path, value: Any) -> None:
    image = next(image for image in list_images(made, RAW).images)
    info = {**image.info, "Light2": value, "MCCCoord": value}
    with pytest.raises(UserError, match="Light2"):
        read_scene(replace(image, info=info))


def test_what_is_wrong_with_the_lists_is_told_and_the_rest_goes_on(copied: Path) -> None:
    nikon = copied / "nikon"
    clean = list_images(copied, RAW)
    edit_json(nikon / "meta.json", lambda meta: (meta.pop("Place1"), meta["Place2"].update(NumOfLights=7)))
    edit_json(nikon / "meta.json", lambda meta: meta["Place3"].update(NumOfLights=5 - meta["Place3"]["NumOfLights"]))
    edit_json(
        nikon / "split.json",
        lambda split: split.update(
            two_illum_train=["Place1", "Place77"], two_illum_test=["Place1"], nonsense=3, three_illum_val=[]
        ),
    )
    (nikon / "Place4" / "Place9_12.tiff").write_bytes(b"")
    listing = list_images(copied, RAW)
    text = "\n".join(f"{problem.path}: {problem.what}" for problem in listing.problems)
    for part in (
        "Place1: no entry", "NumOfLights is 7", "NumOfLights", "there are", "Place77: no such folder", "nonsense",
        "Place1: in train and in test", "three_illum_val: lists no place", "Place9_12.tiff",
    ):  # fmt: skip
        assert part in text
    assert {i.image_id for i in listing.images} == {i.image_id for i in clean.images}
    for name in ("meta.json", "split.json"):
        (nikon / name).write_text("{")
    listing = list_images(copied, RAW)
    assert sum("not a json file" in problem.what for problem in listing.problems) == 2
    assert {image.split for image in listing.images} == {"unlisted"}
    (nikon / "split.json").unlink()
    assert list_images(copied, RAW).images


def test_a_place_in_two_splits_of_the_preprocessed_layout_counts_once(copied: Path) -> None:
    image = next(image for image in list_images(copied, PREPROCESSED).images if image.split == "train")
    (copied / "nikon_40" / "test").mkdir(exist_ok=True)
    for path in (copied / "nikon_40" / "train").glob(f"{image.place}_*"):
        shutil.copy(path, copied / "nikon_40" / "test" / path.name)
    listing = list_images(copied, PREPROCESSED)
    assert len({i.image_id for i in listing.images}) == len(listing.images)
    assert any(f"{image.place} is in train as well" in problem.what for problem in listing.problems)


def test_folders_that_hold_no_data_set_and_unknown_cameras_are_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--layout"):
        list_images(copied)
    with pytest.raises(UserError, match="no such folder"):
        list_images(copied / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no folder of LSMI's"):
        list_images(tmp_path / "empty")
    (copied / "nikon").rename(copied / "leica")
    with pytest.raises(UserError, match=r"'leica'.*--black"):
        list_images(copied, RAW)
    listing = list_images(copied / "leica", RAW, Levels(600, 15520))
    assert listing.images[0].camera == "leica" and read_scene(listing.images[0]).valid.any()
    assert {image.levels for image in list_images(copied, PREPROCESSED).images} == {Levels(0, 14920)}
