"""Measuring colour differences of whole photographs fast.

ΔE00 of 8- and 16-bit images from look-up tables, by compiled and vectorised code (numba) on all cores; where numba is
missing, the same comparison runs in torch, about fifteen times slower, with the same result to 1e-3 at all but isolated
near-neutral pixels (there the formula itself is discontinuous). Results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np

from plugins.color_science.fast_reference import (
    BLOCK,
    CHROMA_EDGES,
    HISTOGRAM_BINS,
    HISTOGRAM_WIDTH,
    SUMS,
)

_CHANNELS = 3
_FEW_BLOCKS = 8


@dataclass(frozen=True)
class ChromaBin:
    """Pixels whose second image's C*ab lies in [low, high). Figures are NaN where there is none.

    Attributes:
        low: Lower edge of C*ab.
        high: Upper edge, infinite for the last bin.
        share: Share of the image's pixels, [0, 1].
        de00: Mean ΔE00.
        ratio: Mean C* of the first image over mean C* of the second.
    """

    low: float
    high: float
    share: float
    de00: float
    ratio: float


@dataclass(frozen=True)
class ColorComparison:
    """The colour difference of two images, first (prediction) against second (target).

    Attributes:
        de00: (H, W) float32, ΔE00.
        mean: Mean ΔE00.
        p95: 95th percentile of ΔE00, from a histogram with bins of 0.02.
        p99: 99th percentile.
        maximum: Largest ΔE00.
        de76: Mean ΔE*ab.
        lightness: Mean \\|ΔL*\\|.
        chroma: Mean \\|ΔC*\\|.
        hue: Mean ΔH*.
        bins: By chroma of the second image.
    """

    de00: np.ndarray
    mean: float
    p95: float
    p99: float
    maximum: float
    de76: float
    lightness: float
    chroma: float
    hue: float
    bins: tuple[ChromaBin, ...]


def fast_delta_e00(
    image1: np.ndarray, image2: np.ndarray, *, bgr: bool = False, threads: int | None = None
) -> np.ndarray:
    """CIEDE2000 of two sRGB images, pixel by pixel.

    Args:
        image1: (H, W, 3), uint8, uint16, or float in [0, 1]; floats are clipped and measured at 16 bit.
        image2: Same height and width; the depth may differ.
        bgr: Channels are in OpenCV's order.
        threads: Number of threads; all cores by default.

    Returns:
        (H, W) float32.

    Raises:
        ValueError: If the images differ in size, are not (H, W, 3), are empty, or hold NaN.
        TypeError: If a type's range is not known.
    """
    return _run(image1, image2, bgr, threads, full=False)[0]


def compare_colors(
    image1: np.ndarray, image2: np.ndarray, *, bgr: bool = False, threads: int | None = None
) -> ColorComparison:
    """ΔE00 with its statistics, ΔE76 and the lightness, chroma and hue parts, in one pass.

    Args:
        image1: The prediction; see :func:`fast_delta_e00`.
        image2: The target.
        bgr: Channels are in OpenCV's order.
        threads: Number of threads; all cores by default.

    Raises:
        ValueError: As :func:`fast_delta_e00`.
        TypeError: As :func:`fast_delta_e00`.
    """
    out, sums, histogram = _run(image1, image2, bgr, threads, full=True)
    total = sums.sum(axis=0)
    maximum = float(out.max())
    mean, de76, lightness, chroma, hue = (float(value) for value in total[:5] / out.size)
    return ColorComparison(
        de00=out,
        mean=mean,
        p95=min(_quantile(histogram, 0.95), maximum),
        p99=min(_quantile(histogram, 0.99), maximum),
        maximum=maximum,
        de76=de76,
        lightness=lightness,
        chroma=chroma,
        hue=hue,
        bins=_chroma_bins(total[5:].reshape(-1, 4), out.size),
    )


def _run(
    image1: np.ndarray, image2: np.ndarray, bgr: bool, threads: int | None, full: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes1, codes2 = _same_codes(image1, image2)
    table = _linear_table(2 ** (8 * codes1.dtype.itemsize))
    height, width = codes1.shape[:2]
    blocks = -(-height * width // BLOCK)
    out = np.empty(height * width, np.float32)
    sums = np.zeros((blocks, SUMS))
    kernel = _kernel()

    def part(bounds: tuple[int, int]) -> np.ndarray:
        histogram = np.zeros(HISTOGRAM_BINS, np.int64)
        kernel(codes1.reshape(-1), codes2.reshape(-1), table, 2 if bgr else 0, bounds, out, sums, histogram, full)
        return histogram

    workers = min(threads or available_cores(), -(-blocks // _FEW_BLOCKS))
    edges = [blocks * k // workers for k in range(workers + 1)]
    spans = list(zip(edges[:-1], edges[1:], strict=True))
    if workers == 1:
        histograms = [part(spans[0])]
    else:
        with ThreadPoolExecutor(workers) as pool:
            histograms = list(pool.map(part, spans))
    return out.reshape(height, width), sums, np.sum(histograms, axis=0)


def available_cores() -> int:
    """Number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@cache
def _kernel() -> Callable[..., None]:
    try:
        from plugins.color_science.fast_kernels import compare_blocks
    except ImportError:
        from plugins.color_science.fast_reference import compare_blocks
    return compare_blocks


@cache
def _linear_table(codes: int) -> np.ndarray:
    value = np.arange(codes) / (codes - 1)
    curve = ((value + 0.055) / 1.055) ** 2.4
    return np.where(value <= 0.04045, value / 12.92, curve).astype(np.float32)


def _same_codes(image1: np.ndarray, image2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both images as contiguous uint8 or both as uint16."""
    for name, image in (("image1", image1), ("image2", image2)):
        if image.ndim != _CHANNELS or image.shape[2] != _CHANNELS or image.size == 0:
            raise ValueError(f"{name} must have shape (H, W, 3), got {image.shape}")
    if image1.shape != image2.shape:
        raise ValueError(f"the images differ in size: {image1.shape} and {image2.shape}")
    if image1.dtype == image2.dtype == np.uint8:
        return np.ascontiguousarray(image1), np.ascontiguousarray(image2)
    return _to_16_bit(image1, "image1"), _to_16_bit(image2, "image2")


def _to_16_bit(image: np.ndarray, name: str) -> np.ndarray:
    if image.dtype == np.uint16:
        return np.ascontiguousarray(image)
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image).astype(np.uint16) * np.uint16(257)
    if image.dtype.kind != "f":
        raise TypeError(f"{name} must be uint8, uint16 or float in [0, 1], got {image.dtype}")
    if not np.isfinite(image).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return np.rint(np.clip(np.ascontiguousarray(image), 0, 1) * np.float64(65535)).astype(np.uint16)


def _quantile(histogram: np.ndarray, share: float) -> float:
    """Value below which ``share`` of the counts lie, linear inside a bin."""
    cumulative = np.cumsum(histogram)
    rank = share * cumulative[-1]
    place = int(np.searchsorted(cumulative, rank))
    before = cumulative[place] - histogram[place]
    return float((place + (rank - before) / histogram[place]) * HISTOGRAM_WIDTH)


def _chroma_bins(table: np.ndarray, pixels: int) -> tuple[ChromaBin, ...]:
    edges = (0.0, *CHROMA_EDGES, float("inf"))
    bins = []
    for low, high, (count, difference, first, second) in zip(edges[:-1], edges[1:], table, strict=True):
        filled = count > 0
        de00 = float(difference / count) if filled else float("nan")
        ratio = float(first / second) if filled and second > 0 else float("nan")
        bins.append(ChromaBin(low, high, float(count / pixels), de00, ratio))
    return tuple(bins)
