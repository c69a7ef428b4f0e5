"""Which device, how many CPU threads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from basicsr.engine import distributed
from basicsr.engine.errors import UserError


def resolve_device(opt: Mapping[str, Any]) -> torch.device:
    """Choose the device of this process.

    Args:
        opt: Reads ``device`` (``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``) and ``num_gpu`` (0 means CPU).

    Returns:
        The device; under several processes a machine's CUDA devices are dealt out by local rank.

    Raises:
        UserError: The wanted device is not there, or the name is unknown.
    """
    wanted = str(opt.get("device") or "auto")
    if wanted == "cpu" or (opt.get("num_gpu") == 0 and wanted == "auto"):
        return torch.device("cpu")
    if opt.get("num_gpu") == 0:
        raise UserError(f"device: {wanted} and num_gpu: 0 (CPU) contradict each other; remove one")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("device: mps: this machine or this torch has no MPS; use device: auto")
        return torch.device("mps")
    if wanted.split(":")[0] == "cuda":
        return _cuda(wanted)
    if wanted == "cpu":
        return torch.device("cpu")
    raise UserError(f"device: {wanted}: unknown; use auto, cpu, cuda or mps")


def _cuda(wanted: str) -> torch.device:
    if not torch.cuda.is_available():
        unseen = "sees no CUDA device (driver? CUDA_VISIBLE_DEVICES?)"
        built = "is built without CUDA" if torch.version.cuda is None else unseen
        raise UserError(f"device: {wanted}: torch {torch.__version__} {built}; use device: auto or cpu")
    count = torch.cuda.device_count()
    if ":" in wanted:
        index = int(wanted.split(":")[1])
        if index >= count:
            raise UserError(f"device: {wanted}: there are {count} CUDA devices, numbered from 0")
    elif distributed.get_world_size() > 1:
        index = distributed.local_rank() % count
    else:
        index = torch.cuda.current_device()
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def cpu_threads(opt: Mapping[str, Any]) -> int:
    """How many threads torch should compute with.

    ``cpu_threads: auto`` takes OMP_NUM_THREADS where it is set; else the cores this process may use, less the data
    workers, shared among the processes of this machine, at least one. More threads than free cores make the small
    convolutions of a training step many times slower, because threads that wait for each other spin.

    Args:
        opt: Reads ``cpu_threads`` and ``datasets.train.num_worker_per_gpu``.

    Raises:
        UserError: ``cpu_threads`` is neither ``auto`` nor a positive whole number.
    """
    wanted = opt.get("cpu_threads", "auto")
    if wanted not in (None, "auto"):
        if not isinstance(wanted, int) or wanted < 1:
            raise UserError(f"cpu_threads: {wanted}: use auto or a whole number from 1")
        return wanted
    from_environment = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if from_environment.isdigit() and int(from_environment) > 0:
        return int(from_environment)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = ((opt.get("datasets") or {}).get("train") or {}).get("num_worker_per_gpu") or 0
    return max(1, allowed // distributed.local_world_size() - int(workers))


def configure(opt: Mapping[str, Any]) -> torch.device:
    """Prepare torch for a run: device, threads, cuDNN's choice of the fastest convolution.

    Returns:
        The device of this process.
    """
    device = resolve_device(opt)
    torch.set_num_threads(cpu_threads(opt))
    torch.backends.cudnn.benchmark = True
    return device
