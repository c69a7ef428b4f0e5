"""Loader keys that every data set's section may have beside the data set's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LoaderOptions:
    """How samples are loaded.

    Attributes:
        batch_size_per_gpu: Samples of one process in one forward pass.
        num_worker_per_gpu: Loader processes of each training process; 0 loads in the training process itself.
        dataset_enlarge_ratio: An epoch has this many times the data set's samples (fractions too).
        prefetch_mode: ``cpu`` prepares batches in the background; ``cuda`` also copies them to the GPU ahead of use;
            omitted: neither.
        num_prefetch_queue: Batches that ``prefetch_mode: cpu`` keeps ready.
        pin_memory: Page-locked batches, faster to copy to a GPU.
        persistent_workers: Keep loader processes between epochs. (The training stream always does.)
    """

    batch_size_per_gpu: int = 1
    num_worker_per_gpu: int = 0
    dataset_enlarge_ratio: float = 1
    prefetch_mode: Literal["cpu", "cuda"] | None = None
    num_prefetch_queue: int = 1
    pin_memory: bool = False
    persistent_workers: bool = False
