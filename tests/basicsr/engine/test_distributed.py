import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from basicsr.engine import distributed
from basicsr.engine.errors import UserError
from basicsr.utils.dist_util import get_dist_info, init_dist, master_only

ROOT = Path(__file__).resolve().parents[3]


def test_everything_works_alone():
    assert get_dist_info() == (0, 1) and distributed.is_main()
    distributed.barrier()
    assert distributed.all_gather_object("x") == ["x"]
    assert distributed.broadcast_object({"a": 1}) == {"a": 1}
    loss = torch.tensor(2.0, requires_grad=True)
    reduced = distributed.reduce_mean_dict({"l": loss})
    assert reduced["l"].item() == 2.0 and not reduced["l"].requires_grad
    assert distributed.new_control_group() is None
    distributed.shutdown()
    assert master_only(lambda: 5)() == 5


def test_launcher_without_its_environment_says_what_to_type(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert distributed.init("none") is False
    with pytest.raises(UserError, match="torchrun"):
        distributed.init("pytorch")
    with pytest.raises(UserError, match="srun"):
        distributed.init("slurm")
    with pytest.raises(UserError, match="mpi"):
        distributed.init("mpi")
    with pytest.raises(ValueError, match="Invalid launcher"):
        init_dist("mpi")


def test_slurm_variables_are_translated(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "remembered so that the test leaves nothing behind")
        monkeypatch.delenv(name)
    given = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "node7"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert distributed.init("slurm", port=1234) is False, "one task is not distributed"
    assert os.environ["MASTER_ADDR"] == "node7" and os.environ["MASTER_PORT"] == "1234"
    assert os.environ["WORLD_SIZE"] == "1" and os.environ["LOCAL_RANK"] == "0"


SCRIPT = """
import os, signal, torch
from basicsr.engine import distributed
from basicsr.engine.interrupt import StopRequest
from basicsr.utils.dist_util import master_only

assert distributed.init("none", backend="auto", device="cpu") is True  # torchrun's variables are found
rank = distributed.get_rank()
assert distributed.get_world_size() == distributed.local_world_size() == 2
values = {"b": torch.tensor(1.0 + rank), "a": torch.tensor(10.0 * rank)}
means = distributed.reduce_mean_dict(values)
assert list(means) == ["b", "a"] and means["b"] == 1.5 and means["a"] == 5.0, means
assert distributed.all_gather_object(rank) == [0, 1]
assert distributed.broadcast_object("seed" if rank == 0 else None) == "seed"
assert master_only(lambda: "done")() == ("done" if rank == 0 else None)
stopped = None
with StopRequest() as stop:
    stop.arm()
    for step in range(1, 10):
        if step == 3 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if stop.agreed():
            stopped = step
            break
assert stopped is not None and stop.status == 143
steps = distributed.all_gather_object(stopped)
assert steps[0] == steps[1], steps
with StopRequest() as stop:  # a run that ends by itself leaves no exchange half done
    stop.arm()
    assert not stop.agreed()
distributed.barrier()
distributed.shutdown()
"""


def test_two_processes_exchange_values_and_agree_on_the_last_step(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'BasicSR'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
