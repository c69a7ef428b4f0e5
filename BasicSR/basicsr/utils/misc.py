"""Small helpers around a run: seed, names, folders, resuming."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basicsr.utils.dist_util import master_only


def set_random_seed(seed: int) -> None:
    """Seed python's, numpy's and torch's random generators.

    Args:
        seed: Any integer.
    """
    from basicsr.engine.rng import seed_all

    seed_all(seed)


def get_time_str() -> str:
    """Returns: The local time as ``YYYYmmdd_HHMMSS``."""
    return time.strftime("%Y%m%d_%H%M%S", time.localtime())


def mkdir_and_rename(path: str) -> None:
    """Make a folder; one that is there already is renamed to ``<path>_archived_<time>``, never emptied.

    Args:
        path: The folder.
    """
    folder = Path(path)
    if folder.exists():
        archived = folder.with_name(f"{folder.name}_archived_{get_time_str()}")
        count = 1
        while archived.exists():
            count += 1
            archived = folder.with_name(f"{folder.name}_archived_{get_time_str()}_{count}")
        _logger().info("%s is there already; it is kept as %s", folder, archived)
        folder.rename(archived)
    folder.mkdir(parents=True)


def _logger() -> Any:
    from basicsr.utils.logger import get_root_logger

    return get_root_logger()


@master_only
def make_exp_dirs(opt: dict[str, Any]) -> None:
    """Make a run's folders, archiving what is in their place.

    Args:
        opt: Reads ``is_train`` and ``path``: the experiment's root (training) or the results' root (test) is renamed,
            then every folder under ``path`` that belongs to it is made.
    """
    root = Path(opt["path"]["experiments_root" if opt["is_train"] else "results_root"])
    mkdir_and_rename(str(root))
    make_sub_dirs(opt)


@master_only
def make_sub_dirs(opt: dict[str, Any]) -> None:
    """Make the folders of a run without touching what is there."""
    root = Path(opt["path"]["experiments_root" if opt["is_train"] else "results_root"])
    root.mkdir(parents=True, exist_ok=True)
    for key in ("models", "training_states", "visualization"):
        folder = opt["path"].get(key)
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)


def scandir(
    dir_path: str, suffix: str | tuple[str, ...] | None = None, recursive: bool = False, full_path: bool = False
) -> Iterator[str]:
    """List a folder's files in sorted order, hidden ones left out.

    Args:
        dir_path: The folder.
        suffix: Only names that end so.
        recursive: Go into sub-folders.
        full_path: Yield paths from ``dir_path`` on instead of paths relative to it.

    Returns:
        A generator of paths.

    Raises:
        TypeError: ``suffix`` is neither a string nor a tuple of strings.
    """
    if suffix is not None and not isinstance(suffix, (str, tuple)):
        raise TypeError('"suffix" must be a string or tuple of strings')
    return _scan(str(dir_path), str(dir_path), suffix, recursive, full_path)


def _scan(
    folder: str, root: str, suffix: str | tuple[str, ...] | None, recursive: bool, full_path: bool
) -> Iterator[str]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            found = entry.path if full_path else os.path.relpath(entry.path, root)
            if suffix is None or found.endswith(suffix):
                yield found
        elif recursive and entry.is_dir():
            yield from _scan(entry.path, root, suffix, recursive, full_path)


def check_resume(opt: dict[str, Any], resume_iter: int) -> None:
    """Point every network at the weights that were saved with the state to resume.

    Where ``path.resume_state`` is set, ``path.pretrain_network_<x>`` becomes ``<models>/net_<x>_<resume_iter>.pth`` for
    every ``network_<x>`` not listed in ``path.ignore_resume_networks``; their ``param_key_<x>`` becomes ``params`` (the
    EMA copy is restored from the same file by the model) and loading is strict.

    Args:
        opt: The run's options; ``opt['path']`` is changed in place: that is what this function is for.
        resume_iter: The iteration of the state.
    """
    path = opt["path"]
    if not path.get("resume_state"):
        return
    ignored = path.get("ignore_resume_networks") or []
    networks = [key for key in opt if key.startswith("network_") and opt[key] is not None]
    logger = _logger()
    for network in networks:
        label = network[len("network_") :]
        if network in ignored or label in ignored:
            continue
        if path.get(f"pretrain_network_{label}"):
            logger.info(
                "Resuming: path.pretrain_network_%s (%s) was this run's starting point and is not read again.",
                label,
                path[f"pretrain_network_{label}"],
            )
        path[f"pretrain_network_{label}"] = _weights_of_state(path, label, resume_iter)
        path[f"param_key_{label}"] = "params"
        path[f"strict_load_{label}"] = True
    # NAFNet's name for all networks would win over the keys just set.
    path["param_key"] = None


def _weights_of_state(path: dict[str, Any], label: str, resume_iter: int) -> str:
    """The weights lie beside the state; a state of another run brings those of that run."""
    name = f"net_{label}_{resume_iter}.pth"
    beside = Path(path["resume_state"]).parent.parent / "models" / name
    own = Path(path["models"]) / name
    return str(beside if beside.is_file() or not own.is_file() else own)


def sizeof_fmt(size: float, suffix: str = "B") -> str:
    """Write a size for people.

    Args:
        size: Number of bytes.
        suffix: Unit.

    Returns:
        For example ``1.5 KB`` for 1536.
    """
    for unit in ("", "K", "M", "G", "T", "P", "E", "Z"):
        if abs(size) < 1024.0:
            return f"{size:3.1f} {unit}{suffix}"
        size /= 1024.0
    return f"{size:3.1f} Y{suffix}"
