"""tools/make_color_sets.py: the files it writes, and that training takes them as they are."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from basicsr.archs.nafnet_arch import NAFNet
from basicsr.data import build_dataset
from basicsr.engine.checkpoint import save_weights
from basicsr.engine.cli import run_main
from plugins.color_fidelity.color_sets_files import FILES
from tests.basicsr.tiny_run import run_here, write_options
from tests.plugins.color_fidelity.color_sets_kit import RED, make_data, room, save, save_pair

ROOT = Path(__file__).resolve().parents[2]
SIZES = ("--stress", "4", "--test", "3")


def load_tool() -> object:
    spec = importlib.util.spec_from_file_location("make_color_sets", ROOT / "tools" / "make_color_sets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run_main(lambda: TOOL.main([str(argument) for argument in arguments]))  # type: ignore[attr-defined]
    return status, out.getvalue(), err.getvalue()


def folders(root: Path) -> tuple[object, ...]:
    return "--gt", root / "gt", "--lq", root / "lq"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("photos"))


def names(path: Path) -> list[str]:
    return [line.rsplit(" (", 1)[0] for line in path.read_text().splitlines()]


def test_files_are_written_and_divide_all_pairs(data: Path, tmp_path: Path) -> None:
    status, out, _ = run(*folders(data), "--out", tmp_path / "sets", *SIZES)
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == sorted(FILES)
    stress, test, train = (names(tmp_path / "sets" / f"{name}.txt") for name in ("stress", "test", "train"))
    assert (len(stress), len(test), len(train)) == (4, 3, 13)
    assert sorted(stress + test + train) == sorted(path.name for path in (data / "gt").iterdir())
    assert (tmp_path / "sets" / "stress.txt").read_text().splitlines()[0].endswith(".png (96,144,3)")
    repeated = names(tmp_path / "sets" / "train_colorful.txt")
    assert set(repeated) == set(train) and len(repeated) > len(train)
    assert "meta_info_file" in out and "no validation set is kept apart" in out


def test_the_manifest_has_every_pair_with_its_reason(data: Path, tmp_path: Path) -> None:
    run(*folders(data), "--out", tmp_path, *SIZES)
    rows = list(csv.DictReader((tmp_path / "manifest.csv").open(encoding="utf-8")))
    assert [int(row["rank"]) for row in rows] == list(range(1, 21))
    assert all(row["reason"] and row["split"] and row["hue"] for row in rows)
    lines = names(tmp_path / "train_colorful.txt")
    assert all(lines.count(row["name"]) == int(row["repeats"]) for row in rows)


def test_the_contact_sheet_is_a_picture(data: Path, tmp_path: Path) -> None:
    run(*folders(data), "--out", tmp_path, *SIZES)
    sheet = cv2.imread(str(tmp_path / "contact_sheet.jpg"))
    assert sheet is not None and sheet.shape[1] > 1000 and sheet.std() > 10


def test_the_same_call_writes_the_same_bytes(data: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(*folders(data), "--out", tmp_path / name, *SIZES, "--seed", 7)[0] == 0
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_dry_run_writes_nothing(data: Path, tmp_path: Path) -> None:
    status, out, _ = run(*folders(data), "--out", tmp_path / "sets", *SIZES, "--dry-run")
    assert status == 0 and "nothing was written" in out and out.count("stress: ") == 4
    assert not (tmp_path / "sets").exists()


def test_an_earlier_result_is_replaced_with_force_only(data: Path, tmp_path: Path) -> None:
    call = (*folders(data), "--out", tmp_path, "--test", "3")
    assert run(*call, "--stress", "4")[0] == 0
    own = tmp_path / "notes.md"
    own.write_text("mine")
    before = (tmp_path / "stress.txt").read_text()
    status, _, err = run(*call, "--stress", "2")
    assert status == 2 and "--force" in err and (tmp_path / "stress.txt").read_text() == before
    assert run(*call, "--stress", "0", "--force")[0] == 0
    assert not (tmp_path / "stress.txt").exists(), "no list of an older division is left over"
    assert own.read_text() == "mine" and not list(tmp_path.glob(".*"))


def test_an_option_file_is_divided(data: Path, tmp_path: Path) -> None:
    options = write_options(
        tmp_path / "o.yml", datasets__train__dataroot_gt=str(data / "gt"), datasets__train__dataroot_lq=str(data / "lq")
    )
    status, _, err = run(options, "--out", tmp_path / "sets", *SIZES)
    assert status == 0, err
    assert len(names(tmp_path / "sets" / "train.txt")) == 13


def test_the_default_place_is_beside_the_targets(tmp_path: Path) -> None:
    make_data(tmp_path / "set", 4, 6)
    assert run(*folders(tmp_path / "set"), "--stress", 1, "--test", 1)[0] == 0
    assert (tmp_path / "set" / "color_sets" / "train.txt").is_file()


def test_names_with_spaces_survive_the_list(tmp_path: Path) -> None:
    make_data(tmp_path, 3, 4)
    save_pair(tmp_path, "living room 1.png", room(77, RED))
    assert run(*folders(tmp_path), "--out", tmp_path / "sets", "--stress", 1, "--test", 1)[0] == 0
    assert "living room 1.png" in (tmp_path / "sets" / "manifest.csv").read_text()
    every = [name for kind in ("stress", "test", "train") for name in names(tmp_path / "sets" / f"{kind}.txt")]
    for kind in ("stress", "test", "train"):
        opt = {
            "name": kind, "type": "PairedImageDataset", "phase": "val", "dataroot_gt": str(tmp_path / "gt"),
            "dataroot_lq": str(tmp_path / "lq"), "meta_info_file": str(tmp_path / "sets" / f"{kind}.txt"),
        }  # fmt: skip
        dataset = build_dataset(opt)
        assert all(dataset[index]["gt"].shape == (3, 96, 144) for index in range(len(dataset)))
    assert "living room 1.png" in every and len(every) == 8


def test_kept_validation_is_kept_untouched(data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "val"
    shutil.copytree(
        data / "gt", kept / "gt", ignore=lambda _, files: [f for f in files if f not in ("b0.png", "n3.png")]
    )
    before = {path: path.read_bytes() for path in kept.rglob("*.png")}
    status, out, _ = run(*folders(data), "--out", tmp_path / "sets", *SIZES, "--keep-val", kept)
    assert status == 0
    assert out.count("dropped from training") == 2 and "no validation set" not in out
    placed = [name for kind in ("stress", "test", "train") for name in names(tmp_path / "sets" / f"{kind}.txt")]
    assert len(placed) == 18 and not {"b0.png", "n3.png"} & set(placed)
    assert {path: path.read_bytes() for path in kept.rglob("*.png")} == before


def test_a_checkpoint_ranks_by_what_it_loses(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = NAFNet(width=2, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1])
    save_weights(tmp_path / "net.pth", {"params": net.state_dict()})
    call = (*folders(data), "--out", tmp_path / "sets", *SIZES, "--device", "cpu", "--side", 96)
    status, out, err = run(*call, "--checkpoint", tmp_path / "net.pth")
    assert status == 0, err
    assert "ranked by lost" in out and "of their colour kept" in out
    rows = list(csv.DictReader((tmp_path / "sets" / "manifest.csv").open(encoding="utf-8")))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0
    assert all(row["score"] == row["lost"] for row in rows)
    assert all(float(row["sat_ratio"]) > 0 and row["hue_abs_deg"] for row in rows if row["name"].startswith("b"))


def test_training_takes_the_lists(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*folders(data), "--out", tmp_path / "sets", *SIZES)[0] == 0
    roots = {"dataroot_gt": str(data / "gt"), "dataroot_lq": str(data / "lq")}
    options = yaml.safe_load(write_options(tmp_path / "o.yml").read_text())
    options["plugins"] = ["plugins.color_fidelity"]
    train = options["datasets"]["train"]
    train.update(roots, type="ColorPairedImageDataset", chroma_crop_prob=0.5)
    train["meta_info_file"] = "sets/train_colorful.txt"
    lists = {"val": "sets/stress.txt", "val_2": "sets/test.txt"}
    for key, listed in lists.items():
        options["datasets"][key] = {"name": key, "type": "PairedImageDataset", **roots, "meta_info_file": listed}
    options["train"].update(total_iter=2, warmup_iter=-1)
    options["val"]["val_freq"] = 2
    options["val"]["save_img"] = True
    (tmp_path / "o.yml").write_text(yaml.safe_dump(options))
    run_here(monkeypatch, tmp_path, tmp_path / "o.yml")
    pictures = tmp_path / "experiments" / "tiny" / "visualization"
    for key, listed in lists.items():
        stems = sorted(Path(name).stem for name in names(tmp_path / listed))
        assert sorted(path.name for path in (pictures / key).iterdir()) == stems


def test_bad_calls_are_explained(data: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "sets")
    other = tmp_path / "other"
    make_data(other, 2, 4)
    shutil.move(other / "lq" / "b0.png", other / "lq" / "b0.bmp")
    (tmp_path / "list.txt").write_text("nobody.png\n")
    for arguments, message in (
        ((), "give an option file, or both --gt and --lq"),
        (("--gt", data / "gt"), "give an option file, or both --gt and --lq"),
        ((tmp_path / "none.yml",), "none.yml"),
        (("--gt", tmp_path / "nowhere", "--lq", data / "lq"), "nowhere: there is no such folder"),
        ((*folders(data), "--keep-val", tmp_path / "nowhere"), "--keep-val"),
        ((*folders(data), "--keep-val", data), "the folder that is to be divided"),
        ((*folders(data), "--keep-val", tmp_path / "list.txt"), "nobody.png"),
        ((*folders(data), "--stress", 15), "20 pairs can be divided"),
        ((*folders(data), "--pool-share", 0), "--pool-share"),
        ((*folders(data), "--max-repeat", 0), "--max-repeat 0"),
        ((*folders(data), "--rank-by", "lost"), "--checkpoint"),
        ((*folders(data), "--checkpoint", tmp_path / "no.pth"), "no such checkpoint"),
        (folders(other), "b0.bmp for b0.png"),
    ):
        status, _, err = run(*arguments, *out)
        assert status == 2 and message in err, (arguments, err)
        assert not (tmp_path / "sets").exists()
    status, _, err = run(*folders(data), "--out", data / "gt")
    assert status == 2 and "own folder" in err
    save(tmp_path / "file.png", np.zeros((8, 8, 3), np.uint8))
    assert run(*folders(data), "--out", tmp_path / "file.png")[0] == 2


def test_help_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["make_color_sets.py", "--help"])
    with pytest.raises(SystemExit):
        TOOL.main()  # type: ignore[attr-defined]
    assert "--keep-val" in capsys.readouterr().out


def test_groups_that_do_not_fit_leave_a_set_empty_and_it_says_so(tmp_path: Path) -> None:
    for shot in range(4):
        for number, paint in enumerate((RED, (30, 130, 140), (40, 60, 190))):
            picture = np.clip(room(number, paint).astype(np.int16) + shot, 0, 255).astype(np.uint8)
            save_pair(tmp_path, f"photo{number}-{shot}.png", picture)
    status, out, _ = run(*folders(tmp_path), "--stress", 2, "--test", 0, "--dry-run")
    assert status == 0 and "note: the stress set has 0 of 2 pairs: groups of near-duplicates are not divided" in out
    assert "note: the stress" not in run(*folders(tmp_path), "--stress", 4, "--test", 0, "--dry-run")[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_a_user_error(tmp_path: Path) -> None:
    make_data(tmp_path)
    for half in ("gt", "lq"):
        (tmp_path / half / "b0.png").rename(tmp_path / half / "caf\udce9.png")
    status, _, error = run(*folders(tmp_path), *SIZES)
    assert status == 2 and "'caf\\udce9.png': a list cannot hold this name" in error


def test_a_place_that_cannot_be_written_is_said_before_the_photos_are_read(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").write_text("")
    status, out, error = run(*folders(data), "--out", tmp_path / "file" / "sets")
    assert status == 2 and out == "" and "file is not a folder" in error
