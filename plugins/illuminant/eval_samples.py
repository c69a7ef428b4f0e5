"""The pictures that methods are compared on: those of a data set, or photos of things on white paper."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.data.work_progress import WorkProgress
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names
from basicsr.engine.options_fill import absolute, is_data_path
from basicsr.engine.options_merge import load_options
from plugins.illuminant.illuminant_dataset import IlluminantDataset
from plugins.illuminant.illuminant_eval import LitSample
from plugins.illuminant.light_images import read_pixels, to_unit
from plugins.illuminant.paper_truth import find_paper

Array = np.ndarray[Any, Any]

_SHORT_SIDE = 320
_LEAST_SEEN = 0.02
"""Share of a photo that must be left when the paper is hidden."""


def dataset_samples(options_file: Path, entry: str, root: Path) -> Iterator[LitSample]:
    """The pictures of a data set of an option file, as validation sees them, rounded to 8 bits where they are sRGB.

    Args:
        options_file: The option file.
        entry: Which of its ``datasets``, such as ``val``.
        root: The project's root, where relative paths start.

    Raises:
        UserError: There is no such entry, or it is no IlluminantDataset.
    """
    datasets = load_options(options_file).root.plain().get("datasets") or {}
    options = datasets.get(entry)
    if not isinstance(options, Mapping) or options.get("type") != "IlluminantDataset":
        names = ", ".join(datasets) or "none"
        raise UserError(f"{options_file}: datasets.{entry} is no IlluminantDataset; the file has {names}.")
    found = {
        key: absolute(value, root) if isinstance(value, str) and is_data_path(options, key) else value
        for key, value in options.items()
        if value is not None
    }
    yield from samples_of(IlluminantDataset({**found, "phase": "val"}))


def samples_of(dataset: IlluminantDataset) -> Iterator[LitSample]:
    """The pictures of a data set; photos are the groups."""
    rounded = dataset.options.encoding == "srgb"
    for index in range(len(dataset)):
        item = dataset[index]
        image = item["image"].numpy().transpose(1, 2, 0)
        if rounded:  # as a file would hold it
            image = (np.round(image * 255) / 255).astype(np.float32)
        name = Path(item["lq_path"]).stem
        yield LitSample(f"{name}-{index}", image, item["light"].double().numpy(), None, name)


@dataclass
class PaperSet:
    """Photos of things on white paper, whose light is the paper's colour.

    Attributes:
        folder: The photos, sRGB.
        groups: File name to group.
        size: Edge of the square that is made of each photo; 0 keeps it as it is.
        refused: File to why it was left out; filled while reading.
    """

    folder: Path
    groups: Mapping[str, str]
    size: int
    refused: dict[str, str] = field(default_factory=dict)

    def samples(self) -> Iterator[LitSample]:
        """The photos without their paper: cut to what is not paper, the rest of the paper masked.

        Raises:
            UserError: There is no such folder, or no photo in it.
        """
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: there is no such folder.")
        names = image_names(self.folder)
        if not names:
            raise UserError(f"{self.folder}: no photo in it.")
        with WorkProgress("photos") as progress:
            for done, name in enumerate(names, start=1):
                sample = self._sample(name)
                progress(done, len(names), name)
                if sample is not None:
                    yield sample

    def _sample(self, name: str) -> LitSample | None:
        try:
            image = to_unit(read_pixels(self.folder / name, "srgb", _SHORT_SIDE), "srgb")
        except UserError as error:
            self.refused[name] = str(error)
            return None
        truth = find_paper(image)
        seen = ~truth.hide
        if truth.light is None or seen.mean() < _LEAST_SEEN:
            self.refused[name] = truth.reason or "nothing is left without the paper"
            return None
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        image, mask = _squared(image[box], seen[box], self.size)
        return LitSample(name, image, np.array(truth.light), mask, self.groups.get(name, ""))


def _squared(image: Array, mask: Array, size: int) -> tuple[Array, Array]:
    if not size:
        return image, mask
    # Paper must not bleed into what is looked at: the mean of what is left fills it before anything is averaged.
    filled = np.where(mask[..., None], image, image[mask].mean(0)).astype(np.float32)
    small = cv2.resize(filled, (size, size), interpolation=cv2.INTER_AREA)
    kept = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.5
    return small, kept if kept.any() else np.ones_like(kept)


def read_groups(path: Path | None) -> dict[str, str]:
    """Read a table with the columns ``file`` and ``light`` (or any second column): file name to group.

    Raises:
        UserError: The file cannot be read, or has no such columns.
    """
    if path is None:
        return {}
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}): it is a table with the columns file, light.") from error
    if not rows or len(rows[0]) < 2 or any(len(row) < 2 for row in rows if row):
        raise UserError(f"{path}: every line needs two fields: file, light.")
    return {row[0]: row[1] for row in rows[1:] if row}


def log_refused(refused: Mapping[str, str]) -> None:
    """Say which photos were left out, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in refused.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        logging.getLogger("basicsr").warning("%d photos left out (%s), such as %s", len(names), reason, names[0])
