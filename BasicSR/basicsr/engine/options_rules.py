"""What single values cannot show: requirements, lengths that must agree, two names for one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.engine.epochs import EPOCH_KEYS
from basicsr.engine.option_types import did_you_mean
from basicsr.engine.options_check import Checker
from basicsr.engine.options_yaml import Entry, Place
from basicsr.utils.registry import DATASET_REGISTRY

# Two names for one thing, by section; '*' stands for every member of the section.
TWO_NAMES = (
    (("datasets", "*"), "use_hflip", "use_flip"),
    (("train",), "grad_clip", "use_grad_clip"),
    (("val",), "crop_size_h", "crop_size_h_ratio"),
    (("val",), "crop_size_w", "crop_size_w_ratio"),
)
LMDB_OPEN = ("readonly", "lock", "readahead", "max_readers", "max_dbs", "max_spare_txns", "map_size", "meminit")
# io_backend.type to the arguments that it needs and those that it may have.
BACKENDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "disk": ((), ()),
    "lmdb": ((), ("client_keys", *LMDB_OPEN)),
    "mmap": ((), ()),
    "memcached": (("server_list_cfg", "client_cfg"), ("sys_path",)),
}
# Smallest allowed values.
LOWER_BOUNDS: Mapping[tuple[str, ...], float] = {
    ("scale",): 1,
    ("num_gpu",): 0,
    ("cpu_threads",): 1,
    ("manual_seed",): 0,
    ("train", "optim_g", "lr"): 0,
    ("train", "optim_d", "lr"): 0,
    ("train", "total_iter"): 1,
    ("train", "accum_iter"): 1,
    ("train", "net_d_iters"): 1,
    ("train", "net_d_init_iters"): 0,
    ("train", "warmup_iter"): -1,
    ("train", "warmup_epoch"): 0,
    ("train", "ema_decay"): 0,
    ("train", "grad_clip"): 0,
    ("val", "val_freq"): 1,
    ("val", "max_minibatch"): 1,
    ("val", "early_stop"): 1,
    ("val", "num_worker"): 0,
    ("val", "tb_images"): 0,
    ("logger", "print_freq"): 1,
    ("logger", "save_checkpoint_freq"): 1,
    ("logger", "keep_last"): 1,
    ("datasets", "*", "batch_size_per_gpu"): 1,
    ("datasets", "*", "num_worker_per_gpu"): 0,
    ("datasets", "*", "num_prefetch_queue"): 1,
}


def check_rules(checker: Checker, top: Entry, values: Mapping[str, Any], is_train: bool) -> None:
    """Check what depends on more than one key.

    Args:
        checker: Collects what is wrong.
        top: The option tree, for places.
        values: Its converted values.
        is_train: Whether it is for training.
    """
    rules = _Rules(checker, top, values)
    rules.names()
    rules.bounds()
    rules.two_names()
    rules.loaders()
    rules.validation(is_train)
    if is_train:
        rules.training_parts()
        rules.scheduler()
        rules.losses()


def find(top: Entry, *keys: str) -> Entry | None:
    """The entry at a path of keys, or None."""
    entry: Entry | None = top
    for key in keys:
        if entry is None or not isinstance(entry.value, dict):
            return None
        entry = entry.value.get(key)
    return entry


def _reads_files_our_way(dataset_type: Any) -> bool:
    """Whether a data set is the engine's, or made from one; another may have storages of its own."""
    if not isinstance(dataset_type, str) or dataset_type not in DATASET_REGISTRY:
        return False
    bases = getattr(DATASET_REGISTRY.get(dataset_type), "__mro__", ())
    return any(base.__module__.startswith("basicsr.data.") for base in bases)


def _is_folder_name(name: str) -> bool:
    """Whether a name, perhaps with / in it, stays below the folder of all runs and can be typed."""
    parts = name.split("/")
    return name.isprintable() and all(part.strip() and part not in (".", "..") for part in parts)


def _is_weights_name(name: str) -> bool:
    """Whether a word is the name of a weights file that no checkpoint of an iteration can have."""
    stem, dot, ending = name.rpartition(".")
    plain = bool(stem.strip(".")) and name.isprintable() and not set(name) & set("/\\:")
    return plain and bool(dot) and ending in ("pth", "safetensors") and not stem.rpartition("_")[2].isdigit()


class _Rules:
    def __init__(self, checker: Checker, top: Entry, values: Mapping[str, Any]) -> None:
        self.checker = checker
        self.top = top
        self.values = values
        self.train: Mapping[str, Any] = values.get("train") or {}
        self.val: Mapping[str, Any] = values.get("val") or {}
        self.datasets: Mapping[str, Any] = {key: item for key, item in values["datasets"].items() if item}

    def place(self, *keys: str) -> Place:
        """Where a key is written, or the nearest section around it."""
        for length in range(len(keys), 0, -1):
            entry = find(self.top, *keys[:length])
            if entry is not None:
                return entry.place
        return self.top.place

    def error(self, keys: tuple[str, ...], message: str) -> None:
        self.checker.error(self.place(*keys), ".".join(keys), message)

    def names(self) -> None:
        name = self.values.get("name")
        if isinstance(name, str) and not _is_folder_name(name):
            self.error(("name",), f"{name!r} cannot be the name of a folder under experiments/")
        seen: dict[Any, str] = {}
        for key, dataset in self.datasets.items():
            title = dataset.get("name")
            if title is not None and key != "train" and seen.setdefault(title, key) != key:
                message = f"'{title}' is also the name of datasets.{seen[title]}: their metrics and images would mix"
                self.error(("datasets", key, "name"), message)

    def bounds(self) -> None:
        for path, low in LOWER_BOUNDS.items():
            for keys in self._expand(path):
                value = self._value(keys)
                if isinstance(value, (int, float)) and not isinstance(value, bool) and value < low:
                    self.error(keys, f"must be at least {low}, is {value}")
        for keys in self._expand(("datasets", "*", "dataset_enlarge_ratio")):
            ratio = self._value(keys)
            if isinstance(ratio, (int, float)) and not ratio > 0:
                self.error(keys, f"must be above 0, is {ratio}")
        for keys in (("train", "total_epoch"), ("val", "val_epoch"), ("logger", "save_checkpoint_epoch")):
            epochs = self._value(keys)
            if isinstance(epochs, (int, float)) and not epochs > 0:
                self.error(keys, f"must be above 0, is {epochs}")
        seed = self.values.get("manual_seed")
        if isinstance(seed, int) and seed >= 2**63:
            self.error(("manual_seed",), f"must be below 2**63, is {seed}")
        decay = self.train.get("ema_decay")
        if isinstance(decay, float) and decay >= 1:
            self.error(("train", "ema_decay"), f"must be below 1 (0.999 is usual), is {decay}")

    def _expand(self, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        if "*" not in path:
            return [path]
        return [tuple(name if part == "*" else part for part in path) for name in self.datasets]

    def _value(self, keys: tuple[str, ...]) -> Any:
        value: Any = self.values
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def two_names(self) -> None:
        for part, epochs, iterations in EPOCH_KEYS:
            written = [find(self.top, part, key) for key in (epochs, iterations)]
            if all(entry is not None and entry.value is not None for entry in written):
                message = f"says in epochs what '{iterations}' says in iterations; keep one"
                self.error((part, epochs), message)
        for section, new, old in TWO_NAMES:
            for keys in self._expand(section):
                if self._value((*keys, new)) is not None and self._value((*keys, old)) is not None:
                    self.error((*keys, old), f"'{old}' and '{new}' are two names for one thing; keep one")
        paths = self.values.get("path") or {}
        specific = [key for key, value in paths.items() if key.startswith("param_key_") and value is not None]
        if paths.get("param_key") is not None and specific:
            message = f"'param_key' and '{specific[0]}' are two names for one thing; keep one"
            self.error(("path", "param_key"), message)

    def loaders(self) -> None:
        for key, dataset in self.datasets.items():
            if dataset.get("prefetch_mode") == "cuda" and not dataset.get("pin_memory"):
                message = "needs pin_memory: true, or the copies to the GPU cannot overlap with the computation"
                self.error(("datasets", key, "prefetch_mode"), message)
            size = ("datasets", key, "batch_size_per_gpu")
            if key == "train" and dataset.get(size[-1]) is None and not self._broken(".".join(size)):
                self.error(size, "missing; training needs it (a whole number)")
            if isinstance(dataset.get("io_backend"), Mapping) and _reads_files_our_way(dataset.get("type")):
                self._io_backend(("datasets", key, "io_backend"), dataset["io_backend"])

    def _io_backend(self, where: tuple[str, ...], backend: Mapping[str, Any]) -> None:
        kind = backend.get("type")
        if not isinstance(kind, str) or kind not in BACKENDS:
            advice = did_you_mean(str(kind), BACKENDS) or f"; there are: {', '.join(BACKENDS)}"
            message = "missing" if kind is None else f"no storage of the name '{kind}'"
            self.error((*where, "type"), message + advice)
            return
        required, optional = BACKENDS[kind]
        for name in backend:
            if name not in ("type", *required, *optional):
                advice = did_you_mean(str(name), (*required, *optional)) or "; remove it"
                self.error((*where, str(name)), f"unknown key of the storage '{kind}'{advice}")
        for name in required:
            if backend.get(name) is None:
                self.error((*where, name), f"missing; the storage '{kind}' needs it")

    def validation(self, is_train: bool) -> None:
        sets = {key: item for key, item in self.datasets.items() if key != "train"}
        often = any(self.val.get(key) is not None or self._broken(f"val.{key}") for key in ("val_freq", "val_epoch"))
        if is_train and sets and not often:
            message = f"missing; there is a validation set ({next(iter(sets))}): say how often to validate, e.g. 1000"
            self.error(("val", "val_freq"), message)
        if self.val.get("early_stop") is not None and not (self.val.get("metrics") and sets):
            message = "follows a validation metric and there is none: add val.metrics and a val set"
            self.error(("val", "early_stop"), message)
        best_file = self.val.get("best_file")
        if best_file is not None and not _is_weights_name(best_file):
            message = f"{best_file!r}: give a file name that ends in .pth or .safetensors, without folders"
            self.error(("val", "best_file"), message)
        for axis in ("h", "w") if self.val.get("grids") else ():
            key = f"crop_size_{axis}"
            if self.val.get(key) is None and self.val.get(f"{key}_ratio") is None and not self._broken(f"val.{key}"):
                self.error(("val", key), f"missing; grids: true needs it (pixels), or {key}_ratio (share of the image)")
        best = self.val.get("best_metric")
        if not best:
            return
        wanted_set, _, label = best.rpartition("/")
        labels = [str(item) for item in self.val.get("metrics") or {}]
        names = [str(item.get("name")) for item in sets.values()]
        if label not in labels:
            advice = did_you_mean(label, labels) or f"; there are: {', '.join(labels) or 'none'}"
            self.error(("val", "best_metric"), f"val.metrics has no '{label}'{advice}")
        if wanted_set and wanted_set not in names:
            advice = did_you_mean(wanted_set, names) or f"; there are: {', '.join(names) or 'none'}"
            self.error(("val", "best_metric"), f"no validation set has the name '{wanted_set}'{advice}")

    def _broken(self, prefix: str) -> bool:
        """Whether a key below has been reported already, so that it is there, only wrong."""
        return any(problem.key.startswith(prefix) for problem in self.checker.report.errors)

    def training_parts(self) -> None:
        if not any(key.startswith("network_") for key in self.values) and not self._broken("network_"):
            self.error(("network_g",), "missing; training needs a network: network_g: {type: ..., ...}")
        if "train" not in self.datasets and not self._broken("datasets.train"):
            self.error(("datasets", "train"), "missing; there is nothing to train on")
        if find(self.top, "train") is None or not isinstance(find(self.top, "train").value, dict):  # type: ignore[union-attr]
            if not self._broken("train"):
                self.error(("train",), "missing; training needs total_iter, optim_g, scheduler and a loss")
            return
        length = [find(self.top, "train", key) for key in ("total_iter", "total_epoch")]
        if not any(entry is not None and entry.value is not None for entry in length):
            self.error(("train", "total_iter"), "missing; say how long to train: total_iter (or total_epoch)")
        if not self._written("optim_"):
            self.error(("train", "optim_g"), "missing; training needs an optimizer: optim_g: {type: AdamW, lr: 1e-3}")
        for key, optimizer in self.train.items():
            if key.startswith("optim_") and optimizer and optimizer.get("lr") is None:
                if not self._broken(f"train.{key}.lr"):
                    self.error(("train", key, "lr"), "missing; write the learning rate, e.g. lr: 1e-3")
        if not self._written("", "_opt"):
            self.error(("train", "pixel_opt"), "missing; training needs at least one loss: pixel_opt: {type: L1Loss}")
        wandb = (self.values.get("logger") or {}).get("wandb") or {}
        if wandb.get("project") and (self.values.get("logger") or {}).get("use_tb_logger") is False:
            self.error(("logger", "wandb", "project"), "wandb copies what TensorBoard gets: set use_tb_logger: true")

    def _written(self, prefix: str, suffix: str = "") -> bool:
        """Whether the file has such a key under train, right or wrong."""
        train = find(self.top, "train")
        members = train.value.items() if train is not None and isinstance(train.value, dict) else ()
        return any(
            isinstance(key, str) and key.startswith(prefix) and key.endswith(suffix) and entry.value is not None
            for key, entry in members
        )

    def scheduler(self) -> None:
        scheduler = self.train.get("scheduler")
        total = self.train.get("total_iter")
        if not scheduler:
            return
        if scheduler.get("type") == "ReduceLROnPlateau":
            self._plateau(scheduler)
        self._same_length(scheduler, "periods", "restart_weights", 1)
        self._same_length(scheduler, "restarts", "restart_weights", 1)
        if not isinstance(total, int):
            return
        periods = scheduler.get("periods")
        if periods and sum(periods) < total:
            end = sum(periods)
            message = f"the periods end at iteration {end}, train.total_iter is {total}; make their sum {total}"
            self.error(("train", "scheduler", "periods"), message)
        late = [item for item in scheduler.get("milestones") or () if item > total]
        if late:
            message = f"{late} lie beyond train.total_iter ({total}) and have no effect"
            self.checker.warn(self.place("train", "scheduler", "milestones"), "train.scheduler.milestones", message)
        span = scheduler.get("T_max")
        if isinstance(span, int) and span < total:
            message = f"{span} is less than train.total_iter ({total}): the learning rate rises again after {span}"
            self.checker.warn(self.place("train", "scheduler", "T_max"), "train.scheduler.T_max", message)

    def _plateau(self, scheduler: Mapping[str, Any]) -> None:
        labels = [str(item) for item in self.val.get("metrics") or {}]
        if not labels:
            message = "ReduceLROnPlateau follows a validation metric and there is none: add val.metrics and a val set"
            self.error(("train", "scheduler", "type"), message)
        metric = scheduler.get("metric")
        if labels and metric and str(metric).rpartition("/")[2] not in labels:
            advice = did_you_mean(str(metric), labels) or f"; there are: {', '.join(labels)}"
            self.error(("train", "scheduler", "metric"), f"val.metrics has no '{metric}'{advice}")

    def _same_length(self, scheduler: Mapping[str, Any], one: str, other: str, default: int) -> None:
        if not isinstance(scheduler.get(one), list):
            return
        length = len(scheduler[one])
        other_length = len(scheduler[other]) if isinstance(scheduler.get(other), list) else default
        if length != other_length:
            message = f"has {other_length} value{'s' * (other_length != 1)}, '{one}' has {length}; they must be as many"
            self.error(("train", "scheduler", other), message)

    def losses(self) -> None:
        total = self.train.get("total_iter")
        for key, loss in self.train.items():
            if not key.endswith("_opt") or not loss:
                continue
            start, end = loss.get("start_iter", 0), loss.get("end_iter")
            if isinstance(end, int) and end <= start:
                message = f"{end} is not after start_iter ({start}): the loss would never count"
                self.error(("train", key, "end_iter"), message)
            elif isinstance(total, int) and start > total >= 1:
                message = f"{start} is after train.total_iter ({total}): the loss would never count"
                self.error(("train", key, "start_iter"), message)
