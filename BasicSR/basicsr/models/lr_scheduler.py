"""Learning-rate schedules, every one a closed form of the iteration.

A closed form does not read the rate it last set, so warm-up, which overwrites that rate, cannot leak into the rest of
the schedule, and a resumed run sees the same values. ``ReduceLROnPlateau`` too: of the iteration and of the number of
reductions so far.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from basicsr.engine.errors import UserError
from basicsr.utils.registry import SCHEDULER_REGISTRY


class _ClosedFormLR(LRScheduler):
    """A schedule given by the rate at iteration t for a starting rate."""

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """The learning rate of every parameter group at ``last_epoch``."""
        return [self.rate(base_lr) for base_lr in self.base_lrs]  # type: ignore[arg-type]


def _same_length(kind: str, left: str, right: str, values: Sequence[object], weights: Sequence[object]) -> None:
    if len(values) != len(weights):
        raise UserError(
            f"scheduler {kind}: {left} has {len(values)} entries, {right} has {len(weights)}; give one per {left[:-1]}"
        )


@SCHEDULER_REGISTRY.register()
class MultiStepRestartLR(_ClosedFormLR):
    """Multiply the rate by ``gamma`` at every milestone; restart from a weighted initial rate at every restart.

    Args:
        optimizer: The optimizer whose rate is set.
        milestones: Iterations at which the rate falls; a repeated one counts twice.
        gamma: The factor.
        restarts: Iterations at which the schedule starts again.
        restart_weights: Factor on the initial rate after each restart.
        last_epoch: The iteration before the first; -1 for a new run.

    Raises:
        UserError: ``restarts`` and ``restart_weights`` differ in length.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        restarts: Sequence[int] = (0,),
        restart_weights: Sequence[float] = (1,),
        last_epoch: int = -1,
    ) -> None:
        _same_length("MultiStepRestartLR", "restarts", "restart_weights", restarts, restart_weights)
        self.milestones = Counter(milestones)
        self.gamma = gamma
        self.restarts = list(restarts)
        self.restart_weights = list(restart_weights)
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        pairs = zip(self.restarts, self.restart_weights, strict=True)
        past = [(start, weight) for start, weight in pairs if start <= self.last_epoch]
        start, weight = max(past, key=lambda pair: pair[0], default=(-1, 1.0))
        falls = sum(count for milestone, count in self.milestones.items() if start < milestone <= self.last_epoch)
        return base_lr * weight * self.gamma**falls


def get_position_from_periods(iteration: int, cumulative_period: Sequence[int]) -> int:
    """Find the period that an iteration belongs to.

    Args:
        iteration: The iteration.
        cumulative_period: Last iteration of every period, rising.

    Returns:
        The index of the first period that ends at or after the iteration; past all of them, that of the last one.
    """
    return min(bisect_left(cumulative_period, iteration), len(cumulative_period) - 1)


@SCHEDULER_REGISTRY.register()
class CosineAnnealingRestartLR(_ClosedFormLR):
    """Fall along half a cosine in every period, then start again. Past the last period the rate stays where it ended.

    Args:
        optimizer: The optimizer whose rate is set.
        periods: Length of every period, in iterations.
        restart_weights: Factor on the initial rate in each period.
        eta_min: The rate at the end of a period.
        last_epoch: The iteration before the first; -1 for a new run.

    Raises:
        UserError: ``periods`` and ``restart_weights`` differ in length, or a period is not positive.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        eta_min: float = 0,
        last_epoch: int = -1,
    ) -> None:
        _same_length("CosineAnnealingRestartLR", "periods", "restart_weights", periods, restart_weights)
        if not periods or min(periods) <= 0:
            raise UserError(f"scheduler CosineAnnealingRestartLR: periods: {list(periods)}: give positive lengths")
        self.periods = list(periods)
        self.restart_weights = list(restart_weights)
        self.eta_min = eta_min
        self.cumulative_period = [sum(self.periods[: i + 1]) for i in range(len(self.periods))]
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        index = get_position_from_periods(self.last_epoch, self.cumulative_period)
        start = self.cumulative_period[index] - self.periods[index]
        share = min(1.0, (self.last_epoch - start) / self.periods[index])
        height = self.restart_weights[index] * (base_lr - self.eta_min)
        return self.eta_min + height * _half_cosine(share)


@SCHEDULER_REGISTRY.register()
class TrueCosineAnnealingLR(_ClosedFormLR):
    """torch's CosineAnnealingLR under the name that NAFNet's option files use.

    Args:
        optimizer: The optimizer whose rate is set.
        T_max: Iterations from the initial rate to ``eta_min``; after as many again it is back.
        eta_min: The lowest rate.
        last_epoch: The iteration before the first; -1 for a new run.

    Raises:
        UserError: ``T_max`` is not positive.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max <= 0:
            raise UserError(f"scheduler TrueCosineAnnealingLR: T_max: {T_max}: give a positive number of iterations")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        return self.eta_min + (base_lr - self.eta_min) * _half_cosine(self.last_epoch / self.T_max)


def _half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


class _WholeRunLR(_ClosedFormLR):
    """A schedule over the share of the run that is done."""

    def __init__(self, optimizer: Optimizer, total_iter: int | None, last_epoch: int) -> None:
        if total_iter is None or total_iter <= 0:
            name = type(self).__name__
            raise UserError(f"scheduler {name}: total_iter: {total_iter}: give a positive number of iterations")
        self.total_iter = total_iter
        super().__init__(optimizer, last_epoch)


@SCHEDULER_REGISTRY.register()
class LinearLR(_WholeRunLR):
    """Fall in a straight line to zero at ``total_iter``, and stay there.

    Args:
        optimizer: The optimizer whose rate is set.
        total_iter: Length of the fall; left out, ``train.total_iter``.
        last_epoch: The iteration before the first; -1 for a new run.
    """

    def __init__(self, optimizer: Optimizer, total_iter: int | None = None, last_epoch: int = -1) -> None:
        super().__init__(optimizer, total_iter, last_epoch)

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        return base_lr * max(0.0, 1 - self.last_epoch / self.total_iter)


@SCHEDULER_REGISTRY.register()
class WholeRunCosineLR(_WholeRunLR):
    """Fall along half a cosine to ``eta_min`` at the end of the run (Loshchilov and Hutter, ICLR 2017).

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
        return lowest + (base_lr - lowest) * _half_cosine(min(1.0, self.last_epoch / self.total_iter))


@SCHEDULER_REGISTRY.register()
class VibrateLR(_WholeRunLR):
    """Triangular waves, 80 to a run, under a falling envelope (the NAFNet fork's schedule).

    The envelope falls from 1 to 0 over the first 3/8 of the run, is 0.2 up to 5/8 and 0.1 after. In the first half wave
    the factor is at least 0.1.

    Args:
        optimizer: The optimizer whose rate is set.
        total_iter: Length of the run; left out, ``train.total_iter``.
        last_epoch: The iteration before the first; -1 for a new run.
    """

    _WAVES = 80

    def __init__(self, optimizer: Optimizer, total_iter: int | None = None, last_epoch: int = -1) -> None:
        super().__init__(optimizer, total_iter, last_epoch)

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        # Waves shorter than two iterations have no flank: a short run gets waves of two.
        wave = max(2, self.total_iter // self._WAVES)
        half = wave // 2
        rise = (self.last_epoch % wave) / half
        factor = self._envelope(self.last_epoch / self.total_iter) * (rise if rise < 1 else 2 - rise)
        return base_lr * (max(0.1, factor) if self.last_epoch < half else factor)

    @staticmethod
    def _envelope(share: float) -> float:
        if share < 3 / 8:
            return 1 - share * 8 / 3
        return 0.2 if share < 5 / 8 else 0.1


@SCHEDULER_REGISTRY.register()
class ReduceLROnPlateau(_ClosedFormLR):
    """Multiply the rate by ``factor`` when a validation metric has not improved for more than ``patience`` validations.

    Counts are part of the training state, so a resumed run reduces when the uninterrupted one would have.

    Args:
        optimizer: The optimizer whose rate is set.
        factor: The factor, above 0 and below 1.
        patience: Validations in a row without improvement that change nothing.
        threshold: Least relative change of the metric that counts as an improvement.
        cooldown: Validations after a reduction that are not counted.
        min_lr: The rate never falls below it.
        metric: ``label`` or ``set/label``; the metric that picks the best weights (``val.best_metric``) by default.
        last_epoch: The iteration before the first; -1 for a new run.

    Raises:
        UserError: A value is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        metric: str | None = None,
        last_epoch: int = -1,
    ) -> None:
        _check(0 < factor < 1, "factor", factor, "a number above 0 and below 1, such as 0.1")
        _check(patience >= 0, "patience", patience, "a number of validations from 0 on")
        _check(threshold >= 0, "threshold", threshold, "a share from 0 on, such as 0.0001")
        _check(cooldown >= 0, "cooldown", cooldown, "a number of validations from 0 on")
        _check(min_lr >= 0, "min_lr", min_lr, "a rate from 0 on")
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.cooldown, self.min_lr, self.metric = cooldown, min_lr, metric
        self.best: float | None = None
        self.bad_validations = 0
        self.cooling = 0
        self.reductions = 0
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float) -> float:
        """The learning rate now, for a parameter group that started at ``base_lr``."""
        return max(min(self.min_lr, base_lr), base_lr * self.factor**self.reductions)

    def observe(self, value: float, better: str) -> bool:
        """Take the metric of a validation.

        Args:
            value: The metric; NaN counts as no improvement.
            better: ``higher`` or ``lower``.

        Returns:
            Whether the rate is reduced; it is in force from the next iteration on.
        """
        if self._improves(value, better):
            self.best, self.bad_validations = value, 0
        else:
            self.bad_validations += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad_validations = 0
        if self.bad_validations <= self.patience:
            return False
        self.reductions, self.cooling, self.bad_validations = self.reductions + 1, self.cooldown, 0
        return True

    def _improves(self, value: float, better: str) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        margin = self.threshold * abs(self.best)
        return value > self.best + margin if better == "higher" else value < self.best - margin


def _check(holds: bool, key: str, value: float, right: str) -> None:
    if not holds:
        raise UserError(f"scheduler ReduceLROnPlateau: {key}: {value}: give {right}")


def build_scheduler(kind: str, optimizer: Optimizer, total_iter: int | None = None, **options: object) -> LRScheduler:
    """Build a schedule by its registered name.

    Args:
        kind: A name in ``SCHEDULER_REGISTRY``.
        optimizer: The optimizer whose rate is set.
        total_iter: ``train.total_iter``, for the schedules that span the run.
        **options: The schedule's own options.

    Returns:
        The schedule, at iteration 0.

    Raises:
        UserError: Unknown name, or an option that does not fit.
    """
    if kind not in SCHEDULER_REGISTRY:
        known = ", ".join(sorted(SCHEDULER_REGISTRY.keys()))
        raise UserError(f"scheduler type '{kind}' is not known; there are {known}")
    builder: Callable[..., LRScheduler] = SCHEDULER_REGISTRY.get(kind)
    if isinstance(builder, type) and issubclass(builder, _WholeRunLR) and options.get("total_iter") is None:
        options["total_iter"] = total_iter
    try:
        return builder(optimizer, **options)
    except TypeError as error:
        raise UserError(f"scheduler {kind}: {error}") from error


# The name that option files use.
SCHEDULER_REGISTRY._do_register("MultiStepLR", MultiStepRestartLR)
