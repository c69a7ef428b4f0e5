"""tools/check_data.py and tools/build_image_store.py."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from basicsr.data.check import KINDS, DataSetToCheck, check_data
from basicsr.data.image_store import ImageStore
from basicsr.data.image_store_build import build_store
from basicsr.engine.cli import run_main
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for remembered verdicts that is no user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def photo(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def save_pair(root: Path, name: str, seed: int) -> tuple[Path, Path]:
    paths = root / "gt" / name, root / "lq" / name
    for path, image in zip(paths, (photo(seed), photo(seed) // 2), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with every defect that the job names, one a pair."""
    root = tmp_path_factory.mktemp("broken")
    gt, lq = {}, {}
    names = "good truncated empty text size lonely deep grey alpha turned profile small twin cut".split()
    for seed, name in enumerate(names):
        gt[name], lq[name] = save_pair(root, f"{name}.png", seed)
    gt["truncated"].write_bytes(gt["truncated"].read_bytes()[:300])
    lq["empty"].write_bytes(b"")
    lq["text"].write_text("<html>not found</html>")
    Image.fromarray(photo(1, 40, 56)).save(gt["size"])
    lq["lonely"].unlink()
    cv2.imwrite(str(gt["deep"]), photo(7).astype(np.uint16) * 257)
    Image.fromarray(photo(8)[..., 0]).save(lq["grey"])
    Image.fromarray(np.dstack([photo(9), photo(9)[..., 0]])).save(lq["alpha"])
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(photo(10)).save(lq["turned"], exif=exif)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(photo(11)).save(lq["profile"], icc_profile=lab)
    for half in (gt, lq):
        Image.fromarray(photo(12, 16, 16)).save(half["small"])
    (root / "gt" / "twin2.png").write_bytes(gt["twin"].read_bytes())
    (root / "lq" / "twin2.png").write_bytes(gt["twin"].read_bytes())
    for half in ("gt", "lq"):
        Image.fromarray(photo(14)).convert("CMYK").save(root / half / "cmyk.jpg")
        (root / half / ".DS_Store").write_bytes(b"x")
    return root


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command line does, in this process: a new one spends seconds on importing torch."""
    spec = importlib.util.spec_from_file_location(tool[:-3], ROOT / "tools" / tool)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err, old = io.StringIO(), io.StringIO(), sys.argv
    try:
        sys.argv = [tool, *arguments]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run_main(module.main)
    finally:
        sys.argv = old
    return subprocess.CompletedProcess(sys.argv, status, out.getvalue(), err.getvalue())


def test_tools_start_from_any_folder() -> None:
    for tool in ("check_data.py", "build_image_store.py"):
        done = subprocess.run([sys.executable, str(ROOT / "tools" / tool), "--help"], capture_output=True, cwd="/")
        assert done.returncode == 0 and b"usage" in done.stdout


EXPECTED = {
    ("damaged", "gt/truncated.png"),
    ("empty-file", "lq/empty.png"),
    ("not-an-image", "lq/text.png"),
    ("size-mismatch", "gt/size.png"),
    ("missing-partner", "gt/lonely.png"),
    ("bit-depth", "gt/deep.png"),
    ("16-bit", "gt/deep.png"),
    ("grey", "lq/grey.png"),
    ("alpha", "lq/alpha.png"),
    ("exif-rotated", "lq/turned.png"),
    ("icc-unreadable", "lq/profile.png"),
    ("too-small", "gt/small.png"),
    ("identical-pair", "gt/small.png"),
    ("duplicate", "gt/twin2.png"),
    ("identical-pair", "gt/twin2.png"),
    ("cmyk", "gt/cmyk.jpg"),
    ("cmyk", "lq/cmyk.jpg"),
    ("identical-pair", "gt/cmyk.jpg"),
}


def test_every_defect_is_found_in_one_pass(broken: Path) -> None:
    done: list[int] = []
    entry = DataSetToCheck("b", str(broken / "gt"), str(broken / "lq"), "train", gt_size=32)
    report = check_data([entry], workers=2, progress=lambda n, total, path: done.append(n))
    found = {(f.kind, str(Path(f.path).relative_to(broken))) for f in report.findings}
    assert found == EXPECTED
    assert done == list(range(1, report.images + 1)) and report.images == 31
    assert set(report.counts()) <= set(KINDS)


def test_command_line(broken: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    result = run("check_data.py", "--gt", f"{broken}/gt", "--lq", f"{broken}/lq", "--gt-size", "32", "--json", str(out))
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "size-mismatch" in result.stdout and "6 errors" in result.stdout
    data = json.loads(out.read_text())
    assert data["errors"] == 6 and len(data["findings"]) == len(EXPECTED)


def test_warnings_alone_are_no_failure_and_wrong_calls_are_2(tmp_path: Path) -> None:
    _, lq = save_pair(tmp_path, "a.png", 0)
    Image.fromarray(photo(0)[..., 0]).save(lq)
    assert run("check_data.py", "--gt", str(tmp_path / "gt"), "--lq", str(tmp_path / "lq")).returncode == 0
    assert run("check_data.py").returncode == 2
    assert run("check_data.py", "--gt", str(tmp_path / "nothing")).returncode == 1


def test_option_file_with_two_sets_that_share_a_photo(tmp_path: Path) -> None:
    save_pair(tmp_path / "train", "a.png", 0)
    save_pair(tmp_path / "val", "b.png", 0)
    options = tmp_path / "o.yml"
    options.write_text(
        "name: x\nscale: 1\ndatasets:\n"
        + "".join(
            f"  {key}:\n    name: {key}\n    type: PairedImageDataset\n    dataroot_gt: {tmp_path}/{key}/gt\n"
            f"    dataroot_lq: {tmp_path}/{key}/lq\n"
            for key in ("train", "val")
        )
        + "    filename_tmpl: '{}'\n"
    )
    result = run("check_data.py", str(options))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "shared-between-sets" in result.stdout and "val/gt/b.png" in result.stdout


def test_lmdbs_and_stores_are_checked_too(tmp_path: Path) -> None:
    save_pair(tmp_path, "a.png", 0)
    for half in ("gt", "lq"):
        make_lmdb_from_imgs(str(tmp_path / half), str(tmp_path / f"{half}.lmdb"), ["a.png"], ["a"])
        build_store(tmp_path / half, tmp_path / f"{half}.store")
    for ending in (".lmdb", ".store"):
        report = check_data([DataSetToCheck("x", str(tmp_path / f"gt{ending}"), str(tmp_path / f"lq{ending}"), "val")])
        assert (report.pairs, report.images, report.findings) == (1, 2, [])
    Image.fromarray(photo(5)).save(tmp_path / "lq" / "a.png")
    report = check_data([DataSetToCheck("x", str(tmp_path / "gt.store"), str(tmp_path / "lq.store"), "val")])
    assert [f.kind for f in report.findings] == ["stale-store"]


def test_meta_file_and_missing_folder(tmp_path: Path) -> None:
    save_pair(tmp_path, "a.png", 0)
    (tmp_path / "meta.txt").write_text("a.png\na.png\nb.png\n")
    entry = DataSetToCheck("x", str(tmp_path / "gt"), str(tmp_path / "lq"), meta_info_file=str(tmp_path / "meta.txt"))
    report = check_data([entry])
    assert report.pairs == 1 and [f.kind for f in report.findings] == ["missing-partner"] * 2
    kinds = [f.kind for f in check_data([DataSetToCheck("x", str(tmp_path / "g"), str(tmp_path / "lq"))]).findings]
    assert kinds == ["folder", "missing-partner"]


def test_build_image_store_command(tmp_path: Path) -> None:
    save_pair(tmp_path, "a.png", 0)
    result = run("build_image_store.py", "--gt", str(tmp_path / "gt"), "--lq", str(tmp_path / "lq") + "/", "--verify")
    assert result.returncode == 0, result.stderr
    assert "1 images written" in result.stdout and "checksums are right" in result.stdout
    assert ImageStore(tmp_path / "lq.store").names() == ["a.png"]
    assert run("build_image_store.py", str(tmp_path / "gt"), str(tmp_path / "other")).returncode == 2
    assert run("build_image_store.py").returncode == 2


def test_store_command_verifies_repairs_and_sums_up(tmp_path: Path) -> None:
    save_pair(tmp_path, "a.png", 0)
    save_pair(tmp_path, "b.png", 1)
    gt = str(tmp_path / "gt")
    assert "2 images, 0.00 GiB written in" in run("build_image_store.py", gt).stdout
    with open(f"{gt}.store/images.bin", "r+b") as pixels:
        pixels.write(b"\x01\x02\x03")
    for arguments in (["--verify", gt + ".store"], [gt, "--verify"]):
        result = run("build_image_store.py", *arguments)
        assert result.returncode == 1 and "a.png: damaged" in result.stdout and "b.png" not in result.stdout
    result = run("build_image_store.py", gt, "--repair", "--verify")
    assert result.returncode == 0 and "1 images written, 1 unchanged" in result.stdout
    (tmp_path / "lq.store").mkdir()
    assert run("build_image_store.py", str(tmp_path / "lq.store")).returncode == 2  # a store is no source
    assert "no finished image store" in run("build_image_store.py", "--verify", str(tmp_path / "lq.store")).stderr


def test_second_check_reads_nothing(tmp_path: Path, cache: Path) -> None:
    save_pair(tmp_path, "a.png", 0)
    arguments = ["check_data.py", "--gt", str(tmp_path / "gt"), "--lq", str(tmp_path / "lq")]
    assert "unchanged" not in run(*arguments).stdout
    assert (cache / "basicsr" / "check_data.jsonl").is_file()
    assert "(2 unchanged since an earlier check)" in run(*arguments).stdout
    assert "unchanged" not in run(*arguments, "--recheck").stdout
    assert "unchanged" not in run(*arguments, "--no-cache").stdout
    assert "unchanged" not in run(*arguments, "--cache", str(tmp_path / "mine.jsonl")).stdout
    assert (tmp_path / "mine.jsonl").is_file()


def test_what_is_in_the_folder_but_not_read_is_named(tmp_path: Path) -> None:
    gt, _ = save_pair(tmp_path, "a.png", 1)
    Image.fromarray(photo(2)).save(gt.with_name("b.gif"))
    (gt.parent / "more.png").mkdir()
    (gt.parent / ".DS_Store").write_bytes(b"x")
    (gt.parent / "loop.png").symlink_to("loop.png")
    report = check_data([DataSetToCheck("photos", str(gt.parent), None)])
    found = {Path(finding.path).name: finding.kind for finding in report.findings}
    assert found == {"b.gif": "ignored", "more.png": "ignored", "loop.png": "unreadable"}
    assert report.errors == 1


@pytest.mark.parametrize("content", ["datasets: [1]\n", "datasets: {val: 3}\n"])
def test_data_sets_of_a_wrong_form_are_one_line_and_status_2(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.yml").write_text(content)
    result = run("check_data.py", str(tmp_path / "x.yml"))
    assert result.returncode == 2 and result.stderr.startswith("error: datasets: each must be")


@pytest.mark.parametrize("flags", [("--seed", "-1"), ("--max-train", "-1")])
def test_negative_numbers_for_demo_data_are_refused(tmp_path: Path, flags: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        run("make_demo_data.py", "--out", str(tmp_path / "x"), *flags)
    assert refusal.value.code == 2 and not (tmp_path / "x").exists()
