"""Validation of one set: run the network, measure, write images, average over all processes, log."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import weakref
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset

from basicsr.engine import distributed, rng
from basicsr.engine.interrupt import BrokenOff, signals_held
from basicsr.engine.loader_process import GuardedCollate, GuardedDataset, checked, start_loader_process
from basicsr.engine.validation_images import ImageWriter, thumbnail, to_image
from basicsr.engine.validation_report import summarise
from basicsr.utils.registry import METRIC_REGISTRY

if TYPE_CHECKING:
    from basicsr.models.sr_model import SRModel

logger = logging.getLogger("basicsr")

# Loaders whose processes stay between validations (persistent_workers), by the whole set's loader; they go with it.
_KEPT: weakref.WeakKeyDictionary[Any, dict[tuple[int, int, int], Any]] = weakref.WeakKeyDictionary()


@dataclass
class Measured:
    """One image.

    Attributes:
        index: Its place in the set.
        name: Its name.
        values: Metric label to value.
        preview: Input, output and target side by side, for TensorBoard; None where not wanted.
    """

    index: int
    name: str
    values: dict[str, float] = field(default_factory=dict)
    preview: np.ndarray[Any, Any] | None = None


class Validation:
    """One pass over one set.

    Args:
        model: Gives ``feed_data``, ``test``, ``get_current_visuals``, ``opt``.
        dataloader: The whole set, one image a batch or several of one size.
        current_iter: The iteration; in testing, the run's name.
        tb_logger: TensorBoard's writer, or None.
        save_img: Whether to write the outputs.
    """

    def __init__(self, model: SRModel, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        self.model = model
        self.opt: dict[str, Any] = model.opt
        self.val_opt: Mapping[str, Any] = self.opt.get("val") or {}
        self.metrics: Mapping[str, Mapping[str, Any]] = self.val_opt.get("metrics") or {}
        self.dataloader = dataloader
        self.dataset_name = str(dataloader.dataset.opt["name"])
        self.current_iter = current_iter
        self.tb_logger = tb_logger
        self.warned: set[str] = set()
        self.broken_off = 0
        self.writer = ImageWriter(self.opt, self.dataset_name, current_iter) if save_img else None

    def run(self) -> None:
        """Validate, and leave the results in the model, the log and TensorBoard.

        Raises:
            BrokenOff: A signal asked one of the processes for the end; there are no results.
        """
        world, rank = distributed.get_world_size(), distributed.get_rank()
        loader = shard(self.dataloader, rank, world, int(self.val_opt.get("num_worker") or 0))
        state = rng.capture()  # a loader draws a seed: whether one validates must not change the training
        with _quiet_wrappers(self.model):
            measured = list(self._measure_all(loader, rank, world))
        rng.restore(state)
        everyone = distributed.all_gather_object((self.broken_off, measured))
        signum = max(asked for asked, _ in everyone)
        if signum:
            raise BrokenOff(signum)
        images = sorted((image for _, part in everyone for image in part), key=lambda image: image.index)
        self._conclude(images)

    def _measure_all(self, loader: Any, rank: int, world: int) -> Iterator[Measured]:
        place = 0
        with self._progress(loader) as progress, contextlib.closing(prefetched(loader)) as batches:
            for batch in batches:
                self.broken_off = self.model.stop_asked()
                if self.broken_off:
                    return
                for sample, name in enumerate(self._feed(batch)):
                    yield self._measure(sample, name, rank + place * world)
                    place += 1
                    if progress is not None:
                        progress.update(1)
                        progress.set_description(f"Test {name}")
                self._forget()

    def _feed(self, batch: Mapping[str, Any]) -> list[str]:
        paths = batch["lq_path"] if "lq_path" in batch else batch["gt_path"]
        self.model.feed_data(dict(batch))
        self.model.test()
        self.visuals = self.model.get_current_visuals()
        return [Path(path).stem for path in paths]

    def _measure(self, sample: int, name: str, index: int) -> Measured:
        visuals = {key: value[sample] for key, value in self.visuals.items()}
        if not torch.isfinite(visuals["result"]).all():
            logger.warning("Validation %s: the output for %s is not finite, taken as black.", self.dataset_name, name)
            visuals["result"] = torch.nan_to_num(visuals["result"], nan=0.0)
        swap = self.val_opt.get("rgb2bgr", True) is not False
        output = to_image(visuals["result"], swap)
        target = to_image(visuals["gt"], swap) if "gt" in visuals else None
        if self.writer is not None:
            wanted = self.val_opt.get("save_gt")
            save_gt = self.model.default_save_gt if wanted is None else bool(wanted)
            self.writer.write(name, output, target if save_gt else None)
        image = Measured(index, name, self._values(visuals, output, target, swap))
        if index < self._previews():
            image.preview = thumbnail(visuals)
        return image

    def _values(self, visuals: Mapping[str, Any], output: Any, target: Any, swap: bool) -> dict[str, float]:
        if not self.metrics:
            return {}
        from basicsr.metrics import calculate_metric

        if self.val_opt.get("use_image", True) is False:
            output = to_image(visuals["result"], swap, exact=True)
            target = to_image(visuals["gt"], swap, exact=True) if "gt" in visuals else None
        data = {"img": output} if target is None else {"img": output, "img2": target}
        values = {}
        for label, entry in self.metrics.items():
            if target is None and _compares(entry["type"]):
                values[label] = math.nan
                self._warn_once(label)
            else:
                values[label] = float(calculate_metric(data, dict(entry)))
        return values

    def _warn_once(self, label: str) -> None:
        if label not in self.warned:
            self.warned.add(label)
            logger.warning("Validation %s: %s compares with a target, and there is none.", self.dataset_name, label)

    def _previews(self) -> int:
        wanted = (self.opt.get("logger") or {}).get("use_tb_logger") and "debug" not in str(self.opt.get("name"))
        return int(self.val_opt.get("tb_images", 0) or 0) if wanted or self.tb_logger is not None else 0

    def _forget(self) -> None:
        """Drop the images: a set without targets must not meet those of the set before it."""
        for name in ("lq", "gt", "output"):
            if hasattr(self.model, name):
                delattr(self.model, name)

    @contextlib.contextmanager
    def _progress(self, loader: Any) -> Iterator[Any]:
        if not self.val_opt.get("pbar") or not distributed.is_main():
            yield None
            return
        from tqdm import tqdm

        with tqdm(total=len(loader.dataset), unit="image") as bar:
            yield bar

    def _conclude(self, images: list[Measured]) -> None:
        self._show(images)
        if not self.metrics:
            return
        results = {label: summarise([image.values[label] for image in images]) for label in self.metrics}
        self.model.take_validation(self.dataset_name, results, self.current_iter, self.tb_logger)

    def _show(self, images: list[Measured]) -> None:
        if self.tb_logger is None:
            return
        for image in images:
            if image.preview is not None:
                tag = f"validation/{self.dataset_name}/{image.name}"
                self.tb_logger.add_image(tag, image.preview, self.current_iter, dataformats="HWC")


def _compares(metric_type: str) -> bool:
    """Whether a metric needs the target."""
    parameter = inspect.signature(METRIC_REGISTRY.get(metric_type)).parameters.get("img2")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def shard(loader: Any, rank: int, world: int, workers: int = 0) -> Any:
    """Every ``world``-th image of a set, from ``rank`` on.

    Args:
        loader: A DataLoader over the whole set.
        rank: This process.
        world: How many processes there are.
        workers: How many processes read the images, if the loader has fewer (``val.num_worker``).

    Returns:
        A loader; the given one where nothing changes. With ``persistent_workers`` in the set's options the same one
        is returned each time, with its processes.
    """
    workers = max(workers, getattr(loader, "num_workers", 0))
    if world == 1 and workers == 0:
        return loader
    if workers == 0 or not getattr(loader.dataset, "opt", {}).get("persistent_workers"):
        return _share(loader, rank, world, workers, persistent=False)
    kept = _KEPT.setdefault(loader, {})
    key = (rank, world, workers)
    if key not in kept:
        kept[key] = _share(loader, rank, world, workers, persistent=True)
    return kept[key]


def _share(loader: Any, rank: int, world: int, workers: int, persistent: bool) -> DataLoader[Any]:
    dataset = Subset(loader.dataset, range(rank, len(loader.dataset), world)) if world > 1 else loader.dataset
    return DataLoader(
        GuardedDataset(dataset),
        batch_size=loader.batch_size,
        shuffle=False,
        num_workers=workers,
        pin_memory=loader.pin_memory,
        persistent_workers=persistent,
        collate_fn=GuardedCollate(loader.collate_fn),
        worker_init_fn=partial(start_loader_process, then=loader.worker_init_fn) if workers else None,
    )


def prefetched(loader: Any) -> Generator[Any, None, None]:
    """The loader's batches, the next one being read by a thread while the present one is used."""
    with signals_held():
        iterator = iter(loader)
    with ThreadPoolExecutor(1, thread_name_prefix="validation-read") as pool:
        pending = pool.submit(next, iterator, None)
        while (batch := pending.result()) is not None:
            pending = pool.submit(next, iterator, None)
            yield checked(batch)


@contextlib.contextmanager
def _quiet_wrappers(model: Any) -> Iterator[None]:
    """Make the wrapped networks alike on all processes, then keep them from talking: the shares differ in length."""
    wrapped = [value for value in vars(model).values() if isinstance(value, DistributedDataParallel)]
    kept = [net.require_forward_param_sync for net in wrapped]
    if distributed.get_world_size() > 1:
        _share_buffers(model)
    try:
        for net in wrapped:
            net.require_forward_param_sync = False
        yield
    finally:
        for net, value in zip(wrapped, kept, strict=True):
            net.require_forward_param_sync = value


def _share_buffers(model: Any) -> None:
    """Give every process rank 0's running statistics, which are the ones that are saved."""
    for value in vars(model).values():
        if isinstance(value, torch.nn.Module):
            for buffer in value.buffers():
                torch.distributed.broadcast(buffer, 0)
