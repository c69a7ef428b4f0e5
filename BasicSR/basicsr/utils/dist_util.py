"""Upstream's names for distribution, on top of ``basicsr.engine.distributed``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from basicsr.engine import distributed

F = TypeVar("F", bound=Callable[..., Any])


def init_dist(launcher: str, backend: str = "auto", **kwargs: Any) -> None:
    """Start the process group.

    Args:
        launcher: ``pytorch`` (torchrun) or ``slurm``.
        backend: ``auto``, ``nccl`` or ``gloo``.
        **kwargs: ``port`` under SLURM; ``device`` and ``num_gpu`` decide what ``auto`` means.

    Raises:
        ValueError: Unknown launcher, or it left no environment to read.
    """
    if launcher == "pytorch":
        _init_dist_pytorch(backend, **kwargs)
    elif launcher == "slurm":
        _init_dist_slurm(backend, **kwargs)
    else:
        raise ValueError(f"Invalid launcher type: {launcher}; use pytorch or slurm")


def _init_dist_pytorch(backend: str = "auto", **kwargs: Any) -> None:
    distributed.init("pytorch", backend, **kwargs)


def _init_dist_slurm(backend: str = "auto", port: int | None = None, **kwargs: Any) -> None:
    distributed.init("slurm", backend, port, **kwargs)


def get_dist_info() -> tuple[int, int]:
    """Returns: This process's rank and the number of processes; (0, 1) without a group."""
    return distributed.get_rank(), distributed.get_world_size()


def master_only(func: F) -> F:
    """Decorator: only rank 0 runs the function; the other ranks get ``None``."""

    @functools.wraps(func)
    def on_main(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs) if distributed.is_main() else None

    return on_main  # type: ignore[return-value]
