"""Generated rooms for the tests of the colour sets: no two alike, of a chosen colour."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

NEUTRAL, TEAL, RED, BLUE, SAGE = (200, 198, 196), (30, 130, 140), (190, 30, 40), (40, 60, 190), (176, 186, 164)


def room(
    seed: int, paint: tuple[int, int, int] = NEUTRAL, share: float = 0.5, size: tuple[int, int] = (96, 144)
) -> np.ndarray:
    """(H, W, 3) RGB uint8: grey clutter, and a wall of ``paint`` over ``share`` of its width."""
    rng = np.random.default_rng(seed)
    height, width = size
    grey = cv2.resize(rng.integers(40, 220, (7, 9)).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    for _ in range(14):
        top, left = int(rng.integers(0, height - 8)), int(rng.integers(0, width - 8))
        tall, wide = (int(v) for v in rng.integers(6, 30, 2))
        picture[top : top + tall, left : left + wide] = float(rng.integers(20, 240))
    wall = round(share * width)
    tone = 0.75 + 0.25 * picture[:, :wall] / 255
    picture[:, :wall] = np.array(paint, np.float32) * tone
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def faded(picture: np.ndarray, chroma: float = 0.4) -> np.ndarray:
    """The picture darker and with less colour: a photo before its edit."""
    grey = picture.mean(axis=2, keepdims=True)
    return np.clip((grey + chroma * (picture - grey)) * 0.8, 0, 255).astype(np.uint8)


def save(path: Path, picture: np.ndarray) -> None:
    """Write a picture in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[:, :, ::-1])


def save_pair(root: Path, name: str, picture: np.ndarray) -> None:
    """Write a target and its input."""
    save(root / "gt" / name, picture)
    save(root / "lq" / name, faded(picture))


def make_data(root: Path, bold: int = 8, pale: int = 12) -> Path:
    """A folder with ``gt`` and ``lq``: bold rooms ``b<k>.png`` in four colours, neutral ones ``n<k>.png``."""
    for k in range(bold):
        save_pair(root, f"b{k}.png", room(k, (TEAL, RED, BLUE, (60, 160, 50))[k % 4], 0.5 + 0.04 * (k // 4)))
    for k in range(pale):
        save_pair(root, f"n{k}.png", room(100 + k))
    return root
