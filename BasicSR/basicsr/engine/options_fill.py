"""From checked values to the dict that the rest of the engine reads: every default in place, every path absolute."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.engine.options_schema import (
    DatasetEntry,
    DistOptions,
    LoggerOptions,
    MetricOptions,
    PathOptions,
    TopOptions,
    TrainOptions,
    ValOptions,
    WandbOptions,
)
from basicsr.utils.registry import DATASET_REGISTRY

LOADER_MODULE = "basicsr.data.loader_options"
DATA_PATH_PREFIXES = ("dataroot", "meta_info")
DEBUG_FREQUENCIES = {"val_freq": 8, "print_freq": 1, "save_checkpoint_freq": 8}


def defaults_of(section: type) -> dict[str, Any]:
    """The fields of an options dataclass that have a default, with independent copies of it."""
    values: dict[str, Any] = {}
    for item in dataclasses.fields(section):
        if item.default is not dataclasses.MISSING:
            values[item.name] = copy.deepcopy(item.default)
        elif item.default_factory is not dataclasses.MISSING:
            made = item.default_factory()
            values[item.name] = defaults_of(type(made)) if dataclasses.is_dataclass(made) else made
    return values


def loader_options() -> type | None:
    """The dataclass of what every dataset entry may say about its loader."""
    if importlib.util.find_spec(LOADER_MODULE) is None:
        return None
    return importlib.import_module(LOADER_MODULE).LoaderOptions


def fill_defaults(opt: Mapping[str, Any], is_train: bool) -> dict[str, Any]:
    """Give a plain option dict every default.

    Args:
        opt: The merged options, not changed.
        is_train: Whether it is for training.

    Returns:
        A new dict. Sections that were missing or ``~`` are there; components keep exactly the parameters they were
        given.
    """
    opt = copy.deepcopy(dict(opt))
    order = {item.name: None for item in dataclasses.fields(TopOptions) if item.name not in ("base", "train")}
    given = {key: value for key, value in opt.items() if value is not None and key != "base"}
    filled: dict[str, Any] = {**order, **defaults_of(TopOptions), **given}
    filled.pop("base", None)
    networks = [key[len("network_") :] for key in filled if key.startswith("network_")]
    filled["path"] = _path(opt.get("path") or {}, networks)
    if opt.get("train"):
        filled["train"] = {**defaults_of(TrainOptions), **_without_removed(opt["train"])}
    else:
        filled.pop("train", None)
    filled["val"] = _val({**defaults_of(ValOptions), **(opt.get("val") or {})})
    if filled["val"]["val_freq"] is None and filled["val"]["val_epoch"] is None and filled.get("train"):
        filled["val"]["val_freq"] = filled["train"].get("total_iter")
    filled["logger"] = {**defaults_of(LoggerOptions), **(opt.get("logger") or {})}
    filled["logger"]["wandb"] = {**defaults_of(WandbOptions), **(filled["logger"].get("wandb") or {})}
    filled["dist_params"] = {**defaults_of(DistOptions), **(opt.get("dist_params") or {})}
    filled["datasets"] = {
        key: _dataset(key, value, filled["scale"])
        for key, value in (opt.get("datasets") or {}).items()
        if value is not None
    }
    return filled


def _without_removed(train: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in train.items() if value is not None or not key.endswith("_opt")}


def _path(given: Mapping[str, Any], networks: list[str]) -> dict[str, Any]:
    path = defaults_of(PathOptions)
    for family in PathOptions.families:
        for network in networks:
            path[family.prefix + network] = family.default
    if given.get("param_key") is not None:
        path.update({f"param_key_{network}": given["param_key"] for network in networks})
    return {**path, **given}


def _val(val: dict[str, Any]) -> dict[str, Any]:
    common = defaults_of(MetricOptions)
    given = {label: metric for label, metric in (val.get("metrics") or {}).items() if metric is not None}
    return {**val, "metrics": {label: {**common, **metric} for label, metric in given.items()} or None}


def _dataset(key: str, given: Mapping[str, Any], scale: int) -> dict[str, Any]:
    loader = loader_options()
    defaults = defaults_of(loader) if loader else {}
    removable = set(defaults) | {item.name for item in dataclasses.fields(DatasetEntry)}
    kept = {name: value for name, value in given.items() if value is not None or name not in removable}
    return {**defaults, **kept, "phase": str(key).split("_")[0], "scale": given.get("scale") or scale}


def apply_debug_mode(opt: dict[str, Any]) -> None:
    """Log, save and validate often where the experiment's name holds ``debug``; in place."""
    if "debug" in opt["name"]:
        opt["val"].update(val_freq=DEBUG_FREQUENCIES["val_freq"], val_epoch=None)
        opt["logger"]["save_checkpoint_epoch"] = None
        for key in ("print_freq", "save_checkpoint_freq"):
            opt["logger"][key] = DEBUG_FREQUENCIES[key]


def is_data_path(dataset: Mapping[str, Any], key: object) -> bool:
    """Whether a key of a data set is a file or folder: by its name, or because the class lists it in ``path_keys``."""
    if str(key).startswith(DATA_PATH_PREFIXES):
        return True
    kind = dataset.get("type")
    known = isinstance(kind, str) and kind in DATASET_REGISTRY
    return known and key in getattr(DATASET_REGISTRY.get(str(kind)), "path_keys", ())


def absolute(path: str, root: Path) -> str:
    """``~`` expanded, relative to the project's root, without ``..``; URLs as they are."""
    return path if "://" in path else os.path.normpath(root / os.path.expanduser(path))


def resolve_paths(opt: dict[str, Any], root: Path, is_train: bool) -> None:
    """Make data and weight paths absolute and name the run's folders; in place."""
    for dataset in opt["datasets"].values():
        for key, value in dataset.items():
            if isinstance(value, str) and is_data_path(dataset, key):
                dataset[key] = absolute(value, root)
    paths = opt["path"]
    for key, value in paths.items():
        if isinstance(value, str) and (key == "resume_state" or key.startswith("pretrain_network_")):
            paths[key] = absolute(value, root)
    paths["root"] = str(root)
    kind = "experiments" if is_train else "results"
    parent = absolute(paths.get(f"{kind}_root") or kind, root)
    run = os.path.join(parent, opt["name"])
    paths[f"{kind}_root"] = run
    paths["log"] = run
    paths["visualization"] = os.path.join(run, "visualization")
    if is_train:
        paths["models"] = os.path.join(run, "models")
        paths["training_states"] = os.path.join(run, "training_states")


def resolve_num_gpu(opt: dict[str, Any]) -> str | None:
    """Turn ``num_gpu`` into the number of GPUs that this machine really gives the run; in place.

    Returns:
        A warning if there are fewer than asked for.
    """
    wanted = opt["num_gpu"]
    if wanted == 0 or opt["device"] == "cpu":
        opt["num_gpu"] = 0
        return None
    import torch

    available = torch.cuda.device_count() or int(torch.backends.mps.is_available())
    if wanted != "auto" and wanted <= available:
        return None
    opt["num_gpu"] = available
    return None if wanted == "auto" else f"num_gpu: {wanted} asked for, {available} available: using {available}"


def draw_seed() -> int:
    """A seed for a run that names none, as upstream from 1 to 10000."""
    return random.SystemRandom().randint(1, 10000)
