"""Training the runs of a sheet, with a stand-in for train.py: what is skipped, resumed, repeated, named as failed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from plugins.color_fidelity.ablation import Run, Sheet, load_sheet
from plugins.color_fidelity.ablation_session import make_plan, train_sheet
from plugins.color_fidelity.ablation_train import Progress, State, Status, Trainer, run_state, train_command
from tests.plugins.color_fidelity.ablation_kit import ROWS, make_sheet

FAKE_TRAIN = """
import shutil, signal, sys, time
from pathlib import Path
option_file = Path(sys.argv[sys.argv.index("-opt") + 1])
text = option_file.read_text()
folder = Path("experiments") / option_file.stem
print("[Tiny_..][epoch:  0, iter:       1, lr:(1e-3,)] ", flush=True)
(folder / "models").mkdir(parents=True, exist_ok=True)
(folder / "training_states").mkdir(exist_ok=True)
shutil.copy(option_file, folder / option_file.name)
with open("calls.txt", "a") as calls:
    calls.write(" ".join([option_file.stem, *sys.argv[3:]]) + "\\n")
if "total_iter: 13" in text:
    sys.exit("this one breaks")
if "total_iter: 99" in text:
    def stop(number, frame):
        (folder / "training_states" / "5.state").write_text("x")
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    Path("ready").touch()
    time.sleep(30)
(folder / "models" / "net_g_latest.pth").write_text("weights")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    script = tmp_path / "BasicSR" / "basicsr" / "train.py"
    script.parent.mkdir(parents=True)
    script.write_text(FAKE_TRAIN)
    return tmp_path


def sheet_of(root: Path, seeds: tuple[int, ...] = (0,), **iterations: int) -> Sheet:
    """Rows with a number of iterations each."""
    rows = {name: {**ROWS["own"], "train": {"total_iter": count}} for name, count in iterations.items()}
    return load_sheet(make_sheet(root, rows), root, root / "out", seeds=seeds)


def calls(root: Path) -> list[str]:
    path = root / "calls.txt"
    found = path.read_text().splitlines() if path.is_file() else []
    path.unlink(missing_ok=True)
    return found


def train(sheet: Sheet, jobs: int = 1) -> tuple[dict[str, str], list[str]]:
    said: list[str] = []
    return train_sheet(make_plan(sheet), sheet, said.append, jobs, 1), said


def test_complete_runs_are_not_trained_again_and_new_seeds_are(root: Path) -> None:
    assert train(sheet_of(root, one=2, two=3))[0] == {}
    assert sorted(calls(root)) == ["Tiny_one_s0", "Tiny_two_s0"]
    again = sheet_of(root, (0, 1), one=2, two=3)
    assert [state.status for _, state in make_plan(again).states] == [Status.COMPLETE] * 2 + [Status.NEW] * 2
    assert make_plan(again).iterations == 5 and make_plan(again).left == 2
    train(again, jobs=2)
    assert sorted(calls(root)) == ["Tiny_one_s1", "Tiny_two_s1"]


def test_changed_options_are_named_and_trained_anew(root: Path) -> None:
    train(sheet_of(root, one=2))
    changed = sheet_of(root, one=4)
    ((_, state),) = make_plan(changed).states
    assert state == State(Status.CHANGED, ("train.total_iter: 2 -> 4",))
    calls(root)
    _, said = train(changed)
    assert calls(root) == ["Tiny_one_s0"] and any("options changed" in line for line in said)


def test_interrupted_run_is_resumed_and_a_start_without_state_is_not(root: Path) -> None:
    sheet = sheet_of(root, one=8)
    train(sheet)
    calls(root)
    run = sheet.runs[0]
    run.weights.unlink()
    assert run_state(run).status is Status.NEW
    (run.folder / "training_states" / "6.state").write_text("")
    assert run_state(run) == State(Status.INTERRUPTED, done=6)
    train(sheet)
    assert calls(root) == ["Tiny_one_s0 --auto_resume"]


def test_a_folder_of_something_else_and_other_initial_weights_count_as_changed(root: Path) -> None:
    sheet = sheet_of(root, one=2)
    run = sheet.runs[0]
    run.folder.mkdir(parents=True)
    assert run_state(run).status is Status.CHANGED
    run.folder.rmdir()
    Trainer(sheet, "a" * 64, lambda text: None).train([(run, State(Status.NEW))])
    assert run_state(run, "a" * 64).status is Status.COMPLETE
    state = run_state(run, "b" * 64)
    assert state.status is Status.CHANGED and "weights it starts from" in state.changes[0]


def test_failed_run_is_named_with_its_last_lines_and_the_others_go_on(root: Path) -> None:
    failed, said = train(sheet_of(root, bad=13, good=2))
    assert list(failed) == ["Tiny_bad_s0"]
    assert "status 1" in failed["Tiny_bad_s0"] and "this one breaks" in failed["Tiny_bad_s0"]
    assert calls(root) == ["Tiny_bad_s0", "Tiny_good_s0"]
    assert any("FAILED" in line for line in said)


def test_stopping_lets_the_training_save_and_starts_no_other(root: Path) -> None:
    sheet = sheet_of(root, along=99, second=2)
    said: list[str] = []

    class Stopped(Trainer):
        """Ctrl-C comes when the first training is under way."""

        def _wait_for_child(self) -> None:
            deadline = time.monotonic() + 20
            while not (root / "ready").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            self._stop()

    trainer = Stopped(sheet, None, said.append)
    thread = threading.Thread(target=trainer._wait_for_child)
    thread.start()
    assert trainer.train(make_plan(sheet).states) == {}
    thread.join()
    assert calls(root) == ["Tiny_along_s0"]
    assert run_state(sheet.runs[0]) == State(Status.INTERRUPTED, done=5)
    assert any("finish their step" in line for line in said)


def test_progress_counts_this_session_only_and_forgets_failed_runs(root: Path) -> None:
    said: list[str] = []
    one, two = sheet_of(root, one=10, two=20).runs
    progress = Progress(25, said.append, every=0.0)
    progress.update(one, 7, first=5)
    assert said[-1].startswith("one, seed 0: iteration 7 of 10 | all runs 2 of 25 iterations, ") and "left" in said[-1]
    progress.update(two, 4, first=0)
    progress.drop(two, first=0)
    assert progress.text().startswith("6 of 9 iterations")
    progress.update(one, 10, first=5)
    assert progress.text() == "9 of 9 iterations"


def test_command_names_the_resolved_file(root: Path) -> None:
    run: Run = sheet_of(root, one=2).runs[0]
    command = train_command(run, root, resume=True)
    assert command[1:] == [str(root / "BasicSR/basicsr/train.py"), "-opt", str(run.file), "--auto_resume"]
    assert run.file == root / "out" / "options" / "Tiny_one_s0.yml"
