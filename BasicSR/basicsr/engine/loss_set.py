"""The losses of a run: every ``<name>_opt`` of the training options, weighted over time, summed, taken apart to log."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.engine.errors import UserError

SUFFIX = "_opt"
_SCHEDULE_KEYS = ("start_iter", "end_iter", "ramp_iter")
_PAIR_PARTS = ("percep", "style")


@dataclass(frozen=True)
class LossSchedule:
    """When a loss counts.

    Attributes:
        start_iter: The first iteration with the loss.
        end_iter: The iteration from which it no longer counts; None for never.
        ramp_iter: Iterations over which its weight rises in a straight line to full, counted from ``start_iter``.
    """

    start_iter: int = 0
    end_iter: int | None = None
    ramp_iter: int = 0

    def factor(self, current_iter: int) -> float:
        """The share of the loss's weight at an iteration, from 0 to 1."""
        if current_iter < self.start_iter or (self.end_iter is not None and current_iter >= self.end_iter):
            return 0.0
        if self.ramp_iter <= 0:
            return 1.0
        return min(1.0, (current_iter - max(self.start_iter, 1) + 1) / self.ramp_iter)


def split_schedule(loss_opt: Mapping[str, Any]) -> tuple[dict[str, Any], LossSchedule]:
    """Part a loss entry into what its constructor takes and when it counts.

    Args:
        loss_opt: ``type``, the constructor's options, and perhaps ``start_iter``, ``end_iter``, ``ramp_iter``.

    Returns:
        The options without the schedule's keys, and the schedule.
    """
    options = {key: value for key, value in loss_opt.items() if key not in _SCHEDULE_KEYS}
    times = {key: loss_opt[key] for key in _SCHEDULE_KEYS if loss_opt.get(key) is not None}
    return options, LossSchedule(**times)


def loss_entries(train_opt: Mapping[str, Any], skip: Iterable[str] = ()) -> dict[str, Mapping[str, Any]]:
    """Every ``<name>_opt`` of the training options that is a mapping with a ``type``.

    Args:
        train_opt: The section ``train``.
        skip: Names to leave out.
    """
    left_out = set(skip)
    return {
        name: entry
        for name, entry in train_opt.items()
        if name.endswith(SUFFIX) and isinstance(entry, Mapping) and entry.get("type") and name not in left_out
    }


def split_parts(name: str, result: Any) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Bring what a loss returned into one form.

    Args:
        name: The loss's name, for the message.
        result: A tensor, a dict with ``total`` and named parts, or a (perceptual, style) pair, either of which may be
            None.

    Returns:
        The term to back-propagate (None if there is none), and the named parts, without ``total``.

    Raises:
        UserError: The result is none of these.
    """
    if result is None or isinstance(result, Tensor):
        return result, {}
    if isinstance(result, Mapping):
        if "total" not in result:
            raise UserError(f"loss {name}: it returned a dict without 'total' (keys: {', '.join(map(str, result))})")
        parts = {key: value for key, value in result.items() if key != "total" and isinstance(value, Tensor)}
        return result["total"], parts
    if isinstance(result, tuple) and len(result) == len(_PAIR_PARTS):
        parts = {key: value for key, value in zip(_PAIR_PARTS, result, strict=True) if value is not None}
        return (torch.stack([value.mean() for value in parts.values()]).sum() if parts else None), parts
    kind = type(result).__name__
    raise UserError(f"loss {name}: it returned {kind}; a loss returns a tensor, a dict with 'total', or a pair")


class LossSet(nn.Module):
    """Several losses of one prediction, each with its schedule.

    Args:
        losses: Name to loss module.
        schedules: Name to schedule; a loss without one always counts.

    Example:
        >>> losses = LossSet({"l1_opt": nn.L1Loss()})
        >>> total, parts = losses(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), current_iter=1)
        >>> float(total), list(parts)
        (1.0, ['l1_opt'])
    """

    def __init__(self, losses: Mapping[str, nn.Module], schedules: Mapping[str, LossSchedule] | None = None) -> None:
        super().__init__()
        self.losses = nn.ModuleDict(losses)
        self.schedules = {name: (schedules or {}).get(name, LossSchedule()) for name in losses}

    @classmethod
    def from_options(cls, train_opt: Mapping[str, Any], skip: Iterable[str] = ()) -> LossSet:
        """Build every ``<name>_opt`` under ``train`` that has a ``type``.

        Args:
            train_opt: The section ``train``; not modified.
            skip: Names to leave out.

        Raises:
            UserError: A loss that cannot compare a prediction with a target.
        """
        from basicsr.losses import build_loss
        from basicsr.losses.gan_loss import GANLoss

        losses, schedules = {}, {}
        for name, entry in loss_entries(train_opt, skip).items():
            options, schedules[name] = split_schedule(entry)
            losses[name] = build_loss(options)
            if isinstance(losses[name], GANLoss):
                raise UserError(f"train.{name}: {entry['type']} judges a discriminator's output; this model has none")
        return cls(losses, schedules)

    def __len__(self) -> int:
        return len(self.losses)

    def __iter__(self) -> Iterator[str]:
        return iter(self.losses)

    def get(self, name: str) -> nn.Module | None:
        """The loss of that name, or None."""
        return self.losses[name] if name in self.losses else None

    def one(self, name: str, pred: Any, target: Any, current_iter: int, **context: Any) -> LossTerms:
        """One of the losses, weighted by its schedule; see :meth:`forward`; any task's prediction and target."""
        return weighted_terms(name, self.losses[name], self.schedules[name], pred, target, current_iter, **context)

    def forward(self, pred: Tensor, target: Tensor, current_iter: int, **context: Any) -> LossTerms:
        """Sum the losses that count at this iteration.

        Args:
            pred: The prediction, (N, C, H, W).
            target: What it should be, the same shape.
            current_iter: The iteration, from 1.
            **context: Handed on to losses that take keywords.

        Returns:
            The sum to back-propagate, a scalar, and the detached values on its device: ``<name>`` for a loss and
            ``<name>/<part>`` for its parts. A loss outside its time is not computed and not listed.
        """
        total = pred.new_zeros(())
        values: dict[str, Tensor] = {}
        for name in self.losses:
            term, parts = self.one(name, pred, target, current_iter, **context)
            values.update(parts)
            if term is not None:
                total = total + term
        return total, values


LossTerms = tuple[Any, dict[str, Tensor]]


def weighted_terms(
    name: str, loss: nn.Module, schedule: LossSchedule, pred: Any, target: Any, current_iter: int, **context: Any
) -> LossTerms:
    """Compute one loss at its share of the weight.

    Returns:
        The weighted term (None when the loss does not count now), and the detached values under ``<name>`` and
        ``<name>/<part>``. The values carry the share too: they are what was added.
    """
    share = schedule.factor(current_iter)
    if share == 0.0:
        return None, {}
    term, parts = split_parts(name, _call(loss, pred, target, context))
    if term is None:
        return None, {}
    term = term.mean() * share if share != 1.0 else term.mean()
    return term, {name: term.detach(), **{f"{name}/{key}": part.detach().mean() * share for key, part in parts.items()}}


def _call(loss: nn.Module, pred: Any, target: Any, context: Mapping[str, Any]) -> Any:
    """Call a loss with what its forward takes: total variation takes no target, upstream's losses take no context."""
    kind: Any = type(loss)
    positional, names = _signature(kind)
    known = dict(context) if names is None else {key: value for key, value in context.items() if key in names}
    if len(positional) > 1 and positional[1] == "weight":
        return loss(pred, **known)
    return loss(pred, target, **known)


@functools.cache
def _signature(loss_type: Any) -> tuple[tuple[str, ...], frozenset[str] | None]:
    """Names of forward's positional parameters, and of all its parameters; None if it takes any keyword."""
    parameters = list(inspect.signature(loss_type.forward).parameters.values())[1:]
    positional = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return positional, None
    return positional, frozenset(p.name for p in parameters)
