"""The colour charts in LSMI's scenes: where the patches lie, and the light that their grey row shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from plugins.illuminant.lsmi_arrays import Array

ROWS, COLUMNS = 4, 6
GRAY_ROW = 3
_PATCH, _GAP = 2.5, 0.25
"""A chart's patches and the gaps between and around them, in any unit."""
WIDTH = COLUMNS * (_PATCH + _GAP) + _GAP
HEIGHT = ROWS * (_PATCH + _GAP) + _GAP
SEEN_SHARE = 0.5
"""Of a patch's width and height so much is measured, in its middle."""
BOX = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], dtype=np.float32)


def patch_corners(row: int, column: int, share: float = 1.0) -> Array:
    """Corners of a patch in the chart's own unit, clockwise from the upper left, (4, 2)."""
    middle = np.array([column, row]) * (_PATCH + _GAP) + _GAP + _PATCH / 2
    half = _PATCH / 2 * share
    return np.asarray(middle + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), dtype=np.float32)


def to_picture(points: Array, corners: Array) -> Array:
    """Carry points of the chart (N, 2) to the picture whose chart has these corners (4, 2)."""
    perspective = cv2.getPerspectiveTransform(BOX, corners.astype(np.float32))
    return cv2.perspectiveTransform(points[None].astype(np.float32), perspective)[0]


def chart_area(shape: tuple[int, int], charts: Array) -> Array:
    """Pixels that belong to a chart.

    Args:
        shape: Height and width of the picture.
        charts: Corners (N, 4, 2) in its pixels, clockwise from the upper left.

    Returns:
        (H, W) bool.
    """
    area = np.zeros(shape, np.uint8)
    for corners in charts:
        cv2.drawContours(area, [corners.astype(np.int32).reshape(4, 1, 2)], 0, 1, -1)
    return area.astype(bool)


@dataclass(frozen=True)
class GrayPatches:
    """The grey patches of all charts in one picture: mean colours (N, 3) and whether any sample is clipped (N,)."""

    colors: Array
    clipped: Array


def gray_patches(linear: Array, clipped: Array, charts: Array) -> GrayPatches:
    """Measure the grey patches.

    Args:
        linear: (H, W, 3), black level subtracted.
        clipped: (H, W) bool, a channel is full.
        charts: Corners (N, 4, 2) in pixels; the grey row is the last one.

    Returns:
        Six patches a chart. A patch outside the picture is black and counts as clipped.
    """
    colors, full = [], []
    for corners in charts:
        for column in range(COLUMNS):
            cell = np.round(to_picture(patch_corners(GRAY_ROW, column, SEEN_SHARE), corners)).astype(np.int32)
            left, top = np.maximum(cell.min(0), 0)
            right, bottom = cell.max(0) + 1
            inside = np.zeros((max(0, bottom - top), max(0, right - left)), np.uint8)
            cv2.fillConvexPoly(inside, cell - (left, top), 1)
            part = linear[top:bottom, left:right]
            chosen = inside[: part.shape[0], : part.shape[1]].astype(bool)
            whole = bool(chosen.any()) and part.shape[:2] == inside.shape
            colors.append(part[chosen].mean(0) if whole else np.zeros(3))
            full.append(not whole or bool(clipped[top:bottom, left:right][chosen].any()))
    return GrayPatches(np.asarray(colors, dtype=np.float64).reshape(-1, 3), np.asarray(full, dtype=bool))


def brightest(colors: Array, usable: Array) -> int | None:
    """Index of the patch that is brightest in green among the usable ones; None where no patch has any light."""
    green = np.where(usable, colors[:, 1], 0.0)
    if not green.size or green.max() <= 0:
        return None
    return int(green.argmax())
