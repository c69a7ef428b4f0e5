"""Diagnoses without a network, to compare with: assumptions about grey, about the mean, and a linear regression.

Each takes sRGB pictures (N, 3, H, W) in [0, 1] and gives what it thinks was applied, (N, 4); a method that has no
opinion of a column leaves it at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from plugins.color_science import srgb_to_linear
from plugins.diagnostic.color_statistics import color_statistics
from plugins.diagnostic.estimate import LUMINANCE, limited

Method = Callable[[Tensor], Tensor]

SHADES_POWER = 6
EDGE_SIGMA = 1.0
WHITE_SHARE = 0.99
STRETCH_SHARE = 0.005
_UNCLIPPED = 0.98
_TINY = 1e-6


def identity(image: Tensor) -> Tensor:
    """Nothing was done."""
    return image.new_zeros((len(image), 4))


def grey_world(image: Tensor) -> Tensor:
    """The mean of the linear picture is grey (G. Buchsbaum, 1980)."""
    return _cast(_power_mean(srgb_to_linear(image), _unclipped(image), 1))


def shades_of_grey(image: Tensor) -> Tensor:
    """The Minkowski mean of power 6 is grey (G. Finlayson and E. Trezzi, 2004)."""
    return _cast(_power_mean(srgb_to_linear(image), _unclipped(image), SHADES_POWER))


def grey_edge(image: Tensor) -> Tensor:
    """The mean of the edges is grey: first derivatives after smoothing (J. van de Weijer et al., 2007)."""
    smooth = _blurred(srgb_to_linear(image), EDGE_SIGMA)
    across = smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]
    down = smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]
    edges = (across.square() + down.square()).sqrt()
    return _cast(_power_mean(edges, _unclipped(image)[..., 1:-1, 1:-1], 1))


def white_patch(image: Tensor) -> Tensor:
    """The brightest of each channel is white (E. Land and J. McCann, 1971), taken at the 99th percentile."""
    values = srgb_to_linear(image).flatten(2)
    return _cast(torch.quantile(values, WHITE_SHARE, dim=2))


def autocontrast(image: Tensor) -> Tensor:
    """Stretch each channel so that half a per cent is clipped, as photo programs do; read as exposure and gains.

    What stretching does to the dark end has no place among the four numbers and is left out.
    """
    values = srgb_to_linear(image).flatten(2)
    bright = torch.quantile(values, 1 - STRETCH_SHARE, dim=2).clamp(min=_TINY)
    estimate = _cast(bright)
    estimate[:, 0] = (bright * bright.new_tensor(LUMINANCE)).sum(1).log2()
    return limited(estimate)


@dataclass(frozen=True)
class MeanLuminance:
    """The logarithmic mean luminance ought to be that of good photos; the same for the mean chroma.

    Attributes:
        log_luminance: Mean over good photos of the mean log2 luminance.
        log_chroma: Mean over good photos of the natural logarithm of the mean chroma.
    """

    log_luminance: float
    log_chroma: float

    @classmethod
    def fitted(cls, good: Tensor) -> MeanLuminance:
        """Measure good photos (N, 3, H, W)."""
        level, chroma = _levels(good)
        return cls(float(level.mean()), float(chroma.median()))

    def __call__(self, image: Tensor) -> Tensor:
        level, chroma = _levels(image)
        estimate = identity(image)
        estimate[:, 0], estimate[:, 3] = level - self.log_luminance, chroma - self.log_chroma
        return limited(estimate)


@dataclass(frozen=True)
class HistogramRidge:
    """Ridge regression from statistics of the picture.

    Attributes:
        weights: (F + 1, 4), float64; the last row is the constant.
        mean: (F,), of the training features.
        scale: (F,), their standard deviations.
        features: Pictures (N, 3, H, W) to statistics (N, F).
    """

    weights: Tensor
    mean: Tensor
    scale: Tensor
    features: Callable[[Tensor], Tensor] = color_statistics

    @classmethod
    def fitted(
        cls,
        features: Tensor,
        truths: Tensor,
        known: Tensor,
        penalty: float,
        source: Callable[[Tensor], Tensor] = color_statistics,
    ) -> HistogramRidge:
        """Fit each column to the samples in which it is known.

        Args:
            features: (N, F), what ``source`` gives.
            truths: (N, 4).
            known: (N, 4), 0 or 1.
            penalty: Ridge penalty on standardised features, as a share of N.
            source: Pictures to statistics.
        """
        rows = features.double()
        mean, scale = rows.mean(0), rows.std(0).clamp(min=1e-4)
        design = torch.cat([(rows - mean) / scale, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        damping = torch.eye(design.shape[1], dtype=torch.float64) * penalty
        damping[-1, -1] = 0
        columns = []
        for column in range(truths.shape[1]):
            part = design[known[:, column] > 0]
            wanted = truths[known[:, column] > 0, column].double()
            columns.append(torch.linalg.solve(part.T @ part + len(part) * damping, part.T @ wanted))
        return cls(torch.stack(columns, 1), mean, scale, source)

    def __call__(self, image: Tensor) -> Tensor:
        rows = (self.features(image).double() - self.mean) / self.scale
        estimate = rows @ self.weights[:-1] + self.weights[-1]
        return limited(estimate.float())


CLASSIC: dict[str, Method] = {
    "identity": identity,
    "grey-world": grey_world,
    "shades-of-grey (p=6)": shades_of_grey,
    "grey-edge": grey_edge,
    "white-patch": white_patch,
    "autocontrast": autocontrast,
}
"""The methods that need no photos to fit."""


def _cast(light: Tensor) -> Tensor:
    """Estimates (N, 4) of lights (N, 3)."""
    logs = light.clamp(min=_TINY).log()
    zero = torch.zeros_like(logs[:, 0])
    return limited(torch.stack([zero, logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1], zero], 1))


def _unclipped(image: Tensor) -> Tensor:
    """(N, 1, H, W): 1 where no channel is at its end; a clipped pixel has lost its colour."""
    return (image.amax(1, keepdim=True) < _UNCLIPPED).to(image)


def _power_mean(values: Tensor, weight: Tensor, power: float) -> Tensor:
    total = weight.sum((2, 3)).clamp(min=1)
    return ((values.pow(power) * weight).sum((2, 3)) / total).pow(1 / power)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1, dtype=image.dtype)
    kernel = (-(places**2) / (2 * sigma**2)).exp()
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    padded = functional.pad(image, (reach,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel[:, None, :, None], groups=3)
    return functional.conv2d(rows, kernel[:, None, None, :], groups=3)


def _levels(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean log2 luminance and log of the mean chroma, each (N,)."""
    luminance = (srgb_to_linear(image) * image.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1)
    chroma = (image.amax(1) - image.amin(1)) / (image.amax(1) + 0.05)
    return (luminance + 0.002).log2().mean((1, 2)), (chroma.mean((1, 2)) + 0.01).log()
