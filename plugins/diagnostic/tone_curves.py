"""Tone curves as cameras apply them: monotone maps of [0, 1] that keep black, middle grey and white."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PIVOT = 0.5
"""The encoded value that every curve keeps, so that a curve is no change of exposure."""
STRONGEST = 0.6
"""Largest amount, in either direction."""
_EDGE = 1e-6
_HALVINGS = 30


@dataclass(frozen=True)
class ToneCurve:
    """One curve. ``amount`` above 0 steepens the middle, below 0 flattens it, 0 is the identity.

    Families: ``odds``: v/(1-v) to a power. ``power``: a power of the distance from black below the pivot and from white
    above it. ``sine``: minus a sine of one period. ``cubic``: mixed with the cubic step 3v² - 2v³.

    Attributes:
        family: A key of ``FAMILIES``.
        amount: From -0.6 to 0.6.

    Raises:
        ValueError: There is no such family, or the amount is outside the range.
    """

    family: str
    amount: float

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"tone curve: family must be one of {', '.join(FAMILIES)}, got '{self.family}'")
        if not (math.isfinite(self.amount) and abs(self.amount) <= STRONGEST):
            raise ValueError(f"tone curve: amount must be from {-STRONGEST} to {STRONGEST}, got {self.amount}")

    def apply(self, encoded: Tensor) -> Tensor:
        """The curve of sRGB values in [0, 1], of any shape; differentiable."""
        return FAMILIES[self.family][0](encoded, self.amount)

    def invert(self, encoded: Tensor) -> Tensor:
        """The inverse of :meth:`apply`, to about 1e-6, and 1e-4 within a thousandth of black and white."""
        return FAMILIES[self.family][1](encoded, self.amount)


def _odds(v: Tensor, amount: float) -> Tensor:
    inside = v.clamp(_EDGE, 1 - _EDGE)
    return torch.sigmoid(math.exp(amount) * (inside.log() - (1 - inside).log()))


def _power(v: Tensor, amount: float) -> Tensor:
    exponent = math.exp(amount)
    low = PIVOT * (v / PIVOT).clamp(_EDGE, 1) ** exponent
    high = 1 - (1 - PIVOT) * ((1 - v) / (1 - PIVOT)).clamp(_EDGE, 1) ** exponent
    return torch.where(v < PIVOT, low, high)


def _sine(v: Tensor, amount: float) -> Tensor:
    return v - amount * torch.sin(2 * math.pi * v) / (2 * math.pi)


def _cubic(v: Tensor, amount: float) -> Tensor:
    return v + amount * v * (1 - v) * (2 * v - 1)


def _searched(curve: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float], Tensor]:
    """The inverse of a curve without a formula: halving, then one step of Newton that carries the gradient."""

    def invert(v: Tensor, amount: float) -> Tensor:
        target = v.detach().clamp(0, 1)
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = curve(middle, amount) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        with torch.enable_grad():
            found = ((low + high) / 2).requires_grad_()
            value = curve(found, amount)
            (slope,) = torch.autograd.grad(value.sum(), found)
        return found.detach() - (value.detach() - v) / slope.detach()

    return invert


FAMILIES: dict[str, tuple[Callable[[Tensor, float], Tensor], Callable[[Tensor, float], Tensor]]] = {
    "odds": (_odds, lambda v, amount: _odds(v, -amount)),
    "power": (_power, lambda v, amount: _power(v, -amount)),
    "sine": (_sine, _searched(_sine)),
    "cubic": (_cubic, _searched(_cubic)),
}
"""Family to (curve, inverse)."""
