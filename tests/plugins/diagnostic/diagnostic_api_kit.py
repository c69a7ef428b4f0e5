"""A network that answers what it is told, and small photos to ask it about."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from plugins.color_science import fast_delta_e00
from plugins.diagnostic.degradation import degrade
from plugins.diagnostic.diagnostic_cnn_arch import EV_PER_LOGIT
from plugins.diagnostic.estimate import Estimate
from plugins.sample_photos import sample_photos

GENERIC: dict[str, Any] = {
    "scene": "Generic",
    "score": 0.0,
    "scene_corrections": {
        "gamma": 1.0,
        "white_balance_r": 1.0,
        "white_balance_g": 1.0,
        "white_balance_b": 1.0,
        "saturation": 1.0,
        "hue_shift": 0.0,
    },
}


class ToldNetwork(nn.Module):
    """Gives the outputs that stand for one estimate, whatever the image.

    Args:
        truth: What was applied.
        sure: Whether the classes are certain and the expected errors small.
    """

    def __init__(self, truth: Estimate, sure: bool = True) -> None:
        super().__init__()
        self.truth, self.sure = truth, sure
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        self.seen.append(image)
        truth, strength = self.truth, 8.0 if self.sure else 0.0
        half = truth.ev / (2 * EV_PER_LOGIT)
        well = strength if abs(truth.ev) < 0.1 else -strength
        balance = torch.tensor([-truth.log_rg, 0.0, -truth.log_bg])
        balance = balance - balance.mean() + (-4.0 if self.sure else 1.0)
        away = strength * np.sign(truth.log_saturation) if abs(truth.log_saturation) > 0.03 else None
        classes = (-strength, -strength) if away is None else (-away, away)
        return {
            "exposure": torch.tensor([[-half, well, half]]),
            "white_balance": torch.cat([torch.zeros(2), balance])[None],
            "saturation": torch.tensor([[*classes, truth.log_saturation]]),
        }


def good_photo(side: int = 120) -> np.ndarray:
    """A photo with colours and greys, (side, side, 3) RGB uint8, from an installed package."""
    path = next(photo.path for photo in sample_photos() if photo.name == "astronaut")
    pixels = cv2.imread(str(path))
    assert pixels is not None
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[..., ::-1])


def spoilt(photo: np.ndarray, truth: Estimate) -> np.ndarray:
    """The photo after a degradation, in 8 bits."""
    image = torch.from_numpy(photo.transpose(2, 0, 1).astype(np.float32) / 255.0)[None]
    made = degrade(image, truth.batch(), eight_bit=True)[0].numpy().transpose(1, 2, 0)
    return np.rint(made * 255).astype(np.uint8)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean CIEDE2000 of two uint8 RGB photos."""
    return float(np.mean(fast_delta_e00(first, second)))


def colorfulness(photo: np.ndarray) -> float:
    """Mean difference between the largest and the smallest channel."""
    return float(np.mean(photo.max(2).astype(float) - photo.min(2)))


def jpeg_of(photo: np.ndarray, quality: int = 92, **more: Any) -> bytes:
    """The photo as the content of a JPEG file; ``exif`` and ``icc_profile`` go into it."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality, **more)
    return buffer.getvalue()


def png_of(photo: np.ndarray, **more: Any) -> bytes:
    """The photo as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", **more)
    return buffer.getvalue()


def camera_exif(orientation: int = 1) -> bytes:
    """An EXIF block with a camera, an orientation and an exposure time."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x829A] = 0.01
    return exif.tobytes()


def save_random_model(path: Path) -> Path:
    """A model file with random weights, as training writes it."""
    from basicsr.engine.checkpoint import save_weights
    from plugins.diagnostic.diagnostic_cnn_arch import DiagnosticCNN

    torch.manual_seed(0)
    state = DiagnosticCNN().state_dict()
    save_weights(path, {"params": state, "params_ema": state})
    return path
