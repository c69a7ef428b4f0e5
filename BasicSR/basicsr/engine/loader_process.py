"""What happens inside a loader process: threads, signals, and how a bad file gets out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from basicsr.engine.errors import UserError
from basicsr.engine.interrupt import keep_inherited_handler


@dataclass(frozen=True)
class Failure:
    """A ``UserError`` on its way out of a loader process, where an exception would arrive wrapped in a traceback."""

    message: str


class GuardedDataset(Dataset):
    """A data set that returns a ``Failure`` where it would raise a ``UserError``.

    Args:
        dataset: Map-style data set.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Any, self.dataset))

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.dataset[item]
        except UserError as error:
            return Failure(str(error))


class GuardedCollate:
    """A collate function that passes the first ``Failure`` of a batch on, in place of the batch.

    Args:
        collate: The data set's own.
    """

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: list[Any]) -> Any:
        for sample in samples:
            if isinstance(sample, Failure):
                return sample
        return self.collate(samples)


def checked(batch: Any) -> Any:
    """The batch.

    Raises:
        UserError: It is a ``Failure``.
    """
    if isinstance(batch, Failure):
        raise UserError(batch.message)
    return batch


def start_loader_process(worker_id: int, then: Callable[[int], object] | None = None) -> None:
    """``worker_init_fn``: one thread each, for they are many and share the cores with training; and no early death.

    A terminal, ``scancel`` and the like send their signal to every process of the run: the loaders have to stay until
    the training process has finished its step.

    Args:
        worker_id: The number of the process.
        then: A further ``worker_init_fn``.
    """
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_inherited_handler()
    if then is not None:
        then(worker_id)
