"""What was done to a photo: exposure, colour cast and saturation, as four signed numbers.

They describe the degradation that was applied, not its correction: a darkened photo has a negative ``ev``, a warm cast
a positive ``log_rg``, a greyed photo a negative ``log_saturation``; a good photo has zeros. EV and three gains would be
one number too many: gains of 1.2, 1, 0.8 a third of a stop brighter are other gains at the same EV. So a cast has two.

The gains of a cast are normalised so that the mean of their logarithms, weighted by the channels' shares of luminance,
is 0. Casts then compose by adding and invert by negating, and a grey surface keeps its luminance but for terms of
second order.
"""

from __future__ import annotations

import functools
import math
from dataclasses import astuple, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from plugins.color_science.illuminants import cct_to_linear_srgb
from plugins.color_science.spaces import RGB_TO_XYZ

COLUMNS = ("ev", "log_rg", "log_bg", "log_saturation")
"""Names of the columns of an (N, 4) batch of estimates."""
LOWEST = (-4.0, -1.5, -1.5, -2.0)
HIGHEST = (4.0, 1.5, 1.5, 1.5)
LUMINANCE = RGB_TO_XYZ[1]
"""Share of each linear channel in the luminance, of sum 1."""
KELVIN_RANGE = (1900.0, 25000.0)
NEUTRAL_KELVIN = 6504.0
"""Daylight that leaves sRGB white as it is (D65)."""

_STEPS = 512


@dataclass(frozen=True)
class Estimate:
    """What was done to a photo; see the module.

    Attributes:
        ev: Stops; -1 is half the light.
        log_rg: Natural logarithm of the factor on linear R/G.
        log_bg: Natural logarithm of the factor on linear B/G.
        log_saturation: Natural logarithm of the factor on saturation.

    Raises:
        ValueError: A number is not finite or outside ``LOWEST`` to ``HIGHEST``.
    """

    ev: float = 0.0
    log_rg: float = 0.0
    log_bg: float = 0.0
    log_saturation: float = 0.0

    def __post_init__(self) -> None:
        for name, value, low, high in zip(COLUMNS, astuple(self), LOWEST, HIGHEST, strict=True):
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name}: expected a number from {low} to {high}, got {value}")

    def batch(self, count: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
        """The same estimate ``count`` times, (count, 4)."""
        return torch.tensor([astuple(self)], dtype=dtype).repeat(count, 1)


class Gains(NamedTuple):
    """Factors on linear R, G and B."""

    r: float
    g: float
    b: float


def estimates_of(batch: Tensor) -> list[Estimate]:
    """The rows of an (N, 4) tensor as :class:`Estimate`, brought within the limits."""
    return [Estimate(*(float(value) for value in row)) for row in limited(batch.detach().double().cpu())]


def limited(batch: Tensor) -> Tensor:
    """An (N, 4) tensor brought within ``LOWEST`` to ``HIGHEST``."""
    return torch.maximum(torch.minimum(batch, batch.new_tensor(HIGHEST)), batch.new_tensor(LOWEST))


def check_estimates(batch: Tensor, count: int) -> None:
    """Check an (N, 4) tensor of estimates for ``count`` images.

    Raises:
        ValueError: Another shape or type, or a number that is not finite or outside the limits.
    """
    if not batch.is_floating_point() or batch.shape != (count, len(COLUMNS)):
        raise ValueError(
            f"estimate: expected floats of shape ({count}, {len(COLUMNS)}), got {batch.dtype} {tuple(batch.shape)}"
        )
    values = batch.detach()
    slack = 1e-5
    inside = (values >= values.new_tensor(LOWEST) - slack) & (values <= values.new_tensor(HIGHEST) + slack)
    if not bool(inside.all()):
        column = int((~inside).any(0).nonzero()[0])
        raise ValueError(f"estimate: {COLUMNS[column]} must be from {LOWEST[column]} to {HIGHEST[column]}")


def log_gains(log_rg: Tensor, log_bg: Tensor) -> Tensor:
    """Logarithms of the gains that a cast applied to linear R, G, B, normalised as the module says.

    Args:
        log_rg: (N,).
        log_bg: (N,).

    Returns:
        (N, 3); the negative are the logarithms of the correction's gains.
    """
    logs = torch.stack([log_rg, torch.zeros_like(log_rg), log_bg], -1)
    return logs - (logs * logs.new_tensor(LUMINANCE)).sum(-1, keepdim=True)


def gains_of(log_rg: float, log_bg: float) -> Gains:
    """Gains on linear R, G, B that undo a cast, normalised as the module says.

    Example:
        >>> [round(gain, 3) for gain in gains_of(0.2, -0.2)]
        [0.842, 1.028, 1.256]
    """
    ratios = torch.tensor([[log_rg], [log_bg]], dtype=torch.float64)
    logs = log_gains(ratios[0], ratios[1])
    return Gains(*(math.exp(-float(value)) for value in logs[0]))


def kelvin_and_tint(log_rg: float, log_bg: float) -> tuple[float, float]:
    """Temperature and tint of the light that a cast looks like: a fixed function of the two ratios.

    Args:
        log_rg: See :class:`Estimate`.
        log_bg: See :class:`Estimate`.

    Returns:
        Correlated colour temperature in kelvin, within ``KELVIN_RANGE``: below 6504 K is a warm cast. And the signed
        distance from the locus in CIE 1960 (u, v): positive is greenish, negative pinkish; no cast gives about 0.
    """
    ratios = torch.tensor([[log_rg], [log_bg]], dtype=torch.float64)
    kelvin, tint = kelvins_and_tints(ratios[0], ratios[1])
    return float(kelvin[0]), float(tint[0])


def kelvins_and_tints(log_rg: Tensor, log_bg: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`kelvin_and_tint` of batches (N,), in their type: the nearest point of the locus, drawn as a polyline."""
    nodes, mireds = (table.to(log_rg.device) for table in _locus())
    ratios = torch.stack([log_rg.double(), torch.zeros_like(log_rg).double(), log_bg.double()], -1)
    point = _uv(ratios.exp())[:, None]
    start, along = nodes[:-1], nodes[1:] - nodes[:-1]
    place = (((point - start) * along).sum(-1) / along.square().sum(-1)).clamp(0, 1)
    offset = point - (start + place[..., None] * along)
    nearest = offset.square().sum(-1).argmin(1, keepdim=True)
    share = place.gather(1, nearest)[:, 0]
    mired = torch.lerp(mireds[:-1][nearest[:, 0]], mireds[1:][nearest[:, 0]], share)
    away = offset.gather(1, nearest[..., None].expand(-1, -1, 2))[:, 0]
    direction = along[nearest[:, 0]]
    # the polyline runs from blue to red, so that green lies on its left
    side = direction[:, 0] * away[:, 1] - direction[:, 1] * away[:, 0]
    tint = torch.where(side >= 0, 1.0, -1.0) * away.square().sum(-1).sqrt()
    return (1e6 / mired).to(log_rg.dtype), tint.to(log_rg.dtype)


@functools.cache
def _locus() -> tuple[Tensor, Tensor]:
    """(u, v) of lights on the locus, and their reciprocal temperatures in mired, evenly spaced and rising."""
    mireds = torch.linspace(1e6 / KELVIN_RANGE[1], 1e6 / KELVIN_RANGE[0], _STEPS, dtype=torch.float64)
    lights = cct_to_linear_srgb(1e6 / mireds.numpy().clip(40.0, None))
    return _uv(torch.from_numpy(lights)), mireds


def _uv(linear: Tensor) -> Tensor:
    """CIE 1960 (u, v) of linear sRGB (..., 3), float64."""
    x, y, z = (linear @ torch.tensor(RGB_TO_XYZ, dtype=torch.float64).to(linear.device).T).unbind(-1)
    total = x + 15 * y + 3 * z
    return torch.stack([4 * x / total, 6 * y / total], -1)
