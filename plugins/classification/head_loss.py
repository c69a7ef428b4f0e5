"""Losses of a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from basicsr.engine.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY

IGNORED = -1
"""A label that says: unknown."""


@LOSS_REGISTRY.register()
class HeadCrossEntropyLoss(nn.Module):
    """Cross-entropy of one head. Samples with a negative label do not count; a batch of nothing else has a loss of 0.

    Args:
        head: The head; ``class`` where the network has only one.
        loss_weight: Factor on the loss.
        label_smoothing: Share of the target spread over all classes (Szegedy et al., CVPR 2016).
        class_weights: One factor a class, in their order.
    """

    def __init__(
        self,
        head: str = "class",
        loss_weight: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.head, self.loss_weight, self.label_smoothing = head, loss_weight, label_smoothing
        weights = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.float32)
        self.register_buffer("class_weights", weights)

    def forward(self, pred: Mapping[str, Tensor], target: Mapping[str, Tensor], **context: object) -> dict[str, Tensor]:
        """Compare.

        Args:
            pred: Head to logits (N, K).
            target: Head to labels (N,), integers.
            **context: Not used.

        Returns:
            ``total``, and ``accuracy`` of the batch for the log.

        Raises:
            UserError: The network or the data has no such head, or ``class_weights`` has another length.
        """
        logits, labels = head_of(pred, self.head, "the network"), head_of(target, self.head, "the data")
        weights: Tensor | None = self.class_weights  # type: ignore[assignment]
        if weights is not None and len(weights) != logits.shape[1]:
            raise UserError(
                f"HeadCrossEntropyLoss: class_weights: {len(weights)} values, but head '{self.head}' has "
                f"{logits.shape[1]} classes"
            )
        known = labels >= 0
        if not known.any():
            zero = logits.sum() * 0.0
            return {"total": zero}
        labels = torch.where(known, labels, IGNORED)
        loss = functional.cross_entropy(
            logits, labels, weights, ignore_index=IGNORED, label_smoothing=self.label_smoothing
        )
        hits = (logits.detach().argmax(1) == labels)[known].float().mean()
        return {"total": self.loss_weight * loss, "accuracy": hits}


def head_of(values: Mapping[str, Tensor], head: str, whose: str) -> Tensor:
    """The tensor of a head.

    Raises:
        UserError: There is none; the message lists those that are.
    """
    if head not in values:
        raise UserError(f"head '{head}': {whose} has no such head; it has {', '.join(sorted(values)) or 'none'}")
    return values[head]
