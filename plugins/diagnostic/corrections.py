"""From a diagnosis and a scene to advice: the parameters, the same in words, and the filters that apply them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from plugins.diagnostic.advice import (
    IDENTITY,
    PARAMETERS,
    CorrectionAdvice,
    ExposureDiagnostic,
    SaturationDiagnostic,
    WhiteBalanceDiagnostic,
)
from plugins.diagnostic.analysis import Diagnostics, analyze_image_with_ai, undiagnosed
from plugins.diagnostic.estimate import NEUTRAL_KELVIN
from plugins.diagnostic.image_check import check_rgb
from plugins.diagnostic.model_files import choose_device, find_diagnostic_model, load_diagnostic_model
from plugins.diagnostic.parameters import clamped, estimate_of, gains_degrees, mixed
from plugins.diagnostic.scene_words import CORRECTION_KEYS

if TYPE_CHECKING:
    from plugins.diagnostic.diagnostic_cnn_arch import DiagnosticCNN

FUSION_WEIGHT = 0.6
_SCENE_KEYS = ("scene", "score", "scene_corrections")
_NOTHING = 5e-4
"""A parameter this near to the identity changes no pixel of 8 bits by a level."""
_SUSPICIOUS_MIREDS = 15.0
"""A light this far from daylight's is worth a word: about 4 degrees of cast."""


def optimize_corrections(
    img_rgb: np.ndarray,
    scene_result: Mapping[str, Any],
    diagnostic_model: DiagnosticCNN | nn.Module | None = None,
    device: torch.device | str | None = None,
    fusion_weight: float = FUSION_WEIGHT,
) -> CorrectionAdvice:
    """Advise on a photo: what the model sees, mixed with what its scene usually takes.

    Args:
        img_rgb: (H, W, 3) RGB, 0 to 255.
        scene_result: Of :func:`plugins.diagnostic.classify_image`.
        diagnostic_model: The network; :func:`plugins.diagnostic.load_diagnostic_model` finds it if not given.
        device: Where to compute; where the model is, or a GPU where there is one, if not given.
        fusion_weight: 1 takes the model only, 0 the scene's preset only. Without a model only 0 is possible; the
            diagnosis is then empty (confidence 0).

    Returns:
        The advice; :func:`plugins.diagnostic.generate_preview` applies it.

    Raises:
        ValueError: The image has another shape or range, a key of the scene is missing, or a number is none.
        UserError: There is no model; the message says how to get one.
    """
    image = check_rgb(img_rgb)
    scene, score, preset = read_scene(scene_result)
    weight = check_weight(fusion_weight)
    if diagnostic_model is None and (weight > 0 or find_diagnostic_model() is not None):
        diagnostic_model = load_diagnostic_model(device=choose_device(device))
    seen = undiagnosed() if diagnostic_model is None else analyze_image_with_ai(image, diagnostic_model, device)
    return combine(seen, scene, score, preset, weight)


def combine(
    diagnostics: Diagnostics, scene: str, score: float, preset: Mapping[str, float], fusion_weight: float
) -> CorrectionAdvice:
    """The advice of a diagnosis that was made before: what a slider of ``fusion_weight`` calls.

    Args:
        diagnostics: Exposure, white balance, saturation.
        scene: Name of the scene.
        score: Its probability.
        preset: Its final parameters.
        fusion_weight: See :func:`optimize_corrections`.
    """
    exposure, balance, saturation = diagnostics
    red, green, blue = balance.suggested_gains
    model = dict(
        zip(
            PARAMETERS,
            (exposure.suggested_gamma, red, green, blue, saturation.suggested_adjustment, 0.0),
            strict=True,
        )
    )
    final = mixed(model, preset, fusion_weight)
    gains = [final["gain_r"], final["gain_g"], final["gain_b"]]
    return CorrectionAdvice(
        scene_label=scene,
        scene_confidence=score,
        exposure=exposure,
        white_balance=balance,
        saturation=saturation,
        final_params=final,
        corrections_summary=summary_of(diagnostics, scene, score, final, fusion_weight),
        exposure_adjustment_percent=100.0 * (final["gamma"] - 1.0),
        white_balance_shift_percent=100.0 * max(abs(gain - 1.0) for gain in gains),
        saturation_adjustment_percent=100.0 * (final["sat"] - 1.0),
        recommended_filters=filters_of(final),
    )


def read_scene(scene_result: Mapping[str, Any]) -> tuple[str, float, dict[str, float]]:
    """Scene, score and preset as final parameters.

    Raises:
        ValueError: A key is missing, or a value is no finite number.
    """
    if not isinstance(scene_result, Mapping):
        raise ValueError(f"scene_result is a {type(scene_result).__name__}; expected what classify_image returns")
    _need(scene_result, _SCENE_KEYS, "scene_result")
    given = scene_result["scene_corrections"]
    if not isinstance(given, Mapping):
        raise ValueError("scene_result: scene_corrections is no dictionary; expected what classify_image returns")
    _need(given, CORRECTION_KEYS, "scene_result: scene_corrections")
    numbers = {key: _number(given[key], f"scene_result: scene_corrections: {key}") for key in CORRECTION_KEYS}
    for key in CORRECTION_KEYS[:-1]:
        if numbers[key] <= 0:
            raise ValueError(f"scene_result: scene_corrections: {key} is {numbers[key]}; expected a factor above 0")
    preset = clamped(dict(zip(PARAMETERS, (numbers[key] for key in CORRECTION_KEYS), strict=True)))
    score = _number(scene_result["score"], "scene_result: score")
    return str(scene_result["scene"]), min(max(score, 0.0), 1.0), preset


def check_weight(fusion_weight: float) -> float:
    """``fusion_weight`` as a float.

    Raises:
        ValueError: It is not a number from 0 to 1.
    """
    weight = _number(fusion_weight, "fusion_weight")
    if not 0 <= weight <= 1:
        raise ValueError(f"fusion_weight is {weight}; expected 0 (preset only) to 1 (model only)")
    return weight


def filters_of(final: Mapping[str, float]) -> list[dict[str, Any]]:
    """The corrections that change something, in the order in which they are applied; none for a good photo.

    Names are ``saturation`` {factor}, ``white_balance`` {gain_r, gain_g, gain_b}, ``exposure`` {ev, gamma} (``ev`` is
    what is added) and ``hue`` {turns}.
    """
    filters: list[dict[str, Any]] = []
    gains = {name: final[name] for name in ("gain_r", "gain_g", "gain_b")}
    if abs(final["sat"] - 1) > _NOTHING:
        filters.append({"name": "saturation", "params": {"factor": final["sat"]}})
    if max(abs(gain - 1) for gain in gains.values()) > _NOTHING:
        filters.append({"name": "white_balance", "params": gains})
    if abs(final["gamma"] - 1) > _NOTHING:
        filters.append({"name": "exposure", "params": {"ev": _stops(final), "gamma": final["gamma"]}})
    if abs(final["hue"]) > _NOTHING:
        filters.append({"name": "hue", "params": {"turns": final["hue"]}})
    return filters


def parameters_of_filter(filter_: Mapping[str, Any]) -> dict[str, float]:
    """The final parameters that apply one recommended filter alone."""
    params = filter_["params"]
    own = {
        "saturation": lambda: {"sat": params["factor"]},
        "white_balance": lambda: dict(params),
        "exposure": lambda: {"gamma": params["gamma"]},
        "hue": lambda: {"hue": params["turns"]},
    }[filter_["name"]]()
    return {**IDENTITY, **own}


def summary_of(
    diagnostics: Diagnostics, scene: str, score: float, final: Mapping[str, float], fusion_weight: float
) -> list[str]:
    """The advice in words, one sentence for exposure, white balance, saturation and scene each."""
    exposure, balance, saturation = diagnostics
    lines = [
        _exposure_words(exposure, final),
        _balance_words(balance, final),
        _saturation_words(saturation, final),
    ]
    if abs(final["hue"]) > _NOTHING:
        lines.append(f"Hue: turn by {360 * final['hue']:+.0f} degrees.")
    known = f"Scene: {scene} ({score:.0%})." if score > 0 else f"Scene: not known ({scene})."
    share = f" Its preset counts for {1 - fusion_weight:.0%}." if fusion_weight < 1 else ""
    lines.append(known + share)
    if not filters_of(final):
        doubtful = max(exposure.underexposed_probability, exposure.overexposed_probability) > 0.5
        doubtful |= max(saturation.undersaturated_probability, saturation.oversaturated_probability) > 0.5
        doubtful |= _suspected_cast(balance) != ""
        reason = "No fault that could not be the subject's own" if doubtful else "The photo is good as it is"
        lines.append(f"{reason}: nothing is changed.")
    return lines


def _exposure_words(seen: ExposureDiagnostic, final: Mapping[str, float]) -> str:
    finding = "not diagnosed"
    if seen.confidence > 0:
        chances = {
            "too dark": seen.underexposed_probability,
            "well exposed": seen.well_exposed_probability,
            "too bright": seen.overexposed_probability,
        }
        finding = _likeliest(chances)
    stops = _stops(final)
    if abs(final["gamma"] - 1) <= _NOTHING:
        return f"Exposure: {finding}; left as it is."
    return f"Exposure: {finding}; {'brighten' if stops > 0 else 'darken'} by {abs(stops):.2f} EV."


def _balance_words(seen: WhiteBalanceDiagnostic, final: Mapping[str, float]) -> str:
    gains = (final["gain_r"], final["gain_g"], final["gain_b"])
    finding = "not diagnosed"
    if seen.confidence > 0:
        finding = _suspected_cast(seen) or "no cast worth correcting"
        if gains_degrees(seen.suggested_gains) > 0.01:
            finding = f"{cast_name(seen.suggested_gains)} cast, as of a light of {seen.color_temperature_kelvin:.0f} K"
    if max(abs(gain - 1) for gain in gains) <= _NOTHING:
        return f"White balance: {finding}; left as it is."
    red, green, blue = gains
    return f"White balance: {finding}; red x{red:.2f}, green x{green:.2f}, blue x{blue:.2f}."


def _suspected_cast(seen: WhiteBalanceDiagnostic) -> str:
    """What to call a cast that is seen but not surely enough to be corrected; empty where there is none."""
    mireds = 1e6 / seen.color_temperature_kelvin - 1e6 / NEUTRAL_KELVIN
    if seen.confidence <= 0 or abs(mireds) <= _SUSPICIOUS_MIREDS:
        return ""
    kind = "warm (orange)" if mireds > 0 else "cool (blue)"
    return f"perhaps a {kind} cast, as of a light of {seen.color_temperature_kelvin:.0f} K"


def _saturation_words(seen: SaturationDiagnostic, final: Mapping[str, float]) -> str:
    finding = "not diagnosed"
    if seen.confidence > 0:
        chances = {
            "too pale": seen.undersaturated_probability,
            "too strong": seen.oversaturated_probability,
        }
        chances["natural"] = 1.0 - sum(chances.values())
        finding = f"colours {_likeliest(chances)}"
    if abs(final["sat"] - 1) <= _NOTHING:
        return f"Saturation: {finding}; left as it is."
    way = "strengthen" if final["sat"] > 1 else "soften"
    return f"Saturation: {finding}; {way} colours by {abs(final['sat'] - 1):.0%}."


def _likeliest(chances: Mapping[str, float]) -> str:
    name = max(chances, key=lambda key: chances[key])
    return f"{'perhaps ' if chances[name] < 0.5 else ''}{name} ({chances[name]:.0%})"


def cast_name(gains: tuple[float, float, float]) -> str:
    """The colour of the cast that these gains remove: the opposite of what they strengthen most."""
    red, green, blue = (-math.log(gain) for gain in gains)
    if abs(green - (red + blue) / 2) > abs(red - blue):
        return "green" if green > (red + blue) / 2 else "pink"
    return "warm (orange)" if red > blue else "cool (blue)"


def _stops(final: Mapping[str, float]) -> float:
    """EV that is added by the gamma."""
    return -estimate_of({**IDENTITY, "gamma": final["gamma"]}).ev


def _need(given: Mapping[str, Any], keys: tuple[str, ...], name: str) -> None:
    missing = [key for key in keys if key not in given]
    if missing:
        raise ValueError(f"{name}: {', '.join(missing)} missing; expected {', '.join(keys)}")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; expected a finite number")
    return float(value)
