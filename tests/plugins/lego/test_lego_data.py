"""From folders to the manifest, and from the manifest to training samples."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from basicsr.engine.errors import UserError
from plugins.lego import lego_resize
from plugins.lego.lego_augment import AugmentOptions, augment, read_augment
from plugins.lego.lego_background import background_mask, replace_background
from plugins.lego.lego_dataset import LegoDataset
from plugins.lego.lego_manifest import Record, counting_key, read_classes, read_manifest
from plugins.lego.lego_prepare import PrepareOptions, prepare
from plugins.lego.lego_prepare_check import drop_copies
from plugins.lego.lego_prepare_files import old_classes, write_prepared
from plugins.lego.lego_prepare_scan import Aliases, Place, read_aliases
from plugins.lego.lego_split import SplitShares
from tests.plugins.lego.lego_kit import BLUE, RED, brick, make_sources, save


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("lego"))


def options_for(root: Path, **changes: object) -> PrepareOptions:
    places = (
        Place("legacy", root / "legacy", "ldraw"),
        Place("b200c", root / "b200c"),
        Place("real", root / "real", "ldraw"),
    )
    return replace(PrepareOptions(places, root / "out", workers=1), **changes)


def write(root: Path, **changes: object) -> Path:
    options = options_for(root, **changes)
    write_prepared(prepare(options), options.out)
    return options.out / "manifest.csv"


# Preparing


def test_views_of_a_piece_share_a_split_and_synthetic_images_train(root: Path) -> None:
    records = prepare(options_for(root)).records
    splits = defaultdict(set)
    for record in records:
        if record.source == "real":
            splits[record.piece].add(record.split)
    assert len(splits) == 36 and all(len(found) == 1 for found in splits.values())
    assert {next(iter(found)) for found in splits.values()} == {"train", "val", "test"}
    assert {record.split for record in records if record.source != "real"} == {"train"}
    assert {record.color for record in records if record.source == "b200c"} == {9999}


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=2), st.integers(0, 9))
def test_a_new_piece_moves_no_other(pieces: list[str], seed: int) -> None:
    shares = SplitShares(seed=seed)
    before = {piece: shares.of_image("real", piece) for piece in pieces[:-1]}
    assert before == {piece: shares.of_image("real", piece) for piece in pieces[::-1] if piece in before}


def test_shares_of_many_pieces() -> None:
    shares = SplitShares()
    found = [shares.of_piece(f"3001/{number}") for number in range(4000)]
    assert found.count("train") / 4000 == pytest.approx(0.7, abs=0.03)
    assert found.count("val") / 4000 == pytest.approx(0.15, abs=0.02)
    with pytest.raises(UserError, match="add up to at most 1"):
        SplitShares(0.6, 0.6)
    with pytest.raises(UserError, match="no piece"):
        shares.of_image("real", "")


def test_numbers_of_classes_stay_when_parts_are_added(tmp_path: Path) -> None:
    make_sources(tmp_path)
    write(tmp_path)
    before = read_classes(tmp_path / "out" / "part_names.json").ids
    assert before == ("3001", "3003", "3024")
    save(tmp_path / "legacy" / "2412" / "25" / "a.png", brick(RED, 0, 900))
    parts, colors = old_classes(tmp_path / "out", True)
    write(tmp_path, old_parts=parts, old_colors=colors)
    assert read_classes(tmp_path / "out" / "part_names.json").ids == (*before, "2412")
    assert read_classes(tmp_path / "out" / "color_names.json").ids == ("1", "4", "14", "25")
    assert read_classes(tmp_path / "out" / "color_names.json").names[1] == "Red"


def test_result_does_not_depend_on_the_order_of_the_places(root: Path) -> None:
    options = options_for(root)
    assert prepare(options).records == prepare(replace(options, places=options.places[::-1])).records


def test_listed_parts_and_aliases(root: Path) -> None:
    aliases = Aliases({"3003": "3001"})
    prepared = prepare(options_for(root, aliases=aliases, targets=("3003", "9999x")))
    assert prepared.parts.ids == ("3001", "9999x") and prepared.not_wanted == 33
    assert any("1 listed parts have no image: 9999x" in note for note in prepared.notes)


@pytest.mark.parametrize(
    ("part", "prints", "moulds", "wanted"),
    [
        ("3001pr0001", True, False, "3001"),
        ("3001PR0001", True, False, "3001"),
        ("3001pr0001", False, False, "3001pr0001"),
        ("3040b", True, False, "3040b"),
        ("3040b", True, True, "3040"),
        ("3068bpb0012", True, True, "3068"),
        ("32064a", True, True, "32000"),
        ("970c00", True, True, "970c00"),
    ],
)
def test_prints_and_mould_variants(part: str, prints: bool, moulds: bool, wanted: str) -> None:
    assert Aliases({"32064": "32000"}, prints, moulds).class_of(part) == wanted


def test_a_circle_of_aliases_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("part,class\na1,b1\nb1,a1\n")
    with pytest.raises(UserError, match="a1 -> b1 -> a1 goes round"):
        read_aliases(tmp_path / "a.csv").class_of("a1")


def test_unreadable_files_copies_and_lookalikes_are_reported(tmp_path: Path) -> None:
    make_sources(tmp_path)
    records = prepare(options_for(tmp_path)).records
    held = next(record for record in records if record.split == "test")
    trained = next(r for r in records if r.split == "train" and r.source == "real" and r.part == held.part)
    held_file = (tmp_path / "out" / held.path).resolve()
    shutil.copy(held_file, tmp_path / "legacy" / held.part / str(held.color) / "copy.png")
    Image.open(held_file).save((tmp_path / "out" / trained.path).resolve().with_suffix(".jpg"), quality=95)
    save(tmp_path / "legacy" / "3001" / "4" / "short.png", brick(RED, 0, 5)).write_bytes(b"\x89PNG\r\n\x1a\n")
    shutil.copy(tmp_path / "b200c" / "3001" / "0.png", tmp_path / "b200c" / "3003" / "same.png")
    prepared = prepare(options_for(tmp_path, drop_similar=True))
    kinds = {issue.kind: issue for issue in prepared.issues}
    assert set(kinds) == {"unreadable", "duplicate", "similar", "conflict"}
    assert "short.png" in kinds["unreadable"].reason
    assert kinds["duplicate"].path.endswith("copy.png") and "test, this was train" in kinds["duplicate"].reason
    assert sum(issue.kind == "conflict" for issue in prepared.issues) == 2
    left = {record.path for record in prepared.records}
    assert not left & {issue.path for issue in prepared.issues} and held.path in left


def test_of_copies_the_held_out_one_stays() -> None:
    rows = [Record(f"{n}", "real", "3001", 4, "p", split, "x") for n, split in enumerate(("train", "val", "test"))]
    left, issues = drop_copies(rows)
    assert [record.split for record in left] == ["test"] and len(issues) == 2


def test_colours_need_a_scheme_and_must_exist(tmp_path: Path) -> None:
    save(tmp_path / "real" / "3001" / "158" / "a_1.png", brick(BLUE, 1, 1))
    for scheme, words in ((None, "--real-colors ldraw"), ("ldraw", "no colour '158' in the scheme ldraw")):
        with pytest.raises(UserError, match=words):
            prepare(PrepareOptions((Place("real", tmp_path / "real", scheme),), tmp_path, workers=1))
    place = Place("real", tmp_path / "real", "rebrickable")
    assert prepare(PrepareOptions((place,), tmp_path, workers=1)).colors.names == ("Yellowish Green",)
    place = Place("real", tmp_path / "real", "ldraw")
    tolerant = prepare(PrepareOptions((place,), tmp_path, workers=1, tolerate_colors=True))
    assert tolerant.records[0].color == 9999 and "158" in tolerant.notes[0]


def test_tables(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.png", brick(BLUE, 1, 1))
    (tmp_path / "photos.csv").write_text("file,color,photo\na.png,Dark Blue,p7\n")
    place = Place("real", tmp_path / "photos.csv", "name")
    record = prepare(PrepareOptions((place,), tmp_path, workers=1)).records[0]
    assert (record.part, record.color, record.piece, record.path) == ("", 272, "p7", "photos/a.png")
    (tmp_path / "photos.csv").write_text("file,color\na.png,Blue\n")
    with pytest.raises(UserError, match="line 2: no piece; real images need a column session"):
        prepare(PrepareOptions((place,), tmp_path, workers=1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,source\n", "lacks part, color"),
        ("path,source,part,color,piece,split,sha1\na,real,1,red,p,val,\n", "line 2: color 'red'"),
        ("path,source,part,color,piece,split,sha1\na,photo,1,4,p,val,\n", "source 'photo'"),
        ("path,source,part,color,piece,split,sha1\na,real,1,4,p,dev,\n", "split 'dev'"),
    ],
)
def test_wrong_manifests_are_explained(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00\x80path")
    with pytest.raises(UserError, match="no csv text|lacks"):
        read_manifest(tmp_path / "m.csv")


def test_ids_are_sorted_as_people_count() -> None:
    assert sorted(["3001a", "30165", "3001", "x1", "970c00"], key=counting_key) == [
        "970c00", "3001", "3001a", "30165", "x1"
    ]  # fmt: skip


# Resizing


@pytest.mark.parametrize("shape", [(300, 200), (41, 90), (64, 64), (5, 700)])
def test_resizer_is_torchvisions_antialiased_bilinear(shape: tuple[int, int]) -> None:
    from basicsr.engine.torchvision_compat import import_torchvision

    import_torchvision()
    from torchvision.transforms.v2 import functional

    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    ours = lego_resize.resize_square(image, 64, "stretch")
    theirs = functional.resize(torch.from_numpy(image).permute(2, 0, 1), [64, 64], antialias=True).permute(1, 2, 0)
    assert np.abs(ours.astype(int) - theirs.numpy()).max() <= 1


def test_letterbox_keeps_proportions_and_fills_with_the_border() -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    image[10:40, 20:80] = 10
    square = lego_resize.resize_square(image, 100)
    assert square.shape == (100, 100, 3) and (square[:20] == 200).all()
    rows, columns = np.nonzero(square[..., 0] < 100)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (30, 60)
    assert (lego_resize.resize_square(image, 50, "crop")[:, 25] == image[:, 50]).all()
    with pytest.raises(ValueError, match="resize mode 'fit'"):
        lego_resize.resize_square(image, 10, "fit")
    with pytest.raises(ValueError, match="uint8"):
        lego_resize.resize_square(image.astype(np.float32), 10)


# Augmentation


def test_known_colours_hardly_change_and_unknown_ones_may() -> None:
    image = np.full((32, 32, 3), (30, 90, 168), np.uint8)
    options = AugmentOptions(light=1, hue_saturation=1, noise=0, dropout=0, background=0, affine=0, rotate90=0)
    changes = {True: [], False: []}
    for known, found in changes.items():
        for seed in range(40):
            random.seed(seed)
            found.append(np.abs(augment(image, options, known, True).astype(int) - image).max())
    assert max(changes[True]) <= 22 < max(changes[False])


def test_chance_comes_from_the_seeded_generator_only() -> None:
    image, options = brick(RED, 1, 3), AugmentOptions()
    seen = []
    for seed in (1, 1, 2):
        random.seed(seed)
        np.random.default_rng().random()
        seen.append(augment(image, options, False, True))
    assert (seen[0] == seen[1]).all() and (seen[0] != seen[2]).any()


def test_parts_that_must_not_be_mirrored_are_not() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, :8] = 255
    only_flip = AugmentOptions(0, 1, 0, light=0, hue_saturation=0, noise=0, blur=0, dropout=0, background=0)
    assert (augment(image, only_flip, True, False) == image).all()
    assert (augment(image, only_flip, True, True) == image[:, ::-1]).all()


def test_background_is_replaced_around_the_brick() -> None:
    image = np.full((64, 64, 3), 245, np.uint8)
    image[20:44, 16:48] = (180, 0, 0)
    image[28:36, 28:36] = 245  # a hole is not the outside
    fresh = np.full_like(image, 60)
    swapped = replace_background(image, fresh)
    assert swapped is not None
    assert (swapped[:16] == 60).all() and (swapped[24:26, 20:44] == (180, 0, 0)).all() and swapped[32, 32, 0] == 245
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert background_mask(noisy) is None and background_mask(np.full_like(image, 245)) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"rotat90": 0.5}, "augment.rotat90 is not known; did you mean 'rotate90'"),
        ({"flip": 2}, "share from 0 to 1"),
        ({"noise": "much"}, "from 0 on"),
        ({"noise_sigma": [5]}, "smallest and the largest"),
        ({"shift": float("nan")}, "from 0 on"),
    ],
)
def test_wrong_augmentation_is_explained(value: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_augment(value, "data")


# The data set


def test_items_and_their_order(root: Path) -> None:
    manifest = write(root)
    stages = [{"until_epoch": 1, "legacy": 0.5, "b200c": 0.5}, {"real": 0.8, "legacy": 0.2}]
    data = LegoDataset(
        {
            "manifest": str(manifest), "image_size": 32, "augment": True, "curriculum": stages, "epoch_size": 20,
            "phase": "train",
        }
    )  # fmt: skip
    order = data.sample_order(5)
    assert order.epoch_len == 20
    first, later = data.sources[order.epoch(0)], data.sources[order.epoch(3)]
    assert np.bincount(first, minlength=4).tolist() == [10, 10, 0, 0]
    assert np.bincount(later, minlength=4).tolist() == [4, 0, 16, 0]
    item = data[int(order.index(0))]
    assert item["image"].shape == (3, 32, 32) and item["image"].dtype == torch.float32
    assert 0 <= item["image"].min() and item["image"].max() <= 1
    unknown = data[int(np.flatnonzero(data.sources == 1)[0])]["labels"]
    assert unknown["color"] == -1 and unknown["part"].dtype == torch.int64


def test_validation_shows_real_pictures_as_the_device_sees_them(root: Path) -> None:
    manifest = write(root)
    data = LegoDataset({"manifest": str(manifest), "image_size": 24, "phase": "val", "grey": True, "center": 0.9})
    assert set(data.sources.tolist()) == {2}
    from basicsr.engine.image_io import read_image

    wanted = lego_resize.prepare_image(read_image(data.paths[0]), data.recipe)
    assert (data[0]["image"].numpy() == wanted).all() and (data[0]["image"][0] == data[0]["image"][2]).all()


def test_wrong_options_are_explained(root: Path) -> None:
    manifest = str(write(root))
    for change, words in (
        ({"sources": ["photos"]}, "'photos' is none; there are legacy"),
        ({"image_size": 2, "center": 0}, "image_size must be at least 8.*center must be"),
        ({"sources": ["render"]}, "no image of the split train is left; it has test/real"),
        ({"hflip_parts": ["77"]}, "77: no such class"),
        ({"hflip_parts": "some"}, "use symmetric, all, none"),
        ({"curriculum": [{"reel": 1}]}, "'reel' is no source"),
        ({"manifest": "/nowhere/m.csv"}, "cannot be read"),
    ):
        with pytest.raises(UserError, match=words):
            LegoDataset({"manifest": manifest, "phase": "train", **change})
