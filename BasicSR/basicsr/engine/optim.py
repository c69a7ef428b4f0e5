"""The optimizers of the option files: torch's own, each with a signature that is its option schema.

``fused: auto`` takes torch's fused kernel (one pass over the parameters, no host synchronisation) where the device and
the parameters' type have one. A plug-in adds an optimizer by registering a class or function whose first argument is
the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch.optim import Optimizer

from basicsr.engine.errors import UserError
from basicsr.utils.registry import OPTIMIZER_REGISTRY

Parameters: TypeAlias = Iterable[Any]
Fused: TypeAlias = bool | Literal["auto"] | None

_FUSED_DEVICES = ("cpu", "cuda", "xpu")


def build_optimizer(optim_type: str, params: Parameters, lr: float | str, **kwargs: Any) -> Optimizer:
    """Build an optimizer by its registered name.

    Args:
        optim_type: A name in ``OPTIMIZER_REGISTRY``.
        params: Parameters or parameter groups.
        lr: The learning rate; ``1e-3`` is text to a YAML 1.1 reader and is accepted as the number it means.
        **kwargs: The optimizer's own options.

    Returns:
        The optimizer.

    Raises:
        UserError: Unknown name, or an option the optimizer does not take.
    """
    if optim_type not in OPTIMIZER_REGISTRY:
        known = ", ".join(sorted(OPTIMIZER_REGISTRY.keys()))
        raise UserError(f"optimizer type '{optim_type}' is not known; there are {known}")
    try:
        rate = float(lr)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer {optim_type}: lr: {lr!r} is not a number; write it like 1e-3") from error
    builder: Callable[..., Optimizer] = OPTIMIZER_REGISTRY.get(optim_type)
    try:
        return builder(params, lr=rate, **kwargs)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer {optim_type}: {error}") from error


def skips_on_device(optimizer: Optimizer) -> bool:
    """Whether the step reads ``optimizer.found_inf`` on the device, so it can be left out without asking the host."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False)) and all(
        group.get("fused") for group in optimizer.param_groups
    )


def _can_fuse(groups: list[Any]) -> bool:
    tensors = [p for entry in groups for p in (entry["params"] if isinstance(entry, Mapping) else [entry])]
    return bool(tensors) and all(p.device.type in _FUSED_DEVICES and torch.is_floating_point(p) for p in tensors)


def _fusable(kind: Callable[..., Optimizer], params: Parameters, fused: Fused, **options: Any) -> Optimizer:
    """Build ``kind`` fused where that is asked for or possible."""
    groups = [
        {**entry, "params": list(entry["params"])} if isinstance(entry, Mapping) else entry for entry in params
    ]
    if fused not in ("auto", None):
        return kind(groups, fused=bool(fused), **options)
    if options.get("foreach") or not _can_fuse(groups):
        return kind(groups, **options)
    try:
        return kind(groups, fused=True, **options)
    except RuntimeError:  # this torch has no fused kernel for these parameters
        return kind(groups, **options)


@OPTIMIZER_REGISTRY.register()
def Adam(
    params: Parameters,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    foreach: bool | None = None,
    fused: bool | Literal["auto"] | None = "auto",
) -> torch.optim.Adam:
    """Adam (Kingma and Ba, 2015).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        amsgrad: Use the maximum of the second moment.
        maximize: Climb instead of descend.
        foreach: torch's multi-tensor form; null lets torch choose.
        fused: The fused kernel: auto uses it where there is one.
    """
    options = dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)
    return _fusable(torch.optim.Adam, params, fused, foreach=foreach, **options)  # type: ignore[return-value]


@OPTIMIZER_REGISTRY.register()
def AdamW(
    params: Parameters,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
    foreach: bool | None = None,
    fused: bool | Literal["auto"] | None = "auto",
) -> torch.optim.AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: Share of the weight taken off each step, times the learning rate.
        amsgrad: Use the maximum of the second moment.
        maximize: Climb instead of descend.
        foreach: torch's multi-tensor form; null lets torch choose.
        fused: The fused kernel: auto uses it where there is one.
    """
    options = dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)
    return _fusable(torch.optim.AdamW, params, fused, foreach=foreach, **options)  # type: ignore[return-value]


@OPTIMIZER_REGISTRY.register()
def SGD(
    params: Parameters,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    foreach: bool | None = None,
    fused: bool | Literal["auto"] | None = "auto",
) -> torch.optim.SGD:
    """Stochastic gradient descent with momentum.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Share of the last step that is kept.
        dampening: Share of the new gradient that the momentum leaves out.
        weight_decay: L2 penalty, added to the gradient.
        nesterov: Nesterov's momentum.
        maximize: Climb instead of descend.
        foreach: torch's multi-tensor form; null lets torch choose.
        fused: The fused kernel: auto uses it where there is one.
    """
    options = dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
    return _fusable(torch.optim.SGD, params, fused, foreach=foreach, maximize=maximize, **options)  # type: ignore[return-value]


@OPTIMIZER_REGISTRY.register()
def Adamax(
    params: Parameters,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    foreach: bool | None = None,
    maximize: bool = False,
) -> torch.optim.Adamax:
    """Adamax, Adam with the infinity norm (Kingma and Ba, 2015).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Decay of the running mean and of the running maximum.
        eps: Added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        foreach: torch's multi-tensor form; null lets torch choose.
        maximize: Climb instead of descend.
    """
    options: dict[str, Any] = dict(lr=lr, eps=eps, weight_decay=weight_decay)
    return torch.optim.Adamax(params, betas=(betas[0], betas[1]), foreach=foreach, maximize=maximize, **options)


@OPTIMIZER_REGISTRY.register()
def ASGD(
    params: Parameters,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    foreach: bool | None = None,
    maximize: bool = False,
) -> torch.optim.ASGD:
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        lambd: Decay term.
        alpha: Power of the learning rate's decay.
        t0: Step at which averaging begins.
        weight_decay: L2 penalty, added to the gradient.
        foreach: torch's multi-tensor form; null lets torch choose.
        maximize: Climb instead of descend.
    """
    options: dict[str, Any] = dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay)
    return torch.optim.ASGD(params, foreach=foreach, maximize=maximize, **options)


@OPTIMIZER_REGISTRY.register()
def RMSprop(
    params: Parameters,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    foreach: bool | None = None,
    maximize: bool = False,
) -> torch.optim.RMSprop:
    """RMSprop (Hinton, 2012).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        alpha: Decay of the running mean of the squared gradient.
        eps: Added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        momentum: Share of the last step that is kept.
        centered: Normalise by the variance instead of the second moment.
        foreach: torch's multi-tensor form; null lets torch choose.
        maximize: Climb instead of descend.
    """
    options: dict[str, Any] = dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
    return torch.optim.RMSprop(params, centered=centered, foreach=foreach, maximize=maximize, **options)


@OPTIMIZER_REGISTRY.register()
def Rprop(
    params: Parameters,
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
    foreach: bool | None = None,
    maximize: bool = False,
) -> torch.optim.Rprop:
    """Resilient backpropagation (Riedmiller and Braun, 1993).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        etas: Factors of decrease and of increase.
        step_sizes: Smallest and largest step.
        foreach: torch's multi-tensor form; null lets torch choose.
        maximize: Climb instead of descend.
    """
    options: dict[str, Any] = dict(etas=(etas[0], etas[1]), step_sizes=(step_sizes[0], step_sizes[1]))
    return torch.optim.Rprop(params, lr=lr, foreach=foreach, maximize=maximize, **options)
