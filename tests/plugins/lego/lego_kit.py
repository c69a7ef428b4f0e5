"""Small pictures of bricks in the folders and tables that the data tools read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

RED, BLUE, YELLOW = (0xB4, 0, 0), (0x1E, 0x5A, 0xA8), (0xFA, 0xC8, 0x0A)


def brick(color: tuple[int, int, int], shape: int, seed: int, size: int = 48) -> np.ndarray:
    """A coloured disc, square or bar on near-white paper, (size, size, 3) uint8 RGB; no two seeds are alike."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), 244, np.uint8)
    x, y = (int(v) for v in rng.integers(size * 2 // 5, size * 3 // 5, 2))
    half = size // 4
    paint = tuple(int(v) for v in np.clip(np.array(color) * rng.uniform(0.9, 1.05), 0, 255))
    if shape == 0:
        cv2.circle(image, (x, y), half, paint, -1)
    elif shape == 1:
        cv2.rectangle(image, (x - half, y - half), (x + half, y + half), paint, -1)
    else:
        cv2.rectangle(image, (x - half, y - half // 3), (x + half, y + half // 3), paint, -1)
    noise = rng.integers(-3, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])
    return path


PARTS = ("3001", "3003", "3024")
COLORS = {"4": RED, "1": BLUE, "14": YELLOW}


def make_sources(root: Path, pieces: int = 12) -> Path:
    """Folders ``legacy`` (LDraw colours), ``b200c`` and ``real``."""
    seed = 0
    for shape, part in enumerate(PARTS):
        for color, rgb in COLORS.items():
            for number in range(2):
                save(root / "legacy" / part / color / f"{number}.png", brick(rgb, shape, seed := seed + 1))
            for piece in range(pieces // 3):
                for view in ("front", "back"):
                    name = f"{part}{color}{piece}_{view}.png"
                    save(root / "real" / part / color / name, brick(rgb, shape, seed := seed + 1))
        for number in range(3):
            save(root / "b200c" / part / f"{number}.png", brick((120, 120, 120), shape, seed := seed + 1))
    return root
