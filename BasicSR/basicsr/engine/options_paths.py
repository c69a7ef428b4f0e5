"""Whether the data and weights of a run are there, and what to put where if they are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.data.image_source import store_root
from basicsr.engine.option_types import nearest
from basicsr.engine.options_check import Checker
from basicsr.engine.options_fill import absolute, is_data_path
from basicsr.engine.options_rules import find
from basicsr.engine.options_yaml import Entry

DATA_HINT = """\
Data: every dataset folder holds image files; a pair has the same name in dataroot_gt (target) and dataroot_lq (input).
  The layout is described in datasets/README.md. To try without photographs of your own:
  python tools/make_demo_data.py   writes pairs for options/demo/*.yml (make demo also trains and reports)."""
WEIGHTS_HINT = """\
Weights: put the file there, or name another one: --force_yml path:pretrain_network_g=FILE
  (~ instead of FILE starts from random weights)."""


def check_paths(
    checker: Checker, top: Entry, values: Mapping[str, Any], is_train: bool, auto_resume: bool = False
) -> None:
    """Report data and weights that do not exist.

    Args:
        checker: Collects what is wrong.
        top: The option tree, for places.
        values: Its converted values.
        is_train: Whether it is for training.
        auto_resume: Whether an earlier state is looked for; a run that has one does not need its first weights.
    """
    data = _check_data(checker, top, values.get("datasets") or {})
    weights = _check_weights(checker, top, values, is_train and auto_resume)
    checker.report.hints.extend([DATA_HINT] * data + [WEIGHTS_HINT] * weights)


def _check_data(checker: Checker, top: Entry, datasets: Mapping[str, Any]) -> bool:
    missing = False
    for name, dataset in datasets.items():
        backend = ((dataset or {}).get("io_backend") or {}).get("type")
        if backend == "memcached":
            continue  # its paths are keys of a server
        for key, value in (dataset or {}).items():
            if not is_data_path(dataset, key):
                continue
            for path in value if isinstance(value, list) else [value]:
                if not isinstance(path, str) or "://" in path or _exists(absolute(path, checker.root), backend):
                    continue
                entry = find(top, "datasets", name, key)
                message = _data_message(str(key), Path(absolute(path, checker.root)))
                checker.error(entry.place if entry else top.place, f"datasets.{name}.{key}", message)
                missing = True
    return missing


def _exists(path: str, backend: str | None) -> bool:
    """Whether data is there; with the backend ``mmap`` a folder may be gone whose store lies beside its place."""
    return Path(path).exists() or (backend == "mmap" and Path(store_root(path)).is_dir())


def _data_message(key: str, path: Path) -> str:
    if key.startswith("meta_info") or path.suffix in (".txt", ".csv", ".json"):
        return f"no such file: {path}{_near(path)}"
    kind = {"dataroot_gt": "the target images", "dataroot_lq": "the input images"}.get(key, "the images")
    what = "LMDB folder" if path.suffix == ".lmdb" else "folder"
    advice = _near(path) or f"; put {kind} there"
    return f"no such {what}: {path}{advice}"


def _near(path: Path) -> str:
    """A path that looks like the missing one, in the deepest folder that exists."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    try:
        names = [item.name for item in missing.parent.iterdir()]
    except OSError:
        return ""
    found = nearest(missing.name, names)
    if not found:
        return ""
    candidate = missing.parent / found[0] / path.relative_to(missing)
    return f"; did you mean {candidate}?" if candidate.exists() else ""


def _check_weights(checker: Checker, top: Entry, values: Mapping[str, Any], auto_resume: bool) -> bool:
    paths = values.get("path") or {}
    state = paths.get("resume_state")
    if isinstance(state, str) and not Path(absolute(state, checker.root)).is_file():
        _missing_file(checker, top, "resume_state", Path(absolute(state, checker.root)))
        return False
    if state or (auto_resume and _has_state(checker.root, values)):
        return False
    missing = False
    for key, value in paths.items():
        if not key.startswith("pretrain_network_") or not isinstance(value, str) or "://" in value:
            continue
        path = Path(absolute(value, checker.root))
        if not path.is_file():
            _missing_file(checker, top, key, path)
            missing = True
    return missing


def _missing_file(checker: Checker, top: Entry, key: str, path: Path) -> None:
    entry = find(top, "path", key)
    message = f"no such file: {path}{_near(path) or _maker(path, checker.root)}"
    checker.error(entry.place if entry else top.place, f"path.{key}", message)


def _maker(path: Path, root: Path) -> str:
    """Which option file's run would write weights of that path."""
    match = re.search(r"experiments[/\\]([^/\\]+)[/\\](?:models|training_states)[/\\]", str(path))
    if match is None:
        return ""
    for file in sorted(root.glob("options/**/*.yml")):
        try:
            found = re.search(r"^name:\s*(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        except (OSError, UnicodeDecodeError):
            continue
        if found and found[1].strip("'\"") == match[1]:
            return f"; train it first: python BasicSR/basicsr/train.py -opt {file.relative_to(root)}"
    return f"; the run '{match[1]}' would write it"


def _has_state(root: Path, values: Mapping[str, Any]) -> bool:
    paths = values.get("path") or {}
    folder = Path(absolute(paths.get("experiments_root") or "experiments", root)) / str(values.get("name"))
    return any((folder / "training_states").glob("*.state"))
