"""Killed, stopped and resumed runs end in the weights of the uninterrupted one, bit for bit."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from basicsr.engine import checkpoint
from basicsr.engine.errors import UserError
from tests.basicsr.tiny_run import ROOT, environment, make_project, run_here, write_options


def experiment(root: Path) -> Path:
    return root / "experiments" / "tiny"


def final_weights(root: Path) -> dict:
    return checkpoint.load_weights(experiment(root) / "models" / "net_g_latest.pth")


def equal(one, other) -> bool:
    """Bit-for-bit equality of nested containers with tensors."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def state_without_times(root: Path, iteration: int) -> dict:
    state = checkpoint.load_state(experiment(root) / "training_states" / f"{iteration}.state")
    state["run"] = {key: value for key, value in state["run"].items() if key != "elapsed"}
    return state


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of 12 iterations."""
    root = make_project(tmp_path_factory.mktemp("whole"))
    options = write_options(root / "tiny.yml")
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch, root, options)
    return root


def test_same_seed_same_weights(whole, tmp_path, monkeypatch):
    run_here(monkeypatch, make_project(tmp_path), write_options(tmp_path / "tiny.yml"))
    assert equal(final_weights(tmp_path), final_weights(whole))


@pytest.mark.parametrize("kept", [3, 6, 12])
def test_resume_is_exact_weights_ema_optimizer_rng_and_best(whole, tmp_path, monkeypatch, kept):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    for path in experiment(tmp_path).rglob("*"):
        number = path.stem.split("_")[-1]
        if path.name.startswith("net_g_") and not number.isdigit():
            path.unlink()
        elif number.isdigit() and path.suffix in (".pth", ".state") and int(number) > kept:
            path.unlink()
    run_here(monkeypatch, tmp_path, tmp_path / "tiny.yml", "--auto_resume")
    assert equal(final_weights(tmp_path), final_weights(whole))
    assert equal(state_without_times(tmp_path, 12), state_without_times(whole, 12))
    for name in ("net_g_best.pth", "net_g_9.pth"):
        ours, theirs = (checkpoint.load_weights(experiment(root) / "models" / name) for root in (tmp_path, whole))
        assert kept > 9 or equal(ours, theirs)


def test_explicit_state_resumes_exactly_too(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    state = "experiments/tiny/training_states/6.state"
    options = write_options(tmp_path / "tiny.yml", path__resume_state=state)
    (experiment(tmp_path) / "models" / "net_g_latest.pth").unlink()
    run_here(monkeypatch, tmp_path, options)
    assert equal(final_weights(tmp_path), final_weights(whole))
    assert not list((tmp_path / "experiments").glob("*archived*"))


def test_auto_resume_looks_under_the_projects_root_not_the_current_folder(whole, tmp_path, monkeypatch):
    project = tmp_path / "project"
    shutil.copytree(whole, project)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run_here(monkeypatch, project, project / "tiny.yml", "--auto_resume")
    assert [path.name for path in (project / "experiments").iterdir()] == ["tiny"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    logs = sorted(experiment(project).glob("train_tiny_*.log"))
    assert "RESUMING this run after iteration 12" in logs[-1].read_text()


def test_seed_that_was_drawn_is_used_again(tmp_path, monkeypatch):
    make_project(tmp_path)
    options = write_options(tmp_path / "tiny.yml", manual_seed=None)
    run_here(monkeypatch, tmp_path, options)
    first = final_weights(tmp_path)
    for path in (experiment(tmp_path) / "training_states").iterdir():
        if path.stem != "3":
            path.unlink()
    run_here(monkeypatch, tmp_path, options, "--auto_resume")
    assert equal(final_weights(tmp_path), first)


def test_state_of_upstream_is_refused_with_the_way_out(tmp_path, monkeypatch):
    make_project(tmp_path)
    folder = tmp_path / "experiments" / "tiny" / "training_states"
    folder.mkdir(parents=True)
    torch.save({"epoch": 0, "iter": 3, "optimizers": [], "schedulers": []}, folder / "3.state")
    with pytest.raises(UserError, match=r"pretrain_network_g.*net_g_3\.pth"):
        run_here(monkeypatch, tmp_path, write_options(tmp_path / "tiny.yml"), "--auto_resume")


def test_damaged_newest_checkpoint_is_named_and_the_previous_one_used(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    weights = experiment(tmp_path) / "models" / "net_g_12.pth"
    weights.write_bytes(weights.read_bytes()[:100])
    before = set(experiment(tmp_path).glob("*.log"))
    run_here(monkeypatch, tmp_path, tmp_path / "tiny.yml", "--auto_resume")
    assert equal(final_weights(tmp_path), final_weights(whole))
    log = next(path for path in experiment(tmp_path).glob("*.log") if path not in before).read_text()
    assert "net_g_12.pth" in log and "RESUMING this run after iteration 9" in log


def test_no_checkpoint_yet_starts_afresh_in_the_same_folder(whole, tmp_path, monkeypatch):
    make_project(tmp_path)
    (experiment(tmp_path) / "models").mkdir(parents=True)
    leftover = experiment(tmp_path) / "models" / ".net_g_3.pth.123.tmp-write"
    leftover.write_bytes(b"half")
    run_here(monkeypatch, tmp_path, write_options(tmp_path / "tiny.yml"), "--auto_resume")
    assert [path.name for path in (tmp_path / "experiments").iterdir()] == ["tiny"]
    assert not leftover.exists()
    assert equal(final_weights(tmp_path), final_weights(whole))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("mode", ["random", "writes"])
def test_run_killed_with_sigkill_again_and_again_ends_in_the_same_weights(tmp_path, mode):
    roots = [make_project(tmp_path / name) for name in ("whole", "broken")]
    options = write_options(tmp_path / "tiny.yml")
    driver = Path(__file__).with_name("kill_driver.py")
    command = [sys.executable, str(driver), mode, *map(str, roots), str(options)]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[-1]) >= 9
    assert equal(final_weights(roots[1]), final_weights(roots[0]))
    assert equal(state_without_times(roots[1], 12), state_without_times(roots[0], 12))
    assert [path.name for path in (roots[1] / "experiments").iterdir()] == ["tiny"], "nothing was archived"
    assert not list(experiment(roots[1]).rglob("*.tmp-write"))


def test_processes_that_torchrun_starts_again_resume_by_themselves(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (experiment(tmp_path) / "training_states" / "12.state").unlink()
    (experiment(tmp_path) / "models" / "net_g_latest.pth").unlink()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    run_here(monkeypatch, tmp_path, tmp_path / "tiny.yml")
    assert [path.name for path in (tmp_path / "experiments").iterdir()] == ["tiny"]
    assert equal(final_weights(tmp_path), final_weights(whole))
