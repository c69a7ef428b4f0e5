"""Confusion matrices, as numbers and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

_LARGEST_WITH_NUMBERS = 16
_LARGEST_WITH_NAMES = 60


def confusion_matrix(
    labels: np.ndarray[Any, Any], predictions: np.ndarray[Any, Any], num_classes: int
) -> np.ndarray[Any, Any]:
    """Count what was taken for what.

    Args:
        labels: (N,) true classes; negative ones are unknown and left out.
        predictions: (N,) predicted classes.
        num_classes: K.

    Returns:
        (K, K) int64: row = truth, column = prediction.

    Raises:
        ValueError: The lengths differ, or a class is K or more.
    """
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"one label and one prediction each are needed, got {labels.shape} and {predictions.shape}")
    known = labels >= 0
    truth, answer = labels[known].astype(np.int64), predictions[known].astype(np.int64)
    if truth.size and max(truth.max(), answer.max()) >= num_classes:
        raise ValueError(f"a class is not below {num_classes}")
    flat = np.bincount(truth * num_classes + answer, minlength=num_classes * num_classes)
    return flat.reshape(num_classes, num_classes)


def recalls(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Share of each class that was recognised, (K,); NaN for a class without samples."""
    totals = matrix.sum(1)
    return np.where(totals > 0, matrix.diagonal() / np.maximum(totals, 1), np.nan)


def confusion_picture(
    matrix: np.ndarray[Any, Any], names: Sequence[str] | None = None, title: str = ""
) -> np.ndarray[Any, Any]:
    """Draw a confusion matrix: rows are the truth, the shade is the share of the row.

    Args:
        matrix: (K, K) counts, row = truth.
        names: K names; numbers where there are none.
        title: Above the matrix.

    Returns:
        (H, W, 3) RGB, uint8. Counts are written into the cells up to 16 classes, names beside them up to 60.
    """
    count = len(matrix)
    cell = int(np.clip(640 // count, 6, 72))
    titles = [str(name) for name in (names or range(count))] if count <= _LARGEST_WITH_NAMES else []
    widest = max((_width(text) for text in titles), default=0)
    left, top = widest + 40, 64 + (widest if titles else 0)
    canvas = np.full((top + cell * count + 16, max(left + cell * count + 16, _width(title) + 32), 3), 255, np.uint8)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    body = _shade(np.kron(shares, np.ones((cell, cell))))
    canvas[top : top + cell * count, left : left + cell * count] = body
    _text(canvas, title, (16, 26))
    _text(canvas, "row: truth   column: answer", (16, 48))
    for index, text in enumerate(titles):
        middle = index * cell + cell // 2
        _text(canvas, text, (left - 8 - _width(text), top + middle + 5))
        _text_up(canvas, text, (left + middle, top - 8))
    if count <= _LARGEST_WITH_NUMBERS:
        for row, column in np.ndindex(count, count):
            text = str(matrix[row, column])
            place = (left + column * cell + (cell - _width(text)) // 2, top + row * cell + cell // 2 + 5)
            _text(canvas, text, place, 255 if shares[row, column] > 0.5 else 0)
    return canvas


def _shade(shares: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    light, dark = np.array([245.0, 247, 250]), np.array([8.0, 48, 107])
    return (light + (dark - light) * shares[..., None] ** 0.75).round().astype(np.uint8)


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0])


def _text(canvas: np.ndarray[Any, Any], text: str, place: tuple[int, int], grey: int = 0) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (grey,) * 3, 1, cv2.LINE_AA)


def _text_up(canvas: np.ndarray[Any, Any], text: str, foot: tuple[int, int]) -> None:
    """Write a name upwards, its middle above ``foot``."""
    width = _width(text)
    strip = np.full((18, width + 2, 3), 255, np.uint8)
    _text(strip, text, (0, 13))
    turned = np.rot90(strip)
    x, y = foot[0] - 9, foot[1] - turned.shape[0]
    canvas[y : y + turned.shape[0], x : x + 18] = turned
