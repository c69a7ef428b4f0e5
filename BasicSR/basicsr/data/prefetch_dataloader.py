"""Loading the next batch while the current one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader


class _End:
    """Put into the queue when the generator ends, with its exception if it failed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class PrefetchGenerator(threading.Thread):
    """Runs a generator in a background thread.

    An exception of the generator is raised again where its item would have been returned, so a file that cannot be read
    never leaves the consumer waiting.

    Args:
        generator: What to run; an exhausted prefetcher stays exhausted.
        num_prefetch_queue: Items kept ready.
    """

    def __init__(self, generator: Iterable[Any], num_prefetch_queue: int) -> None:
        super().__init__(daemon=True)
        self.queue: queue.Queue[Any] = queue.Queue(max(1, num_prefetch_queue))
        self.generator = generator
        self._stop_wanted = threading.Event()
        self._finished = False
        self.start()

    def run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self.generator:
                if not self._put(item):
                    return
        except BaseException as caught:  # noqa: BLE001 - handed to the consumer, who raises it
            error = caught
        self._put(_End(error))

    def _put(self, item: Any) -> bool:
        while not self._stop_wanted.is_set():
            try:
                self.queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._finished:
            raise StopIteration
        item = self.queue.get()
        if isinstance(item, _End):
            self._finished = True
            if item.error is not None:
                raise item.error
            raise StopIteration
        return item

    def close(self) -> None:
        """Stop the thread; what it has prepared is dropped."""
        self._stop_wanted.set()
        self._finished = True
        self.join(timeout=10)


class PrefetchDataLoader(DataLoader):
    """A loader whose batches are prepared in a background thread.

    Args:
        num_prefetch_queue: Batches kept ready.
        **kwargs: Arguments of ``torch.utils.data.DataLoader``.
    """

    def __init__(self, num_prefetch_queue: int, **kwargs: Any) -> None:
        self.num_prefetch_queue = num_prefetch_queue
        super().__init__(**kwargs)

    def __iter__(self) -> Any:
        return PrefetchGenerator(super().__iter__(), self.num_prefetch_queue)


class CPUPrefetcher:
    """``next()`` returns the next batch, and None at the end; ``reset()`` begins again.

    The loader is started when its first batch is asked for, once.

    Args:
        loader: Any iterable of batches.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.ori_loader = loader
        self.loader: Iterator[Any] | None = None

    def next(self) -> Any:
        if self.loader is None:
            self.loader = iter(self.ori_loader)
        return next(self.loader, None)

    def reset(self) -> None:
        self.loader = None


class CUDAPrefetcher:
    """Like ``CPUPrefetcher``, and copies the tensors of the next batch to the GPU while the current one is used.

    Without a GPU the batches stay where they are.

    Args:
        loader: Iterable of batches (mappings).
        opt: Options; ``num_gpu: 0`` keeps the batches on the CPU.
        device: Where to; the current GPU where None.
    """

    def __init__(
        self, loader: Iterable[Any], opt: Mapping[str, Any] | None = None, device: str | torch.device | None = None
    ) -> None:
        self.ori_loader = loader
        self.opt = opt
        usable = torch.cuda.is_available() and (opt or {}).get("num_gpu") != 0
        self.device = torch.device(device) if device is not None else torch.device("cuda" if usable else "cpu")
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.loader: Iterator[Any] | None = None
        self.batch: Any = None

    def preload(self) -> None:
        """Fetch the next batch and begin to copy it."""
        if self.loader is None:
            self.loader = iter(self.ori_loader)
        self.batch = next(self.loader, None)
        if self.batch is None or self.stream is None or not isinstance(self.batch, Mapping):
            return
        with torch.cuda.stream(self.stream):
            self.batch = {
                key: value.to(self.device, non_blocking=True) if torch.is_tensor(value) else value
                for key, value in self.batch.items()
            }

    def next(self) -> Any:
        if self.loader is None:
            self.preload()
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
        batch = self.batch
        if isinstance(batch, Mapping) and self.stream is not None:
            for value in batch.values():
                if torch.is_tensor(value) and value.is_cuda:
                    value.record_stream(torch.cuda.current_stream(self.device))
        if batch is not None:
            self.preload()
        return batch

    def batches(self) -> Iterator[Any]:
        """The same as an iterator."""
        while (batch := self.next()) is not None:
            yield batch

    def reset(self) -> None:
        self.loader, self.batch = None, None
