"""Photo diagnostics: what is wrong with exposure, white balance and saturation of a photo, and how to put it right.

    from plugins.diagnostic import classify_image, generate_preview, optimize_corrections, read_image

    photo = read_image("photo.jpg")[..., ::-1]
    advice = optimize_corrections(photo, classify_image(photo))
    better = generate_preview(photo, advice)

The names below are loaded when they are used, so importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugins.diagnostic.advice import (
        CorrectionAdvice,
        ExposureDiagnostic,
        SaturationDiagnostic,
        WhiteBalanceDiagnostic,
    )
    from plugins.diagnostic.analysis import analyze_image_with_ai
    from plugins.diagnostic.corrections import optimize_corrections
    from plugins.diagnostic.model_files import load_diagnostic_model
    from plugins.diagnostic.photo_files import read_image
    from plugins.diagnostic.preview import generate_preview
    from plugins.diagnostic.scenes import classify_image

_HOMES = {
    "CorrectionAdvice": "advice",
    "ExposureDiagnostic": "advice",
    "SaturationDiagnostic": "advice",
    "WhiteBalanceDiagnostic": "advice",
    "analyze_image_with_ai": "analysis",
    "classify_image": "scenes",
    "generate_preview": "preview",
    "load_diagnostic_model": "model_files",
    "optimize_corrections": "corrections",
    "read_image": "photo_files",
}

__all__ = [
    "CorrectionAdvice",
    "ExposureDiagnostic",
    "SaturationDiagnostic",
    "WhiteBalanceDiagnostic",
    "analyze_image_with_ai",
    "classify_image",
    "generate_preview",
    "load_diagnostic_model",
    "optimize_corrections",
    "read_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
