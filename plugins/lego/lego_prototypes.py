"""Parts by their nearest prototype: also parts that were never trained, and "unknown" where none is near.

A part's prototype is the mean direction of the embeddings of its pictures (Snell et al., "Prototypical networks",
NeurIPS 2017); a new part needs a few pictures and no training. The least cosine of an answer is chosen on validation
images: each is asked once with all prototypes and once without its own part's, which makes it a part nobody knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.lego import lego_eval_stats as stats
from plugins.lego.lego_classifier_arch import LegoClassifier
from plugins.lego.lego_eval import Progress, batches, choose, load_classifier
from plugins.lego.lego_eval_run import EvalOptions
from plugins.lego.lego_manifest import REAL, TRAIN, VAL, Record, read_manifest

Array = np.ndarray[Any, Any]

UNKNOWN = "unknown"
_MOST_THUMBNAILS, _THUMBNAIL = 800, 48


@dataclass(frozen=True)
class Prototypes:
    """Directions of parts.

    Attributes:
        ids: Part ids, K.
        vectors: (K, D) unit vectors.
        least: Least cosine of an answer; below it a picture shows no part that is known.
    """

    ids: tuple[str, ...]
    vectors: Array
    least: float = -1.0

    def cosines(self, embeddings: Array) -> Array:
        """(N, K) cosines of unit vectors (N, D)."""
        found: Array = embeddings @ self.vectors.T
        return found

    def names(self, embeddings: Array) -> list[str]:
        """Part id of each unit vector (N, D), or ``unknown``."""
        cosines = self.cosines(embeddings)
        best = cosines.argmax(1)
        return [
            self.ids[place] if cosines[row, place] >= self.least else UNKNOWN for row, place in enumerate(best.tolist())
        ]


def embed_files(
    network: LegoClassifier,
    recipe: Mapping[str, Any],
    files: Sequence[Path],
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Array:
    """Unit vectors (N, D) of pictures.

    Raises:
        UserError: A picture cannot be read.
    """
    network = network.to(device)
    found: list[Array] = []
    done = 0
    with torch.inference_mode():
        for batch in batches(files, recipe):
            found.append(network.embed(torch.from_numpy(np.stack(batch)).to(device)).double().cpu().numpy())
            done += len(batch)
            if progress is not None:
                progress(done, len(files), files[done - 1].name)
    return np.concatenate(found)


def build(embeddings: Array, parts: Sequence[str], least: float = -1.0) -> Prototypes:
    """Prototypes of embeddings (N, D) of pictures of these parts."""
    ids = tuple(dict.fromkeys(parts))
    owner = np.array([ids.index(part) for part in parts])
    means = np.stack([embeddings[owner == number].mean(0) for number in range(len(ids))])
    return Prototypes(ids, means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12), least)


def known_and_unknown(prototypes: Prototypes, embeddings: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Each picture asked twice: (N,) best cosine, whether that is right, and best cosine without its own part's.

    Args:
        prototypes: Of at least two parts.
        embeddings: (N, D).
        labels: (N,) places among the prototypes.
    """
    cosines = prototypes.cosines(embeddings)
    best, right = cosines.max(1), cosines.argmax(1) == labels
    without = cosines.copy()
    without[np.arange(len(labels)), labels] = -np.inf
    return best, right, without.max(1)


def least_cosine(best: Array, right: Array, stranger: Array) -> float:
    """The threshold at which right answers are kept and strangers refused most often, both counting alike."""
    levels = np.unique(np.concatenate([best, stranger]))
    kept = [(best[right] >= level).mean() if right.any() else 0.0 for level in levels]
    refused = [(stranger < level).mean() for level in levels]
    return float(levels[int(np.argmax(np.add(kept, refused)))])


def save_prototypes(path: Path, prototypes: Prototypes) -> None:
    """Write prototypes as JSON at once."""
    rows = [
        {"id": name, "vector": vector.round(6).tolist()}
        for name, vector in zip(prototypes.ids, prototypes.vectors, strict=True)
    ]
    text = json.dumps({"least_cosine": prototypes.least, "prototypes": rows}) + "\n"
    write_atomic(path, lambda stream: stream.write(text.encode()))


def load_prototypes(path: Path) -> Prototypes:
    """Read prototypes.

    Raises:
        UserError: The file is missing or none of these.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["prototypes"]
        vectors = np.array([row["vector"] for row in rows], np.float64)
        found = Prototypes(tuple(str(row["id"]) for row in rows), vectors, float(content["least_cosine"]))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: these are no prototypes of tools/eval_lego.py --prototypes ({error})") from error
    if vectors.ndim != 2 or not len(vectors):
        raise UserError(f"{path}: these are no prototypes: vectors of the shape {vectors.shape}")
    return found


def judge_prototypes(options: EvalOptions, progress: Progress | None = None) -> tuple[Prototypes, list[str]]:
    """Build prototypes from the real training images, choose the threshold on val, and judge on the split.

    Args:
        options: Weights, manifest, split, device.
        progress: See :func:`plugins.lego.lego_eval_run.evaluate`.

    Returns:
        The prototypes, and lines that say how well they do.

    Raises:
        UserError: A file is wrong, or there are no real images of at least two parts to train on.
    """
    network, record = load_classifier(options.weights)
    everything = read_manifest(options.manifest)
    folder = options.manifest.parent

    def seen(split: str, wanted: Sequence[str] | None) -> tuple[Array, list[Record]]:
        rows = [one for one in everything if one.split == split and one.source == REAL and one.part]
        rows = [one for one in rows if wanted is None or one.part in wanted]
        files = [folder / one.path for one in rows]
        empty = np.zeros((0, 1))
        return (embed_files(network, record.recipe, files, options.device, progress) if files else empty), rows

    vectors, rows = seen(TRAIN, None)
    parts = [row.part for row in rows]
    if len(set(parts)) < 2:
        raise UserError(f"{options.manifest}: prototypes need real training images of at least two parts")
    plain = build(vectors, parts)
    val, val_rows = seen(VAL, plain.ids)
    least = -1.0
    if val_rows:
        least = least_cosine(*known_and_unknown(plain, val, _places(plain, val_rows)))
    prototypes = Prototypes(plain.ids, plain.vectors, least)
    judged, judged_rows = (val, val_rows) if options.split == VAL else seen(options.split, plain.ids)
    return prototypes, _lines(prototypes, judged, judged_rows)


def _places(prototypes: Prototypes, rows: Sequence[Record]) -> Array:
    return np.array([prototypes.ids.index(row.part) for row in rows])


def _lines(prototypes: Prototypes, embeddings: Array, rows: Sequence[Record]) -> list[str]:
    if not rows:
        return ["nearest prototype: no real image of these parts in the split"]
    labels = _places(prototypes, rows)
    one = stats.figures(prototypes.cosines(embeddings), labels, stats.groups_of(rows))
    best, right, stranger = known_and_unknown(prototypes, embeddings, labels)
    kept = best >= prototypes.least
    correct = right[kept].mean() if kept.any() else stats.NAN
    return [
        f"nearest prototype of {len(prototypes.ids)} parts: top-1 {one.top1:.1%} ({one.low:.1%} to {one.high:.1%}) of "
        f"{one.count} images, top-5 {one.top5:.1%}",
        f"unknown below a cosine of {prototypes.least:.3f} (chosen on val): {kept.mean():.1%} are answered, "
        f"{correct:.1%} of these right; with their own part's prototype taken away "
        f"{(stranger < prototypes.least).mean():.1%} are called unknown",
    ]


def write_projector(options: EvalOptions, folder: Path, progress: Progress | None = None) -> int:
    """Write the embeddings of a split's images for TensorBoard's projector: ``tensorboard --logdir FOLDER``.

    Returns:
        How many images.

    Raises:
        UserError: A file is wrong, or no image is left.
    """
    from torch.utils.tensorboard import SummaryWriter  # seconds to import

    network, record = load_classifier(options.weights)
    rows = choose(read_manifest(options.manifest), options.split, options.sources, options.manifest)
    rows = [rows[place] for place in np.unique(np.linspace(0, len(rows) - 1, _MOST_THUMBNAILS).astype(int))]
    files = [options.manifest.parent / one.path for one in rows]
    vectors = embed_files(network, record.recipe, files, options.device, progress)
    small = {**record.recipe, "size": _THUMBNAIL}
    pictures = np.concatenate([np.stack(batch) for batch in batches(files, small)])
    metadata = [[one.part, str(one.color), one.source, one.piece] for one in rows]
    with SummaryWriter(str(folder)) as writer:
        writer.add_embedding(
            torch.from_numpy(vectors),
            metadata,
            torch.from_numpy(pictures),
            tag="lego",
            metadata_header=["part", "color", "source", "piece"],
        )
    return len(rows)
