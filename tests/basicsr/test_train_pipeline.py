"""Whole runs: what they write, how they end."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from basicsr.engine import checkpoint
from basicsr.engine.errors import UserError
from tests.basicsr.tiny_run import OPTIONS, ROOT, TRAIN, environment, make_project, run_here, write_options


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("finished"))
    options = write_options(root / "tiny.yml", logger__use_tb_logger=True)
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch, root, options)
    return root


def log_of(root, name="tiny"):
    (path,) = sorted((root / "experiments" / name).glob(f"train_{name}_*.log"))
    return path.read_text()


def test_folder_of_a_run(finished):
    run = finished / "experiments" / "tiny"
    assert {path.name for path in (run / "models").iterdir()} == {
        *(f"net_g_{name}.pth" for name in ("3", "6", "9", "12", "latest", "best"))
    }
    assert set(checkpoint.states_in(run / "training_states")) == {3, 6, 9, 12}
    weights = checkpoint.load_weights(run / "models" / "net_g_latest.pth")
    assert list(weights) == ["params", "params_ema"]
    assert (run / "tiny.yml").read_text().startswith("#")


def test_log_of_a_run(finished):
    log = log_of(finished)
    assert "NEW RUN from randomly initialised weights" in log
    lines = [line for line in log.splitlines() if "[tiny..][epoch:" in line]
    assert len(lines) == 12, "ten images at batch four once stopped upstream after 22 of 30 iterations"
    assert " INFO: [tiny..][epoch:  2, iter:      12, lr:(" in lines[-1]
    assert "[eta: 0:00:00, time (data): " in lines[-1] and " l_pix: " in lines[-1]
    assert "-1 day" not in log
    assert log.index("Training data: 8 images") < log.index("iter:       1,")
    assert "End of training" in log


def test_validation_is_logged_under_its_iteration_and_not_repeated(finished):
    log = log_of(finished)
    assert log.count("Validation Val") == 3
    assert "@ 12 iter" in log or "@ 8 iter" in log or "@ 4 iter" in log
    assert "13 iter" not in log and "14 iter" not in log


def test_tensorboard_holds_losses_rate_norm_speed_and_metrics(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tb_logger" / "tiny"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"losses/l_pix", "lr", "grad_norm", "it_per_s", "metrics/Val/psnr"} <= tags
    assert [event.step for event in events.Scalars("metrics/Val/psnr")] == [4, 8, 12]
    assert len(events.Scalars("losses/l_pix")) == 12


def test_second_start_archives_the_first_and_its_events(tmp_path, monkeypatch):
    make_project(tmp_path)
    options = write_options(tmp_path / "tiny.yml", train__total_iter=1, logger__use_tb_logger=True)
    for _ in range(2):
        run_here(monkeypatch, tmp_path, options)
    for folder in ("experiments", "tb_logger"):
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert names[0] == "tiny" and names[1].startswith("tiny_archived_") and len(names) == 2


@pytest.mark.parametrize("mistake", ["options", "data", "weights"])
def test_mistakes_archive_nothing(tmp_path, monkeypatch, mistake):
    make_project(tmp_path)
    run = tmp_path / "experiments" / "tiny"
    run.mkdir(parents=True)
    changes = {"network_g__wdith": 8} if mistake == "options" else {}
    if mistake == "weights":
        (tmp_path / "net.pth").write_bytes(b"cut")
        changes = {"path__pretrain_network_g": "net.pth"}
    if mistake == "data":
        (tmp_path / "data" / "lq" / "0.png").unlink()
    with pytest.raises(UserError):
        run_here(monkeypatch, tmp_path, write_options(tmp_path / "tiny.yml", **changes))
    assert list((tmp_path / "experiments").iterdir()) == [run]
    assert list(run.iterdir()) == []


def test_batch_larger_than_the_set_trains_all_iterations(tmp_path, monkeypatch):
    make_project(tmp_path, images=3)
    options = write_options(tmp_path / "tiny.yml", train__total_iter=2, datasets__train__batch_size_per_gpu=5)
    run_here(monkeypatch, tmp_path, options)
    assert checkpoint.states_in(tmp_path / "experiments" / "tiny" / "training_states")


def test_fine_tuning_is_a_new_run_and_says_so(finished, tmp_path, monkeypatch):
    make_project(tmp_path)
    weights = str(finished / "experiments" / "tiny" / "models" / "net_g_latest.pth")
    options = write_options(tmp_path / "tiny.yml", path__pretrain_network_g=weights, train__total_iter=1)
    run_here(monkeypatch, tmp_path, options)
    log = log_of(tmp_path)
    assert "FINE-TUNING, a new run" in log and weights in log and "RESUMING" not in log


def test_only_the_newest_checkpoints_are_kept(tmp_path, monkeypatch):
    make_project(tmp_path)
    run_here(monkeypatch, tmp_path, write_options(tmp_path / "tiny.yml", logger__keep_last=1))
    run = tmp_path / "experiments" / "tiny"
    assert list(checkpoint.states_in(run / "training_states")) == [12]
    assert {path.name for path in (run / "models").iterdir()} == {
        *(f"net_g_{name}.pth" for name in ("12", "latest", "best"))
    }


def test_copied_options_of_an_inheriting_file_are_complete(tmp_path, monkeypatch):
    make_project(tmp_path)
    write_options(tmp_path / "base.yml")
    (tmp_path / "child.yml").write_text("base: base.yml\nname: child\ntrain: {total_iter: 1}\n")
    run_here(monkeypatch, tmp_path, tmp_path / "child.yml")
    text = (tmp_path / "experiments" / "child" / "child.yml").read_text()
    copied = yaml.safe_load(text)
    assert copied["train"]["total_iter"] == 1 and copied["network_g"] == OPTIONS["network_g"]
    assert text.startswith("# ") and "CMD" in text


def test_testing_uses_the_ema_weights_that_training_validated(finished, tmp_path, monkeypatch):
    make_project(tmp_path)
    weights = finished / "experiments" / "tiny" / "models" / "net_g_latest.pth"
    results = {}
    for key in (None, "params", "params_ema"):
        name = f"t_{key}"
        options = yaml.safe_load(write_options(tmp_path / "base.yml").read_text())
        kept = {k: options[k] for k in ("model_type", "scale", "num_gpu", "network_g", "val")}
        dataset = {**options["datasets"]["val"]}
        path = {"pretrain_network_g": str(weights), **({"param_key_g": key} if key else {})}
        del kept["val"]["val_freq"]
        test = {"name": name, **kept, "datasets": {"test_1": dataset}, "path": path}
        (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
        run_here(monkeypatch, tmp_path, tmp_path / "test.yml", pipeline="test")
        (log,) = (tmp_path / "results" / name).glob("test_*.log")
        results[key] = [line.split("psnr:")[1].split()[0] for line in log.read_text().splitlines() if "# psnr:" in line]
        assert ("EMA weights" in log.read_text()) == (key is None)
    assert results[None] == results["params_ema"] != results["params"]


@pytest.fixture
def script(tmp_path):
    """Starts the script as a user does, in a project of its own with a copy of the engine."""
    project = make_project(tmp_path / "project")
    train_py = project / "BasicSR" / "basicsr" / "train.py"
    shutil.copytree(ROOT / "BasicSR", project / "BasicSR", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "plugins", project / "plugins", ignore=shutil.ignore_patterns("__pycache__"))

    def start(options, *flags, cwd=project):
        env = environment()
        del env["PYTHONPATH"]
        command = [sys.executable, str(train_py), "-opt", str(options), *flags]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=env, cwd=cwd, stdout=pipe, stderr=pipe, text=True)

    return project, start


def test_script_runs_from_any_folder_and_writes_into_its_project(script, tmp_path):
    project, start = script
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # names of the engine's own folder must not hide a user's top-level modules, nor the other way round
    (elsewhere / "utils.py").write_text("raise RuntimeError('imported the wrong module')")
    process = start(write_options(project / "tiny.yml", train__total_iter=2), cwd=elsewhere)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert (project / "experiments" / "tiny" / "models" / "net_g_latest.pth").is_file()
    assert [path.name for path in elsewhere.iterdir()] == ["utils.py"]
    assert "iter:       2," in stderr, "without a terminal the lines are plain"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_and_sets_the_exit_status_and_the_run_can_go_on(script, number, status):
    project, start = script
    options = write_options(
        project / "tiny.yml", train__total_iter=100000, logger__save_checkpoint_freq=100000, val__val_freq=100000
    )
    process = start(options)
    log = []
    for line in process.stderr:
        log.append(line)
        if "iter:       3," in line:
            break
    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == status, "".join(log) + rest
    assert "--auto_resume" in rest and "Traceback" not in rest
    (reached,) = checkpoint.states_in(project / "experiments" / "tiny" / "training_states")
    assert reached >= 3
    process = start(options, "--auto_resume")
    began = time.monotonic()
    for line in process.stderr:
        if f"iter:{reached + 1:8,d}," in line or time.monotonic() - began > 60:
            break
    process.kill()
    process.communicate()
    assert f"iter:{reached + 1:8,d}," in line


def test_user_error_of_the_script_is_one_message_and_status_2(script):
    project, start = script
    process = start(write_options(project / "tiny.yml", datasets__train__dataroot_gt="nowhere"))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "nowhere" in stderr and "Traceback" not in stderr


def test_crash_of_the_script_is_not_status_0(script):
    project, start = script
    (project / "plugins" / "broken").mkdir()
    (project / "plugins" / "broken" / "__init__.py").write_text("")
    (project / "plugins" / "broken" / "broken_model.py").write_text(
        "from basicsr.models.sr_model import SRModel\n"
        "from basicsr.utils.registry import MODEL_REGISTRY\n"
        "@MODEL_REGISTRY.register()\n"
        "class BrokenModel(SRModel):\n"
        "    def optimize_parameters(self, current_iter):\n"
        "        raise RuntimeError('on purpose')\n"
    )
    process = start(write_options(project / "tiny.yml", model_type="BrokenModel", plugins=["plugins.broken"]))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1 and "on purpose" in stderr
    assert "on purpose" in log_of(project)


def test_help_does_not_need_options(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(TRAIN), "--help"])
    from basicsr.train import train_pipeline

    with pytest.raises(SystemExit) as left:
        train_pipeline(str(ROOT))
    assert left.value.code == 0 and "--auto_resume" in capsys.readouterr().out


def test_state_holds_nothing_that_needs_unpickling(finished):
    state = finished / "experiments" / "tiny" / "training_states" / "6.state"
    loaded = torch.load(state, weights_only=True)
    assert {"version", "epoch", "iter", "optimizers", "schedulers", "scaler", "best", "world_size", "run"} <= set(
        loaded
    )


def test_folder_that_cannot_be_made_is_a_user_error_naming_it(tmp_path, monkeypatch):
    make_project(tmp_path)
    (tmp_path / "file").touch()
    options = write_options(tmp_path / "t.yml", path__experiments_root=str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"file/tiny: .*Not a directory.*path:experiments_root=DIR"):
        run_here(monkeypatch, tmp_path, options)


def test_warnings_about_options_and_the_drawn_seed_reach_the_log_file(tmp_path, monkeypatch):
    make_project(tmp_path)
    scheduler = {"type": "MultiStepLR", "milestones": [5000]}
    options = write_options(tmp_path / "t.yml", manual_seed=None, train__total_iter=1, train__scheduler=scheduler)
    run_here(monkeypatch, tmp_path, options)
    (log,) = (tmp_path / "experiments" / "tiny").glob("train_tiny_*.log")
    assert "[5000] lie beyond train.total_iter" in log.read_text()
    assert "(drawn; write it into the file to repeat this run)" in log.read_text()


def test_name_with_a_folder_in_it_is_a_folder_below_experiments(tmp_path, monkeypatch):
    make_project(tmp_path)
    run_here(monkeypatch, tmp_path, write_options(tmp_path / "t.yml", name="group/run", train__total_iter=1))
    folder = tmp_path / "experiments" / "group" / "run"
    assert (folder / "models" / "net_g_latest.pth").is_file() and len(list(folder.glob("train_group_run_*.log"))) == 1


def test_a_run_may_start_from_the_weights_of_the_run_it_replaces(tmp_path, monkeypatch):
    make_project(tmp_path)
    run_here(monkeypatch, tmp_path, write_options(tmp_path / "t.yml", train__total_iter=1))
    weights = "experiments/tiny/models/net_g_latest.pth"
    run_here(monkeypatch, tmp_path, write_options(tmp_path / "t.yml", path__pretrain_network_g=weights))
    assert "FINE-TUNING" in log_of(tmp_path)


def test_testing_without_weights_is_said(tmp_path, monkeypatch):
    make_project(tmp_path)
    run_here(monkeypatch, tmp_path, write_options(tmp_path / "t.yml"), pipeline="test")
    (log,) = (tmp_path / "results" / "tiny").glob("test_*.log")
    assert "WARNING: path.pretrain_network_g is not set: the network is tested as it was initialised" in log.read_text()
