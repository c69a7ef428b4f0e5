"""From a LEGO classifier's weights file to what its ONNX file says, and the pictures that the export is checked on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from basicsr.archs import build_network
from basicsr.engine.checkpoint import RECORD, load_weights
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names, read_image
from basicsr.engine.network_io import fit, read_state_dict
from plugins.lego import lego_classifier_arch  # noqa: F401 - it registers the network
from plugins.lego.lego_classifier_arch import COLOR, PART
from plugins.lego.lego_manifest import REAL, TRAIN, VAL, Record, read_manifest
from plugins.lego.lego_model import LEGO_RECORD
from plugins.lego.lego_resize import prepare_image

Array = np.ndarray[Any, Any]

CALIBRATION_IMAGES, JUDGE_IMAGES = 200, 2000
_KEYS = ("parts", "colors", "color_scheme", "input", "mean", "std", "network")


class PreparedPictures(Sequence[Array]):
    """Files as the network's input, (3, S, S) float32 in [0, 1], read when they are asked for.

    Args:
        paths: The files.
        recipe: How a picture becomes the input.
    """

    def __init__(self, paths: Sequence[Path], recipe: Mapping[str, Any]) -> None:
        self.paths, self.recipe = list(paths), recipe

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return PreparedPictures(self.paths[place], self.recipe)
        pixels = read_image(str(self.paths[place]))
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        return prepare_image(pixels, self.recipe)


@dataclass(frozen=True)
class Pictures:
    """Pictures for int8.

    Attributes:
        calibration: Those that set the ranges.
        judged: Others.
        labels: Head to class numbers of ``judged``, -1 where not known; None for a folder without labels.
    """

    calibration: PreparedPictures
    judged: PreparedPictures
    labels: dict[str, Array] | None


def is_lego_record(record: Any) -> bool:
    """Whether a weights file's record is that of a LEGO classifier."""
    return isinstance(record, Mapping) and LEGO_RECORD in record


def load_lego(path: str | Path, param_key: str = "params_ema") -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of a weights file and load it: EMA weights where there are some.

    Returns:
        The network in evaluation mode on the CPU, and the file's record (see ``LegoModel.checkpoint_record``).

    Raises:
        UserError: The file is missing, damaged, or was not written by a LegoModel.
    """
    record = load_weights(path).get(RECORD)
    if not isinstance(record, Mapping) or not is_lego_record(record):
        raise UserError(
            f"{path}: it does not say which parts and colours it knows (no '{RECORD}' of a LegoModel): take weights "
            "that a training with options/lego_classifier.yml wrote"
        )
    missing = [key for key in _KEYS if key not in record]
    if missing:
        raise UserError(f"{path}: its record is damaged: {', '.join(missing)} missing")
    network = build_network({**record["network"], "pretrained": None})
    state, _ = read_state_dict(path, param_key)
    fit(network, state, str(path), strict=True)
    return network.eval(), dict(record)


def lego_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the ONNX file says about itself."""
    network = record["network"]
    heads = {PART: ("num_parts", "parts"), COLOR: ("num_colors", "colors")}
    classes = {head: record[key] for head, (count, key) in heads.items() if network.get(count, len(record[key]))}
    temperature = record.get("temperature") or {}
    return {
        "task": "lego",
        "classes": classes,
        "color_scheme": record["color_scheme"],
        "input": dict(record["input"]),
        "value_range": [0.0, 1.0],
        "color": "RGB, gamma-encoded sRGB",
        "layout": "NCHW float32",
        "normalization": {"inside": True, "mean": list(record["mean"]), "std": list(record["std"])},
        "temperature": {head: float(temperature.get(head, 1.0)) for head in classes},
        "network": {key: value for key, value in network.items() if key != "pretrained"},
    }


def by_head(entries: list[str], option: str, heads: Mapping[str, Any], most: float | None = None) -> dict[str, float]:
    """Read ``HEAD=VALUE`` arguments: numbers above 0.

    Raises:
        UserError: An entry is no such thing.
    """
    values = {}
    for entry in entries:
        head, _, text = entry.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if head not in heads or not 0 < value < float("inf") or (most is not None and value >= most):
            limit = "" if most is None else f" and below {most:g}"
            raise UserError(f"{option} {entry}: give HEAD=NUMBER with a head of {', '.join(heads)}, above 0{limit}")
        values[head] = value
    return values


def parity_pictures(folder: Path, recipe: Mapping[str, Any], count: int) -> Array:
    """Some pictures of a folder, (N, 3, S, S) float32.

    Raises:
        UserError: There are none.
    """
    return np.stack(list(PreparedPictures(spread(_images_of(folder), count), recipe)))


def pictures(source: Path, recipe: Mapping[str, Any], classes: Mapping[str, list[Mapping[str, Any]]]) -> Pictures:
    """Pictures to calibrate int8 on and others to judge it on.

    Args:
        source: A manifest (training images calibrate, real ones where there are some, validation images judge), or a
            folder of pictures of which every second one judges.
        recipe: How a picture becomes the input.
        classes: Head to rows of classes.

    Raises:
        UserError: There are too few pictures, or one cannot be read.
    """
    if source.is_dir():
        paths = _images_of(source)
        if len(paths) < 2:
            raise UserError(f"{source}: int8 needs at least two pictures: one to calibrate on, another to judge on")
        first, second = spread(paths[::2], CALIBRATION_IMAGES), spread(paths[1::2], JUDGE_IMAGES)
        return Pictures(PreparedPictures(first, recipe), PreparedPictures(second, recipe), None)
    records = read_manifest(source)
    root = source.parent
    train = [one for one in records if one.split == TRAIN]
    captures = [one for one in train if one.source == REAL]  # renders have other ranges than what a camera gives
    train = spread(captures or train, CALIBRATION_IMAGES)
    val = spread([one for one in records if one.split == VAL], JUDGE_IMAGES)
    for name, chosen in ((TRAIN, train), (VAL, val)):
        if not chosen:
            raise UserError(f"{source}: no image of the split {name}; int8 is calibrated on train and judged on val")
    labels = {head: class_numbers(head, rows, val) for head, rows in classes.items()}
    return Pictures(
        PreparedPictures([root / one.path for one in train], recipe),
        PreparedPictures([root / one.path for one in val], recipe),
        labels,
    )


def class_numbers(head: str, rows: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> Array:
    """(N,) int64 class number of each image, -1 where it is unknown or no class."""
    numbers = {str(row["id"]): number for number, row in enumerate(rows)}
    return np.array([numbers.get(one.part if head == PART else str(one.color), -1) for one in records], np.int64)


def _images_of(folder: Path) -> list[Path]:
    names = image_names(folder)
    if not names:
        raise UserError(f"{folder}: no images in it")
    return [folder / name for name in names]


def spread(entries: list[Any], count: int) -> list[Any]:
    """At most ``count`` entries, evenly spread."""
    if len(entries) <= count:
        return entries
    return [entries[place] for place in np.linspace(0, len(entries) - 1, count).round().astype(int)]
