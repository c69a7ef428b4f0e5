"""Weights files that say what their network was trained on, so that no other kind of picture is fed to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from basicsr.archs import build_network
from basicsr.engine.checkpoint import RECORD, load_weights, save_weights
from basicsr.engine.errors import UserError
from basicsr.engine.network_io import fit, read_state_dict
from plugins.illuminant import illuminant_cnn_arch, illuminant_unet_arch  # noqa: F401 - they register the networks
from plugins.illuminant.centroids import Centroids, centroids_from
from plugins.illuminant.light_images import ENCODINGS


@dataclass(frozen=True)
class IlluminantRecord:
    """What a network's answers mean.

    Attributes:
        encoding: ``srgb`` (pictures with the sRGB curve) or ``linear`` (raw, black level subtracted): its input.
        centroids: The classes, in the order of its outputs.
        network: ``type`` and options of the network.
        size: Height and width of the training crops, in pixels.
    """

    encoding: str
    centroids: Centroids
    network: Mapping[str, Any]
    size: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the weights file."""
        return {
            "encoding": self.encoding,
            "centroids": self.centroids.as_dict(),
            "network": dict(self.network),
            "size": self.size,
        }


def read_record(path: str | Path) -> IlluminantRecord:
    """Read the record of a weights file.

    Raises:
        UserError: The file is missing or damaged, or holds no record.
    """
    content = load_weights(path).get(RECORD)
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path}: it does not say which pictures and classes it was trained on (no '{RECORD}'): take weights that "
            "an IlluminantModel wrote (options/illuminant_cnn.yml)."
        )
    missing = [key for key in ("encoding", "centroids", "network", "size") if key not in content]
    if missing or content["encoding"] not in ENCODINGS:
        wrong = f"{', '.join(missing)} missing" if missing else f"encoding: '{content['encoding']}'"
        raise UserError(f"{path}: its record is damaged ({wrong}); the encodings are {' and '.join(ENCODINGS)}.")
    centroids = centroids_from(content["centroids"], str(path))
    return IlluminantRecord(str(content["encoding"]), centroids, dict(content["network"]), int(content["size"]))


def load_network(
    path: str | Path, encoding: str | None = None, sensor: str | None = None
) -> tuple[nn.Module, IlluminantRecord]:
    """Build the network of a weights file and load it: EMA weights where there are some.

    Args:
        path: A ``.pth`` file that an IlluminantModel wrote.
        encoding: What it is going to be fed; None takes any.
        sensor: Whose RGB that is; None takes any.

    Returns:
        The network in evaluation mode on the CPU, and its record.

    Raises:
        UserError: The file is missing, damaged, without a record, or of the other encoding or another sensor.
    """
    record = read_record(path)
    if encoding is not None and encoding != record.encoding:
        raise UserError(f"{path}: trained on {record.encoding} pictures; these are {encoding}. They do not mix.")
    if sensor is not None and sensor != record.centroids.sensor:
        raise UserError(
            f"{path}: its classes are those of the sensor '{record.centroids.sensor}', the pictures are of '{sensor}'."
        )
    network = build_network(dict(record.network))
    state, _ = read_state_dict(path, "params_ema")
    fit(network, state, str(path), strict=True)
    return network.eval(), record


def save_network(path: str | Path, network: nn.Module, record: IlluminantRecord) -> None:
    """Write a weights file with its record, atomically."""
    save_weights(path, {"params": network.state_dict()}, record.as_dict())
