"""What the network sees in a photo, in the terms of the three diagnostic records."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from plugins.diagnostic.advice import ExposureDiagnostic, SaturationDiagnostic, WhiteBalanceDiagnostic
from plugins.diagnostic.diagnostic_cnn_arch import INPUT_SIZE, Decoded, decode
from plugins.diagnostic.estimate import NEUTRAL_KELVIN, estimates_of
from plugins.diagnostic.image_check import check_rgb
from plugins.diagnostic.parameters import parameters_of, without_trifles

if TYPE_CHECKING:
    from plugins.diagnostic.diagnostic_cnn_arch import DiagnosticCNN

Diagnostics = tuple[ExposureDiagnostic, WhiteBalanceDiagnostic, SaturationDiagnostic]


def analyze_image_with_ai(
    img_rgb: np.ndarray, diagnostic_model: DiagnosticCNN | nn.Module, device: torch.device | str | None = None
) -> Diagnostics:
    """Diagnose a photo.

    The suggestions are those of :func:`plugins.diagnostic.parameters.without_trifles`: where the model sees next to
    nothing they are exactly 1. Probabilities, level, temperature and tint are what the model says, unchanged.

    Args:
        img_rgb: (H, W, 3) RGB, 0 to 255.
        diagnostic_model: Of :func:`plugins.diagnostic.load_diagnostic_model`, or any module with the same outputs.
        device: Where the image goes; where the model is if not given.

    Returns:
        Exposure, white balance, saturation.

    Raises:
        ValueError: The image has another shape or range, or the model's outputs are not finite.
    """
    image = network_input(check_rgb(img_rgb), int(getattr(diagnostic_model, "input_size", INPUT_SIZE)))
    with torch.inference_mode():
        batch = image.to(_place(diagnostic_model) if device is None else device)
        diagnose: Any = getattr(diagnostic_model, "diagnose", None)
        decoded: Decoded = diagnose(batch) if diagnose is not None else decode(diagnostic_model(batch))
    if not bool(decoded.estimate.isfinite().all()):
        raise ValueError("the diagnostic model gives values that are not finite; its weights are damaged")
    return diagnostics_of(decoded)


def undiagnosed() -> Diagnostics:
    """What stands for a diagnosis where no model looked: even probabilities, no suggestion, confidence 0."""
    third = 1.0 / 3.0
    return (
        ExposureDiagnostic(third, third, third, 1.0, 0.0),
        WhiteBalanceDiagnostic(NEUTRAL_KELVIN, 0.0, (1.0, 1.0, 1.0), 0.0),
        SaturationDiagnostic(third, third, 1.0, 1.0, 0.0),
    )


def network_input(image: np.ndarray, size: int = INPUT_SIZE) -> Tensor:
    """A photo (H, W, 3) uint8 as (1, 3, size, size), sRGB in [0, 1]: all of it, squeezed to a square by areas."""
    way = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_LINEAR
    small = cv2.resize(image, (size, size), interpolation=way)
    planes = np.ascontiguousarray(small.transpose(2, 0, 1))
    return torch.from_numpy(planes)[None].float() / 255.0


def diagnostics_of(decoded: Decoded) -> Diagnostics:
    """The records of the first image of a batch."""
    estimate = estimates_of(decoded.estimate[:1])[0]
    under, well, over = (float(value) for value in decoded.exposure_probabilities[0])
    pale, normal, strong = (float(value) for value in decoded.saturation_probabilities[0])
    balance_confidence = float(decoded.white_balance_confidence[0])
    if (pale > strong) != (estimate.log_saturation < 0):  # class and level contradict each other: it knows neither
        settled_on = replace(estimate, log_saturation=0.0)
    else:
        settled_on = estimate
    settled = parameters_of(without_trifles(settled_on, well, 1.0 - balance_confidence, normal))
    return (
        ExposureDiagnostic(under, over, well, settled["gamma"], float(decoded.exposure_confidence[0])),
        WhiteBalanceDiagnostic(
            float(decoded.kelvin[0]),
            float(decoded.tint[0]),
            (settled["gain_r"], settled["gain_g"], settled["gain_b"]),
            balance_confidence,
        ),
        SaturationDiagnostic(
            pale,
            strong,
            math.exp(estimate.log_saturation),
            settled["sat"],
            float(decoded.saturation_confidence[0]),
        ),
    )


def _place(model: nn.Module) -> torch.device:
    """The device of a model's weights; the CPU for one without weights."""
    weight = next(iter(model.parameters()), None)
    return torch.device("cpu") if weight is None else weight.device
