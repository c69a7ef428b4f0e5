"""Between the model's estimate of what was done to a photo and the six parameters of its correction.

The estimate speaks of light: stops, ratios of channels, saturation. The parameters speak to programs that apply
``x ** (1 / gamma)`` and gains. One stands for the other as follows.

- ``gamma``: the display gamma that moves middle grey (18 % of white) exactly as the exposure does. The preview and
  everything written here apply the exposure itself, in linear light; a program that applies the gamma meets it there.
- gains: factors on linear light with luminance-weighted mean logarithm 0, after the limits of 0.7 to 1.4 where those
  bite. Gains that do change the luminance (a preset's) count as exposure on top.
- ``sat``: the factor on the distance from luma.
- ``hue``: a turn of hue in OKLab, in full turns; the model never asks for one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from plugins.diagnostic.advice import CLAMPS, PARAMETERS
from plugins.diagnostic.estimate import HIGHEST, LOWEST, LUMINANCE, Estimate, gains_of

MIDDLE_GREY = 0.18
"""Linear light that gamma and exposure move alike."""
EXPOSURE_ZONE = 0.3
"""Dead zone of exposure in EV."""
WHITE_BALANCE_ZONE = 2.0
"""Dead zone of white balance, in degrees between the gains and equal ones."""
SATURATION_ZONE = 0.1
"""Dead zone of saturation, as a natural logarithm: 10 %."""
EVIDENT = (0.5, 6.0, 0.25)
"""What makes a photo a spoilt one, by itself and beyond doubt: exposure in EV, cast in degrees, log saturation.

These and the zones were chosen on photos that the network had not seen, each diagnosed by one of four networks trained
on the others: 2 % of the good ones are then moved by more than ΔE00 3, and 37 % without all this. Dead zones alone,
however wide, cost more corrections for as few good photos moved (benchmarks/results/diagnostic.md)."""
DOUBT = 20.0
"""How many times wider full doubt makes ``EVIDENT``."""
_FULLY_EVIDENT = 1.3


def gamma_of_ev(ev: float) -> float:
    """The display gamma that undoes an exposure of ``ev`` stops at middle grey; not limited to ``CLAMPS``.

    Example:
        >>> round(gamma_of_ev(-1.0), 3)
        1.426
    """
    light = MIDDLE_GREY * 2.0**ev
    # At and above white no gamma brings middle grey back; the strongest one is the nearest answer.
    return max(math.log(_encoded(light)) / math.log(_encoded(MIDDLE_GREY)), 0.01) if light < 1 else 0.01


def ev_of_gamma(gamma: float) -> float:
    """The inverse of :func:`gamma_of_ev`.

    Raises:
        ValueError: The gamma is not positive.
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0, got {gamma}")
    return math.log2(_linear(_encoded(MIDDLE_GREY) ** gamma) / MIDDLE_GREY)


def parameters_of(estimate: Estimate) -> dict[str, float]:
    """The parameters that undo an estimate, within ``CLAMPS``."""
    gains = gains_of(estimate.log_rg, estimate.log_bg)
    return clamped(
        {
            "gamma": gamma_of_ev(estimate.ev),
            "gain_r": gains.r,
            "gain_g": gains.g,
            "gain_b": gains.b,
            "sat": math.exp(-estimate.log_saturation),
            "hue": 0.0,
        }
    )


def estimate_of(parameters: Mapping[str, float]) -> Estimate:
    """The estimate whose correction is these parameters; the hue is not part of it.

    Raises:
        ValueError: A parameter is missing, not finite or not positive.
    """
    check_parameters(parameters)
    logs = [math.log(parameters[name]) for name in ("gain_r", "gain_g", "gain_b")]
    luminance = sum(share * value for share, value in zip(LUMINANCE, logs, strict=True))
    values = (
        ev_of_gamma(parameters["gamma"]) - luminance / math.log(2),
        logs[1] - logs[0],
        logs[1] - logs[2],
        -math.log(parameters["sat"]),
    )
    return Estimate(*(min(max(value, low), high) for value, low, high in zip(values, LOWEST, HIGHEST, strict=True)))


def check_parameters(parameters: Mapping[str, float]) -> None:
    """Raise a ``ValueError`` for final parameters that are missing, not finite, or not positive where they must be."""
    missing = [name for name in PARAMETERS if name not in parameters]
    if missing:
        raise ValueError(f"final_params: {', '.join(missing)} missing; expected {', '.join(PARAMETERS)}")
    for name in PARAMETERS:
        value = parameters[name]
        if not math.isfinite(value) or (name != "hue" and value <= 0):
            raise ValueError(f"final_params: {name} is {value}; expected a number from {CLAMPS[name]}")


def clamped(parameters: Mapping[str, float]) -> dict[str, float]:
    """Parameters brought within ``CLAMPS``, in the order of ``PARAMETERS``."""
    return {name: min(max(float(parameters[name]), CLAMPS[name][0]), CLAMPS[name][1]) for name in PARAMETERS}


def mixed(model: Mapping[str, float], preset: Mapping[str, float], weight: float) -> dict[str, float]:
    """``weight`` of the model and the rest of the preset, within ``CLAMPS``.

    Factors are mixed by their logarithms, so that halving and doubling meet at 1; the hue is mixed as it is.
    """
    both = clamped(model), clamped(preset)
    result = {}
    for name in PARAMETERS:
        first, second = (parameters[name] for parameters in both)
        if weight in (0.0, 1.0):  # exactly one of them, not one to rounding
            result[name] = first if weight else second
        elif name == "hue":
            result[name] = weight * first + (1 - weight) * second
        else:
            result[name] = math.exp(weight * math.log(first) + (1 - weight) * math.log(second))
    return clamped(result)


def without_trifles(
    estimate: Estimate, exposure_doubt: float, white_balance_doubt: float, saturation_doubt: float
) -> Estimate:
    """What of an estimate is worth correcting; nothing of it where the photo may as well be a good one.

    First the photo as a whole. A good photo has no fault at all, a spoilt one mostly several, and the model errs by as
    much as a single small one amounts to. So the faults are added up, each in units of ``EVIDENT``, which doubt makes
    up to ``1 + DOUBT`` times as large; a root sum of squares below 1 leaves the photo as it is, one above 1.3 has it
    corrected. Then each part: in its dead zone (``EXPOSURE_ZONE``, ``WHITE_BALANCE_ZONE``, ``SATURATION_ZONE``, up to
    twice as wide with doubt) it is not corrected, beyond twice its width wholly. In between, both ways, the correction
    grows linearly, so that no photo jumps. Certainty decides only what is a trifle. It never scales a correction: an
    amount is not a probability.

    Args:
        estimate: What the model sees.
        exposure_doubt: Probability that the photo is well exposed, in [0, 1].
        white_balance_doubt: One minus the confidence in the cast.
        saturation_doubt: Probability that the saturation is as it should be.
    """
    sizes = (abs(estimate.ev), cast_degrees(estimate), abs(estimate.log_saturation))
    doubts = [min(max(doubt, 0.0), 1.0) for doubt in (exposure_doubt, white_balance_doubt, saturation_doubt)]
    faults = (size / (unit * (1 + DOUBT * doubt)) for size, unit, doubt in zip(sizes, EVIDENT, doubts, strict=True))
    spoilt = _rise(math.hypot(*faults), 1.0, _FULLY_EVIDENT)
    zones = (EXPOSURE_ZONE, WHITE_BALANCE_ZONE, SATURATION_ZONE)
    widths = [zone * (1 + doubt) for zone, doubt in zip(zones, doubts, strict=True)]
    exposure, cast, saturation = (
        spoilt * _rise(size, width, 2 * width) for size, width in zip(sizes, widths, strict=True)
    )
    return Estimate(
        estimate.ev * exposure,
        estimate.log_rg * cast,
        estimate.log_bg * cast,
        estimate.log_saturation * saturation,
    )


def cast_degrees(estimate: Estimate) -> float:
    """Size of a cast: the angle between its gains and equal ones, in degrees."""
    return gains_degrees(gains_of(estimate.log_rg, estimate.log_bg))


def gains_degrees(gains: tuple[float, float, float]) -> float:
    """Angle between three gains and equal ones, in degrees."""
    length = math.sqrt(sum(gain * gain for gain in gains))
    return math.degrees(math.acos(min(sum(gains) / (math.sqrt(3.0) * length), 1.0)))


def _rise(value: float, start: float, end: float) -> float:
    """0 up to ``start``, 1 from ``end``, a straight line between."""
    return min(max((value - start) / (end - start), 0.0), 1.0)


def _encoded(light: float) -> float:
    """The sRGB value of linear light (IEC 61966-2-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
