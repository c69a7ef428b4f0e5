"""IlluminantMapModel: trains a network that answers the light of every pixel."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from basicsr.engine.checkpoint import RECORD, load_weights
from basicsr.engine.errors import UserError
from basicsr.engine.loss_set import LossSet
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from plugins.illuminant.centroids import read_centroids
from plugins.illuminant.checkpoint import IlluminantRecord, read_record
from plugins.illuminant.illuminant_map_validation import IlluminantMapValidation
from plugins.illuminant.illuminant_mask_dataset import CENTROIDS
from plugins.illuminant.illuminant_model import check_same_pictures
from plugins.illuminant.illuminant_unet_arch import light_of_output

_TRUTH = ("shares", "valid", "centroids")


@MODEL_REGISTRY.register()
class IlluminantMapModel(SRModel):
    """Classes and light of every pixel, for data sets of the type IlluminantMaskDataset.

    Every ``<name>_opt`` under ``train`` is a loss; it gets the network's output, the true illuminant map, and as
    keywords ``shares``, ``valid`` and ``centroids``. All data sets of a run have one encoding and one set of centroids;
    both are written into the weights files, and weights or features of another encoding or sensor are refused.

    Args:
        opt: The run's options.

    Attributes:
        losses: All losses.
        record: What the weights files say.

    Raises:
        UserError: The data sets differ, the classes do not fit the network, there is no loss, or weights to start from
            were trained on other pictures.
    """

    validation_type = IlluminantMapValidation

    def __init__(self, opt: dict[str, Any]) -> None:
        self.record = record_of_masks(opt)
        features = opt["network_g"].get("features")
        if features is not None:
            path = Path(opt["path"]["root"]) / Path(features).expanduser()
            check_same_pictures(read_record(path), self.record, str(path))
            opt = {**opt, "network_g": {**opt["network_g"], "features": str(path)}}
        super().__init__(opt)

    def init_losses(self) -> None:
        """Build the losses."""
        self.losses = LossSet.from_options(self.opt["train"]).to(self.device)
        if not len(self.losses):
            raise UserError("train has no loss: add at least one, as share_opt: {type: ShareCrossEntropyLoss}")

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch of an IlluminantMaskDataset."""
        super().feed_data(data)
        self.truth = {key: data[key].to(self.device, non_blocking=True) for key in _TRUTH}

    def train_batch(self) -> dict[str, Any]:
        """What the step splits into chunks."""
        return {**super().train_batch(), **self.truth}

    def compute_losses(
        self, output: Any, chunk: Mapping[str, Any], current_iter: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Sum the losses of a chunk; see :meth:`SRModel.compute_losses`."""
        context = {key: chunk[key] for key in _TRUTH}
        total, values = self.losses(output, chunk["gt"], current_iter, **context)
        if len(self.losses) > 1:
            values["l_total"] = total.detach()
        return total, values

    def get_current_visuals(self) -> OrderedDict[str, Tensor]:
        """``lq``, ``light`` (N, 3, H, W) and ``shares`` as answered, and the truth, on the CPU."""
        output, centroids = self.output.detach(), self.truth["centroids"]
        visuals = OrderedDict(
            lq=self.lq.detach(),
            light=light_of_output(output, centroids),
            shares=output[:, : centroids.shape[-2]].softmax(1),
            gt=self.gt,
            gt_shares=self.truth["shares"],
            valid=self.truth["valid"],
        )
        return OrderedDict((key, value.cpu()) for key, value in visuals.items())

    def checkpoint_record(self) -> Mapping[str, Any]:
        """Encoding, centroids, network and picture size. The features' file is not needed any more."""
        record: dict[str, Any] = self.record.as_dict()
        record["network"] = {key: value for key, value in record["network"].items() if key != "features"}
        return record

    def load_network(
        self, net: nn.Module, load_path: str | Path, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load weights; see :meth:`BaseModel.load_network`. A record in them must be of the same kind of pictures."""
        if RECORD in load_weights(load_path):
            check_same_pictures(read_record(load_path), self.record, str(load_path))
        super().load_network(net, load_path, strict, param_key)


def record_of_masks(opt: Mapping[str, Any]) -> IlluminantRecord:
    """The record that the options of a run make.

    Raises:
        UserError: Data sets disagree, or the network has another number of classes.
    """
    datasets = {key: item for key, item in (opt.get("datasets") or {}).items() if item}
    if not datasets or any(not item.get("dataroot_masks") for item in datasets.values()):
        raise UserError("datasets: an IlluminantMapModel needs data sets of the type IlluminantMaskDataset.")
    first_key = "train" if "train" in datasets else next(iter(datasets))
    first = datasets[first_key]
    centroids = read_centroids(Path(first["dataroot_masks"]) / CENTROIDS)
    for key, item in datasets.items():
        if item["encoding"] != first["encoding"]:
            raise UserError(
                f"datasets.{key}.encoding: {item['encoding']}, but datasets.{first_key}.encoding is "
                f"{first['encoding']}: one network sees one kind of picture; make them the same."
            )
        other = read_centroids(Path(item["dataroot_masks"]) / CENTROIDS)
        if (other.sensor, other.rgb) != (centroids.sensor, centroids.rgb):
            raise UserError(
                f"datasets.{key}.dataroot_masks: made with other centroids (sensor '{other.sensor}') than those of "
                f"datasets.{first_key} (sensor '{centroids.sensor}'): make both with one file."
            )
    classes = opt["network_g"].get("num_classes", 5)
    if classes != len(centroids):
        raise UserError(
            f"network_g.num_classes: {classes}, but the masks have {len(centroids)} classes; make it "
            f"num_classes: {len(centroids)}."
        )
    size = int(first.get("short_side") or first.get("image_size") or 0)
    return IlluminantRecord(str(first["encoding"]), centroids, dict(opt["network_g"]), size)
