"""Two processes under torchrun, on the CPU with gloo, are the same run as one with the same effective batch."""

import re
import shutil
import subprocess
import sys

import pytest
import torch

from basicsr.engine import checkpoint
from tests.basicsr.tiny_run import ROOT, TRAIN, environment, make_project, run_here, write_options

SCRIPT = """
import sys
from basicsr.engine.cli import run_main
from basicsr.train import train_pipeline
sys.exit(run_main(lambda: train_pipeline({root!r})))
"""


def torchrun(root, options, *flags):
    script = root / "train_here.py"
    script.write_text(SCRIPT.format(root=str(root)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    command += ["-opt", str(options), *flags]
    done = subprocess.run(command, env=environment(), cwd=root, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stderr


def logged(root):
    text = "".join(path.read_text() for path in sorted((root / "experiments" / "tiny").glob("train_*.log")))
    losses = {int(n): float(v) for n, v in re.findall(r"iter: +(\d+), lr.* l_pix: (\S+)", text)}
    metrics = re.findall(r"# psnr: (\S+)", text)
    return losses, [float(value) for value in metrics]


def weights(root):
    loaded = checkpoint.load_weights(root / "experiments" / "tiny" / "models" / "net_g_latest.pth")
    return {f"{section}.{key}": value for section, state in loaded.items() for key, value in state.items()}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("one"))
    options = write_options(root / "tiny.yml", datasets__train__batch_size_per_gpu=4)
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch, root, options)
    return root


def test_losses_metrics_and_weights_equal_those_of_one_process(one_process, tmp_path):
    root = make_project(tmp_path)
    stderr = torchrun(root, write_options(root / "tiny.yml"), "--launcher", "pytorch")
    assert [path.name for path in (root / "experiments").iterdir()] == ["tiny"]
    assert stderr.count("NEW RUN") == 1, "only rank 0 talks"
    losses, metrics = logged(root)
    expected_losses, expected_metrics = logged(one_process)
    assert losses.keys() == expected_losses.keys() == set(range(1, 13))
    assert losses == pytest.approx(expected_losses, rel=2e-4)
    assert metrics == pytest.approx(expected_metrics, abs=1e-3) and len(metrics) == 3
    ours, theirs = weights(root), weights(one_process)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-4, atol=1e-5)


def test_run_goes_on_with_another_number_of_processes(one_process, tmp_path):
    """Also: torchrun is recognised without --launcher."""
    root = tmp_path / "project"
    shutil.copytree(one_process, root)
    run = root / "experiments" / "tiny"
    for number in (9, 12):
        (run / "training_states" / f"{number}.state").unlink()
    (run / "models" / "net_g_latest.pth").unlink()
    for path in run.glob("train_*.log"):
        path.unlink()
    stderr = torchrun(root, write_options(root / "tiny.yml"), "--auto_resume")
    assert "RESUMING this run after iteration 6" in stderr and "goes on with 2" in stderr
    losses, _ = logged(root)
    expected, _ = logged(one_process)
    assert losses == pytest.approx({n: expected[n] for n in range(7, 13)}, rel=2e-4)
    for key, value in weights(root).items():
        torch.testing.assert_close(value, weights(one_process)[key], rtol=1e-4, atol=1e-5)


def test_script_itself_runs_under_torchrun():
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=1",
        str(TRAIN),
        "--help",
    ]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "--launcher" in done.stdout, done.stderr[-3000:]
