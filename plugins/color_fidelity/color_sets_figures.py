"""How much colour a target has, and how much of it a network loses: the figures that colour sets are ranked by.

All are means over the picture's pixels, so a colour counts by its area. Chroma is the length of (Cb - 0.5, Cr - 0.5) of
full-range BT.601 YCbCr, as in the losses. A pixel counts as colourful by a soft threshold on its chroma r,
``1 / (1 + (c / r)^4)``: half at c = 0.06, next to nothing on off-white walls (0.02), nearly full on a teal one (0.19).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from basicsr.engine.errors import UserError
from plugins.color_fidelity.color_sets_photos import shrink
from plugins.color_fidelity.enhance_run import Runner
from plugins.color_fidelity.fidelity import saturated_mask, saturation_figures
from plugins.color_science import apply_to_arrays, chroma_vector

CHROMA_THRESHOLD = 0.06
HUES = ("red", "orange", "yellow", "lime", "green", "mint", "cyan", "azure", "blue", "violet", "magenta", "rose")
"""Names of the twelve hue sectors, 30 degrees of HSV hue each, from red (345 to 15 degrees) on."""

_STEEPNESS = 4


@dataclass(frozen=True)
class ColorAmount:
    """The colour of a target.

    Attributes:
        coverage: Share of the picture that is colourful, by the soft threshold, in [0, 1].
        chroma: Mean chroma of that part, in [0, 0.6].
        amount: ``coverage`` times ``chroma``: the colour there is to lose.
        hue: The sector, one of ``HUES``, that most of it lies in; ``none`` in a grey picture.
    """

    coverage: float
    chroma: float
    amount: float
    hue: str


@dataclass(frozen=True)
class ColorLoss:
    """What a network makes of a target's colour.

    Attributes:
        lost: Chroma missing in the direction of the target's colour, per pixel of the picture: washing out and turning
            to another hue both count, over-saturating does not.
        kept: Share of the target's chroma on its colourful part that is left.
        sat_ratio: Saturation over the target's on its saturated pixels (``fidelity.FIGURES``).
        sat_ratio_whole: The same over the whole picture.
        hue_abs_deg: Mean absolute hue error on the target's saturated pixels.
    """

    lost: float
    kept: float
    sat_ratio: float
    sat_ratio_whole: float
    hue_abs_deg: float


def color_amount(rgb: np.ndarray) -> ColorAmount:
    """Measure a target.

    Args:
        rgb: (H, W, 3) sRGB, uint8.
    """
    length, weight = _chroma_and_weight(_vectors(rgb))
    covered, total = float(weight.mean(dtype=np.float64)), float((weight * length).mean(dtype=np.float64))
    sectors = np.bincount(_sectors(rgb).ravel(), weights=(weight * length).ravel(), minlength=len(HUES))
    name = HUES[int(sectors.argmax())] if total > 0 else "none"
    return ColorAmount(covered, total / covered if covered > 0 else 0.0, total, name)


def color_loss(pred: np.ndarray, target: np.ndarray) -> ColorLoss:
    """Measure what a prediction has lost of its target's colour.

    Args:
        pred: (H, W, 3) sRGB, uint8.
        target: Of the same shape.
    """
    wanted = _vectors(target)
    length, weight = _chroma_and_weight(wanted)
    along = (_vectors(pred) * wanted).sum(axis=-1) / np.maximum(length, 1e-6)
    missing = weight * np.maximum(length - along, 0)
    total = float((weight * length).sum(dtype=np.float64))
    figures = saturation_figures(pred, target, saturated_mask(target))
    return ColorLoss(
        lost=float(missing.mean(dtype=np.float64)),
        kept=float((weight * along).sum(dtype=np.float64)) / total if total > 0 else float("nan"),
        sat_ratio=figures["sat_ratio"],
        sat_ratio_whole=figures["sat_ratio_whole"],
        hue_abs_deg=figures["hue_abs_deg"],
    )


def _vectors(rgb: np.ndarray) -> np.ndarray:
    return apply_to_arrays(chroma_vector, rgb)


def _chroma_and_weight(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = np.sqrt((vectors * vectors).sum(axis=-1))
    # 1 / (1 + (c / r)^4), written so that grey (r = 0) needs no special case.
    power = (length / CHROMA_THRESHOLD) ** _STEEPNESS
    return length, power / (1 + power)


def _sectors(rgb: np.ndarray) -> np.ndarray:
    """Number of each pixel's hue sector; 0 where it is grey."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    high = rgb.max(axis=-1).astype(np.float32)
    spread = np.maximum(high - rgb.min(axis=-1), 1)
    sixths = np.where(
        high == red,
        (green - blue) / spread,
        np.where(high == green, 2 + (blue - red) / spread, 4 + (red - green) / spread),
    )
    return np.rint(2 * sixths).astype(np.int64) % len(HUES)


class LossMeter:
    """Runs a network on small copies of pairs and measures what it loses.

    Args:
        net: A restoration network in evaluation mode, on its device.
        side: Longer side in pixels that pairs are scaled to.

    Raises:
        UserError: ``side`` is smaller than 64.
    """

    def __init__(self, net: nn.Module, side: int = 384) -> None:
        if side < 64:
            raise UserError(f"--side {side}: at least 64 pixels are needed")
        self.side = side
        self._run = Runner(net, tile=0)

    def __call__(self, lq: np.ndarray, gt: np.ndarray, name: str) -> tuple[ColorLoss, np.ndarray]:
        """Measure one pair.

        Args:
            lq: (h, w, 3) sRGB uint8, the input.
            gt: The target; it is brought to the output's size.
            name: For messages.

        Returns:
            The loss, and the network's output, (h, w, 3) uint8.

        Raises:
            UserError: Output and target show different frames, or the output is not finite.
        """
        image = torch.from_numpy(np.ascontiguousarray(lq.transpose(2, 0, 1))).float()[None] / 255
        result = self._run(image)[0]
        if not bool(torch.isfinite(result).all()):
            raise UserError(f"{name}: the network's output is not finite; is the checkpoint damaged?")
        output = np.ascontiguousarray(result.clamp(0, 1).mul(255).round().byte().numpy().transpose(1, 2, 0))
        height, width = output.shape[:2]
        if abs(np.log((width / height) / (gt.shape[1] / gt.shape[0]))) > 0.02 + 2 / min(output.shape[:2]):
            raise UserError(
                f"{name}: the target's sides are {gt.shape[1]}:{gt.shape[0]}, the output's {width}:{height}; input and "
                "target must show the same frame"
            )
        return color_loss(output, _resized(gt, height, width)), output


def _resized(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    if rgb.shape[:2] == (height, width):
        return rgb
    reduced = shrink(rgb, max(height, width))
    if reduced.shape[:2] == (height, width):
        return reduced
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)
