"""Colour sets: what is measured, what goes where, and why."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from basicsr.data.image_store_build import build_store
from basicsr.data.paired_image_dataset import PairedImageOptions
from basicsr.engine.errors import UserError
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from plugins.color_fidelity.color_sets import ColorSetOptions, ColorSets, make_color_sets
from plugins.color_fidelity.color_sets_figures import HUES, LossMeter, color_amount, color_loss
from plugins.color_fidelity.color_sets_photos import PictureReader
from plugins.color_fidelity.color_sets_split import Candidate, SplitSizes, choose, repeats
from tests.plugins.color_fidelity.color_sets_kit import (
    BLUE,
    NEUTRAL,
    RED,
    SAGE,
    TEAL,
    faded,
    make_data,
    room,
    save,
    save_pair,
)


def flat(color: tuple[int, int, int]) -> np.ndarray:
    return np.full((32, 48, 3), color, np.uint8)


def divide(root: Path, *keep: Path, meter: LossMeter | None = None, **options: object) -> ColorSets:
    data = PairedImageOptions(str(root / "gt"), str(root / "lq"), phase="val")
    sizes = options.pop("sizes", SplitSizes(stress=4, test=3))
    return make_color_sets(ColorSetOptions(data, keep, sizes, **options), meter)  # type: ignore[arg-type]


# What is measured


def test_coverage_is_a_share_of_the_area() -> None:
    picture = np.concatenate([flat((128, 128, 128)), flat(TEAL), flat((128, 128, 128)), flat((128, 128, 128))])
    assert color_amount(picture).coverage == pytest.approx(0.25, abs=0.01)


def test_paint_counts_by_its_chroma() -> None:
    assert color_amount(flat((128, 128, 128))).coverage == 0
    assert color_amount(flat((240, 236, 228))).coverage < 0.03  # off-white
    assert 0.1 < color_amount(flat(SAGE)).coverage < 0.4
    assert color_amount(flat(TEAL)).coverage > 0.95
    assert color_amount(flat(RED)).amount > color_amount(flat(TEAL)).amount > color_amount(flat(SAGE)).amount


@pytest.mark.parametrize(
    ("color", "hue"),
    [((255, 0, 0), "red"), ((255, 128, 0), "orange"), ((255, 255, 0), "yellow"), ((0, 255, 0), "green"),
     ((0, 255, 255), "cyan"), ((0, 0, 255), "blue"), ((255, 0, 255), "magenta"), ((255, 0, 120), "rose")],
)  # fmt: skip
def test_hues_have_their_names(color: tuple[int, int, int], hue: str) -> None:
    assert color_amount(flat(color)).hue == hue
    assert hue in HUES


def test_grey_has_no_hue() -> None:
    assert color_amount(flat((90, 90, 90))).hue == "none"


def test_washing_out_and_turning_lose_colour_and_over_saturating_does_not() -> None:
    target = flat(TEAL)
    washed = color_loss(faded(target, 0.5), target)
    turned = color_loss(flat((140, 30, 130)), target)
    bolder = color_loss(flat((0, 150, 165)), target)
    assert washed.lost > 0.05 and washed.kept < 0.6
    assert turned.lost > washed.lost and turned.hue_abs_deg > 60
    assert bolder.lost == pytest.approx(0, abs=1e-3)
    assert color_loss(target, target).lost == pytest.approx(0, abs=1e-6)


def test_a_grey_target_has_no_ratio() -> None:
    loss = color_loss(flat((90, 90, 90)), flat((90, 90, 90)))
    assert loss.lost == 0 and np.isnan(loss.kept) and np.isnan(loss.sat_ratio)


# What goes where


def candidates(count: int, hue: str = "red") -> list[Candidate]:
    return [Candidate(f"{k:03}.png", 1.0 - k / count, 1.0 - k / count, hue, k) for k in range(count)]


def test_stress_pairs_come_from_the_most_colourful_half_of_which_trains() -> None:
    splits, _ = choose(candidates(100), SplitSizes(stress=10, test=10), seed=0)
    assert [splits[:20].count(name) for name in ("stress", "test")][0] == 10
    assert splits[20:].count("stress") == 0
    assert splits.count("test") == 10 and splits.count("train") == 80


def test_the_test_set_is_spread_over_the_ranking() -> None:
    splits, _ = choose(candidates(100), SplitSizes(stress=0, test=10), seed=3)
    places = [place for place, name in enumerate(splits) if name == "test"]
    assert [place // 10 for place in places] == list(range(10))


def test_no_hue_crowds_the_others_out_of_the_stress_set() -> None:
    hues = ["orange"] * 16 + ["blue"] * 4
    mixed = [Candidate(c.name, c.score, c.coverage, hues[k % 20], k) for k, c in enumerate(candidates(40))]
    splits, _ = choose(mixed, SplitSizes(stress=10, test=0), seed=1)
    chosen = [mixed[k].hue for k, name in enumerate(splits) if name == "stress"]
    assert chosen.count("blue") == 2, "half of the four blue ones, the other half trains"
    assert chosen.count("orange") == 8


def test_a_group_is_never_divided() -> None:
    for seed in range(20):
        some = [Candidate(c.name, c.score, c.coverage, c.hue, k // 3) for k, c in enumerate(candidates(60))]
        splits, _ = choose(some, SplitSizes(stress=7, test=8), seed)
        assert all(len(set(splits[k : k + 3])) == 1 for k in range(0, 60, 3))
        assert splits.count("stress") == 6 and splits.count("test") == 6


def test_the_order_of_the_pairs_does_not_matter_and_the_seed_does() -> None:
    some = candidates(60)
    first, _ = choose(some, SplitSizes(), 5)
    back, _ = choose(some[::-1], SplitSizes(), 5)
    other, _ = choose(some, SplitSizes(), 6)
    assert first == back[::-1]
    assert first != other


def test_pictures_without_colour_are_no_stress() -> None:
    some = [Candidate(f"{k}.png", 0.1 if k < 2 else 0.0, 0.5 if k < 2 else 0.0, "red", k) for k in range(40)]
    splits, _ = choose(some, SplitSizes(stress=10, test=0), 0)
    assert splits.count("stress") == 1 and splits.count("train") == 39
    with pytest.raises(UserError, match="--stress 0"):
        choose(some[2:], SplitSizes(stress=10, test=0), 0)


def test_too_much_held_out_is_refused() -> None:
    with pytest.raises(UserError, match="8 pairs can be divided"):
        choose(candidates(8), SplitSizes(stress=3, test=2), 0)
    with pytest.raises(UserError, match="--stress -1"):
        choose(candidates(8), SplitSizes(stress=-1), 0)


def test_repeats_follow_the_score_and_are_capped() -> None:
    assert repeats([0.0, 1.0, 2.0, 1.0], [0, 1, 2, 3], 8) == [1, 2, 4, 2]
    assert repeats([0.0] * 9 + [1.0], list(range(10)), 8)[-1] == 8
    assert repeats([0.0, 0.0], [0, 1], 8) == [1, 1]
    assert repeats([1.0, 1.0, 1.0, 1.0], [0, 0, 2, 3], 8) == [1, 1, 2, 2], "near-duplicates share"


def test_bold_rooms_are_ranked_first(tmp_path: Path) -> None:
    sets = divide(make_data(tmp_path))
    ranked = [entry.name[0] for entry in sorted(sets.entries, key=lambda entry: entry.rank)]
    assert ranked == ["b"] * 8 + ["n"] * 12
    stress = sets.members("stress")
    assert len(stress) == 4 and len({entry.look.amount.hue for entry in stress}) == 4
    assert len(sets.members("test")) == 3 and len(sets.members("train")) == 13
    bold = [entry.repeats for entry in sets.members("train") if entry.name.startswith("b")]
    pale = [entry.repeats for entry in sets.members("train") if entry.name.startswith("n")]
    assert min(bold) > max(pale) == 1


def test_bursts_stay_in_one_set(tmp_path: Path) -> None:
    make_data(tmp_path)
    for k in range(8):
        save_pair(tmp_path, f"b{k}_again.jpg", np.clip(room(k, NEUTRAL)[:, ::-1] * 0.8, 0, 255).astype(np.uint8))
    for seed in range(5):
        sets = divide(tmp_path, seed=seed, sizes=SplitSizes(stress=4, test=4))
        where = {entry.name: entry.split for entry in sets.entries}
        assert all(where[f"b{k}.png"] == where[f"b{k}_again.jpg"] for k in range(8))
        assert {entry.group_size for entry in sets.entries if entry.name.startswith("b")} == {2}


def test_duplicates_of_a_kept_folder_are_dropped_everywhere(tmp_path: Path) -> None:
    make_data(tmp_path / "all")
    save(tmp_path / "val" / "gt" / "other_name.jpg", np.clip(room(0, TEAL) * 0.9, 0, 255).astype(np.uint8))
    save(tmp_path / "val" / "gt" / "elsewhere.png", room(999, BLUE))
    sets = divide(tmp_path / "all", tmp_path / "val")
    (dropped,) = sets.members("dropped")
    assert dropped.name == "b0.png" and "other_name.jpg" in dropped.reason and dropped.repeats == 0
    assert sets.kept_elsewhere == 2


def test_a_kept_list_is_placed_nowhere_nor_are_its_duplicates(tmp_path: Path) -> None:
    make_data(tmp_path)
    save_pair(tmp_path, "b1_twin.png", room(1, RED)[:, ::-1])
    listed = tmp_path / "val.txt"
    listed.write_text("b1.png (96,144,3)\nn0.png\n")
    sets = divide(tmp_path, listed)
    assert {entry.name for entry in sets.members("kept")} == {"b1.png", "n0.png"}
    (dropped,) = sets.members("dropped")
    assert dropped.name == "b1_twin.png" and dropped.reason.endswith("like b1.png")


def test_the_same_call_gives_the_same_sets_whatever_the_threads(tmp_path: Path) -> None:
    make_data(tmp_path)
    first, second = (divide(tmp_path, seed=3, workers=workers) for workers in (1, 3))
    keys = [[(e.name, e.split, e.score, e.repeats, e.reason) for e in sets.entries] for sets in (first, second)]
    assert keys[0] == keys[1]


class Greyer(nn.Module):
    """Halves the chroma of reddish pictures and keeps the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(Tensor([0.5]))

    def forward(self, image: Tensor) -> Tensor:
        grey = image.mean(dim=1, keepdim=True)
        reddish = image[:, :1].mean() > image[:, 2:].mean()
        return grey + self.weight * (image - grey) if reddish else image


def test_a_network_ranks_by_what_it_loses(tmp_path: Path) -> None:
    for k in range(6):
        picture = room(k, RED if k < 2 else BLUE)
        save(tmp_path / "gt" / f"{k}.png", picture)
        save(tmp_path / "lq" / f"{k}.png", picture)
    sets = divide(tmp_path, meter=LossMeter(Greyer(), side=96), sizes=SplitSizes(stress=1, test=1))
    assert sets.rank_by == "lost"
    ranked = sorted(sets.entries, key=lambda entry: entry.rank)
    assert {entry.name for entry in ranked[:2]} == {"0.png", "1.png"}
    losses = [entry.look.loss for entry in ranked]
    assert losses[0] is not None and losses[0].sat_ratio < 0.8
    assert losses[-1] is not None and losses[-1].kept == pytest.approx(1, abs=0.02)


def test_frames_that_differ_are_named(tmp_path: Path) -> None:
    make_data(tmp_path, 2, 4)
    save(tmp_path / "lq" / "b0.png", room(0, TEAL, size=(144, 96)))
    with pytest.raises(UserError, match=r"b0\.png.*same frame"):
        divide(tmp_path, meter=LossMeter(Greyer(), side=96), sizes=SplitSizes(1, 1))


# How pictures are read


def test_kinds_of_files_are_read_alike(tmp_path: Path) -> None:
    picture = cv2.resize(room(3, TEAL), (1440, 960), interpolation=cv2.INTER_LINEAR)
    save(tmp_path / "a.png", picture)
    save(tmp_path / "b.jpg", picture)
    cv2.imwrite(str(tmp_path / "c.png"), picture[:, :, ::-1].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(picture).copy()).save(tmp_path / "d.jpg", exif=exif, quality=95)
    Image.fromarray(picture).save(tmp_path / "e.tif")
    reader = PictureReader(str(tmp_path))
    small = [reader.small(key, 160) for key in reader.names()]
    assert {(p.height, p.width) for p in small} == {(960, 1440)}
    for other in small[1:]:
        assert np.abs(other.rgb.astype(int) - small[0].rgb).mean() < 2.5


def test_lmdb_and_store_give_what_the_folder_gives(tmp_path: Path) -> None:
    make_data(tmp_path, 6, 6)
    for half in ("gt", "lq"):
        names = sorted(path.name for path in (tmp_path / half).iterdir())
        keys = [Path(name).stem for name in names]
        make_lmdb_from_imgs(str(tmp_path / half), str(tmp_path / f"{half}.lmdb"), names, keys)
        build_store(tmp_path / half, tmp_path / f"{half}.store")
    folder = divide(tmp_path, sizes=SplitSizes(2, 1))
    for suffix in (".lmdb", ".store"):
        data = PairedImageOptions(f"{tmp_path}/gt{suffix}", f"{tmp_path}/lq{suffix}", phase="val")
        sets = make_color_sets(ColorSetOptions(data, sizes=SplitSizes(2, 1)))
        assert [(e.name, e.split, e.repeats) for e in sets.entries] == [
            (e.name, e.split, e.repeats) for e in folder.entries
        ]


@pytest.mark.parametrize("name", ["b0.png", "cut.jpg"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    make_data(tmp_path, 2, 4)
    if name.endswith("jpg"):
        save_pair(tmp_path, name, room(50, RED))
    path = tmp_path / "gt" / name
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match=name):
        divide(tmp_path, sizes=SplitSizes(1, 1))
