"""Several processes, one run: start the group, say who we are, exchange small things.

Everything here also works in a single process that never started a group: rank 0 of 1, collectives are identities.
The processes are started by ``torchrun`` or by SLURM's ``srun``; the engine has no launcher of its own.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from basicsr.engine.errors import UserError

T = TypeVar("T")

LAUNCHERS = ("none", "pytorch", "slurm")
DEFAULT_PORT = 29500
# A rank may wait this long for another one, for example while it decodes a large validation image.
TIMEOUT = datetime.timedelta(hours=1)
_TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def init(
    launcher: str = "none",
    backend: str = "auto",
    port: int | None = None,
    device: str = "auto",
    num_gpu: int | str | None = "auto",
) -> bool:
    """Start the process group if this process was launched as one of several.

    Args:
        launcher: ``none``, ``pytorch`` (torchrun) or ``slurm``. With ``none`` the variables that torchrun sets are
            used when they are there.
        backend: ``auto`` (nccl beside gloo on CUDA, else gloo), ``nccl``, ``gloo`` or another backend of torch.
        port: The port of the first machine under SLURM; torchrun brings its own.
        device: The option ``device``: decides what ``auto`` means.
        num_gpu: The option ``num_gpu``; 0 means CPU.

    Returns:
        Whether the run has more than one process.

    Raises:
        UserError: Unknown launcher, or the launcher's environment variables are missing.
    """
    if dist.is_available() and dist.is_initialized():
        return get_world_size() > 1
    if launcher not in LAUNCHERS:
        raise UserError(f"--launcher {launcher}: unknown; use one of {', '.join(LAUNCHERS)}")
    if launcher == "slurm":
        _export_slurm_variables(port)
    missing = [name for name in _TORCHRUN_VARIABLES if name not in os.environ]
    if missing:
        if launcher == "none":
            return False
        raise UserError(
            f"--launcher {launcher}: {', '.join(missing)} not set. Start the processes with "
            "`torchrun --nproc_per_node=N BasicSR/basicsr/train.py -opt ... --launcher pytorch`, "
            "or leave --launcher out to train in one process."
        )
    if int(os.environ["WORLD_SIZE"]) == 1:
        return False
    on_cuda = _wants_cuda(device, num_gpu)
    if on_cuda:
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    if backend == "auto":
        backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
    dist.init_process_group(backend=backend, timeout=TIMEOUT)
    return True


def _wants_cuda(device: str, num_gpu: int | str | None) -> bool:
    return torch.cuda.is_available() and num_gpu != 0 and (device == "auto" or device.startswith("cuda"))


def _export_slurm_variables(port: int | None) -> None:
    """Translate srun's variables into the ones that torch reads."""
    try:
        rank, world = os.environ["SLURM_PROCID"], os.environ["SLURM_NTASKS"]
    except KeyError as error:
        raise UserError(
            f"--launcher slurm: {error.args[0]} is not set. "
            "Start with `srun --ntasks=N python BasicSR/basicsr/train.py ...`"
        ) from error
    os.environ["RANK"] = rank
    os.environ["WORLD_SIZE"] = world
    if "SLURM_LOCALID" in os.environ:
        os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
    if "SLURM_NTASKS_PER_NODE" in os.environ:
        os.environ["LOCAL_WORLD_SIZE"] = os.environ["SLURM_NTASKS_PER_NODE"]
    if port is not None:
        os.environ["MASTER_PORT"] = str(port)
    os.environ.setdefault("MASTER_PORT", str(DEFAULT_PORT))
    os.environ.setdefault("MASTER_ADDR", _first_slurm_host())


def _first_slurm_host() -> str:
    nodes = os.environ.get("SLURM_JOB_NODELIST") or os.environ.get("SLURM_NODELIST")
    if nodes is None:
        return os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1")
    if "[" not in nodes:
        return nodes.split(",")[0]
    try:
        listed = subprocess.run(["scontrol", "show", "hostname", nodes], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        message = f"cannot expand SLURM's node list '{nodes}' ({error}); set MASTER_ADDR to the first host"
        raise UserError(message) from error
    return listed.stdout.split()[0]


def shutdown() -> None:
    """Leave the group, if there is one."""
    if _active():
        dist.destroy_process_group()


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_rank() -> int:
    """Returns: This process's number in the run; 0 alone."""
    return dist.get_rank() if _active() else 0


def get_world_size() -> int:
    """Returns: The number of processes of the run; 1 alone."""
    return dist.get_world_size() if _active() else 1


def is_main() -> bool:
    """Returns: Whether this process writes the files."""
    return get_rank() == 0


def local_rank() -> int:
    """Returns: This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", get_rank()))


def local_world_size() -> int:
    """Returns: The number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", get_world_size())) if get_world_size() > 1 else 1


def barrier() -> None:
    """Wait until every process is here."""
    if get_world_size() > 1:
        dist.barrier()


def all_gather_object(value: T) -> list[T]:
    """Collect one picklable value of every process.

    Returns:
        The values in rank order, the same list everywhere.
    """
    if get_world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def broadcast_object(value: T, src: int = 0) -> T:
    """Give every process the value that rank ``src`` holds."""
    if get_world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=src)
    return box[0]


def reduce_mean_dict(values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mean over the processes of scalar tensors, in one exchange and without a host synchronisation.

    Args:
        values: Scalars; every process brings the same keys.

    Returns:
        A new dict in the same order; in a single process the given tensors, detached.
    """
    detached = {key: value.detach() for key, value in values.items()}
    if get_world_size() == 1 or not detached:
        return detached
    names = sorted(detached)
    stacked = torch.stack([detached[name].float().reshape(()) for name in names])
    dist.all_reduce(stacked)
    means = dict(zip(names, (stacked / get_world_size()).unbind(), strict=True))
    return {key: means[key] for key in detached}


def new_control_group() -> Any:
    """Returns: A gloo group for flags between hosts, apart from the gradients' traffic; None in a single process."""
    return dist.new_group(backend="gloo", timeout=TIMEOUT) if get_world_size() > 1 else None
