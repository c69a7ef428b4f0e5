"""Upstream's sampler; the engine's own training loop uses ``train_stream``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler


class EnlargedSampler(Sampler):
    """This rank's share of an epoch in which the data set is repeated ``ratio`` times, in random order.

    The order depends on ``seed`` and the epoch. All ranks need the same seed.

    Args:
        dataset: The data set.
        num_replicas: Number of processes.
        rank: This process.
        ratio: How often the data set comes in one epoch; fractions too.
        seed: ``manual_seed`` of the run.
    """

    def __init__(
        self, dataset: Any, num_replicas: int | None, rank: int | None, ratio: float = 1, seed: int = 0
    ) -> None:
        self.dataset = dataset
        self.num_replicas = 1 if num_replicas is None else num_replicas
        self.rank = 0 if rank is None else rank
        self.epoch = 0
        self.seed = seed
        self.num_samples = math.ceil(len(dataset) * ratio / self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        order = torch.randperm(self.total_size, generator=generator).tolist()
        size = len(self.dataset)
        return iter([index % size for index in order[self.rank : self.total_size : self.num_replicas]])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch
