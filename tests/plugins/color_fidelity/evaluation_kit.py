"""Small visualization trees for the tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (24, 32)


def target_image(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hsv = np.stack([rng.uniform(0, 360, SIZE), rng.uniform(0.4, 0.7, SIZE), rng.uniform(0.3, 0.8, SIZE)], axis=-1)
    return cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2BGR)


def faded(image: np.ndarray, sat: float) -> np.ndarray:
    grey = image.mean(axis=2, keepdims=True)
    return grey + sat * (image - grey)


def save(path: Path, image: np.ndarray, deep: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    full = 65535 if deep else 255
    cv2.imwrite(str(path), np.rint(np.clip(image, 0, 1) * full).astype(np.uint16 if deep else np.uint8))
    return path


def make_run(
    folder: Path,
    sats: dict[int, float],
    names: tuple[str, ...] = ("a", "b_2"),
    sets: tuple[str, ...] = ("",),
    gt: bool = True,
) -> Path:
    """``<folder>/visualization/[set/]name/name_it.png``, washed out to ``sats[it]``, with targets beside."""
    for set_name in sets:
        for seed, name in enumerate(names):
            image = target_image(seed)
            for iteration, sat in sats.items():
                place = folder / "visualization" / set_name / name
                save(place / f"{name}_{iteration}.png", faded(image, sat))
                if gt:
                    save(place / f"{name}_{iteration}_gt.png", image)
    return folder


def make_folder(folder: Path, sat: float, names: tuple[str, ...] = ("a", "b_2"), suffix: str = "") -> Path:
    for seed, name in enumerate(names):
        save(folder / f"{name}{suffix}.png", faded(target_image(seed), sat))
    return folder
