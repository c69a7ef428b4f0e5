"""What a trained network answers to the images of a manifest: reading its weights, choosing images, asking it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.engine.checkpoint import RECORD, load_weights, save_weights
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image
from basicsr.engine.network_io import fit, read_state_dict
from plugins.lego.lego_classifier_arch import COLOR, PART, LegoClassifier
from plugins.lego.lego_manifest import REAL, SOURCES, TRAIN, Classes, Record, is_known
from plugins.lego.lego_resize import prepare_image

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int, str], None]

HEADS = (PART, COLOR)
UNKNOWN = -1
TEMPERATURE = "temperature"
"""Key of a weights file's record: head to the divisor of its logits that makes its probabilities honest."""
_NEEDED = ("lego", "parts", "colors", "input", "network")
_BATCH = 32
_AHEAD = 2 * _BATCH


@dataclass(frozen=True)
class LegoRecord:
    """What a network's answers mean.

    Attributes:
        classes: Head to its classes.
        recipe: How a picture becomes the input; see :func:`plugins.lego.lego_resize.prepare_image`.
        network: ``type`` and options of the network.
        temperature: Head to the divisor of its logits; empty where none was fitted.
    """

    classes: Mapping[str, Classes]
    recipe: Mapping[str, Any]
    network: Mapping[str, Any]
    temperature: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """Images and what the network said of them.

    Attributes:
        records: Rows of the manifest, N.
        files: The images' files, N.
        labels: Head to classes (N,) int64; -1 where not known or not among the network's classes.
        logits: Head to logits (N, K) float64.
        outside: Head to how many images have a known class that the network does not know; they are not counted.
    """

    records: Sequence[Record]
    files: Sequence[Path]
    labels: Mapping[str, Array]
    logits: Mapping[str, Array]
    outside: Mapping[str, int]


def read_record(path: str | Path) -> LegoRecord:
    """Read the record of a weights file.

    Raises:
        UserError: The file is missing or damaged, or no LegoModel wrote it.
    """
    content = load_weights(path).get(RECORD)
    if not isinstance(content, Mapping) or "lego" not in content:
        raise UserError(
            f"{path}: it does not say which parts and colours its outputs are: take weights that a LegoModel wrote "
            "(options/lego_classifier.yml)"
        )
    missing = [key for key in _NEEDED if key not in content]
    if missing:
        raise UserError(f"{path}: its record is damaged: {', '.join(missing)} missing")
    try:
        classes = {PART: _classes(content["parts"]), COLOR: _classes(content["colors"])}
        temperature = {str(head): float(value) for head, value in (content.get(TEMPERATURE) or {}).items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: its record is damaged: {type(error).__name__} {error}") from error
    return LegoRecord(classes, dict(content["input"]), dict(content["network"]), temperature)


def _classes(rows: Sequence[Mapping[str, Any]]) -> Classes:
    rgb = tuple(str(row["rgb"]) for row in rows) if rows and all("rgb" in row for row in rows) else ()
    return Classes(tuple(str(row["id"]) for row in rows), tuple(str(row["name"]) for row in rows), rgb)


def load_classifier(path: str | Path) -> tuple[LegoClassifier, LegoRecord]:
    """Build the network of a weights file and load it: EMA weights where there are some.

    Returns:
        The network in evaluation mode on the CPU, and its record.

    Raises:
        UserError: The file is missing, damaged, or no LegoModel wrote it.
    """
    record = read_record(path)
    network = build_network(dict(record.network))
    if not isinstance(network, LegoClassifier):
        raise UserError(f"{path}: it holds a {type(network).__name__}, not a LegoClassifier")
    state, _ = read_state_dict(path, "params_ema")
    fit(network, state, str(path), strict=True)
    return network.eval(), record


def choose(records: Sequence[Record], split: str, sources: Sequence[str] | None, manifest: Path) -> list[Record]:
    """The images of a split that an evaluation may use.

    Args:
        records: Of the manifest.
        split: train, val or test.
        sources: Which sources count; None for real captures, with an error if the split has others.
        manifest: For messages.

    Raises:
        UserError: The split has synthetic images that were not asked for, or nothing is left.
    """
    mine = [record for record in records if record.split == split]
    counts = Counter(record.source for record in mine)
    listed = ", ".join(f"{source} {counts[source]}" for source in SOURCES if counts[source]) or "no image"
    synthetic = [source for source in counts if source != REAL]
    if sources is None and synthetic:
        raise UserError(
            f"{manifest}: the split {split} has {listed}: figures on synthetic images say little of real bricks. Say "
            f"--source real to leave them out, or --source {','.join(sorted(counts))} to count them"
        )
    wanted = (REAL,) if sources is None else tuple(sources)
    kept = [record for record in mine if record.source in wanted]
    if not kept:
        raise UserError(f"{manifest}: no {' or '.join(wanted)} image in the split {split}; it has {listed}")
    return kept


def shared_pieces(records: Sequence[Record], chosen: Sequence[Record]) -> list[str]:
    """Pieces that are also trained on: their images make the figures too good."""
    trained = {record.piece for record in records if record.split == TRAIN and record.piece}
    return sorted({record.piece for record in chosen if record.piece in trained} if chosen[0].split != TRAIN else set())


def labels_of(records: Sequence[Record], classes: Mapping[str, Classes]) -> tuple[dict[str, Array], dict[str, int]]:
    """Classes of the images by the network's own numbering, and how many images have one that it does not know."""
    part, color = classes[PART].numbers(), classes[COLOR].numbers()
    labels = {
        PART: np.array([part.get(record.part, UNKNOWN) for record in records], np.int64),
        COLOR: np.array([color.get(str(record.color), UNKNOWN) for record in records], np.int64),
    }
    outside = {
        PART: sum(bool(record.part) and record.part not in part for record in records),
        COLOR: sum(is_known(record.color) and str(record.color) not in color for record in records),
    }
    return labels, outside


def read_rgb8(path: Path) -> Array:
    """A picture as (H, W, 3) uint8 RGB, upright, as the training data reads it."""
    pixels = read_image(path)
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def answer_all(
    network: nn.Module,
    record: LegoRecord,
    records: Sequence[Record],
    folder: Path,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Answers:
    """Ask the network about images.

    Args:
        network: Of :func:`load_classifier`.
        record: Its record.
        records: Rows of the manifest.
        folder: The manifest's folder.
        device: Where to compute; the network is moved there.
        progress: Called with how many images are done, of how many, and the last one's name.

    Raises:
        UserError: An image cannot be read, or an output is not finite.
    """
    files = [folder / one.path for one in records]
    network = network.to(device)
    parts: dict[str, list[Array]] = {}
    done = 0
    with torch.inference_mode():
        for batch in batches(files, record.recipe):
            outputs = network(torch.from_numpy(np.stack(batch)).to(device))
            for head, values in outputs.items():
                parts.setdefault(head, []).append(values.double().cpu().numpy())
            done += len(batch)
            if progress is not None:
                progress(done, len(files), files[done - 1].name)
    logits = {head: np.concatenate(parts[head]) for head in HEADS if head in parts}
    broken = [head for head, values in logits.items() if not np.isfinite(values).all()]
    if broken:
        raise UserError(f"the head '{broken[0]}' gives values that are not finite: these weights are damaged")
    labels, outside = labels_of(records, record.classes)
    here = [head for head in HEADS if head in logits]
    return Answers(
        records, files, {head: labels[head] for head in here}, logits, {head: outside[head] for head in here}
    )


def batches(files: Sequence[Path], recipe: Mapping[str, Any]) -> Iterator[list[Array]]:
    """Inputs of the files in order, read some at a time beside the network."""

    def load(path: Path) -> Array:
        return prepare_image(read_rgb8(path), recipe)

    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[Array]] = deque()
        place = 0
        try:
            while place < len(files) or waiting:
                while place < len(files) and len(waiting) < _AHEAD:
                    waiting.append(pool.submit(load, files[place]))
                    place += 1
                yield [waiting.popleft().result() for _ in range(min(_BATCH, len(waiting)))]
        finally:
            pool.shutdown(cancel_futures=True)


def write_with_temperature(source: Path, target: Path, temperature: Mapping[str, float]) -> None:
    """Write a copy of a weights file whose record also has the temperatures.

    Raises:
        UserError: Source and target are one file, or the disk refused.
    """
    if target.exists() and target.resolve() == source.resolve():
        raise UserError(f"{target}: this is the file that is measured; name another one for the copy")
    content = load_weights(source)
    record = {**content.pop(RECORD), TEMPERATURE: {head: float(value) for head, value in temperature.items()}}
    save_weights(target, content, record)
