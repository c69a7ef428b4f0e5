"""The networks and scenes of an evaluation on LSMI, and the checks that they belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import nn

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.checkpoint import IlluminantRecord, load_network
from plugins.illuminant.illuminant_cnn_arch import SMALLEST, IlluminantCNN
from plugins.illuminant.lsmi_mask_files import ManifestRow, MaskFile, read_manifest, read_mask_file, read_scene_image

Array = np.ndarray[Any, Any]

SAME_DEGREES = 0.01
"""Centroids of masks and network nearer than this are the same ones."""
_BRIGHT = 99.0


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture at the size of the evaluation.

    Attributes:
        name: Of the picture.
        image: (H, W, 3) float32, linear RGB of the sensor in [0, 1], black where not valid: what a network is fed.
        truth: (H, W, K) float64 true shares.
        valid: (H, W) bool.
        display: (H, W, 3) linear in [0, 1], balanced by the mean of the lights and brightened, to look at.
    """

    name: str
    image: Array
    truth: Array
    valid: Array
    display: Array


@dataclass(frozen=True)
class Networks:
    """The class network (maps), the mask network (shares of every pixel), and what they are fed; at least one."""

    class_network: IlluminantCNN | None
    class_encoding: str
    mask_network: nn.Module | None
    mask_encoding: str
    class_names: tuple[str, ...]


def open_networks(weights: Sequence[str | Path], masks: MaskFile, encode_srgb: bool) -> Networks:
    """Load the weights files and check that the masks are of the same classes and the same kind of picture.

    Args:
        weights: One or two files: of an IlluminantCNN, and of a network with ``predict_shares`` (IlluminantUNet).
        masks: One of the masks.
        encode_srgb: Feed the linear pictures sRGB-encoded to a network that was trained on srgb pictures.

    Raises:
        UserError: A file is damaged or of another sensor, of other classes or another encoding; or two are of a kind.
    """
    by_kind: dict[bool, tuple[nn.Module, str]] = {}
    for path in weights:
        net, record = load_network(path, sensor=masks.sensor)
        _check_classes(path, record, masks)
        _check_encoding(path, record, encode_srgb)
        is_classes = isinstance(net, IlluminantCNN)
        if not is_classes and not callable(getattr(net, "predict_shares", None)):
            raise UserError(f"{path}: a {type(net).__name__}: it has neither class maps nor shares of every pixel.")
        if is_classes in by_kind:
            raise UserError(f"{path}: a second {type(net).__name__}: one network of a kind is evaluated at a time.")
        by_kind[is_classes] = net, record.encoding
    if not by_kind:
        raise UserError("weights: none given; an IlluminantCNN is needed, or an IlluminantUNet, or both.")
    first, second = by_kind.get(True), by_kind.get(False)
    class_network = first[0] if first and isinstance(first[0], IlluminantCNN) else None
    return Networks(
        class_network,
        first[1] if first else "",
        second[0] if second else None,
        second[1] if second else "",
        masks.class_names,
    )


def _check_classes(path: str | Path, record: IlluminantRecord, masks: MaskFile) -> None:
    ours, theirs = record.centroids.array, masks.centroids
    if ours.shape != theirs.shape or angle_degrees(ours, theirs).max() > SAME_DEGREES:
        raise UserError(
            f"{path}: its classes are not those of the masks ({len(ours)} and {len(theirs)} centroids, or other "
            "directions): make the masks with the centroids.json that the network was trained with."
        )


def _check_encoding(path: str | Path, record: IlluminantRecord, encode_srgb: bool) -> None:
    if record.encoding == "srgb" and not encode_srgb:
        raise UserError(
            f"{path}: trained on srgb pictures; the scenes are linear. They do not mix; --encode-srgb encodes the "
            "scenes, which is right only where the training pictures are of the same sensor's RGB."
        )
    if record.encoding == "linear" and encode_srgb:
        raise UserError(f"{path}: trained on linear pictures, as the scenes are: leave --encode-srgb out.")


def choose_rows(masks: str | Path, split: str | None, limit: int | None) -> list[ManifestRow]:
    """Lines of the manifest, in its order; with a limit, evenly spread over them.

    Raises:
        UserError: There is no manifest, or no picture of that split.
    """
    rows = read_manifest(masks)
    chosen = [row for row in rows if split is None or row.split == split]
    if not chosen:
        there = ", ".join(sorted({row.split for row in rows}))
        raise UserError(f"{masks}: no picture of the split '{split}'; there are: {there}.")
    if limit is None or limit >= len(chosen):
        return chosen
    return [chosen[round(place)] for place in np.linspace(0, len(chosen) - 1, limit)]


def read_scenes(masks: str | Path, root: str | Path, rows: Sequence[ManifestRow], side: int) -> Iterator[Scene]:
    """Read the scenes one by one, shrunk to a longer side of ``side`` pixels; smaller ones stay as they are.

    Raises:
        UserError: A file is missing or damaged, of other classes than the first, or the picture too small.
    """
    centroids: Array | None = None
    for row in rows:
        path = Path(masks) / row.npz
        file = read_mask_file(path)
        centroids = file.centroids if centroids is None else centroids
        if not np.array_equal(file.centroids, centroids):
            raise UserError(f"{path}: made with other centroids than the first of the masks; make them again.")
        yield make_scene(Path(row.npz).with_suffix("").as_posix(), read_scene_image(root, file), file, side)


def make_scene(name: str, image: Array, masks: MaskFile, side: int) -> Scene:
    """Shrink a picture and its masks; the shares of a pixel are the mean of the valid ones that went into it.

    Args:
        name: For messages.
        image: (H, W, 3) linear in [0, 1].
        masks: Of the same size.
        side: Longer side, pixels.

    Raises:
        UserError: Too small for the networks.
    """
    height, width = masks.size
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if min(size) < SMALLEST:
        raise UserError(f"{name}: {size[1]} x {size[0]} pixels; the networks need {SMALLEST} x {SMALLEST}; see --side.")
    weight = _shrunk(masks.valid.astype(np.float64), size)
    valid = weight >= 0.5
    # Invalid pixels hold no shares, so the plain mean is short by their part.
    truth = _shrunk(masks.mask.astype(np.float64), size) / np.where(valid, weight, 1)[..., None]
    small = _shrunk(image.astype(np.float32), size).clip(0, 1)
    # Charts and what is not known are black for a network: a chart would tell it the light.
    shown = np.where(valid[..., None], small, 0)
    return Scene(name, shown, np.where(valid[..., None], truth, 0).clip(0, 1), valid, _display(small, masks.lights))


def _shrunk(values: Array, size: tuple[int, int]) -> Array:
    if values.shape[1::-1] == size:
        return values
    channels = values.reshape(*values.shape[:2], -1)
    planes = [cv2.resize(channels[..., k], size, interpolation=cv2.INTER_AREA) for k in range(channels.shape[2])]
    return np.stack(planes, -1).reshape(size[1], size[0], *values.shape[2:])


def _display(image: Array, lights: Array) -> Array:
    light = (lights / lights[:, 1:2]).mean(0)
    balanced = image / light
    bright = float(np.percentile(balanced, _BRIGHT))
    shown: Array = (balanced / max(bright, 1e-6)).clip(0, 1).astype(np.float32)
    return shown
