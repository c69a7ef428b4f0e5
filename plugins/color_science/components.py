"""YCbCr and HSV: spaces defined directly on the encoded sRGB values, (..., 3, H, W) in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from plugins.color_science.numeric import full_precision, mix_channels, split_channels

_KR, _KG, _KB = 0.299, 0.587, 0.114
_CB, _CR = 2 * (1 - _KB), 2 * (1 - _KR)
# A value, or a spread of the channels, up to a fifteenth of a 16-bit step counts as 0; gradients overflow below.
NOTHING = 1e-6
RGB_TO_YCBCR = (
    (_KR, _KG, _KB),
    (-_KR / _CB, -_KG / _CB, 0.5),
    (0.5, -_KG / _CR, -_KB / _CR),
)


@full_precision
def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """sRGB to full-range YCbCr (ITU-R BT.601 weights, the JPEG convention).

    Args:
        rgb: (..., 3, H, W), [0, 1].

    Returns:
        Y, Cb, Cr in [0, 1] with greys at Cb = Cr = 0.5; same shape. BasicSR's ``rgb2ycbcr`` is another
        one: studio range.
    """
    y, u, v = mix_channels(rgb, RGB_TO_YCBCR, "rgb").unbind(-3)
    return torch.stack([y, u + 0.5, v + 0.5], dim=-3)


@full_precision
def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """Inverse of :func:`rgb_to_ycbcr`."""
    y, cb, cr = split_channels(ycbcr, "ycbcr")
    red = y + _CR * (cr - 0.5)
    blue = y + _CB * (cb - 0.5)
    return torch.stack([red, (y - _KR * red - _KB * blue) / _KG, blue], dim=-3)


def _extremes(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest channel, difference of largest and smallest, and the largest again with black made 1 for division."""
    value = rgb.amax(dim=-3)
    spread = value - rgb.amin(dim=-3)
    return value, spread, torch.where(value > NOTHING, value, torch.ones_like(value))


@full_precision
def saturation(rgb: Tensor) -> Tensor:
    """HSV saturation ``(max - min) / max`` of sRGB (..., 3, H, W); 0 where the colour is black. Returns (..., H, W)."""
    split_channels(rgb, "rgb")
    value, spread, divisor = _extremes(rgb)
    return torch.where(value > NOTHING, spread / divisor, torch.zeros_like(value))


@full_precision
def rgb_to_hsv(rgb: Tensor) -> Tensor:
    """sRGB to HSV (Smith 1978).

    Args:
        rgb: (..., 3, H, W), [0, 1].

    Returns:
        H in [0, 1) (a full turn is 1; 0 for greys, whose hue is undefined), S and V in [0, 1]; same shape.
    """
    red, green, blue = split_channels(rgb, "rgb")
    value, spread, divisor = _extremes(rgb)
    chromatic = spread > NOTHING
    safe = torch.where(chromatic, spread, torch.ones_like(spread))
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = torch.where(chromatic, torch.remainder(sector / 6, 1.0), torch.zeros_like(value))
    # A remainder of a tiny negative number rounds up to exactly 1, which is the same hue as 0.
    hue = torch.where(hue >= 1, torch.zeros_like(hue), hue)
    return torch.stack([hue, torch.where(value > NOTHING, spread / divisor, torch.zeros_like(value)), value], dim=-3)


@full_precision
def hsv_to_rgb(hsv: Tensor) -> Tensor:
    """Inverse of :func:`rgb_to_hsv`; a hue outside [0, 1) wraps."""
    hue, sat, value = split_channels(hsv, "hsv")
    planes = []
    for offset in (5.0, 3.0, 1.0):
        position = torch.remainder(offset + hue * 6, 6.0)
        ramp = torch.minimum(position, 4 - position).clamp(0, 1)
        planes.append(value * (1 - sat * ramp))
    return torch.stack(planes, dim=-3)
