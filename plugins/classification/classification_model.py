"""A model of networks that name things: one input picture, one or several heads of logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from basicsr.engine.errors import UserError
from basicsr.engine.loss_set import LossSet
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from plugins.classification.class_validation import ClassValidation

LABEL = "labels/"
"""In front of a label's name among the parts of a batch."""
_NOT_FOR_CLASSES = ("grids", "self_ensemble")


@MODEL_REGISTRY.register()
class ClassificationModel(SRModel):
    """Classification with any number of heads and losses.

    The data gives ``image`` (N, 3, H, W), ``labels`` (head to N labels; a negative class means unknown), ``lq_path``,
    and any further tensors of N rows. The network returns logits (N, K), or head to logits. Every ``<name>_opt`` under
    ``train`` that has a ``type`` is a loss, called ``loss(outputs, labels, batch=...)`` with head to logits and head to
    labels. Metrics see the whole set: ``metric(outputs=..., labels=..., **options)``.

    Args:
        opt: The run's options.

    Attributes:
        losses: All losses.
        labels: Head to labels of the batch.
        extras: The batch's further tensors.

    Raises:
        UserError: There is no loss, or an option that only makes sense for restoration.
    """

    default_head: ClassVar[str] = "class"
    """Head of a network that returns one tensor."""
    validation_type = ClassValidation

    def __init__(self, opt: dict[str, Any]) -> None:
        for key in _NOT_FOR_CLASSES:
            if (opt.get("val") or {}).get(key):
                raise UserError(f"val.{key}: true: it is for image restoration; a classifier sees whole pictures once")
        super().__init__(opt)

    def init_losses(self) -> None:
        """Build the losses."""
        self.losses = LossSet.from_options(self.opt["train"]).to(self.device)
        if not len(self.losses):
            raise UserError(
                "train has no loss: add at least one <name>_opt with a type, as class_opt: {type: HeadCrossEntropyLoss}"
            )

    def class_names(self, head: str) -> list[str] | None:
        """Names of a head's classes for pictures; None where they have none."""
        return None

    def metric_context(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """What metrics see among the labels of every set beside the data's own."""
        return {}

    # Training

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; see the class."""
        self.lq = self._to_device(data["image"])
        self.labels = {head: value.to(self.device, non_blocking=True) for head, value in data["labels"].items()}
        self.extras = {
            key: value.to(self.device, non_blocking=True)
            for key, value in data.items()
            if isinstance(value, Tensor) and key != "image"
        }
        self.batch_names = [str(name) for name in data.get("lq_path") or []]

    def train_batch(self) -> dict[str, Any]:
        """What the step splits into chunks."""
        labels = {LABEL + head: value for head, value in self.labels.items()}
        return {**self.extras, "lq": self.lq, **labels}

    def by_head(self, output: Any) -> dict[str, Tensor]:
        """Head to logits, whichever way the network gives them."""
        return dict(output) if isinstance(output, Mapping) else {self.default_head: output}

    def forward_chunk(self, chunk: Mapping[str, Any]) -> dict[str, Tensor]:
        """Run the network on a chunk of the batch."""
        return self.by_head(self.net_g(chunk["lq"]))

    def compute_losses(
        self, output: Any, chunk: Mapping[str, Any], current_iter: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Sum the losses of a chunk; see :meth:`SRModel.compute_losses`."""
        labels = {key.removeprefix(LABEL): value for key, value in chunk.items() if key.startswith(LABEL)}
        total = next(iter(output.values())).new_zeros(())
        values: dict[str, Tensor] = {}
        for name in self.losses:
            term, parts = self.losses.one(name, output, labels, current_iter, batch=chunk)
            total = total if term is None else total + term
            values.update(parts)
        if len(self.losses) > 1:
            values["l_total"] = total.detach()
        return total, values

    # Validation

    def _infer(self, net: Callable[[Tensor], Any], image: Tensor) -> Any:
        return self.by_head(net(image))

    def get_current_visuals(self) -> Any:
        """``lq`` of the batch, on the CPU."""
        return {"lq": self.lq.detach().cpu()}
