"""Spoil a photo as a camera would, and undo it: the one pair of operators of data, labels, correction and preview.

Light comes first: the picture is made linear, the cast's gains and the exposure are applied, the sensor adds noise and
clips. Then the picture is developed: sRGB curve, tone curve, saturation, 8 bits, JPEG. :func:`correct` goes back in
reverse order. It cannot bring back what was clipped, rounded or compressed away.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plugins.color_science import linear_to_srgb, oklab_to_rgb, rgb_to_oklab, srgb_to_linear
from plugins.diagnostic.estimate import LUMINANCE, check_estimates, log_gains
from plugins.diagnostic.jpeg_steps import add_noise, jpeg, to_eight_bit
from plugins.diagnostic.tone_curves import ToneCurve

SATURATION_SPACES = ("luma", "linear", "oklab")


def degrade(
    image: Tensor,
    estimate: Tensor,
    *,
    curve: ToneCurve | None = None,
    saturation_space: str = "luma",
    noise: float = 0.0,
    eight_bit: bool = False,
    jpeg_quality: int | None = None,
    jpeg_sampling: str = "420",
    seed: int | None = None,
    clip: bool = True,
) -> Tensor:
    """Apply a degradation.

    Args:
        image: (N, 3, H, W), sRGB in [0, 1].
        estimate: (N, 4): EV, log R/G, log B/G, log saturation; see :mod:`plugins.diagnostic.estimate`.
        curve: Tone curve of the camera.
        saturation_space: Where saturation is changed: ``luma``: distance from luma of the encoded values; ``linear``:
            from luminance, in linear light; ``oklab``: chroma of OKLab.
        noise: Standard deviation of the sensor's noise at full exposure.
        eight_bit: Round to 8 bits at the end.
        jpeg_quality: Compress at the end, 1 to 100.
        jpeg_sampling: ``420``, ``422`` or ``444``.
        seed: Fixes the noise. Omitted: torch's generator.
        clip: Whether light above white and below black is lost, as in a camera. False is for tests of the formulas.

    Returns:
        (N, 3, H, W), sRGB, in [0, 1] if clipped; differentiable in image and estimate, where rounding and compression
        count as the identity.

    Raises:
        ValueError: A shape, a type or a range is wrong.
    """
    _check_image(image)
    check_estimates(estimate, len(image))
    check_space(saturation_space)
    linear = srgb_to_linear(image) * _light(estimate, 1.0).to(image)
    if noise:
        linear = add_noise(linear, noise, None if seed is None else torch.Generator().manual_seed(seed))
    encoded = linear_to_srgb(linear.clamp(0, 1) if clip else linear)
    if curve is not None:
        encoded = curve.apply(encoded)
    encoded = change_saturation(encoded, estimate[:, 3].exp(), saturation_space)
    if clip:
        encoded = encoded.clamp(0, 1)
    if eight_bit:
        encoded = to_eight_bit(encoded)
    return encoded if jpeg_quality is None else jpeg(encoded, jpeg_quality, jpeg_sampling)


def correct(
    image: Tensor,
    estimate: Tensor,
    *,
    curve: ToneCurve | None = None,
    saturation_space: str = "luma",
    clip: bool = True,
    check: bool = True,
) -> Tensor:
    """Undo a degradation: saturation, then the curve where it is known, then exposure and gains in linear light.

    Args:
        image: (N, 3, H, W), sRGB in [0, 1].
        estimate: (N, 4): what was applied; zeros change nothing.
        curve: The camera's tone curve, where it is known.
        saturation_space: See :func:`degrade`.
        clip: Whether the result is clipped to [0, 1].
        check: Whether ranges are checked, which waits for the device. False is for losses.

    Returns:
        (N, 3, H, W), sRGB; differentiable in image and estimate.

    Raises:
        ValueError: A shape, a type or a range is wrong.
    """
    check_space(saturation_space)
    if check:
        _check_image(image)
        check_estimates(estimate, len(image))
    encoded = change_saturation(image, (-estimate[:, 3]).exp(), saturation_space)
    if curve is not None:
        encoded = curve.invert(encoded)
    encoded = linear_to_srgb(srgb_to_linear(encoded) * _light(estimate, -1.0).to(image))
    if check and not bool(estimate.detach().any()):
        # the way to linear light and back is exact only to rounding, and a good photo must come back as it is
        encoded = image + (encoded - encoded.detach())
    return encoded.clamp(0, 1) if clip else encoded


def change_saturation(encoded: Tensor, factor: Tensor, space: str = "luma") -> Tensor:
    """Multiply the saturation of sRGB images.

    Args:
        encoded: (N, 3, H, W), sRGB.
        factor: (N,), positive; 1 changes nothing, 0.5 halves, and 2 then restores what was not clipped.
        space: See :func:`degrade`.

    Returns:
        (N, 3, H, W), not clipped.
    """
    scale = factor.to(encoded).view(-1, 1, 1, 1)
    if space == "oklab":
        lab = rgb_to_oklab(encoded)
        return oklab_to_rgb(torch.cat([lab[:, :1], lab[:, 1:] * scale], 1))
    values = srgb_to_linear(encoded) if space == "linear" else encoded
    grey = (values * values.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    changed = grey + scale * (values - grey)
    return linear_to_srgb(changed) if space == "linear" else changed


def check_space(space: str) -> None:
    """Refuse an unknown space of saturation with a ``ValueError``."""
    if space not in SATURATION_SPACES:
        raise ValueError(f"saturation_space must be one of {', '.join(SATURATION_SPACES)}, got '{space}'")


def _light(estimate: Tensor, direction: float) -> Tensor:
    """Factors on the linear channels, (N, 3, 1, 1)."""
    logs = estimate[:, :1] * math.log(2) + log_gains(estimate[:, 1], estimate[:, 2])
    return (direction * logs).exp()[..., None, None]


def _check_image(image: Tensor) -> None:
    if image.dim() != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise ValueError(f"image: expected floats of shape (N, 3, H, W), got {image.dtype} {tuple(image.shape)}")
    if image.numel() == 0:
        raise ValueError(f"image: there is no pixel in shape {tuple(image.shape)}")
    low, high = (float(value) for value in image.detach().aminmax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise ValueError(f"image: sRGB values must be from 0 to 1, got {low:.4g} to {high:.4g}")
