"""What LSMI's own first step would find in a made-up scene's pictures: mixture maps and lights, its faults included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.lsmi_arrays import Array
from plugins.illuminant.lsmi_chart import brightest, gray_patches
from plugins.illuminant.lsmi_layout import Levels
from plugins.illuminant.lsmi_synthetic_scene import Scene


def dark(pictures: Mapping[str, Array], name: str, levels: Levels) -> Array:
    """Pixels whose mixture a camera cannot tell: no green above the black level in this picture, (H, W) bool."""
    return pictures[name][..., 1] <= levels.black


def measured_mixture(pictures: Mapping[str, Array], name: str, levels: Levels, wrap: bool) -> Array:
    """The mixture as LSMI computes it, from differences of noisy pictures.

    Args:
        pictures: uint16 (H, W, 3) by name.
        name: The picture.
        levels: Its levels.
        wrap: Subtract the black level in uint16, as the published maps of three-light scenes were made: what is
            darker than black becomes very bright.

    Returns:
        (H, W, len(name)) float64; -1 where no light has any green.
    """
    white = levels.white - levels.black
    green = {key: picture[..., 1].astype(np.int64) - int(levels.black) for key, picture in pictures.items()}
    first = green["1"] % 65536 if wrap else np.maximum(green["1"], 0)
    others = [np.clip(green[f"1{digit}"] - green["1"], 0, white) for digit in name[1:]]
    total = first + sum(others)
    shares = [np.where(total == 0, -1, other / np.clip(total, 1e-4, levels.white)) for other in others]
    if len(name) == 3:
        own = np.where(total == 0, -1, 1 - sum(shares))
    else:
        own = np.where(total == 0, -1, first / np.clip(total, 1e-4, levels.white))
    return np.stack([own, *shares], -1).astype(np.float64)


def difference_light(pictures: Mapping[str, Array], number: int, charts: Array, levels: Levels) -> Array | None:
    """A light as LSMI's first step finds it: clipping is looked for in the difference of two pictures only.

    Args:
        pictures: uint16 (H, W, 3) by name.
        number: 1, 2 or 3.
        charts: Corners (N, 4, 2) in pixels.
        levels: Their levels.

    Returns:
        (3,) R/G, 1, B/G; None where no patch can be used.
    """
    first = pictures["1"].astype(np.float64) - levels.black
    image = first if number == 1 else pictures[f"1{number}"] - levels.black - first
    clipped = np.asarray((image >= levels.white - levels.black).any(-1))
    patches = gray_patches(np.maximum(image, 0), clipped, charts)
    chosen = brightest(patches.colors, ~patches.clipped)
    return None if chosen is None else patches.colors[chosen] / patches.colors[chosen, 1]


def scene_info(scene: Scene, lights: Array, mixtures: Mapping[str, Array]) -> dict[str, Any]:
    """The scene's entry of meta.json.

    Args:
        scene: The scene.
        lights: (L, 3), as they shall be written.
        mixtures: (H, W, l) by name, as they are written.
    """
    charts = scene.charts * 2  # in pixels of the full resolution
    info: dict[str, Any] = {
        "NumOfLights": len(lights),
        "MCCCoord": {f"mcc{number}": corners.round(1).tolist() for number, corners in enumerate(charts, start=1)},
    }
    for number, light in enumerate(lights / lights[:, 1:2], start=1):
        info[f"Light{number}"] = light.tolist()
    if len(lights) == 2:
        info["AD"] = float(angle_degrees(lights[0], lights[1]))
        middle = np.round(scene.charts.mean((0, 1))).astype(int)
        shares = scene.strengths[:, middle[1], middle[0]]
        info["BrightnessDiff"] = float(100 * shares[1] / shares[0])
    else:
        for first, second in ((0, 1), (1, 2), (2, 0)):
            info[f"AD{first + 1}{second + 1}"] = float(angle_degrees(lights[first], lights[second]))
    whole = mixtures[scene.names[-1]]
    known = whole[(whole >= 0).all(-1)]
    spread = known.var(0) if len(known) else np.zeros(len(lights))
    return info | {"CoeffVariance": float(spread.mean()), "CoeffSTD": float(np.sqrt(spread).mean())}
