"""IlluminantModel: trains a classifier of light and writes what its answers mean into every weights file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from basicsr.engine.checkpoint import RECORD, load_weights
from basicsr.engine.errors import UserError
from basicsr.utils.registry import MODEL_REGISTRY
from plugins.classification.classification_model import ClassificationModel
from plugins.illuminant.centroids import read_centroids
from plugins.illuminant.checkpoint import IlluminantRecord, read_record

HEAD = "illuminant"


@MODEL_REGISTRY.register()
class IlluminantModel(ClassificationModel):
    """Classification of the light, for data sets of the type IlluminantDataset.

    All data sets of a run have one encoding and one file of centroids. Both are written into the weights files, and
    weights of another encoding or sensor are refused.

    Args:
        opt: The run's options.

    Raises:
        UserError: The data sets differ, the network's ``num_classes`` is not the number of centroids, or weights to
            start from were trained on other pictures.
    """

    default_head: ClassVar[str] = HEAD

    def __init__(self, opt: dict[str, Any]) -> None:
        self.record = record_of_options(opt)
        super().__init__(opt)

    def class_names(self, head: str) -> list[str] | None:
        """Names of the classes of light."""
        return list(self.record.centroids.names)

    def metric_context(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The centroids, (K, 3), which ``calculate_centroid_angle`` answers with."""
        return {"centroids": self.record.centroids.array}

    def checkpoint_record(self) -> Mapping[str, Any]:
        """Encoding, centroids, network and picture size."""
        return self.record.as_dict()

    def load_network(
        self, net: nn.Module, load_path: str | Path, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load weights; see :meth:`BaseModel.load_network`. A record in them must be of the same kind of pictures."""
        if RECORD in load_weights(load_path):
            check_same_pictures(read_record(load_path), self.record, str(load_path))
        super().load_network(net, load_path, strict, param_key)


def record_of_options(opt: Mapping[str, Any]) -> IlluminantRecord:
    """The record that the options of a run make.

    Raises:
        UserError: Data sets disagree, or the network has another number of classes.
    """
    found: dict[str, tuple[str, Any]] = {}
    for key, dataset in (opt.get("datasets") or {}).items():
        for name in ("encoding", "centroids"):
            value = dataset.get(name)
            before = found.setdefault(name, (key, value))
            if value != before[1]:
                raise UserError(
                    f"datasets.{key}.{name}: {value}, but datasets.{before[0]}.{name} is {before[1]}: one network sees "
                    "one kind of picture and has one set of classes; make them the same."
                )
    datasets = opt.get("datasets") or {}
    first = datasets.get("train") or next(iter(datasets.values()), None)
    if first is None or not first.get("centroids"):
        raise UserError("datasets: an IlluminantModel needs a data set of the type IlluminantDataset with centroids.")
    centroids = read_centroids(first["centroids"])
    network = {key: value for key, value in opt["network_g"].items()}
    classes = network.get("num_classes", 5)
    if classes != len(centroids):
        raise UserError(
            f"network_g.num_classes: {classes}, but {first['centroids']} holds {len(centroids)} classes; make it "
            f"num_classes: {len(centroids)}."
        )
    size = int(first.get("image_size") or 0)
    return IlluminantRecord(str(first.get("encoding") or "srgb"), centroids, network, size)


def check_same_pictures(theirs: IlluminantRecord, ours: IlluminantRecord, path: str) -> None:
    """Refuse weights that were trained on pictures of another encoding or sensor.

    Raises:
        UserError: They were.
    """
    pairs = (
        ("encoding", theirs.encoding, ours.encoding),
        ("sensor", theirs.centroids.sensor, ours.centroids.sensor),
    )
    for what, there, here in pairs:
        if there != here:
            raise UserError(
                f"{path}: trained on pictures of the {what} '{there}', this run's are '{here}'; do not mix."
            )
