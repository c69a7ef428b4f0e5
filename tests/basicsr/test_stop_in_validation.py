"""A signal during validation ends it between two images; the resumed run makes up for it, with the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr.engine import checkpoint
from basicsr.engine.interrupt import BrokenOff, Interrupted
from basicsr.models import build_model
from basicsr.utils.registry import METRIC_REGISTRY
from tests.basicsr.models.model_kit import KitSet, loader, options
from tests.basicsr.test_exact_resume import equal, experiment, final_weights, state_without_times
from tests.basicsr.tiny_run import OPTIONS, ROOT, environment, make_project, run_here, write_options

SIGNAL: dict[str, Any] = {"calls": 0, "at": None, "number": signal.SIGTERM}


def calculate_signalling(img: Any, img2: Any, **kwargs: Any) -> float:
    """Difference of the means; at one of its calls the process gets a signal, as if from outside."""
    SIGNAL["calls"] += 1
    if SIGNAL["calls"] == SIGNAL["at"]:
        os.kill(os.getpid(), SIGNAL["number"])
    return -abs(float(img.mean()) - float(img2.mean()))


if "calculate_signalling" not in METRIC_REGISTRY:
    METRIC_REGISTRY.register(calculate_signalling)


@pytest.fixture(autouse=True)
def no_signal() -> None:
    SIGNAL.update(calls=0, at=None, number=signal.SIGTERM)


def project(root: Path) -> Path:
    """Two validation sets of three images each; the first one's metric decides on the best weights."""
    make_project(root)
    sets = {**OPTIONS["datasets"], "val_2": {**OPTIONS["datasets"]["val"], "name": "Second"}}
    return write_options(root / "tiny.yml", datasets=sets, val__metrics={"close": {"type": "calculate_signalling"}})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run: 12 iterations, validated after 4, 8 and 12 with six images each time."""
    root = tmp_path_factory.mktemp("whole")
    SIGNAL.update(calls=0, at=None)
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch, root, project(root))
    assert SIGNAL["calls"] == 18
    return root


@pytest.mark.parametrize(
    ("call", "iteration", "done"),
    [(2, 4, 2), (5, 4, 5), (11, 8, 11), (16, 12, 16)],
    ids=["first set", "second set", "second set later", "last iteration"],
)
def test_run_stopped_in_a_validation_resumes_bit_for_bit(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, iteration: int, done: int
) -> None:
    path = project(tmp_path)
    SIGNAL.update(at=call)
    with pytest.raises(Interrupted) as stopped:
        run_here(monkeypatch, tmp_path, path)
    assert stopped.value.code == 143
    assert SIGNAL["calls"] == done, "no image after the signal"
    states = checkpoint.states_in(experiment(tmp_path) / "training_states")
    assert next(iter(states)) == iteration
    assert not checkpoint.load_state(states[iteration])["run"]["validated"]
    run_here(monkeypatch, tmp_path, path, "--auto_resume")
    assert equal(final_weights(tmp_path), final_weights(whole))
    assert equal(state_without_times(tmp_path, 12), state_without_times(whole, 12))
    best = [checkpoint.load_weights(experiment(root) / "models" / "net_g_best.pth") for root in (tmp_path, whole)]
    assert equal(*best)


def test_ctrl_c_in_a_validation_that_a_resumed_run_makes_up_for_saves_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project(tmp_path)
    SIGNAL.update(at=2, number=signal.SIGINT)
    for _ in range(2):
        with pytest.raises(Interrupted) as stopped:
            run_here(monkeypatch, tmp_path, path, "--auto_resume")
        assert stopped.value.code == 130
        SIGNAL.update(calls=0)
    SIGNAL.update(at=None)
    run_here(monkeypatch, tmp_path, path, "--auto_resume")
    assert equal(final_weights(tmp_path), final_weights(whole))


def test_broken_off_validation_leaves_generators_and_best_values_alone() -> None:
    model: Any = build_model(options())
    asked = iter([0, 0, 15])
    model.stop_asked = lambda: next(asked)
    before = torch.get_rng_state()
    with pytest.raises(BrokenOff, match="signal 15"):
        model.validation(loader(KitSet(5)), 1, None, False)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.best_metric_results == {} and not model.best_checkpoint_due


SCRIPT = """
import os, signal, sys, time
from basicsr.engine.cli import run_main
from basicsr.train import train_pipeline
from basicsr.utils.registry import METRIC_REGISTRY
def calculate_slow(img, img2, **kwargs):
    if os.environ["RANK"] == "1" and "--auto_resume" not in sys.argv:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.05)
    return 1.0
METRIC_REGISTRY.register(calculate_slow)
status = 70
try:
    status = run_main(lambda: train_pipeline({root!r}))
except SystemExit as left:
    status = left.code
open(os.path.join({root!r}, "status" + os.environ["RANK"]), "w").write(str(status))
"""


def test_all_processes_leave_the_validation_when_one_gets_the_signal(tmp_path: Path) -> None:
    make_project(tmp_path)
    path = write_options(
        tmp_path / "tiny.yml",
        val__metrics={"slow": {"type": "calculate_slow"}},
        datasets__val__dataroot_gt="data/gt",  # eight images, four each
        datasets__val__dataroot_lq="data/lq",
    )
    script = tmp_path / "train_here.py"
    script.write_text(SCRIPT.format(root=str(tmp_path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    for flags, status in (([], "143"), (["--auto_resume"], "0")):
        done = subprocess.run(
            [*command, "-opt", str(path), *flags],
            env=environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert [(tmp_path / f"status{rank}").read_text() for rank in (0, 1)] == [status] * 2, done.stderr[-4000:]
        newest = next(iter(checkpoint.states_in(experiment(tmp_path) / "training_states")))
        assert newest == (4 if flags == [] else 12)
