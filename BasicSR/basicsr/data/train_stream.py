"""The infinite stream of training batches, a pure function of the seed and the position.

Position ``p`` of the global sample sequence fixes the image and every random choice made for it. So the batches do not
depend on the number of loader processes or training processes, and a run that is taken up at iteration ``k`` sees what
the uninterrupted run would have seen. No sample is dropped at the end of an epoch: a batch may span two.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from basicsr.data.dataset_options import label, read_options
from basicsr.data.loader_options import LoaderOptions
from basicsr.data.prefetch_dataloader import CUDAPrefetcher, PrefetchGenerator
from basicsr.data.sample_order import Order, SampleOrder, mix
from basicsr.engine.errors import UserError
from basicsr.engine.interrupt import signals_held
from basicsr.engine.loader_process import Failure, GuardedCollate, checked, start_loader_process


class _SeededDataset(Dataset):
    """Returns the sample of an (index, seed) pair, with all CPU generators seeded for it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, item: tuple[int, int]) -> Any:
        index, seed = item
        states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
        random.seed(seed)
        np.random.seed(mix(seed, 1) & 0xFFFFFFFF)
        torch.default_generator.manual_seed(mix(seed, 2) >> 1)
        try:
            return self.dataset[index]
        except UserError as error:
            return Failure(str(error))
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.default_generator.set_state(states[2])


class _Positions(Sampler[list[tuple[int, int]]]):
    """This rank's share of the global batches, without end: positions ``p`` with ``p % world_size == rank``."""

    def __init__(self, order: Order, global_batch: int, rank: int, world_size: int, start_iter: int) -> None:
        self.order, self.global_batch, self.start_iter = order, global_batch, start_iter
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first = self.start_iter * self.global_batch
        while True:
            positions = range(first, first + self.global_batch)
            yield [(self.order.index(p), self.order.seed_at(p)) for p in positions if p % self.world_size == self.rank]
            first += self.global_batch


class TrainStream:
    """Iterable over training batches without end.

    Attributes:
        epoch_len: Samples of one epoch.
        global_batch: Samples of one iteration over all processes.
        iters_per_epoch: Iterations that begin in one epoch, rounded up.
    """

    def __init__(
        self,
        dataset: Dataset,
        loader: LoaderOptions,
        seed: int,
        accum_iter: int = 1,
        rank: int = 0,
        world_size: int = 1,
        start_iter: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        size = len(cast(Sized, dataset))
        crops = int(getattr(dataset, "crops_per_image", 1))
        own_order = getattr(dataset, "sample_order", None)
        self.order = own_order(seed) if own_order else SampleOrder(size, loader.dataset_enlarge_ratio, crops, seed)
        self.epoch_len = self.order.epoch_len
        self.global_batch = loader.batch_size_per_gpu * accum_iter * world_size
        self.iters_per_epoch = -(-self.epoch_len // self.global_batch)
        self._loader_options = loader
        self._device = device
        self._iterator: Iterator[Any] | None = None
        self._prefetch: PrefetchGenerator | None = None
        positions = _Positions(self.order, self.global_batch, rank, world_size, start_iter)
        self._loader = self._make_loader(dataset, loader, positions, seed)

    @staticmethod
    def _make_loader(dataset: Dataset, loader: LoaderOptions, positions: _Positions, seed: int) -> DataLoader:
        workers = loader.num_worker_per_gpu
        if loader.prefetch_mode == "cpu" and workers == 0:
            # In the training process a background thread would share the generators with the network's own draws.
            workers = 1
            logging.getLogger("basicsr").info("prefetch_mode cpu: one loader process is used, num_worker_per_gpu is 0.")
        collate = getattr(dataset, "collate_fn", None) or default_collate
        return DataLoader(
            _SeededDataset(dataset),
            batch_sampler=positions,
            num_workers=workers,
            collate_fn=GuardedCollate(collate),
            pin_memory=loader.pin_memory and torch.cuda.is_available(),
            worker_init_fn=start_loader_process if workers else None,
            # The loader draws a number when it starts: not from the generator that training uses.
            generator=torch.Generator().manual_seed(seed),
            prefetch_factor=max(2, loader.num_prefetch_queue) if workers else None,
        )

    def epoch_at(self, current_iter: int) -> int:
        """The epoch, from 0, in which iteration ``current_iter`` (from 1) begins; 0 for iteration 0."""
        return max(0, current_iter - 1) * self.global_batch // self.epoch_len

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = self._start()
        batch = next(self._iterator)
        if isinstance(batch, Failure):
            self.close()
        return checked(batch)

    def _start(self) -> Iterator[Any]:
        with signals_held():
            batches: Iterator[Any] = iter(self._loader)
        mode = self._loader_options.prefetch_mode
        if mode == "cpu":
            self._prefetch = PrefetchGenerator(batches, self._loader_options.num_prefetch_queue)
            return self._prefetch
        if mode == "cuda" and torch.device(self._device).type == "cuda":
            return CUDAPrefetcher(batches, device=self._device).batches()
        return batches

    def close(self) -> None:
        """Stop background work; the next batch asked for would start again from ``start_iter``."""
        if self._prefetch is not None:
            self._prefetch.close()
        self._prefetch = None
        self._iterator = None


def build_train_stream(
    dataset: Dataset,
    dataset_opt: LoaderOptions | Mapping[str, Any],
    opt: Mapping[str, Any],
    rank: int = 0,
    world_size: int = 1,
    start_iter: int = 0,
) -> TrainStream:
    """Build the stream of training batches.

    Args:
        dataset: Map-style data set. ``crops_per_image`` and ``collate_fn`` attributes are honoured; a ``sample_order``
            method gives an order of its own (see :class:`basicsr.data.sample_order.Order`).
        dataset_opt: The data set's section; its loader keys are used.
        opt: All options: ``manual_seed``, ``device`` and ``train.accum_iter`` are used.
        rank: This process.
        world_size: Number of processes.
        start_iter: Iterations done already (0 for a fresh start).

    Returns:
        The stream; each item is ``batch_size_per_gpu * accum_iter`` collated samples.

    Raises:
        UserError: The data set is empty, or a loader key is wrong.
    """
    loader = read_options(LoaderOptions, dataset_opt)
    where = label(dataset_opt)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        kind = type(dataset).__name__
        raise UserError(f"{where}: training needs a data set with __len__ and __getitem__, not {kind}.")
    if len(cast(Sized, dataset)) == 0:
        raise UserError(f"{where}: the data set is empty.")
    check_loader_options(loader, where)
    train = opt.get("train") or {}
    seed = opt.get("manual_seed")
    if seed is None:
        raise UserError("manual_seed is not set; the options' reader draws one where the file gives none.")
    return TrainStream(
        dataset,
        loader,
        seed=int(seed),
        accum_iter=int(train.get("accum_iter") or 1),
        rank=rank,
        world_size=world_size,
        start_iter=start_iter,
        device=_device(opt),
    )


def check_loader_options(loader: LoaderOptions, where: str) -> None:
    """Raise ``UserError`` with every loader key that has an impossible value."""
    problems = []
    if loader.batch_size_per_gpu < 1:
        problems.append(f"batch_size_per_gpu must be at least 1, got {loader.batch_size_per_gpu}")
    if loader.num_worker_per_gpu < 0:
        problems.append(f"num_worker_per_gpu must not be negative, got {loader.num_worker_per_gpu}")
    if not loader.dataset_enlarge_ratio > 0:
        problems.append(f"dataset_enlarge_ratio must be positive, got {loader.dataset_enlarge_ratio}")
    if loader.prefetch_mode not in (None, "cpu", "cuda"):
        problems.append(f"prefetch_mode must be cpu, cuda or left out, got {loader.prefetch_mode!r}")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}.")


def _device(opt: Mapping[str, Any]) -> torch.device:
    wanted = str(opt.get("device") or "auto")
    cuda = torch.cuda.is_available() and opt.get("num_gpu") != 0
    if wanted.startswith("cuda") or (wanted == "auto" and cuda):
        return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    return torch.device("cpu")
