"""Data sets, image stores, samplers and loaders. Importing the package registers the engine's own data sets."""

from __future__ import annotations

import copy
import importlib
import logging
import pkgutil
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.utils.data
from torch.utils.data import DataLoader, Dataset, Sampler

from basicsr.data.dataset_options import label, read_options
from basicsr.data.loader_options import LoaderOptions
from basicsr.data.prefetch_dataloader import PrefetchDataLoader
from basicsr.data.train_stream import build_train_stream, check_loader_options
from basicsr.engine.errors import UserError
from basicsr.utils.registry import DATASET_REGISTRY

__all__ = ["build_dataloader", "build_dataset", "build_train_stream", "worker_init_fn"]

for _module in pkgutil.iter_modules(__path__):
    if _module.name.endswith("_dataset"):
        importlib.import_module(f"{__name__}.{_module.name}")


def build_dataset(dataset_opt: Mapping[str, Any]) -> Dataset:
    """Build the data set that a section of ``datasets`` describes.

    Args:
        dataset_opt: The section: ``type``, ``name`` and the data set's own keys. It is not changed.

    Returns:
        The data set.

    Raises:
        UserError: ``type`` is missing, or the data set refuses its options.
        KeyError: No data set of that type is registered.
    """
    if "type" not in dataset_opt:
        raise UserError(f"{label(dataset_opt)}: 'type' is missing, such as PairedImageDataset.")
    dataset: Dataset = DATASET_REGISTRY.get(dataset_opt["type"])(copy.deepcopy(dict(dataset_opt)))
    logging.getLogger("basicsr").info(
        "Dataset [%s] - %s is built.", type(dataset).__name__, dataset_opt.get("name", "unnamed")
    )
    return dataset


def build_dataloader(
    dataset: Dataset,
    dataset_opt: Mapping[str, Any],
    num_gpu: int = 1,
    dist: bool = False,
    sampler: Sampler | None = None,
    seed: int | None = None,
) -> DataLoader:
    """Build a loader in upstream's manner: by epochs, and dropping an incomplete last batch in training.

    The engine's own loop trains from ``build_train_stream`` instead.

    Args:
        dataset: The data set.
        dataset_opt: Its section: ``phase`` and the loader keys. In training, ``batch_size_per_gpu`` samples a batch; in
            any other phase one sample, and ``num_worker_per_gpu`` loader processes (default none).
        num_gpu: GPUs of this process: multiplies batch and processes in training when not ``dist``.
        dist: One process for each GPU.
        sampler: Order of samples; training without one shuffles.
        seed: Base of the loader processes' random streams.

    Returns:
        The loader.

    Raises:
        UserError: A loader key is wrong or missing.
    """
    where = label(dataset_opt)
    phase = dataset_opt.get("phase", "train")
    loader = read_options(LoaderOptions, dataset_opt)
    check_loader_options(loader, where)
    arguments: dict[str, Any] = {"batch_size": 1, "shuffle": False, "sampler": sampler}
    workers = loader.num_worker_per_gpu
    if phase == "train":
        if "batch_size_per_gpu" not in dataset_opt:
            raise UserError(f"{where}: batch_size_per_gpu is missing.")
        factor = 1 if dist or num_gpu == 0 else num_gpu
        workers *= factor
        batch = loader.batch_size_per_gpu * factor
        arguments.update(batch_size=batch, shuffle=sampler is None, drop_last=True)
        if seed is not None:
            arguments["worker_init_fn"] = _seeded_workers(workers, dist, seed)
    elif not phase.startswith(("val", "test")):
        raise UserError(f"{where}: phase must be train, val or test, got {phase!r}.")
    arguments["num_workers"] = workers
    arguments["pin_memory"] = loader.pin_memory and torch.cuda.is_available()
    arguments["persistent_workers"] = loader.persistent_workers and workers > 0
    if loader.prefetch_mode == "cpu":
        return PrefetchDataLoader(num_prefetch_queue=loader.num_prefetch_queue, dataset=dataset, **arguments)
    return DataLoader(dataset=dataset, **arguments)


def _seeded_workers(workers: int, dist: bool, seed: int) -> Callable[[int], None]:
    """``worker_init_fn`` for the loader processes of this rank."""
    rank = torch.distributed.get_rank() if dist and torch.distributed.is_initialized() else 0
    return partial(worker_init_fn, num_workers=workers, rank=rank, seed=seed)


def worker_init_fn(worker_id: int, num_workers: int, rank: int, seed: int) -> None:
    """Seed Python's and NumPy's generators of a loader process.

    Each process and rank gets its own stream, and each epoch another one: PyTorch draws a new base seed whenever a
    loader starts its processes, and that goes into the seed here.
    """
    info = torch.utils.data.get_worker_info()
    started = info.seed - info.id if info is not None else 0
    worker_seed = (num_workers * rank + worker_id + seed + started) % 2**32
    np.random.seed(worker_seed)
    random.seed(worker_seed)
