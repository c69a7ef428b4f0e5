"""What the diagnosis of a photo says: four plain records whose names, fields and order other code relies on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

PARAMETERS = ("gamma", "gain_r", "gain_g", "gain_b", "sat", "hue")
"""Keys of ``final_params``, in the order of :meth:`CorrectionAdvice.to_tensor`."""
CLAMPS: dict[str, tuple[float, float]] = {
    "gamma": (0.5, 2.5),
    "gain_r": (0.7, 1.4),
    "gain_g": (0.7, 1.4),
    "gain_b": (0.7, 1.4),
    "sat": (0.6, 1.6),
    "hue": (-0.1, 0.1),
}
"""Smallest and largest value of every parameter."""
IDENTITY: dict[str, float] = {"gamma": 1.0, "gain_r": 1.0, "gain_g": 1.0, "gain_b": 1.0, "sat": 1.0, "hue": 0.0}
"""The parameters that leave a photo as it is."""


@dataclass
class ExposureDiagnostic:
    """How the photo is exposed.

    Attributes:
        underexposed_probability: Probability that it is too dark, in [0, 1]; the three sum to 1.
        overexposed_probability: Probability that it is too bright.
        well_exposed_probability: Probability that neither is so.
        suggested_gamma: Display gamma g of the correction ``x ** (1 / g)``: above 1 makes the photo brighter.
        confidence: In [0, 1]; 0 where nothing was diagnosed.
    """

    underexposed_probability: float
    overexposed_probability: float
    well_exposed_probability: float
    suggested_gamma: float
    confidence: float


@dataclass
class WhiteBalanceDiagnostic:
    """What colour cast the photo has.

    Attributes:
        color_temperature_kelvin: Correlated colour temperature of the cast, in kelvin; low is a warm (orange) photo.
        tint_shift: Distance from the locus of daylight; positive is a green cast, negative a pink one.
        suggested_gains: Factors (red, green, blue) on linear light that remove the cast and keep the luminance of grey.
        confidence: In [0, 1].
    """

    color_temperature_kelvin: float
    tint_shift: float
    suggested_gains: tuple[float, float, float]
    confidence: float


@dataclass
class SaturationDiagnostic:
    """How colourful the photo is.

    Attributes:
        undersaturated_probability: Probability that its colours are too pale, in [0, 1].
        oversaturated_probability: Probability that they are too strong.
        current_saturation_level: Its saturation as a factor on the natural one; 1 is as it should be.
        suggested_adjustment: Factor that brings the colours back; above 1 makes them stronger.
        confidence: In [0, 1].
    """

    undersaturated_probability: float
    oversaturated_probability: float
    current_saturation_level: float
    suggested_adjustment: float
    confidence: float


@dataclass
class CorrectionAdvice:
    """What to do with a photo, and why.

    Attributes:
        scene_label: Kind of scene; ``Generic`` where it is not known.
        scene_confidence: Probability of that scene, in [0, 1].
        exposure: What the model sees, before it is mixed with the scene's preset.
        white_balance: The same for the colour cast.
        saturation: The same for the strength of colours.
        final_params: ``gamma``, ``gain_r``, ``gain_g``, ``gain_b``, ``sat``, ``hue``: model and preset together, within
            the limits of ``CLAMPS``.
        corrections_summary: The same in words, one sentence a line.
        exposure_adjustment_percent: 100 (gamma - 1).
        white_balance_shift_percent: 100 times the largest distance of a gain from 1.
        saturation_adjustment_percent: 100 (sat - 1).
        recommended_filters: ``{"name": ..., "params": {...}}`` of every correction that changes something, in the order
            in which they are applied.
    """

    scene_label: str
    scene_confidence: float
    exposure: ExposureDiagnostic
    white_balance: WhiteBalanceDiagnostic
    saturation: SaturationDiagnostic
    final_params: dict[str, float]
    corrections_summary: list[str] = field(default_factory=list)
    exposure_adjustment_percent: float = 0.0
    white_balance_shift_percent: float = 0.0
    saturation_adjustment_percent: float = 0.0
    recommended_filters: list[dict[str, Any]] = field(default_factory=list)

    def to_tensor(self, device: torch.device | str | None = None) -> torch.Tensor:
        """The final parameters, (1, 6) float32, in the order gamma, red, green, blue, saturation, hue.

        Args:
            device: Where to put it; the CPU if not given.
        """
        return torch.tensor([[self.final_params[name] for name in PARAMETERS]], dtype=torch.float32, device=device)
