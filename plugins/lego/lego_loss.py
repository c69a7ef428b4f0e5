"""Losses of the LEGO classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from basicsr.engine.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY
from plugins.classification.head_loss import head_of
from plugins.lego.lego_classifier_arch import COLOR, PART


@LOSS_REGISTRY.register()
class LegoLoss(nn.Module):
    """Cross-entropy of part and colour together; what is not known does not count, and a batch without it costs 0.

    The sum over the known samples is divided by their number, or by 1 where there is none.

    Args:
        part_weight: Factor on the part's loss; 0 leaves it out.
        color_weight: Factor on the colour's loss; 0 leaves it out.
        label_smoothing: Share of the target spread over all classes (Szegedy et al., CVPR 2016).
        arc_margin: Angle in radians by which a part has to be nearer to its class than to others (Deng et al.,
            "ArcFace", CVPR 2019); for logits that are scaled cosines. 0 for none.
        arc_scale: The scale of those logits: ``embedding_scale`` of the network.
        loss_weight: Factor on the whole.

    Raises:
        UserError: A value is out of range.
    """

    def __init__(
        self,
        part_weight: float = 1.0,
        color_weight: float = 0.5,
        label_smoothing: float = 0.1,
        arc_margin: float = 0.0,
        arc_scale: float = 30.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(f"LegoLoss: label_smoothing: {label_smoothing}: give a share from 0 to below 1")
        if not 0 <= arc_margin < math.pi / 2 or arc_scale <= 0:
            raise UserError(f"LegoLoss: arc_margin {arc_margin} is an angle from 0 to 1.57, arc_scale is above 0")
        if min(part_weight, color_weight) < 0 or part_weight + color_weight <= 0:
            raise UserError("LegoLoss: part_weight and color_weight are from 0 on, and one of them is above 0")
        self.weights = {PART: part_weight, COLOR: color_weight}
        self.label_smoothing, self.loss_weight = label_smoothing, loss_weight
        self.arc_margin, self.arc_scale = arc_margin, arc_scale

    def forward(self, pred: Mapping[str, Tensor], target: Mapping[str, Tensor], **context: object) -> dict[str, Tensor]:
        """Compare.

        Args:
            pred: Head to logits (N, K).
            target: Head to labels (N,), integers; negative ones are unknown.
            **context: Not used.

        Returns:
            ``total``; ``part`` and ``color``, not weighted; ``part_accuracy`` and ``color_accuracy`` where known.

        Raises:
            UserError: The network or the data lacks a head that has a weight.
        """
        parts: dict[str, Tensor] = {}
        total: Tensor | None = None
        for head, weight in self.weights.items():
            if not weight:
                continue
            logits, labels = head_of(pred, head, "the network"), head_of(target, head, "the data")
            known = labels >= 0
            parts[head] = self._head(head, logits, labels, known)
            term = weight * parts[head]
            total = term if total is None else total + term
            if bool(known.any()):
                hits = logits.detach().argmax(1) == labels
                parts[f"{head}_accuracy"] = hits[known].float().mean()
        if total is None:
            raise UserError("LegoLoss: no head has a weight")
        return {"total": self.loss_weight * total, **{name: value.detach() for name, value in parts.items()}}

    def _head(self, head: str, logits: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        safe = torch.where(known, labels, 0)
        if head == PART and self.arc_margin:
            logits = self._with_margin(logits, safe)
        each = functional.cross_entropy(logits, safe, reduction="none", label_smoothing=self.label_smoothing)
        # where, not a product: a logit of an unknown sample that is not finite must not spoil the others.
        return torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)

    def _with_margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits with the angle to the true class made larger by the margin, as far as an angle goes."""
        own = logits.gather(1, labels[:, None]) / self.arc_scale
        cosine = own.clamp(-1 + 1e-6, 1 - 1e-6)
        sine = (1 - cosine**2).sqrt()
        shifted = cosine * math.cos(self.arc_margin) - sine * math.sin(self.arc_margin)
        # Beyond pi - margin the shifted cosine would rise again: go on in a straight line.
        beyond = cosine < math.cos(math.pi - self.arc_margin)
        shifted = torch.where(beyond, cosine - self.arc_margin * math.sin(self.arc_margin), shifted)
        return logits.scatter(1, labels[:, None], shifted * self.arc_scale)
