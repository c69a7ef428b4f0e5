"""Pictures of one scene: the same photo edited twice, a burst, a room from the same spot, mirrored or scaled copies.

Two steps. A perceptual hash finds candidates: the signs of the 63 lowest frequencies of a 32 x 32 luma DCT (Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). Mirroring a picture flips the signs of its
odd frequencies, so mirrored copies need no second hash; for bursts and hand-held shots, nine windows of one picture are
compared with the middle of the other. A hash of so few bits also joins pictures that are alike only in being bright at
the top. Each candidate is therefore verified by the correlation of its fine detail at the best shift, without straight
lines across the picture (a skirting board, a horizon), which many pictures have. A picture with hardly any detail (a
plain wall) has nothing to correlate: it only matches one that is the same in colour and brightness too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

SIDE = 64
"""Side in pixels of the square that is compared."""

SHIFT = 8
"""Pixels of it by which one picture may be shifted against the other."""

FLIPS = ((False, False), (True, False), (False, True), (True, True))
"""Mirrored left to right, top to bottom."""

HASH_DISTANCE = 20
"""Most differing bits, of 63, of a candidate; unrelated pictures differ in about 31."""

SIMILARITY = 0.58
"""Least correlation of fine detail of a match: edits of the tone, mirror images and shifts by a tenth stay far above
it, zooms by 5 % and turns by 3 degrees above it, unrelated photographs below it."""

MIRRORED_SIMILARITY = 0.85
"""The same for mirrored pictures. They are copies, not other shots, so they agree better; and the two halves of a
symmetric scene must not match."""

PLAIN_DETAIL = 1.5
"""A picture whose fine detail has a smaller standard deviation, in 8-bit steps, is plain."""

PLAIN_DIFFERENCE = 2.0
"""Largest mean difference of two plain pictures that match, in 8-bit steps."""

_BITS = 63
_WINDOW = 54
_CORNERS = (5, 0, 10)
_SOFT, _BLUR = 0.8, 3.0
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a picture for comparing it.

    Attributes:
        signs: (9, 63) float32 of -1 and 1: the perceptual hashes of nine windows, the middle one first.
        detail: (64, 64) float32: luma without its low frequencies and straight lines, in 8-bit steps.
        small: (64, 64, 3) uint8: the picture.
        plain: It has next to no detail.
    """

    signs: np.ndarray
    detail: np.ndarray
    small: np.ndarray
    plain: bool


@dataclass(frozen=True)
class Match:
    """Two pictures that show the same.

    Attributes:
        first: Place of one in the list.
        second: Place of the other.
        distance: Bits in which the hashes differ; 0 for plain pictures.
        similarity: Correlation of their detail at the best shift, in [0, 1]; 1 for plain pictures.
    """

    first: int
    second: int
    distance: int
    similarity: float


def fingerprint(rgb: np.ndarray) -> Fingerprint:
    """The fingerprint of a picture.

    Args:
        rgb: (H, W, 3) sRGB, uint8, best of 64 pixels or more.
    """
    small = cv2.resize(np.ascontiguousarray(rgb), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    signs = np.stack([_signs(luma[y : y + _WINDOW, x : x + _WINDOW]) for y in _CORNERS for x in _CORNERS])
    # Slightly soft, so that a zoom or turn by a little does not move every detail off its place.
    soft = cv2.GaussianBlur(luma, (0, 0), _SOFT)
    detail = soft - cv2.GaussianBlur(luma, (0, 0), _BLUR, borderType=cv2.BORDER_REFLECT_101)
    detail = detail - detail.mean(axis=1, keepdims=True)
    detail = detail - detail.mean(axis=0, keepdims=True)
    return Fingerprint(signs, detail, small, float(_inner(detail).std()) < PLAIN_DETAIL)


def _signs(luma: np.ndarray) -> np.ndarray:
    block = cv2.dct(cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA))[:8, :8].ravel()[1:]
    return np.where(block > 0, 1.0, -1.0).astype(np.float32)


def _inner(square: np.ndarray) -> np.ndarray:
    """Without the border, where the blur sees mirrored pixels."""
    return square[SHIFT : SIDE - SHIFT, SHIFT : SIDE - SHIFT]


def _flip_signs(across: bool, down: bool) -> np.ndarray:
    """Factors on the hash of a picture that give the hash of its mirror image."""
    row, column = np.divmod(np.arange(1, _BITS + 1), 8)
    odd = (across * column + down * row) % 2
    return (1 - 2 * odd).astype(np.float32)


def find_matches(prints: Sequence[Fingerprint], others: Sequence[Fingerprint] | None = None) -> list[Match]:
    """All pairs of pictures that show the same.

    Args:
        prints: Fingerprints.
        others: Compare ``prints`` with these (``second`` counts here) instead of with each other.

    Returns:
        The matches, by first and second; with ``others`` None each pair once, the smaller number first.
    """
    second = prints if others is None else others
    if not prints or not second:
        return []
    best: dict[tuple[int, int], Match] = {}
    for i, j, distance, flip in _candidates(prints, second, others is None):
        similarity = verify(prints[i], second[j], flip)
        if similarity is not None and ((i, j) not in best or best[i, j].similarity < similarity):
            best[i, j] = Match(i, j, distance, similarity)
    return [best[key] for key in sorted(best)]


def _candidates(
    prints: Sequence[Fingerprint], second: Sequence[Fingerprint], within: bool
) -> Iterator[tuple[int, int, int, tuple[bool, bool]]]:
    """Places of two pictures, the distance of their hashes, and how the first is mirrored for it."""
    windows = np.stack([item.signs for item in second])
    for start in range(0, len(prints), _ROWS_AT_ONCE):
        middles = np.stack([item.signs[0] for item in prints[start : start + _ROWS_AT_ONCE]])
        for flip in FLIPS:
            mirrored = middles * _flip_signs(*flip)
            agreement = mirrored @ windows[:, 0].T
            for window in range(1, windows.shape[1]):
                np.maximum(agreement, mirrored @ windows[:, window].T, out=agreement)
            for row, column in np.argwhere(agreement >= _BITS - 2 * HASH_DISTANCE - 0.5):
                plain = prints[start + int(row)].plain or second[int(column)].plain
                if not plain and (not within or start + row < column):
                    distance = round((_BITS - float(agreement[row, column])) / 2)
                    yield start + int(row), int(column), distance, flip
    # The hash of a plain picture is that of its noise.
    for i, j in product(_plain(prints), _plain(second)):
        if not within or i < j:
            yield from ((i, j, 0, flip) for flip in FLIPS)


def _plain(prints: Sequence[Fingerprint]) -> list[int]:
    return [place for place, item in enumerate(prints) if item.plain]


def verify(first: Fingerprint, second: Fingerprint, flip: tuple[bool, bool] = (False, False)) -> float | None:
    """How alike two pictures are in detail.

    Args:
        first: One picture, which is mirrored by ``flip``.
        second: The other.
        flip: Left to right, top to bottom.

    Returns:
        The correlation at the best shift, or None where they do not match.
    """
    if first.plain != second.plain:
        return None
    if first.plain:
        difference = np.abs(_mirrored(first.small, flip).astype(np.float32) - second.small).mean()
        return 1.0 if difference <= PLAIN_DIFFERENCE else None
    mirrored = _mirrored(first.detail, flip)
    there = cv2.matchTemplate(second.detail, np.ascontiguousarray(_inner(mirrored)), cv2.TM_CCOEFF_NORMED).max()
    back = cv2.matchTemplate(mirrored, np.ascontiguousarray(_inner(second.detail)), cv2.TM_CCOEFF_NORMED).max()
    similarity = min(float(there), float(back), 1.0)
    return similarity if similarity >= (MIRRORED_SIMILARITY if any(flip) else SIMILARITY) else None


def _mirrored(square: np.ndarray, flip: tuple[bool, bool]) -> np.ndarray:
    across, down = flip
    return np.ascontiguousarray(square[:: -1 if down else 1, :: -1 if across else 1])


def group(count: int, matches: Sequence[Match]) -> list[int]:
    """Number the groups of pictures that are linked by matches, directly or through others.

    Args:
        count: How many pictures there are.
        matches: Between pictures of one list.

    Returns:
        For each picture the smallest number of a picture in its group; its own where it is alone.
    """
    parents = list(range(count))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for match in matches:
        first, second = sorted((root(match.first), root(match.second)))
        parents[second] = first
    return [root(index) for index in range(count)]
