"""Small scenes under two lights, on disk as LSMI and its masks lie there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from plugins.illuminant.centroids import Centroids, make_centroids
from plugins.illuminant.lsmi_arrays import tiff_bytes
from plugins.illuminant.lsmi_mask_files import ManifestRow, MaskFile, illuminant_map, manifest_bytes, write_mask_file

BLACK, WHITE = 100.0, 4095.0
CENTROIDS = make_centroids(
    np.array([[0.2, 0.44, 0.36], [0.26, 0.46, 0.28], [0.32, 0.46, 0.22], [0.4, 0.44, 0.16], [0.47, 0.42, 0.11]]),
    [10, 20, 40, 20, 10],
    "toy",
)


def reflectance(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Patches of colour whose mean is grey, (H, W, 3) in [0.05, 0.6]."""
    coarse = rng.random((6, 8, 3)).astype(np.float32) ** 1.5
    return 0.05 + 0.5 * cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)


def mask_file(rng: np.random.Generator, size: tuple[int, int], number: int, split: str) -> tuple[MaskFile, Any]:
    """One scene: its masks and its picture in linear light."""
    height, width = size
    lights = CENTROIDS.array[rng.choice(5, 2, replace=False)] * np.exp(rng.normal(0, 0.04, (2, 3)))
    lights /= lights.sum(1, keepdims=True)
    place = np.linspace(-3, 3, width) + rng.uniform(-1, 1)
    share = np.broadcast_to(1 / (1 + np.exp(-2 * place)), size).astype(np.float32)
    if rng.random() < 0.5:
        share = share[:, ::-1]
    mixture = np.stack([share, 1 - share], 2)
    valid = np.ones(size, bool)
    valid[: height // 8, : width // 8] = False
    image = np.clip(reflectance(rng, size) * illuminant_map(mixture, lights), 0, 1)
    mixture[:2] = -1
    valid[:2] = False
    classes, degrees = CENTROIDS.assign(lights)
    mask = np.zeros((*size, 5), np.float32)
    for index, chosen in enumerate(classes):
        mask[..., chosen] += mixture[..., index]
    mask[~valid] = 0
    name = f"Place{number}_12"
    masks = MaskFile(
        mask, np.zeros(size, np.float32), valid, lights, classes, degrees, np.zeros(2, bool), np.zeros(2, bool), False,
        mixture, CENTROIDS.names, CENTROIDS.array, CENTROIDS.sensor, "toy", f"Place{number}", name, split,
        f"toy/Place{number}/{name}.tiff", BLACK, WHITE,
    )  # fmt: skip
    return masks, image


def row_of(masks: MaskFile) -> ManifestRow:
    """Its line of the manifest."""
    height, width = masks.size
    return ManifestRow(
        masks.image, f"{masks.split}/{masks.image_id}.npz", masks.split, masks.camera, masks.place, masks.image_id, 2,
        tuple(CENTROIDS.names[i] for i in masks.light_class), tuple(masks.light_degrees.tolist()), masks.hard, 0.0,
        float(masks.valid.mean()), tuple(masks.mask[masks.valid].mean(0).tolist()), height, width, BLACK, WHITE,
    )  # fmt: skip


def write_scene(root: Path, masks: MaskFile, image: Any) -> None:
    """The picture and its masks."""
    path = root / masks.image
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiff_bytes(np.rint(BLACK + image * (WHITE - BLACK)).astype(np.uint16)))
    write_mask_file(root / "masks" / masks.split / f"{masks.image_id}.npz", masks)


def write_scenes(root: Path, counts: dict[str, int], size: tuple[int, int] = (48, 64), seed: int = 0) -> Centroids:
    """Scenes of each split below ``root``, their masks below ``root/masks``."""
    rng = np.random.default_rng(seed)
    rows = []
    for split, count in counts.items():
        for _ in range(count):
            masks, image = mask_file(rng, size, len(rows) + 1, split)
            write_scene(root, masks, image)
            rows.append(row_of(masks))
    (root / "masks" / "manifest.csv").write_bytes(manifest_bytes(rows))
    (root / "masks" / "centroids.json").write_text(json.dumps(CENTROIDS.as_dict()), encoding="utf-8")
    return CENTROIDS


def changed(masks: MaskFile, **fields: Any) -> MaskFile:
    """The same with other fields."""
    return replace(masks, **fields)
