"""A scene under several lights as arrays: shrinking, cutting, mirroring, and other lights in place of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import Centroids
from plugins.illuminant.lsmi_mask_files import MaskFile, illuminant_map, read_mask_file, read_scene_image
from plugins.illuminant.reflectance import about_grey
from plugins.illuminant.relight import BLOWN_AT, BLOWN_FROM

Array = np.ndarray[Any, Any]

_WHOLLY = 1 - 1e-4
"""A pixel of a shrunk scene is valid where all of its area was."""
_LOST = 1e-3
"""From this share of a degenerate light on, the light of a pixel is not known."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and what is known of its light.

    Attributes:
        image: (H, W, 3) float32, linear light in [0, 1].
        mixture: (H, W, L) float32, share of each light in a pixel's green channel; 0 where not valid.
        mask: (H, W, K) float32, share of each class; 0 where not valid.
        valid: (H, W) bool, light known.
        lights: (L, 3) float64, linear directions.
    """

    image: Array
    mixture: Array
    mask: Array
    valid: Array
    lights: Array

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.valid.shape[0], self.valid.shape[1]

    def light_map(self) -> Array:
        """(H, W, 3) float32, green 1; neutral where not valid."""
        light = illuminant_map(self.mixture, self.lights).astype(np.float32)
        light[~self.valid] = 1.0
        return light / light[..., 1:2]

    def hidden_image(self) -> Array:
        """The picture, black where its light is not known: colour charts, above all, would tell it."""
        return self.image * self.valid[..., None]

    def cut(self, top: int, left: int, height: int, width: int) -> Scene:
        """A box of it."""
        box = (slice(top, top + height), slice(left, left + width))
        return self._changed(lambda array: array[box])

    def mirrored(self, sideways: bool, upside_down: bool) -> Scene:
        """Flipped left to right, top to bottom, or both."""
        return self._changed(lambda array: array[:: -1 if upside_down else 1, :: -1 if sideways else 1])

    def _changed(self, change: Any) -> Scene:
        arrays = {name: change(getattr(self, name)) for name in ("image", "mixture", "mask", "valid")}
        return replace(self, **arrays)

    def shrunk(self, short_side: int | None) -> Scene:
        """Its shorter side brought to so many pixels by averaging areas; never enlarged.

        What is not known is not averaged in: a pixel stays valid where all of its area was.
        """
        height, width = self.size
        if short_side is None or min(height, width) <= short_side:
            return self
        share = short_side / min(height, width)
        size = max(1, round(width * share)), max(1, round(height * share))

        def smaller(array: Array) -> Array:
            planes = np.moveaxis(array.reshape(height, width, -1), 2, 0).astype(np.float32)
            return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes], axis=2)

        known = smaller(self.valid)
        valid = known[..., 0] >= _WHOLLY
        mixture, mask = (np.where(valid[..., None], smaller(array), 0) for array in (self.mixture, self.mask))
        return replace(self, image=smaller(self.image), mixture=mixture, mask=mask, valid=valid)

    def relit(self, lights: Array, centroids: Centroids, exposure: float = 1.0) -> Scene:
        """The same scene with other lights in the places of its own.

        Each pixel is divided by its light and multiplied by the new one, green left as it was: the shares of the green
        channel do not change. What then exceeds 1 is clipped, as a sensor would. A pixel whose three channels are at
        their limit stays there; one of which some channel is has no longer a known light, for its own is lost.

        Args:
            lights: (L, 3), positive, of any scale.
            centroids: The classes, to which the new lights are assigned by angle.
            exposure: Factor on the picture.
        """
        fresh = replace(self, lights=np.asarray(lights, dtype=np.float64))
        gains = fresh.light_map() / self.light_map() * np.float32(exposure)
        if self.valid.any():  # elsewhere the old light is not known; left alone it would give the change away
            gains[~self.valid] = gains[self.valid].mean(0)
        low, high = self.image.min(2, keepdims=True), self.image.max(2)
        blown = np.clip((low - BLOWN_FROM) / (BLOWN_AT - BLOWN_FROM), 0, 1)
        image = np.clip(self.image * gains, 0, 1)
        image += blown * (1 - image)
        valid = self.valid & (high < BLOWN_AT)
        mask = np.zeros_like(self.mask)
        for index, number in enumerate(centroids.assign(fresh.lights)[0]):
            mask[..., number] += self.mixture[..., index]
        return replace(fresh, image=image, mask=np.where(valid[..., None], mask, 0), valid=valid)

    def recolored(self, hue_degrees: float, saturation: float) -> Scene:
        """The same scene with other surfaces: see :func:`plugins.illuminant.reflectance.vary_reflectances`.

        What is grey under a pixel's light stays grey, so nothing that is known of the light changes. Blown pixels stay.

        Args:
            hue_degrees: How far all hues turn.
            saturation: Factor on the distance from grey, not negative.
        """
        light = self.light_map()
        light /= light.max(2, keepdims=True)
        turned = (self.image / light) @ about_grey(math.radians(hue_degrees), saturation).T.astype(np.float32) * light
        blown = np.clip((self.image.max(2, keepdims=True) - BLOWN_FROM) / (BLOWN_AT - BLOWN_FROM), 0, 1)
        return replace(self, image=np.clip(turned + blown * (self.image - turned), 0, 1))


def scene_of(masks: MaskFile, image: Array) -> Scene:
    """Join a picture (H, W, 3) and its masks.

    Pixels that a degenerate light reaches are not valid: nobody knows their light.
    """
    mixture = np.where(masks.valid[..., None], masks.mixture, 0).astype(np.float32)
    valid = masks.valid & (mixture[..., masks.degenerate].sum(2) < _LOST)
    known = valid[..., None]
    return Scene(image, np.where(known, mixture, 0), np.where(known, masks.mask, 0), valid, masks.lights)


def read_scene(root: Path, file: Path, centroids: Centroids) -> Scene:
    """Read a picture and its masks.

    Args:
        root: Folder of the pictures.
        file: The ``.npz`` file.
        centroids: The classes that the masks must be of.

    Raises:
        UserError: A file is missing or damaged, or the masks are of other classes.
    """
    masks = read_mask_file(file)
    same = masks.centroids.shape == centroids.array.shape and np.allclose(masks.centroids, centroids.array, atol=1e-6)
    if not same or masks.sensor != centroids.sensor:
        raise UserError(
            f"{file}: made with other centroids (sensor '{masks.sensor}') than centroids.json beside it (sensor "
            f"'{centroids.sensor}'): make all masks of a folder at once."
        )
    return scene_of(masks, read_scene_image(root, masks))


def usable_lights(file: Path) -> Array:
    """The lights of a file of masks that belong to a class, (n, 3); nothing else of the file is read.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            content: Mapping[str, Array] = {key: archive[key] for key in ("lights", "outlier", "degenerate")}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{file}: not a file of masks ({error}); see prepare_lsmi_masks.") from error
    lights: Array = content["lights"][~(content["outlier"] | content["degenerate"])]
    return lights
