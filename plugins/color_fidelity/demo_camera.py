"""The demo's camera: what a finished photograph would have looked like before the edit.

The target is a real photograph. From it the "before" is made as a flat camera profile would have recorded the scene,
in this order, in linear light: exposure, white balance, saturation, compression of strong colours, contrast and
flare, photon and read noise; then sRGB encoding, 8 bit, JPEG. What an editor does to such a file
(brighten, add contrast, bring the colours back) is what the network has to learn.

Two properties of it matter for what the demo shows. Strong colours lose more than weak ones, as in camera profiles
that keep colours inside their gamut, so that the right answer for a bold colour cannot be learnt from pale ones. And
every photograph gets its own random amounts, so that a part of the edit cannot be told from the input: no network can
be perfect.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from plugins.color_science import apply_to_arrays, linear_to_srgb, srgb_to_linear

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Weights of linear R, G, B in the luminance Y (IEC 61966-2-1 primaries, D65)."""

MIDDLE_GREY = 0.18
_READ_NOISE = 1e-5
_PHOTON_NOISE = 4e-4

Range = tuple[float, float]


@dataclass(frozen=True)
class CameraShot:
    """What was done to one photograph.

    Attributes:
        exposure_ev: Change of exposure in stops.
        red_gain: Logarithm of the factor on linear red.
        blue_gain: Logarithm of the factor on linear blue.
        saturation: Factor on the distance from the grey of the same luminance; 1 keeps it.
        compression: How much strong colours are pulled in; 0 keeps them (see ``compress_strong_colors``).
        contrast: Exponent of the curve through middle grey; 1 keeps it, below 1 is flatter.
        flare: Stray light as a share of white.
        noise: Factor on the variance of the noise; 0 for none.
        jpeg_quality: Quality of the JPEG the camera wrote, 1 to 100.
    """

    exposure_ev: float
    red_gain: float
    blue_gain: float
    saturation: float
    compression: float
    contrast: float
    flare: float
    noise: float
    jpeg_quality: float


@dataclass(frozen=True)
class CameraRanges:
    """Uniform range of every field of ``CameraShot``."""

    exposure_ev: Range = (-0.9, -0.3)
    red_gain: Range = (-0.06, 0.06)
    blue_gain: Range = (-0.06, 0.06)
    saturation: Range = (0.82, 0.94)
    compression: Range = (0.6, 1.2)
    contrast: Range = (0.84, 0.94)
    flare: Range = (0.0, 0.01)
    noise: Range = (0.3, 1.0)
    jpeg_quality: Range = (86.0, 96.0)

    def draw(self, rng: np.random.Generator) -> CameraShot:
        """Draw one shot; the order of the fields is the order of the draws."""
        return CameraShot(**{item.name: float(rng.uniform(*getattr(self, item.name))) for item in fields(self)})


def compress_strong_colors(linear: np.ndarray, amount: float) -> np.ndarray:
    """Pull saturated colours towards grey, the more the more saturated they are; grey and the largest channel stay.

    Args:
        linear: (H, W, 3) linear RGB, may exceed 1.
        amount: ``a`` in the factor ``1 / sqrt(1 + a d^2)``, where ``d = (max - min) / max`` is how far the colour is
            from grey.

    Returns:
        (H, W, 3), same type.
    """
    top = np.maximum(linear.max(axis=2, keepdims=True), 1e-6)
    distance = (top - linear) / top
    factor = 1.0 / np.sqrt(1.0 + amount * distance.max(axis=2, keepdims=True) ** 2)
    return (top * (1.0 - distance * factor)).astype(linear.dtype)


def take_shot(photo: np.ndarray, shot: CameraShot, rng: np.random.Generator) -> np.ndarray:
    """Return the photograph as the camera would have recorded it before the edit.

    Args:
        photo: (H, W, 3) sRGB, uint8.
        shot: What to do.
        rng: Source of the noise.

    Returns:
        (H, W, 3) sRGB, uint8.
    """
    gains = np.exp([shot.red_gain, 0.0, shot.blue_gain]).astype(np.float32) * np.float32(2.0**shot.exposure_ev)
    linear = apply_to_arrays(srgb_to_linear, photo) * gains
    grey = (linear @ LUMINANCE)[..., None]
    linear = np.maximum(grey + shot.saturation * (linear - grey), 0.0)
    linear = compress_strong_colors(linear, shot.compression)
    linear = MIDDLE_GREY * (linear / MIDDLE_GREY) ** shot.contrast
    linear = (linear + shot.flare) / (1.0 + shot.flare)
    variance = shot.noise * (_PHOTON_NOISE * linear + _READ_NOISE)
    linear = linear + np.sqrt(variance) * rng.standard_normal(linear.shape, np.float32)
    encoded = apply_to_arrays(linear_to_srgb, np.clip(linear, 0.0, 1.0).astype(np.float32))
    return _through_jpeg(np.round(np.clip(encoded, 0.0, 1.0) * 255.0).astype(np.uint8), round(shot.jpeg_quality))


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode an image of shape {image.shape} as JPEG")
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("OpenCV could not decode the JPEG it has just written")
    return np.ascontiguousarray(decoded[..., ::-1])
