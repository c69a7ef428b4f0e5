"""Small LSMI scenes of two lights with their masks, and a network that tells warm from cool without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from plugins.illuminant.centroids import Centroids, make_centroids
from plugins.illuminant.checkpoint import IlluminantRecord, save_network
from plugins.illuminant.illuminant_cnn_arch import IlluminantCNN
from plugins.illuminant.lsmi_arrays import tiff_bytes
from plugins.illuminant.lsmi_mask_files import ManifestRow, MaskFile, illuminant_map, manifest_bytes, write_mask_file

CENTROIDS = make_centroids(
    np.array([[0.46, 0.41, 0.13], [0.38, 0.44, 0.18], [0.28, 0.46, 0.26], [0.22, 0.44, 0.34], [0.15, 0.38, 0.47]]),
    [1] * 5,
    "nikon",
)
BLACK, WHITE = 600, 15520


def ordinal_network(centroids: Centroids = CENTROIDS, strength: float = 400.0) -> IlluminantCNN:
    """Means of red and blue, compared at four thresholds: each passed one lifts the classes beyond it."""
    rgb = centroids.array
    ratio = rgb[:, 0] / rgb[:, 2]
    net = IlluminantCNN(len(rgb), "avg").eval()
    convolutions = [stage[0] for stage in (net.stage1, net.stage2, *net.stage3)]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for stage in (net.stage1, net.stage2, *net.stage3):
            stage[1].weight.fill_(1)
        convolutions[0].weight[0, 0] = convolutions[0].weight[1, 2] = 1 / 100
        for convolution in convolutions[1:4]:
            for channel in (0, 1):
                convolution.weight[channel, channel] = 1 / convolution.weight[0, 0].numel()
        for place, cut in enumerate(np.sqrt(ratio[1:] * ratio[:-1])):
            for sign, channel in ((1, 2 * place), (-1, 2 * place + 1)):
                convolutions[4].weight[channel, 0] = sign / (1 + cut) / 9
                convolutions[4].weight[channel, 1] = -sign * cut / (1 + cut) / 9
                net.hidden.weight[channel, channel] = 1
                net.classify.weight[place + 1 :, channel] = sign * strength
    return net


def write_network(path: Path, encoding: str = "linear", centroids: Centroids = CENTROIDS) -> Path:
    options = {"type": "IlluminantCNN", "num_classes": 5, "pool": "avg"}
    save_network(path, ordinal_network(centroids), IlluminantRecord(encoding, centroids, options, 96))
    return path


def write_scenes(folder: Path, count: int = 2, height: int = 100, width: int = 160) -> tuple[Path, Path]:
    """Grey walls with noise, lit warm on the left and cool on the right; returns the masks and the pictures."""
    root, masks = folder / "lsmi", folder / "masks"
    (root / "nikon").mkdir(parents=True)
    rows = []
    for index in range(count):
        rng = np.random.default_rng(index)
        share = np.tile(1 / (1 + np.exp((np.arange(width) - width / 2) / 8)), (height, 1))
        mixture = np.stack([share, 1 - share], -1)
        classes = np.array([4, 0])
        lights = CENTROIDS.array[classes]
        wall = rng.uniform(0.2, 0.6, (height, width, 1))
        linear = (wall * illuminant_map(mixture, lights)).clip(0, 1)
        name = f"Place{index}_12"
        pixels = np.round(BLACK + linear * (WHITE - BLACK)).astype(np.uint16)
        (root / "nikon" / f"{name}.tiff").write_bytes(tiff_bytes(pixels))
        valid = np.ones((height, width), bool)
        valid[:10, :10] = False
        mask = np.zeros((height, width, 5), np.float32)
        mask[..., classes] = mixture
        mask[~valid], mixture[~valid] = 0, -1
        no = np.zeros(2, bool)
        file = MaskFile(
            mask, np.zeros((height, width), np.float32), valid, lights, classes, np.zeros(2), no, no, False,
            mixture.astype(np.float32), CENTROIDS.names, CENTROIDS.array, "nikon", "nikon", f"Place{index}", name,
            "test" if index else "val", f"nikon/{name}.tiff", BLACK, WHITE,
        )  # fmt: skip
        npz = f"{file.split}/{name}.npz"
        write_mask_file(masks / npz, file)
        rows.append(
            ManifestRow(
                file.image,
                npz,
                file.split,
                "nikon",
                file.place,
                name,
                2,
                ("Very_Warm", "Very_Cool"),
                (0.0, 0.0),
                False,
                0.0,
                0.99,
                tuple(mask.mean((0, 1)).tolist()),
                height,
                width,
                float(BLACK),
                float(WHITE),
            )  # fmt: skip
        )
    (masks / "manifest.csv").write_bytes(manifest_bytes(rows))
    return masks, root
