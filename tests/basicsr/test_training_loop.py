"""The loop's order of things, with a model that only notes what is asked of it."""

import os
import signal
from collections import OrderedDict

import pytest
import torch

from basicsr.engine import checkpoint
from basicsr.engine.interrupt import Interrupted
from basicsr.engine.resume import LoopState
from basicsr.train import TrainingRun, train


class Stream:
    def __init__(self, start):
        self.position = start

    def __iter__(self):
        while True:
            self.position += 1
            yield {"number": self.position}

    def epoch_at(self, current_iter):
        return (current_iter - 1) // 4


class Model:
    best_checkpoint_due = False

    def __init__(self, folder, signal_at=None):
        self.folder, self.signal_at = folder, signal_at
        self.notes, self.drawn = [], []
        self.run_state = None

    def update_learning_rate(self, current_iter, warmup_iter=-1):
        self.notes.append(f"lr {current_iter}")

    def feed_data(self, data):
        self.notes.append(f"feed {data['number']}")

    def optimize_parameters(self, current_iter):
        self.drawn.append(torch.rand(1).item())
        self.notes.append(f"step {current_iter}")
        if current_iter == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def get_current_log(self):
        self.notes.append("log")
        return OrderedDict(l_pix=0.5)

    def tb_scalars(self):
        return {"grad_norm": 2.0}

    def get_current_learning_rate(self):
        return [1e-3]

    def validation(self, loader, current_iter, tb_logger, save_img):
        torch.rand(1)
        self.notes.append(f"val {current_iter}")

    def save(self, epoch, current_iter):
        self.notes.append(f"save {current_iter}")
        state = {"epoch": epoch, "iter": current_iter, "run": self.run_state()}
        checkpoint.save_state(self.folder / "training_states" / f"{current_iter}.state", state)


@pytest.fixture
def start(tmp_path):
    def build(total, state=None, val_freq=3, save_freq=4, signal_at=None, loaders=("set",)):
        path = {"models": str(tmp_path / "models"), "training_states": str(tmp_path / "training_states")}
        (tmp_path / "models").mkdir(exist_ok=True)
        opt = {
            "name": "loop",
            "manual_seed": 1,
            "path": path,
            "train": {"total_iter": total, "warmup_iter": -1},
            "val": {"val_freq": val_freq, "save_img": False},
            "logger": {"print_freq": 5, "save_checkpoint_freq": save_freq, "progress": "plain"},
        }
        first = state["iter"] if state else 0
        model = Model(tmp_path, signal_at)
        return TrainingRun(opt, model, Stream(first), list(loaders), None, first, LoopState(opt, state))

    return build


def _of(run, *kinds):
    return [note for note in run.model.notes if note.split()[0] in kinds]


def test_exactly_total_iter_steps_whatever_the_epoch_length(start):
    run = start(30)
    train(run)
    assert _of(run, "step") == [f"step {number}" for number in range(1, 31)]
    assert _of(run, "feed") == [f"feed {number}" for number in range(1, 31)]


def test_final_validation_is_done_once_and_under_the_last_iteration(start):
    for total, expected in ((6, [3, 6]), (7, [3, 6, 7])):
        run = start(total)
        train(run)
        assert _of(run, "val") == [f"val {number}" for number in expected]


def test_learning_rate_comes_first_and_the_state_before_the_validation(start):
    run = start(12, val_freq=12, save_freq=12)
    train(run)
    assert run.model.notes[:3] == ["lr 1", "feed 1", "step 1"]
    assert run.model.notes[-3:] == ["step 12", "save 12", "val 12"]


def test_losses_are_read_at_print_freq_only(start):
    run = start(12)
    train(run)
    assert _of(run, "log") == ["log", "log"]


def test_run_without_validation_sets_never_validates(start):
    run = start(6, loaders=())
    train(run)
    assert _of(run, "val") == []


def test_resumed_run_draws_the_numbers_of_the_uninterrupted_one(start, tmp_path):
    torch.manual_seed(3)
    whole = start(12)
    train(whole)
    state = checkpoint.load_state(tmp_path / "training_states" / "4.state")
    torch.manual_seed(77)
    rest = start(12, state)
    train(rest)
    assert rest.model.drawn == whole.model.drawn[4:]
    assert _of(rest, "feed")[0] == "feed 5"


def test_validation_that_the_state_came_before_is_made_up_for(start, tmp_path):
    torch.manual_seed(3)
    whole = start(12, val_freq=4)
    train(whole)
    state = checkpoint.load_state(tmp_path / "training_states" / "4.state")
    rest = start(12, state, val_freq=4)
    train(rest)
    assert rest.model.notes[0] == "val 4"
    assert rest.model.drawn == whole.model.drawn[4:]


def test_sigterm_finishes_the_step_saves_and_exits_with_its_status(start, tmp_path):
    run = start(12, signal_at=6)
    with pytest.raises(Interrupted) as stopped:
        train(run)
    assert stopped.value.code == 143
    assert run.model.notes[-3:] == ["step 6", "val 6", "save 6"]
    state = checkpoint.load_state(tmp_path / "training_states" / "6.state")
    rest = start(12, state)
    train(rest)
    assert rest.model.notes[0] == "lr 7", "the validation of iteration 6 was done before the state was saved"


def test_time_trained_adds_up_over_interruptions(start, tmp_path):
    run = start(4)
    train(run)
    state = checkpoint.load_state(tmp_path / "training_states" / "4.state")
    state["run"]["elapsed"] = 3600.0
    assert 3600 <= start(8, state).time_trained().total_seconds() < 3700


def test_only_the_newest_checkpoints_stay(start, tmp_path):
    run = start(12, save_freq=2)
    run.opt["logger"]["keep_last"] = 2
    train(run)
    assert list(checkpoint.states_in(tmp_path / "training_states")) == [12, 10]


def test_random_state_of_another_world_size_is_not_used(start):
    state = {"iter": 4, "run": {"rng": [{}, {}], "seed": 1}}
    before = torch.get_rng_state()
    start(8, state).loop_state.restore_generators()
    assert torch.equal(before, torch.get_rng_state())
