"""Which light a picture was taken under, by whoever is asked, and the picture without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from plugins.illuminant.cam import METHODS as CAM_METHODS
from plugins.illuminant.cam import class_maps
from plugins.illuminant.checkpoint import IlluminantRecord, load_network
from plugins.illuminant.classic_methods import METHODS as CLASSIC_METHODS
from plugins.illuminant.illuminant_cnn_arch import SMALLEST, IlluminantCNN
from plugins.illuminant.illuminant_map import green_one, illuminant_from_shares
from plugins.illuminant.illuminant_unet_arch import IlluminantUNet, light_of_output
from plugins.illuminant.light_images import from_linear, shrink, to_linear
from plugins.illuminant.refine import maps_to_shares, refine
from plugins.illuminant.relight import resize_square

Array = np.ndarray[Any, Any]
Lights = Literal["single", "multi"]
Answer = Literal["class", "mixture"]

Estimator = Callable[[Array], Array]
"""Linear picture (H, W, 3) in [0, 1] to its light, (3,), or to that of every pixel, (H, W, 3); green 1."""


@dataclass(frozen=True)
class NetworkSettings:
    """How a network's weights are asked.

    Attributes:
        lights: Of an IlluminantCNN: ``single`` answers one light, ``multi`` one for every pixel, from class maps.
        answer: Of ``single``: the likeliest class's centroid (``class``), or all by their probabilities (``mixture``).
        cam: Method of the class maps.
        refinement: ``guided``, ``none`` or ``crf``: how class maps follow the picture's edges.
        side: Shorter side in pixels that the network sees; None: as in its training.
    """

    lights: Lights = "single"
    answer: Answer = "mixture"
    cam: str = "gradcam++"
    refinement: str = "guided"
    side: int | None = None


def fixed_light(text: str) -> Estimator:
    """The light ``r,g,b`` for every picture.

    Raises:
        UserError: Not three positive numbers.
    """
    try:
        values = np.array([float(part) for part in text.split(",")])
        light = green_one(values)
    except ValueError as error:
        raise UserError(f"--light {text}: give three positive numbers, as 1.8,1,0.6 (linear light).") from error
    return lambda linear: light


def classic(name: str) -> Estimator:
    """One of the classical methods.

    Raises:
        UserError: There is no such method.
    """
    key = name.replace("_", "-").lower()
    if key not in CLASSIC_METHODS:
        raise UserError(f"--method {name}: there is no such method; there are: {', '.join(CLASSIC_METHODS)}.")
    method = CLASSIC_METHODS[key]

    def estimate(linear: Array) -> Array:
        try:
            return green_one(method(linear, np.asarray(linear.any(2))))  # black says nothing of the light
        except ValueError as error:
            raise UserError(f"{key} finds no light in it ({error}).") from error

    return estimate


def load_estimator(
    path: Path, encoding: str, settings: NetworkSettings, sensor: str | None = None
) -> tuple[Estimator, IlluminantRecord]:
    """The network of a weights file as an estimator.

    Args:
        path: Weights of an IlluminantModel or IlluminantMapModel.
        encoding: Of the pictures that it is going to see.
        settings: How to ask it.
        sensor: Whose RGB the pictures are; None takes any.

    Returns:
        The estimator, and the weights' record.

    Raises:
        UserError: The file is missing, damaged, of another encoding or sensor, or of a network of another kind.
    """
    net, record = load_network(path, encoding, sensor)
    side = settings.side or record.size
    if side < 1:
        raise UserError(f"{path}: its record has no picture size: give --side, the shorter side in pixels.")
    if isinstance(net, IlluminantUNet):
        return _map_network(net, record, side), record
    if not isinstance(net, IlluminantCNN):
        raise UserError(f"{path}: holds a {type(net).__name__}, not an IlluminantCNN or IlluminantUNet.")
    if settings.lights == "multi":
        if settings.cam not in CAM_METHODS:
            raise UserError(f"--cam {settings.cam}: there is no such map; there are: {', '.join(CAM_METHODS)}.")
        return _class_map_network(net, record, max(side, SMALLEST), settings), record
    return _class_network(net, record, max(side, SMALLEST), settings.answer), record


def _tensor(picture: Array, encoding: str) -> Tensor:
    coded = np.clip(from_linear(picture, encoding), 0, 1)
    return torch.from_numpy(np.ascontiguousarray(coded.transpose(2, 0, 1), dtype=np.float32))[None]


def _probabilities(net: nn.Module, image: Tensor) -> Array:
    with torch.no_grad():
        answer: Array = net(image)[0].double().softmax(0).numpy()
    return answer


def _class_network(net: nn.Module, record: IlluminantRecord, side: int, answer: Answer) -> Estimator:
    lights = green_one(record.centroids.array)

    def estimate(linear: Array) -> Array:
        # As a validation shows it: the whole picture, squeezed into a square, in its own encoding.
        coded = np.ascontiguousarray(from_linear(linear, record.encoding), dtype=np.float32)
        square = to_linear(np.clip(resize_square(coded, side), 0, 1), record.encoding)
        shares = _probabilities(net, _tensor(square, record.encoding))
        return lights[shares.argmax()] if answer == "class" else green_one(shares @ lights)

    return estimate


def _class_map_network(net: nn.Module, record: IlluminantRecord, side: int, settings: NetworkSettings) -> Estimator:
    classes = list(range(len(record.centroids)))

    def estimate(linear: Array) -> Array:
        small = _seen(linear, record.encoding, side, SMALLEST)
        image = _tensor(small, record.encoding)
        maps = class_maps(net, image, classes, settings.cam)
        maps = refine(maps, np.clip(from_linear(small, "srgb"), 0, 1), settings.refinement)
        shares = maps_to_shares(maps, _probabilities(net, image))
        return enlarged(illuminant_from_shares(shares, record.centroids.array), linear.shape[:2])

    return estimate


def _map_network(net: IlluminantUNet, record: IlluminantRecord, side: int) -> Estimator:
    centroids = torch.tensor(record.centroids.array, dtype=torch.float32)

    def estimate(linear: Array) -> Array:
        with torch.no_grad():
            output = net(_tensor(_seen(linear, record.encoding, side, 1), record.encoding))
        light = light_of_output(output, centroids)[0].permute(1, 2, 0).numpy()
        return enlarged(light, linear.shape[:2])

    return estimate


def _seen(linear: Array, encoding: str, side: int, least: int) -> Array:
    """The picture reduced to a shorter side, in linear light; enlarged where the network needs more pixels."""
    picture = shrink(np.ascontiguousarray(linear, dtype=np.float32), side)
    height, width = picture.shape[:2]
    if min(height, width) >= least:
        return picture
    scale = least / min(height, width)
    size = max(least, round(width * scale)), max(least, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)


def enlarged(light: Array, size: tuple[int, ...]) -> Array:
    """An illuminant map (h, w, 3) brought to another size; lights are smooth, so linearly. Green stays 1."""
    if light.shape[:2] == tuple(size[:2]):
        return light
    bigger = cv2.resize(light.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return bigger / bigger[..., 1:2]
