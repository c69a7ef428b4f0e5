"""Small made-up LSMI data sets, centroids and damaged files for the tests of reading and of masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from plugins.illuminant.centroids import Centroids, make_centroids
from plugins.illuminant.lsmi_layout import PREPROCESSED, RAW
from plugins.illuminant.lsmi_synthetic import SyntheticOptions, make_synthetic

RGB = np.array([[0.20, 0.40, 0.40], [0.24, 0.42, 0.34], [0.30, 0.42, 0.28], [0.38, 0.41, 0.21], [0.46, 0.38, 0.16]])
LIGHTS = np.concatenate([RGB + [0.01, 0, 0], RGB - [0.01, 0, 0], [[0.55, 0.4, 0.05], [0.3, 0.6, 0.1]]])
"""Two lights near each centroid, and two far from all."""


def source(count: int, rng: np.random.Generator) -> np.ndarray:
    return LIGHTS[rng.integers(len(LIGHTS), size=count)]


def centroids(path: Path | None = None, **changes: Any) -> Centroids:
    made = make_centroids(RGB, [1] * 5, "any")
    if path:
        path.write_text(json.dumps(made.as_dict() | changes))
    return made


def photos(folder: Path, count: int = 4, side: int = 96, brightest: int = 255) -> Path:
    """Photographs that are none: smooth colours."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for index in range(count):
        coarse = rng.integers(brightest // 4, brightest, (6, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"p{index}.png"), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
    return folder


def make(folder: Path, **changes: Any) -> Path:
    """A data set of four scenes, two with two lights and two with three, in both layouts."""
    settings: dict[str, Any] = {
        "out": folder / "set", "scenes": 4, "size": 40, "layouts": (RAW, PREPROCESSED), "three": 0.5,
        "photos": photos(folder / "photos"), "seed": 3,
    }  # fmt: skip
    made = SyntheticOptions(**(settings | changes))
    make_synthetic(made, source=source)
    return made.out


def edit_json(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
