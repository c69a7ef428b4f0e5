"""A cosine over the whole run, however long it is: for runs that are counted in epochs."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from basicsr.models.lr_scheduler import LinearLR
from basicsr.utils.registry import SCHEDULER_REGISTRY


@SCHEDULER_REGISTRY.register()
class WholeRunCosineLR(LinearLR):
    """Fall from the initial rate to ``eta_min`` along half a cosine, at the end of the run (Loshchilov, ICLR 2017).

    Args:
        optimizer: The optimizer whose rate is set.
        eta_min: The lowest rate.
        total_iter: Length of the fall; left out, ``train.total_iter``, which ``train.total_epoch`` sets.
        last_epoch: The iteration before the first; -1 for a new run.
    """

    def __init__(
        self, optimizer: Optimizer, eta_min: float = 0.0, total_iter: int | None = None, last_epoch: int = -1
    ) -> None:
        self.eta_min = eta_min
        super().__init__(optimizer, total_iter, last_epoch)

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        lowest = min(self.eta_min, base_lr)
        share = min(1.0, self.last_epoch / self.total_iter)
        return lowest + (base_lr - lowest) * (1 + math.cos(math.pi * share)) / 2
