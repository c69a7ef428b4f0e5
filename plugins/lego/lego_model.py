"""LegoModel: trains the LEGO classifier and writes into every weights file what its outputs mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from basicsr.engine.checkpoint import RECORD, load_weights
from basicsr.engine.errors import UserError
from basicsr.utils.registry import MODEL_REGISTRY
from plugins.classification.classification_model import ClassificationModel
from plugins.lego.color_ids import LDRAW
from plugins.lego.lego_classifier_arch import COLOR, PART, LegoClassifier
from plugins.lego.lego_dataset import LegoOptions, classes_of
from plugins.lego.lego_manifest import Classes
from plugins.lego.lego_resize import input_recipe

logger = logging.getLogger("basicsr")

VERSION = 1
"""Of the record in a weights file."""
LEGO_RECORD = "lego"
_SAME = ("manifest", "part_names", "color_names", "image_size", "resize_mode", "center", "grey")
_CLASS_FILES = _SAME[:3]


@dataclass(frozen=True)
class LegoTrainOptions:
    """Keys of ``train`` that only ``LegoModel`` reads.

    Attributes:
        backbone_lr_factor: Learning rate of the backbone's last block, as a factor on that of the heads.
        layer_decay: Factor on the rate from each block of the backbone to the one before it.
    """

    backbone_lr_factor: float = 1.0
    layer_decay: float = 1.0


@dataclass(frozen=True)
class LegoModelOptions:
    """Sections in which ``LegoModel`` has keys of its own.

    Attributes:
        train: Learning rates by depth.
    """

    train: LegoTrainOptions = field(default_factory=LegoTrainOptions)


@MODEL_REGISTRY.register()
class LegoModel(ClassificationModel):
    """Classification of LEGO parts and colours, for data sets of the type LegoDataset.

    All data sets of a run show pictures of one size, resized in one way, and have the same classes; these, the
    network's options and the normalisation are written into the weights files (``record``).

    Args:
        opt: The run's options.

    Raises:
        UserError: Data sets differ, the network has other numbers of classes, or an option is out of range.
    """

    default_head: ClassVar[str] = PART
    options_class: ClassVar[type] = LegoModelOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        self.data_options = options_of_run(opt)
        self.classes = dict(zip((PART, COLOR), classes_of(self.data_options), strict=True))
        check_classes(opt["network_g"], self.classes)
        super().__init__(opt)

    @property
    def network(self) -> LegoClassifier:
        """The network, bare.

        Raises:
            UserError: ``network_g`` is of another type.
        """
        bare = self.get_bare_model(self.net_g)
        bare = getattr(bare, "_orig_mod", bare)  # torch.compile's wrapper
        if not isinstance(bare, LegoClassifier):
            raise UserError(f"network_g.type: {type(bare).__name__}: a LegoModel trains a LegoClassifier")
        return bare

    def class_names(self, head: str) -> list[str] | None:
        """Names of parts or colours."""
        return list(self.classes[head].names) if head in self.classes else None

    # Training

    def setup_optimizers(self) -> None:
        """One parameter group for the heads and one for each block of the backbone that is trained, with its rate."""
        train = self.opt["train"]
        options = dict(train["optim_g"])
        factor, decay = (float(train.get(key, 1.0)) for key in ("backbone_lr_factor", "layer_decay"))
        if not (0 < factor <= 10 and 0 < decay <= 1):
            raise UserError(
                f"train: backbone_lr_factor {factor} must be above 0 and at most 10, layer_decay {decay} above 0 and "
                "at most 1"
            )
        base = float(options["lr"])
        self._distances: list[int] = []
        groups: list[dict[str, Any]] = []
        for distance, parameters in self.network.depth_groups():
            rate = base if distance == 0 else base * factor * decay ** (distance - 1)
            self._distances.append(distance)
            groups.append({"params": parameters, "lr": rate})
        weights = sum(parameter.numel() for group in groups for parameter in group["params"])
        total = sum(parameter.numel() for parameter in self.network.parameters())
        logger.info(
            "%s of %s weights are trained, in %d groups with rates from %.2g to %.2g.",
            f"{weights:,}", f"{total:,}", len(groups), min(g["lr"] for g in groups), base,
        )  # fmt: skip
        self.optimizer_g = self.get_optimizer(options.pop("type"), groups, **options)
        self.optimizers.append(self.optimizer_g)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the rates of an iteration; those of the backbone are 0 while it is paused."""
        super().update_learning_rate(current_iter, warmup_iter)
        paused = current_iter <= self._pause_iterations()
        if paused != self.network.backbone_paused:
            logger.info("The backbone is %s at iteration %d.", "paused" if paused else "trained from", current_iter)
        self.network.pause_backbone(paused)
        if paused:
            for distance, group in zip(self._distances, self.optimizer_g.param_groups, strict=True):
                if distance:
                    group["lr"] = 0.0

    def _pause_iterations(self) -> int:
        epochs = self.network.freeze_backbone_epochs
        if not epochs:
            return 0
        train = self.opt["train"]
        if not train.get("total_epoch"):
            raise UserError(
                f"network_g.freeze_backbone_epochs: {epochs}: it counts epochs: give train.total_epoch, not total_iter"
            )
        return round(float(epochs) * int(train["total_iter"]) / float(train["total_epoch"]))

    # Files

    def checkpoint_record(self) -> Mapping[str, Any]:
        """Classes, picture size and resizer, normalisation, the network's options."""
        options, backbone = self.data_options, self.network.backbone
        network = {key: value for key, value in self.opt["network_g"].items() if key != "pretrained"}
        return {
            LEGO_RECORD: VERSION,
            "parts": self.classes[PART].rows(),
            "colors": self.classes[COLOR].rows(),
            "color_scheme": LDRAW,
            "input": input_recipe(options.image_size, options.resize_mode, options.center, options.grey),
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "network": network,
        }

    def load_network(
        self, net: nn.Module, load_path: str | Path, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load weights; see :meth:`BaseModel.load_network`. A strict load of other classes is refused by name."""
        record = load_weights(load_path).get(RECORD)
        if strict and isinstance(record, Mapping) and LEGO_RECORD in record:
            check_same_classes(record, self.classes, str(load_path))
        super().load_network(net, load_path, strict, param_key)


def options_of_run(opt: Mapping[str, Any]) -> LegoOptions:
    """What the data sets of a run have in common.

    Raises:
        UserError: They differ, or there is none of the type LegoDataset.
    """
    datasets = {key: entry for key, entry in (opt.get("datasets") or {}).items() if entry.get("manifest")}
    if not datasets:
        raise UserError("datasets: a LegoModel needs a data set of the type LegoDataset with a manifest")
    defaults = {name: LegoOptions.__dataclass_fields__[name].default for name in _SAME[1:]}
    first_key, first = next(iter(datasets.items()))
    mine = {name: first.get(name, defaults.get(name)) for name in _SAME}
    for key, entry in datasets.items():
        for name in _SAME:
            value = entry.get(name, defaults.get(name))
            if name in _CLASS_FILES:
                continue  # compared by what is in them, below
            if value != mine[name]:
                raise UserError(
                    f"datasets.{key}.{name}: {value}, but datasets.{first_key}.{name} is {mine[name]}: one network "
                    "sees one kind of picture; make them the same"
                )
        theirs, ours = (
            classes_of(LegoOptions(one["manifest"], one.get("part_names"), one.get("color_names")))
            for one in (entry, first)
        )
        if theirs != ours:
            raise UserError(
                f"datasets.{key}: its classes are not those of datasets.{first_key}; point part_names and "
                "color_names of both to the same files"
            )
    return LegoOptions(**{name: value for name, value in mine.items()})


def check_classes(network: Mapping[str, Any], classes: Mapping[str, Classes]) -> None:
    """Check that the network has as many outputs as there are classes; 0 is a head left out.

    Raises:
        UserError: It has not.
    """
    for head, key, default in ((PART, "num_parts", 200), (COLOR, "num_colors", 50)):
        count, wanted = int(network.get(key, default)), len(classes[head])
        if count and count != wanted:
            raise UserError(
                f"network_g.{key}: {count}, but the class file holds {wanted}: write {wanted}, or 0 for no such head"
            )


def check_same_classes(record: Mapping[str, Any], classes: Mapping[str, Classes], path: str) -> None:
    """Refuse weights whose outputs are numbered otherwise than this run's.

    Raises:
        UserError: They are.
    """
    for head, key in ((PART, "parts"), (COLOR, "colors")):
        theirs, ours = [str(row["id"]) for row in record[key]], list(classes[head].ids)
        if theirs != ours:
            place = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
            what = f"number {place} is {theirs[place]}, here {ours[place]}" if place is not None else "other lengths"
            raise UserError(
                f"{path}: its {key} are numbered otherwise ({len(theirs)} there, {len(ours)} here; {what}): use its "
                "class files, or path.strict_load_g: false to keep the backbone only"
            )
