"""Which file is compared with which: BasicSR visualization trees and plain folders.

Layouts, where ``<it>`` is an iteration (training) and the target may lie beside the prediction or in a ``--gt`` folder:

    <name>/<name>_<it>.png  <name>/<name>_<it>_gt.png            one validation set
    <set>/<name>/<name>_<it>.png  ..._gt.png                     several
    <set>/<name>[_<suffix>].png  <set>/<name>[_<suffix>]_gt.png  test mode

Names may hold digits and underscores: a training image is named by its folder, and whatever follows the name in its
file is read from the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import is_image_file
from plugins.color_fidelity.evaluation import Pair

TARGET_SUFFIX = "_gt"
INPUT_SUFFIX = "_lq"
DEFAULT_SET = "val"
_NAMED_FEW = 5


class ImageFolder:
    """The images of a folder and its sub-folders, found by name without their ending.

    Args:
        folder: The folder.
        what: What it is, for messages: ``--gt``.

    Raises:
        UserError: If there is no such folder, or no image in it.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder = folder
        self.what = what
        self._by_name: dict[str, list[Path]] = {}
        for path in list_images(folder, what):
            self._by_name.setdefault(path.stem, []).append(path)

    def find(self, name: str, set_name: str = "") -> Path | None:
        """The image called ``name``, or called like the longest part of it before an underscore.

        Args:
            name: Name without ending; suffixes are dropped from the right until an image is found.
            set_name: Preferred where several sub-folders have one: the one in a folder of this name.

        Raises:
            UserError: If several images fit and the set does not decide.
        """
        while name:
            found = self._by_name.get(name, [])
            inside = [path for path in found if set_name and set_name in path.relative_to(self.folder).parts[:-1]]
            found = inside or found
            if len(found) > 1:
                raise UserError(
                    f"{self.what} {self.folder}: several images are called '{name}': {_few(found)}. Keep one, or give "
                    f"each set's own folder."
                )
            if found:
                return found[0]
            name = name.rpartition("_")[0]
        return None


def list_images(folder: Path, what: str, advice: str = "") -> list[Path]:
    """All image files below a folder, sorted; ``advice`` ends the message where there is none.

    Raises:
        UserError: If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{what}: there is no folder {folder}")
    found = sorted(path for path in folder.rglob("*") if path.is_file() and is_image_file(path.name))
    if not found:
        raise UserError(f"{what}: there is no image in {folder}{advice}")
    return found


def folder_pairs(row: str, pred: Path, gt: Path, lq: Path | None = None, set_name: str = DEFAULT_SET) -> list[Pair]:
    """Pairs of a folder of predictions and a folder of targets with the same names.

    A prediction may carry suffixes behind its target's name (``kitchen_ours.png`` for ``kitchen.jpg``).

    Raises:
        UserError: If a folder is missing or empty, or a prediction has no target; it names the files.
    """
    targets = ImageFolder(gt, "--gt")
    inputs = None if lq is None else ImageFolder(lq, "--lq")
    pairs, missing = [], []
    for path in list_images(pred, "--pred"):
        target = targets.find(path.stem)
        if target is None:
            missing.append(path)
            continue
        source = None if inputs is None else inputs.find(target.stem)
        pairs.append(Pair(row, set_name, target.stem, path, target, source))
    _refuse_missing(missing, f"in {gt}")
    return pairs


def tree_pairs(row: str, root: Path, gt: Path | None = None, lq: Path | None = None) -> list[Pair]:
    """Pairs of a BasicSR visualization tree, or of the experiment folder that holds one.

    Args:
        row: Name of the run.
        root: ``.../visualization``, or the folder above it.
        gt: Targets for images without a ``_gt`` file beside them.
        lq: The network's inputs.

    Raises:
        UserError: If there is no image, or one has no target; it names the files.
    """
    root = root / "visualization" if (root / "visualization").is_dir() else root
    files = list_images(root, row, " (training writes images with val.save_img: true; --pred takes any folder)")
    targets = None if gt is None else ImageFolder(gt, "--gt")
    inputs = None if lq is None else ImageFolder(lq, "--lq")
    present = {path.with_suffix(""): path for path in files}
    pairs, missing = [], []
    for path in files:
        if path.stem.endswith((TARGET_SUFFIX, INPUT_SUFFIX)) and not _is_named_like_target(path):
            continue
        name, set_name, iteration = _parse(path, root)
        target = _beside(path, present, TARGET_SUFFIX) or (targets.find(name, set_name) if targets else None)
        if target is None:
            missing.append(path)
            continue
        name = name if iteration is not None else _without_suffix(name, target)
        source = _beside(path, present, INPUT_SUFFIX) or (inputs.find(name, set_name) if inputs else None)
        pairs.append(Pair(row, set_name, name, path, target, source, iteration))
    _refuse_missing(missing, "beside it (<name>_gt.png)" + (f" or in {gt}" if gt else ""), hint=gt is None)
    return pairs


def at_iterations(pairs: list[Pair], wanted: str) -> list[Pair]:
    """The pairs of some checkpoints; those of files that name no iteration stay.

    Args:
        pairs: Of any number of runs.
        wanted: Iterations with commas between; ``last`` is the last one of each run.

    Raises:
        UserError: If the list is malformed, or a run has none of its iterations.
    """
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    if not words or not all(word == "last" or word.isdecimal() for word in words):
        raise UserError(f"--iterations '{wanted}' is not a list of iterations. Right: 5000,10000 or last")
    present: dict[str, set[int]] = {}
    for pair in pairs:
        if pair.iteration is not None:
            present.setdefault(pair.row, set()).add(pair.iteration)
    keep = {row: {max(found) if word == "last" else int(word) for word in words} for row, found in present.items()}
    for row, found in present.items():
        if not keep[row] & found:
            there = ", ".join(str(iteration) for iteration in sorted(found))
            raise UserError(f"--iterations {wanted}: '{row}' has none of them; it has {there}")
    return [pair for pair in pairs if pair.iteration is None or pair.iteration in keep[pair.row]]


def row_name(root: Path) -> str:
    """Name of a run by its folder: that of the experiment where the folder is its ``visualization``."""
    root = root.resolve()
    return root.parent.name if root.name == "visualization" else root.name


def _training_name(path: Path) -> re.Match[str] | None:
    """``<name>_<it>`` in the folder ``<name>``."""
    return re.fullmatch(re.escape(path.parent.name) + r"_(\d+)", path.stem)


def _is_named_like_target(path: Path) -> bool:
    """A prediction whose own name ends in ``_gt``: ``x_gt/x_gt_500.png`` does not, it ends in its iteration."""
    return _training_name(path) is not None


def _parse(path: Path, root: Path) -> tuple[str, str, int | None]:
    """Image name, set name and iteration of a prediction."""
    match = _training_name(path)
    folders = path.parent.relative_to(root).parts
    if match is None:
        return path.stem, "/".join(folders) or DEFAULT_SET, None
    return path.parent.name, "/".join(folders[:-1]) or DEFAULT_SET, int(match.group(1))


def _beside(path: Path, present: dict[Path, Path], suffix: str) -> Path | None:
    """``<stem><suffix>`` beside a file; in test mode also with suffixes of the stem dropped from the right."""
    stem = path.stem
    while stem:
        found = present.get(path.with_name(stem + suffix))
        if found is not None:
            return found
        if _training_name(path) is not None:
            return None
        stem = stem.rpartition("_")[0]
    return None


def _without_suffix(name: str, target: Path) -> str:
    """The image's own name in test mode: its target's, so that runs with different suffixes meet."""
    stem = target.stem.removesuffix(TARGET_SUFFIX)
    return stem if name.startswith(stem) else name


def _refuse_missing(missing: list[Path], where: str, hint: bool = False) -> None:
    if missing:
        advice = " Give the folder of the targets with --gt." if hint else ""
        raise UserError(f"{len(missing)} prediction(s) have no target {where}: {_few(missing)}.{advice}")


def _few(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    more = f" and {len(names) - _NAMED_FEW} more" if len(names) > _NAMED_FEW else ""
    return ", ".join(names[:_NAMED_FEW]) + more
