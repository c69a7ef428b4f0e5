"""Statistics of a picture's ends: what its brightest, darkest and most coloured places say of light and development.

Cameras put white near the top of the range and black near the bottom. Light that was added or taken away moves these
ends before the curve is applied, a cast colours the brightest grey, and saturation changes how pure a colour can get;
so the ends tell more of what was done to a photo than its means do. On photos that were not trained on they predict
it better than a histogram of all pixels does (``benchmarks/diagnostic.py`` fits a ridge regression to both).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from plugins.color_science import srgb_to_linear
from plugins.diagnostic.estimate import LUMINANCE

GRID = 112
"""Pixels a side that are looked at; larger pictures are reduced to it."""
QUANTILES = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
NEAR = (1.0 / 255, 3.0 / 255, 8.0 / 255)
"""Distances from black and white within which a value counts as lost."""
TOPS = (0.002, 0.01, 0.05, 0.2)
"""Shares of the pixels whose mean colour is taken: the brightest, the palest, ..."""
BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.01)
"""Limits of luma between which contrast is measured."""
_LEVELS = 511
_PLANES = 8
_KEYS = 4
_MOMENTS = 7
_LIGHTS = 3
COUNT = _PLANES * len(QUANTILES) + 8 * len(NEAR) + 3 * _KEYS * len(TOPS) + 2 * _LIGHTS + _MOMENTS + 2 * (len(BANDS) - 1)
"""How many numbers :func:`tone_statistics` gives."""
_FLOOR, _TINY, _ROUNDING, _NUDGE = 0.02, 1e-4, 1e-4, 1e-3


def tone_statistics(image: Tensor) -> Tensor:
    """Quantiles, lost shares, colours of extreme pixels, classical lights, moments and contrast by brightness.

    Args:
        image: (N, 3, H, W), sRGB in [0, 1].

    Returns:
        (N, ``COUNT``), float32, of the order of 1.
    """
    small = image.float()
    if max(small.shape[2:]) > GRID:
        small = functional.interpolate(small, size=(GRID, GRID), mode="bilinear", antialias=False)
    flat = small.flatten(2)
    luma = (flat * flat.new_tensor(LUMINANCE)[:, None]).sum(1)
    highest, lowest = flat.amax(1), flat.amin(1)
    chroma = highest - lowest
    purity = chroma / (highest + 0.05)
    planes = torch.stack([*flat.unbind(1), luma, highest, lowest, chroma, purity], 1)
    parts = [
        _quantiles(planes) - 0.4,
        _lost(flat, highest, lowest),
        _extremes(flat, luma, (luma, lowest, highest, -chroma)),
        _lights(small),
        _moments(luma, chroma, purity),
        _contrast(luma.view(-1, 1, *small.shape[2:])),
    ]
    return torch.cat(parts, 1)


def _quantiles(planes: Tensor) -> Tensor:
    """Quantiles to half a grey level: counting is far faster than sorting."""
    # not half a level: means of two or four pixels of 8 bits would lie on the edge, where rounding errors decide
    levels = (planes.clamp(0, 1) * (_LEVELS - 1) + 0.35).long()
    counts = planes.new_zeros(*planes.shape[:2], _LEVELS).scatter_add(2, levels, torch.ones_like(planes))
    below = counts.cumsum(-1)[..., None]
    last = planes.shape[-1] - 1
    ranks = planes.new_tensor([round(share * last) for share in QUANTILES])
    return ((below <= ranks).float().sum(2) / (_LEVELS - 1)).flatten(1)


def _lost(flat: Tensor, highest: Tensor, lowest: Tensor) -> Tensor:
    """Logarithms of the shares of values, and of pixels, at either end of the range."""
    shares = []
    for distance in NEAR:
        black, white = distance + _ROUNDING, 1 - distance - _ROUNDING
        shares += [(flat <= black).float().mean(-1), (flat >= white).float().mean(-1)]
        shares += [
            (highest <= black).float().mean(-1, keepdim=True),
            (lowest >= white).float().mean(-1, keepdim=True),
        ]
    return (torch.cat(shares, 1) + _TINY).log() / 5


def _extremes(flat: Tensor, luma: Tensor, keys: tuple[Tensor, ...]) -> Tensor:
    """Mean log-chromaticities and luma of the pixels with the largest keys."""
    logs = (flat + _FLOOR).log()
    warm, cool = logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1]
    counts = [max(1, int(share * flat.shape[-1])) for share in TOPS]
    found = []
    # pixels of 8 bits tie in many keys; which of them is taken must not be left to the library
    nudge = _NUDGE * (flat * flat.new_tensor([1.0, 0.6, 0.35])[:, None]).sum(1)
    for key in keys:
        chosen = (key + nudge).topk(counts[-1], -1).indices
        for values in (warm, cool, luma):
            ranked = values.gather(1, chosen)
            found += [ranked[:, :count].mean(1) for count in counts]
    return 2 * torch.stack(found, 1)


def _lights(small: Tensor) -> Tensor:
    """Log-ratios of the light by grey-world, shades-of-grey (p=6) and grey-edge."""
    linear = srgb_to_linear(small)
    across = linear[..., 1:-1, 2:] - linear[..., 1:-1, :-2]
    down = linear[..., 2:, 1:-1] - linear[..., :-2, 1:-1]
    edges = (across.square() + down.square() + 1e-8).sqrt()
    lights = [
        linear.mean((2, 3)),
        (linear.pow(6).mean((2, 3)) + 1e-12).pow(1 / 6),
        edges.mean((2, 3)),
    ]
    ratios = []
    for light in lights:
        logs = (light + 1e-3).log()
        ratios += [logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1]]
    return 2 * torch.stack(ratios, 1)


def _moments(luma: Tensor, chroma: Tensor, purity: Tensor) -> Tensor:
    linear = srgb_to_linear(luma)
    stops = (linear + 0.002).log2()
    moments = [
        stops.mean(1),
        stops.std(1),
        (linear.mean(1) + 0.002).log2(),
        4 * luma.std(1),
        4 * purity.std(1),
        4 * purity.mean(1),
        (chroma.mean(1) + 0.01).log(),
    ]
    return torch.stack(moments, 1)


def _contrast(luma: Tensor) -> Tensor:
    """Mean Laplacian, as a logarithm, and share of the pixels of each band of brightness."""
    kernel = luma.new_tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])[None, None]
    energy = functional.conv2d(luma, kernel).abs()
    inner = luma[:, :, 1:-1, 1:-1]
    found = []
    for low, high in zip(BANDS, BANDS[1:], strict=False):
        band = ((inner >= low) & (inner < high)).float()
        found += [
            ((energy * band).sum((1, 2, 3)) / (band.sum((1, 2, 3)) + 1) + 0.003).log(),
            2 * band.mean((1, 2, 3)),
        ]
    return torch.stack(found, 1)
