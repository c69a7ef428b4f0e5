"""The demo's parts that are quick to try: what it renders, how it divides, what it trains with, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from basicsr.engine.errors import UserError
from basicsr.engine.options_merge import load_options
from plugins.lego import demo
from plugins.lego.lego_manifest import SPLITS, read_manifest
from plugins.lego.render_job import RenderJob
from plugins.lego.simple_parts import PARTS, write_simple_parts
from tests.plugins.lego.lego_kit import BLUE, RED, brick, save

ROOT = Path(__file__).resolve().parents[3]


def drawn(job: RenderJob, processes: int) -> None:
    """In place of the renderer: a picture for each, and the listing."""
    rows = ["path,part,color"]
    seed = job.seed * 1000
    for task in job.tasks():
        path = task.path("png")
        save(job.out / path, brick(RED if task.color % 2 else BLUE, len(rows) % 3, seed := seed + 1, 16))
        rows.append(f"{path},{task.part},{task.color}")
    (job.out / "renders.csv").write_text("\n".join(rows))


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> demo.DemoOptions:
    monkeypatch.setattr(demo, "render_all", drawn)
    monkeypatch.setattr(demo, "check_job", lambda job: None)
    monkeypatch.setattr(demo, "COLORS", (4, 1))
    (tmp_path / "options").symlink_to(ROOT / "options")
    return demo.DemoOptions(tmp_path, parts="brick-1x1,tile-2x2")


def test_held_out_renders_never_train(options: demo.DemoOptions) -> None:
    said: list[str] = []
    demo.make_data(options, said.append)
    records = read_manifest(options.manifest)
    where = {split: {one.path.split("/")[0] for one in records if one.split == split} for split in SPLITS}
    assert where == {"train": {"train"}, "val": {"held_out"}, "test": {"held_out"}}
    counts = [sum(one.split == split for one in records) for split in SPLITS]
    assert counts == [4 * demo.TRAIN_COUNT, 4, 4 * (demo.HELD_OUT_COUNT - 1)]
    assert (options.data / "ldraw" / "parts" / "brick-1x1.dat").is_file()
    demo.make_data(options, said.append)
    assert said[-1].startswith("data: complete")


def test_the_options_are_those_of_the_data(options: demo.DemoOptions) -> None:
    demo.make_data(options, lambda text: None)
    command = demo.train_command(options, resume=False)
    opt = load_options(ROOT / demo.OPTIONS, command[5:]).root.plain()
    assert (opt["network_g"]["num_parts"], opt["network_g"]["num_colors"]) == (2, 2)
    assert opt["datasets"]["train"]["manifest"] == str(options.manifest) == opt["datasets"]["val"]["manifest"]
    assert "--auto_resume" in demo.train_command(options, resume=True)


def test_own_captures_are_divided_by_piece(options: demo.DemoOptions, tmp_path: Path) -> None:
    for number in range(60):
        shape = number % 2
        part = ("brick-1x1", "tile-2x2")[shape]
        save(tmp_path / "real" / part / "4" / f"{number}_front.png", brick(RED, shape, 5000 + number))
    own = demo.DemoOptions(options.root, parts=options.parts, real=tmp_path / "real", tag="own")
    demo.make_data(own, lambda text: None)
    records = read_manifest(own.manifest)
    assert {one.source for one in records if one.split != "train"} == {"real"}
    assert not (own.data / "held_out").exists()
    pieces = {split: {one.piece for one in records if one.source == "real" and one.split == split} for split in SPLITS}
    assert all(pieces.values()) and not pieces["train"] & pieces["test"]


def test_the_held_out_world_is_another(tmp_path: Path) -> None:
    write_simple_parts(tmp_path / "ldraw")
    options = demo.DemoOptions(tmp_path)
    job = demo._held_out_job(options, tmp_path / "ldraw", tuple(PARTS))
    usual = demo._usual()
    assert job.seed != 0 and job.options.gain_error > usual.gain_error and job.options.exposure > usual.exposure
    assert len(PARTS) == 12 and np.prod([len(PARTS), len(demo.COLORS), demo.TRAIN_COUNT]) == 3840


def test_what_cannot_be_rendered_is_refused_before_anything_is_removed(
    options: demo.DemoOptions, tmp_path: Path
) -> None:
    demo.make_data(options, lambda text: None)
    wrong = demo.DemoOptions(options.root, ldraw=options.data / "ldraw", parts="3001")
    with pytest.raises(UserError, match="3001"):
        demo.make_data(wrong, lambda text: None)
    lonely = demo.DemoOptions(options.root, ldraw=options.data / "ldraw", parts="brick-1x1")
    with pytest.raises(UserError, match="two parts"):
        demo.make_data(lonely, lambda text: None)
    assert options.manifest.is_file()
    assert json.loads((options.data / "settings.json").read_text())["parts"] == options.parts
