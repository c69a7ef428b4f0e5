"""What kind of scene a photo shows, by an ImageNet MobileNetV2 whose labels are mapped to eight scenes.

Without its weights the answer is ``Generic`` with score 0, which is a name for not knowing; nothing is downloaded.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from basicsr.engine.errors import UserError
from basicsr.engine.network_io import fit, read_state_dict
from basicsr.engine.torchvision_compat import import_torchvision
from plugins.diagnostic.image_check import check_rgb
from plugins.diagnostic.scene_words import GENERIC, SCENES, preset_of, scene_of_labels

WEIGHTS_VARIABLE = "BASICSR_SCENE_WEIGHTS"
CACHED_NAMES = ("mobilenet_v2-b0353104.pth", "mobilenet_v2-7ebf99e0.pth", "mobilenet_v2_imagenet.pth")
"""File names of torchvision's weights in torch's folder of downloads."""
SMALLEST_SCORE = 0.35
"""A scene with less probability than this is not named: the answer is ``Generic``."""
_SIDE = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def classify_image(img_rgb: np.ndarray, weights_path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Name the scene of a photo.

    Args:
        img_rgb: (H, W, 3) RGB, 0 to 255.
        weights_path: Weights of torchvision's ImageNet MobileNetV2. Not given: ``$BASICSR_SCENE_WEIGHTS``, then torch's
            folder of downloads; where there are none, the answer is ``Generic`` with score 0.

    Returns:
        ``scene`` (one of ``SCENES``), ``score`` (its probability in [0, 1]) and ``scene_corrections``, the scene's
        preset: gamma, white_balance_r, white_balance_g, white_balance_b, saturation, hue_shift.

    Raises:
        ValueError: The image has another shape or range.
        UserError: A weights file was named that is missing, damaged or of another network.
    """
    image = check_rgb(img_rgb)
    weights = find_scene_weights(weights_path)
    if weights is None:
        return {"scene": GENERIC, "score": 0.0, "scene_corrections": preset_of(GENERIC)}
    shares = _scene_shares(_network(str(weights), weights.stat().st_mtime_ns), image)
    best = max((scene for scene in SCENES if scene != GENERIC), key=shares.__getitem__)
    scene = best if shares[best] >= SMALLEST_SCORE else GENERIC
    return {"scene": scene, "score": float(shares[scene]), "scene_corrections": preset_of(scene)}


def find_scene_weights(weights_path: str | os.PathLike[str] | None = None) -> Path | None:
    """The weights file that :func:`classify_image` would take; None where there is none.

    Raises:
        UserError: The file was named, by the argument or the environment variable, and is not there.
    """
    for source, value in (("weights_path", weights_path), (f"${WEIGHTS_VARIABLE}", os.environ.get(WEIGHTS_VARIABLE))):
        if value:
            path = Path(value).expanduser()
            if not path.is_file():
                raise UserError(f"{source}: {path}: there is no such file; name weights of ImageNet MobileNetV2")
            return path
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next((folder / name for name in CACHED_NAMES if (folder / name).is_file()), None)


@lru_cache(maxsize=2)
def _network(path: str, changed: int) -> nn.Module:
    """The classifier of a file; ``changed`` is its time, so that a replaced file is read again."""
    del changed
    import_torchvision()
    from torchvision.models import mobilenet_v2

    net = mobilenet_v2(weights=None)
    state, _ = read_state_dict(path, "params")
    fit(net, state, path, strict=True)
    return net.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def _scene_matrix() -> torch.Tensor:
    """(1000, scenes): which scene a label's probability counts for."""
    import_torchvision()
    from torchvision.models import MobileNet_V2_Weights

    scenes = scene_of_labels(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
    matrix = torch.zeros(len(scenes), len(SCENES))
    for row, scene in enumerate(scenes):
        matrix[row, SCENES.index(scene)] = 1.0
    return matrix


def _scene_shares(net: nn.Module, image: np.ndarray) -> dict[str, float]:
    """The probability of every scene: the sums over its labels."""
    with torch.inference_mode():
        shares = net(_prepared(image)).float().softmax(1)[0] @ _scene_matrix()
    return {scene: min(float(share), 1.0) for scene, share in zip(SCENES, shares, strict=True)}


def _prepared(image: np.ndarray) -> torch.Tensor:
    """The middle square of the photo as (1, 3, 224, 224), normalised as ImageNet's networks expect."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    way = cv2.INTER_AREA if side > _SIDE else cv2.INTER_LINEAR
    small = cv2.resize(square, (_SIDE, _SIDE), interpolation=way).astype(np.float32) / 255.0
    normal = (small - np.asarray(_MEAN, np.float32)) / np.asarray(_STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)))[None]
