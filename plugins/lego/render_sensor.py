"""From light to a file: veil, frosted glass, vignetting, blur, noise, tone curve, rounding to JPEG.

The limits keep a brick's colour nameable: among 64 solid colours the nearest one changes for 7 % of bricks under
white-balance gains of 5 % and for 5 % under 0.15 stop, but for 23 % and 20 % at twice these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.engine.errors import UserError
from plugins.lego.render_ground import to_srgb

Array = NDArray[Any]

MAX_GAIN_ERROR, MAX_EXPOSURE = 0.05, 0.15
_FROSTED = 0.25
_WHITE = 0.78  # a white sheet in full light, before the drawn exposure


@dataclass(frozen=True)
class Sensor:
    """What is drawn for the camera.

    Attributes:
        exposure: In stops.
        gains: (3,) error of the white balance, green 1.
        veil: Share of the light that is spread over the whole frame.
        frost: Share of the light that a milky glass or belt in front of the part replaces by its own glow.
        glow: That glow, 1 is a white surface in full light.
        vignette: Loss of light in the corners.
        blur: Standard deviation in pixels of a 224-pixel frame.
        motion: Length of motion blur in the same pixels.
        motion_angle: In degrees.
        scale: Size at which the sensor sees the frame, 1 is the output's.
        noise: Standard deviation at mid-grey, of 1.
        contrast: Strength of the S-shaped tone curve.
        sharpen: Strength of the camera's sharpening.
        padding: (left, top, right, bottom) black borders, as shares of the frame.
        quality: Of the JPEG.
        seed: Of the noise.
    """

    exposure: float
    gains: tuple[float, float, float]
    veil: float
    frost: float
    glow: float
    vignette: float
    blur: float
    motion: float
    motion_angle: float
    scale: float
    noise: float
    contrast: float
    sharpen: float
    padding: tuple[float, float, float, float]
    quality: int
    seed: int


def sample_sensor(rng: np.random.Generator, gain_error: float, exposure: float) -> Sensor:
    """Draw a camera.

    Args:
        rng: The source of chance.
        gain_error: Largest error of the red and the blue gain.
        exposure: Largest error of the exposure in stops.
    """
    # a camera below a milky glass or belt sees a pale, blurred part; elsewhere some are out of focus or move
    frosted = rng.random() < _FROSTED
    soft = frosted or rng.random() < 0.3
    red, blue = rng.uniform(-gain_error, gain_error, 2)
    borders = [0.0, 0.0, 0.0, 0.0]
    if rng.random() < 0.04:
        for side in rng.choice(4, size=int(rng.integers(1, 3)), replace=False):
            borders[int(side)] = float(rng.uniform(0.02, 0.25))
    return Sensor(
        float(rng.uniform(-exposure, exposure)),
        (float(1 + red), 1.0, float(1 + blue)),
        float(rng.uniform(0.05, 0.35) if rng.random() < 0.3 else rng.uniform(0, 0.06)),
        float(rng.uniform(0.2, 0.6) if frosted else 0.0),
        float(rng.uniform(0.15, 0.6)),
        float(rng.uniform(0, 0.15)),
        float(rng.uniform(0.8, 3.6) if soft else rng.uniform(0.2, 0.9)),
        float(rng.uniform(2, 9) if rng.random() < 0.12 else 0.0),
        float(rng.uniform(0, 180)),
        float(rng.uniform(0.45, 1.0) if rng.random() < 0.6 else 1.0),
        float(np.exp(rng.uniform(np.log(0.002), np.log(0.014)))),
        float(rng.uniform(0, 0.35)),
        float(rng.uniform(0, 0.8) if rng.random() < 0.5 else 0.0),
        (borders[0], borders[1], borders[2], borders[3]),
        int(rng.integers(68, 97)),
        int(rng.integers(2**31)),
    )


def expose(light: Array, sensor: Sensor) -> Array:
    """A photo of linear light.

    Args:
        light: (S, S, 3) float32, 1 is a white surface in full light.
        sensor: The camera.

    Returns:
        (S, S, 3) uint8 sRGB, before JPEG.
    """
    size = light.shape[0]
    rng = np.random.default_rng(sensor.seed)
    gains = np.array(sensor.gains, np.float32) * np.float32(_WHITE * 2.0**sensor.exposure)
    image = light * gains
    if sensor.veil > 0:
        spread = np.minimum(image, 1).mean((0, 1))
        image = image * np.float32(1 - sensor.veil) + spread * np.float32(sensor.veil)
    if sensor.frost > 0:
        image = image * np.float32(1 - sensor.frost) + gains * np.float32(sensor.frost * sensor.glow)
    if sensor.vignette > 0:
        side = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        image *= (1 - np.float32(sensor.vignette / 2) * (side[:, None] + side))[..., None]
    image = _blurred(np.minimum(image, 3), sensor, size)
    seen = max(8, round(size * sensor.scale))
    if seen != size:
        image = cv2.resize(image, (seen, seen), interpolation=cv2.INTER_AREA)
    level = np.sqrt(np.maximum(image, 0) / 0.2 * 0.8 + 0.2) * np.float32(sensor.noise)
    image = image + level * rng.standard_normal(image.shape, dtype=np.float32)
    image = _toned(to_srgb(np.clip(image, 0, 1)), sensor.contrast)
    if seen != size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    if sensor.sharpen > 0:
        image = image + np.float32(sensor.sharpen) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    _pad(image, sensor.padding)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _blurred(image: Array, sensor: Sensor, size: int) -> Array:
    unit = size / 224
    if sensor.blur * unit > 0.15:
        image = cv2.GaussianBlur(image, (0, 0), sensor.blur * unit)
    length = round(sensor.motion * unit)
    if length >= 2:
        kernel = np.zeros((length * 2 + 1, length * 2 + 1), np.float32)
        angle = np.radians(sensor.motion_angle)
        end = (length / 2 * np.cos(angle), length / 2 * np.sin(angle))
        ends = [(round((length + sign * end[0]) * 16), round((length + sign * end[1]) * 16)) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
        image = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return image


def _toned(image: Array, contrast: float) -> Array:
    """A soft S-curve on the brightness alone: it leaves the ratios of the channels, so hue and chroma, nearly alone."""
    if contrast <= 0:
        return image
    bright = image.max(-1, keepdims=True)
    bent = bright + np.float32(contrast) * (bright * bright * (3 - 2 * bright) - bright) * np.float32(0.5)
    return np.asarray(image * (bent / np.maximum(bright, 1e-3)))


def _pad(image: Array, padding: tuple[float, float, float, float]) -> None:
    size = image.shape[0]
    left, top, right, bottom = (round(share * size) for share in padding)
    image[:, :left], image[:top] = 0, 0
    image[:, size - right :], image[size - bottom :] = 0, 0


def encode_jpeg(pixels: Array, quality: int) -> bytes:
    """JPEG bytes of (H, W, 3) RGB uint8 pixels.

    Raises:
        UserError: The encoder refused.
    """
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise UserError(f"JPEG encoding of an array of shape {pixels.shape} failed.")
    return bytes(data.tobytes())
