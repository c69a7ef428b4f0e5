"""The steps that lose a little of a picture: sensor noise, 8 bits, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

_READ_SHARE = 0.2
_SAMPLING = {
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


def add_noise(linear: Tensor, noise: float, generator: torch.Generator | None) -> Tensor:
    """Add noise of the sensor to linear light: photon noise of variance ``noise² v``, and readout of a fifth of it.

    Args:
        linear: (N, 3, H, W), linear light; negative values count as 0 for the photons.
        noise: Standard deviation at full exposure, such as 0.01; 0 is none.
        generator: The source of chance, on the CPU; None is torch's own.

    Returns:
        The same shape.

    Raises:
        ValueError: ``noise`` is not from 0 to 0.5.
    """
    if not 0 <= noise <= 0.5:
        raise ValueError(f"noise must be from 0 to 0.5, got {noise}")
    if noise == 0:
        return linear
    draw = torch.randn((2, *linear.shape), generator=generator, dtype=torch.float32).to(linear)
    # the floor keeps the gradient of the root finite in black
    photons = linear.clamp(min=1e-6).sqrt()
    return linear + noise * (photons * draw[0] + _READ_SHARE * draw[1])


def to_eight_bit(encoded: Tensor) -> Tensor:
    """Round to multiples of 1/255 within [0, 1]; the gradient passes as if nothing were rounded."""
    inside = encoded.clamp(0, 1)
    return inside + ((inside * 255).round() / 255 - inside).detach()


def jpeg(encoded: Tensor, quality: int, sampling: str = "420") -> Tensor:
    """Encode and decode as JPEG; the gradient passes as if nothing had been lost.

    Args:
        encoded: (N, 3, H, W), sRGB in [0, 1].
        quality: 1 to 100.
        sampling: ``420``, ``422`` or ``444``: the resolution of the colour planes.

    Returns:
        The same shape, multiples of 1/255.

    Raises:
        ValueError: The quality or the sampling is none of these.
    """
    if not 1 <= quality <= 100 or sampling not in _SAMPLING:
        raise ValueError(
            f"jpeg: quality must be 1 to 100 and sampling one of {', '.join(_SAMPLING)}, got {quality}, '{sampling}'"
        )
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SAMPLING[sampling]]
    pixels = (encoded.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    decoded = []
    for image in pixels:
        _, buffer = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
        decoded.append(np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR))[..., ::-1])
    lossy = torch.from_numpy(np.stack(decoded).transpose(0, 3, 1, 2).copy()).to(encoded) / 255
    return encoded + (lossy - encoded).detach()
