"""The demo's stages, and its criteria from measured figures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from basicsr.engine.errors import UserError
from plugins.color_fidelity import demo
from plugins.color_fidelity.demo import BASELINE, CONTINUED, FINE_TUNED, RUNS, DemoOptions, Stages
from plugins.color_fidelity.demo_report import HELD_OUT, STRESS, criteria, enhance_sets, measure_demo, write_report
from plugins.color_fidelity.evaluation import Evaluation, Pair, Record

ROOT = Path(__file__).resolve().parents[3]
TINY = (
    "train:total_iter=2",
    "train:warmup_iter=-1",
    "train:scheduler:periods=[2]",
    "val:val_freq=2",
    "logger:print_freq=1",
    "logger:use_tb_logger=false",
    "datasets:train:gt_size=32",
    "network_g:width=4",
)


def evaluation(ratios: dict[tuple[str, str], tuple[float, float, float]]) -> Evaluation:
    """Records with (sat_ratio, psnr, sat_ratio_whole) for each row and set."""
    from plugins.color_fidelity.fidelity import FIGURES

    records = []
    for (row, name), (ratio, psnr, whole) in ratios.items():
        figures = dict.fromkeys(FIGURES, 1.0) | {"sat_ratio": ratio, "psnr": psnr, "sat_ratio_whole": whole}
        records.append(Record(Pair(row, name, "a", Path("p"), Path("t")), figures, (4, 4)))
    return Evaluation(records, CONTINUED)


@pytest.mark.parametrize(
    ("fine_tuned", "met"),
    [
        ((0.91, 25.0, 1.0), [True, True, True, True, True]),
        ((0.85, 25.0, 1.0), [False, True, True, True, True]),
        ((1.15, 25.0, 1.0), [False, True, True, True, True]),  # overshooting is a gap as well
        ((0.95, 24.8, 1.0), [True, True, False, True, True]),
        ((0.95, 25.0, 1.08), [True, True, True, True, False]),
    ],
)
def test_criteria_are_computed_from_the_figures(fine_tuned: tuple[float, float, float], met: list[bool]) -> None:
    result = evaluation(
        {
            (CONTINUED, HELD_OUT): (0.95, 27.0, 1.0),
            (CONTINUED, STRESS): (0.80, 25.0, 0.97),
            (FINE_TUNED, HELD_OUT): (0.97, 27.0, 1.0),
            (FINE_TUNED, STRESS): fine_tuned,
        }
    )
    assert [item.met for item in criteria(result)] == met


def test_stages_remember_and_notice_changed_inputs(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "results" / "stages.json")
    assert not stages.is_done("data", "a") and not stages.is_started("data", "a")
    stages.write("data", "a", False)
    assert stages.is_started("data", "a") and not stages.is_done("data", "a")
    stages.write("data", "a", True, 3.21)
    again = Stages(tmp_path / "results" / "stages.json")
    assert again.is_done("data", "a") and not again.is_done("data", "b") and again.seconds("data") == 3.2
    (tmp_path / "results" / "stages.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Stages(tmp_path / "results" / "stages.json")


def test_continuations_start_from_the_same_weights_with_the_same_settings(tmp_path: Path) -> None:
    options = DemoOptions(root=tmp_path, tag="x")
    own, color = (demo.train_command(run, options, 1, False) for run in RUNS[1:])
    start = f"path:pretrain_network_g={options.weights(RUNS[0])}"
    assert start in own and start in color
    extra = set(color) ^ set(own)
    assert {text.split("=")[0] for text in extra} <= {
        "name",
        "datasets:train:meta_info_file",
        *[text for text in extra if text.endswith(".yml")],
    }


@pytest.fixture
def options(tmp_path: Path) -> DemoOptions:
    """A project root of links, so that a run writes nothing into the real one, and 12 small photos."""
    for name in ("BasicSR", "plugins", "options"):
        (tmp_path / name).symlink_to(ROOT / name)
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        image = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(photos / f"p{index:02d}.png"), image)
    return DemoOptions(root=tmp_path, photos=photos, size=64, shots=1, eval_shots=1, cores=1, force=TINY)


def test_miniature_demo_runs_every_stage_once_and_reports(
    options: DemoOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(demo, "run_training", in_process())
    stages = demo.prepare(options)
    demo.make_data(options, stages, said.append)
    demo.train_all(options, stages, said.append)
    result = measure_demo(enhance_sets(options), options)
    text = write_report(options, result)
    for row in ("input", BASELINE, CONTINUED, FINE_TUNED, "target"):
        assert row in text
    for name in ("report.html", "table.md", "figures.csv", "figures.json", "before_after.png"):
        assert (options.results / name).stat().st_size > 0
    assert json.loads((options.results / "stages.json").read_text())[FINE_TUNED]["done"]

    said.clear()
    stages = demo.prepare(options)
    demo.make_data(options, stages, said.append)
    demo.train_all(options, stages, said.append)
    assert said == ["data: complete", *[f"{run.row}: complete" for run in RUNS]]

    demo.prepare(replace(options, fresh=True))
    assert not options.data.exists() and not options.experiment(RUNS[0]).exists()


def in_process() -> Any:
    """Train inside this process: the same command line without three interpreters that each import torch."""
    from basicsr.train import train_pipeline

    def execute(command: list[str], root: Path, heard: Any, threads: int, name: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", command[1:])
            train_pipeline(str(root))

    return execute
