"""The block comparison behind ``fast`` in plain torch: the definition, and what runs where numba is missing."""

from __future__ import annotations

import numpy as np
import torch

from plugins.color_science.difference import delta_e2000, delta_lch
from plugins.color_science.numeric import mix_channels
from plugins.color_science.spaces import RGB_TO_XYZ, xyz_to_lab

# A block's planes stay in the second-level cache of one core.
BLOCK = 8192
# Columns of a block's sums: ΔE00, ΔE76, |ΔL*|, |ΔC*|, ΔH*, then for each of the four bins of the second image's chroma:
# number of pixels, ΔE00, C* of the first image, C* of the second image.
CHROMA_EDGES = (10.0, 30.0, 60.0)
SUMS = 5 + 4 * (len(CHROMA_EDGES) + 1)
# Two colours of sRGB are less than 120 apart.
HISTOGRAM_BINS = 8192
HISTOGRAM_WIDTH = 0.02


def compare_blocks(
    codes1: np.ndarray,
    codes2: np.ndarray,
    table: np.ndarray,
    red: int,
    blocks: tuple[int, int],
    out: np.ndarray,
    sums: np.ndarray,
    histogram: np.ndarray,
    full: bool,
) -> None:
    """Compare the pixels of ``blocks[0] <= block < blocks[1]``.

    Args:
        codes1: (3 n,) uint8 or uint16, interleaved channels.
        codes2: Same.
        table: float32, linear light of each code.
        red: Place of the red channel: 0 for RGB, 2 for BGR.
        blocks: First block and the one after the last.
        out: (n,) float32, receives ΔE00.
        sums: (all blocks, SUMS) float64, receives the sums of each block, so that the order of adding is fixed.
        histogram: (HISTOGRAM_BINS,) int64, is added to.
        full: Whether to fill ``sums`` and ``histogram``.
    """
    for block in range(*blocks):
        pixels = slice(block * BLOCK, min((block + 1) * BLOCK, out.shape[0]))
        lab1, lab2 = (_lab(codes[3 * pixels.start : 3 * pixels.stop], table, red) for codes in (codes1, codes2))
        difference = delta_e2000(lab1, lab2)[0].numpy()
        out[pixels] = difference
        if full:
            _summarise(difference, lab1, lab2, sums[block])
            bins = np.minimum((difference * np.float32(1 / HISTOGRAM_WIDTH)).astype(np.int64), HISTOGRAM_BINS - 1)
            histogram += np.bincount(bins, minlength=HISTOGRAM_BINS)


def _lab(codes: np.ndarray, table: np.ndarray, red: int) -> torch.Tensor:
    planes = table[codes].reshape(-1, 3).T
    linear = torch.from_numpy(np.ascontiguousarray(planes[::-1] if red == 2 else planes))[:, None]
    return xyz_to_lab(mix_channels(linear, RGB_TO_XYZ))


def _summarise(difference: np.ndarray, lab1: torch.Tensor, lab2: torch.Tensor, sums: np.ndarray) -> None:
    parts = delta_lch(lab1, lab2).numpy()[:, 0]
    chroma1, chroma2 = (np.hypot(lab[1, 0].numpy(), lab[2, 0].numpy()) for lab in (lab1, lab2))
    sums[0] = difference.sum(dtype=np.float64)
    sums[1] = np.sqrt((parts**2).sum(0)).sum(dtype=np.float64)
    sums[2:5] = np.abs(parts).sum(1, dtype=np.float64)
    place = np.digitize(chroma2, np.asarray(CHROMA_EDGES, np.float32))
    count = len(CHROMA_EDGES) + 1
    columns = [np.bincount(place, weights=w, minlength=count) for w in (None, difference, chroma1, chroma2)]
    sums[5:] = np.stack(columns, axis=1).ravel()
