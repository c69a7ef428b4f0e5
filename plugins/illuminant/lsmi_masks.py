"""From continuous mixtures of lights to masks of the classes of light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from plugins.illuminant.centroids import OUTLIER_DEGREES, Centroids
from plugins.illuminant.lsmi_arrays import Array
from plugins.illuminant.lsmi_mask_files import ManifestRow, MaskFile
from plugins.illuminant.lsmi_read import ReadScene

SMALLEST_COVER = 0.5
"""A pixel of a smaller mask is known or valid where at least that share of its area is."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """Class of each light (L,), the angle to its centroid in degrees (L,), and whether that is too far (L,)."""

    classes: Array
    degrees: Array
    outlier: Array


def assign_lights(
    lights: Array, degenerate: Array, centroids: Centroids, outlier_degrees: float = OUTLIER_DEGREES
) -> Assignment:
    """Give each light the nearest centroid by angle.

    Args:
        lights: (L, 3), positive, of any scale.
        degenerate: (L,) bool, lights that are none: class 0, angle 0, no outlier.
        centroids: The classes.
        outlier_degrees: A light further away than this belongs to no class.
    """
    classes, degrees = centroids.assign(lights)
    degrees = np.where(degenerate, 0.0, degrees)
    return Assignment(np.where(degenerate, 0, classes), degrees, degrees > outlier_degrees)


def class_masks(mixture: Array, valid: Array, classes: Array, dropped: Array, count: int) -> tuple[Array, Array]:
    """Sum the shares of the lights of each class.

    Args:
        mixture: (H, W, L), shares of sum 1 where valid.
        valid: (H, W) bool.
        classes: (L,) class of each light; lights of one class are added.
        dropped: (L,) bool, lights that count as "other".
        count: Number of classes K.

    Returns:
        Masks (H, W, K) and the share of dropped lights (H, W), float32; 0 where not valid.
    """
    shares = np.where(valid[..., None], mixture, 0.0)
    mask = np.zeros((*valid.shape, count))
    other = np.zeros(valid.shape)
    for index, (number, out) in enumerate(zip(classes, dropped, strict=True)):
        if out:
            other += shares[..., index]
        else:
            mask[..., number] += shares[..., index]
    return mask.astype(np.float32), other.astype(np.float32)


def shrink(scene: ReadScene, longest: int | None) -> ReadScene:
    """Reduce a mixture by averaging areas, over known pixels only; nothing is made larger.

    Args:
        scene: The picture's mixture.
        longest: Longer side of the result; None keeps the size.
    """
    height, width = scene.known.shape
    if longest is None or max(height, width) <= longest:
        return scene
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    weight = scene.known.astype(np.float64)
    cover = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    known = np.asarray(cover >= SMALLEST_COVER)
    # Weighted by zero, -1 takes no part in any average.
    mixture = np.zeros((*known.shape, scene.mixture.shape[2]))
    for index in range(mixture.shape[2]):
        mixture[..., index] = cv2.resize(scene.mixture[..., index] * weight, size, interpolation=cv2.INTER_AREA)
    mixture /= np.where(known, mixture.sum(-1), 1)[..., None]
    mixture[~known] = -1
    inside = cv2.resize(scene.valid.astype(np.float64), size, interpolation=cv2.INTER_AREA) >= SMALLEST_COVER
    return replace(scene, mixture=mixture, known=known, valid=known & inside)


def make_masks(
    scene: ReadScene,
    centroids: Centroids,
    image: str,
    outlier_degrees: float = OUTLIER_DEGREES,
    longest: int | None = None,
) -> MaskFile:
    """Make the masks of one picture.

    Args:
        scene: Its mixture and lights.
        centroids: The classes, of the same camera.
        image: Path of the picture relative to the data set's folder.
        outlier_degrees: A light further away than this belongs to no class.
        longest: Longer side of the masks; None keeps the picture's.
    """
    scene = shrink(scene, longest)
    files, assigned = scene.files, assign_lights(scene.lights, scene.degenerate, centroids, outlier_degrees)
    dropped = assigned.outlier | scene.degenerate
    mask, other = class_masks(scene.mixture, scene.valid, assigned.classes, dropped, len(centroids))
    return MaskFile(
        mask, other, scene.valid, scene.lights, assigned.classes.astype(np.int64), assigned.degrees, assigned.outlier,
        scene.degenerate, bool(dropped.any()), scene.mixture.astype(np.float32), centroids.names, centroids.array,
        centroids.sensor, files.camera, files.place, files.image_id, files.split, image, float(files.levels.black),
        float(files.levels.white),
    )  # fmt: skip


def manifest_row(masks: MaskFile, npz: str, flags: tuple[str, ...]) -> ManifestRow:
    """The line of the manifest for one picture's masks."""
    area = max(1, int(masks.valid.sum()))
    return ManifestRow(
        masks.image,
        npz,
        masks.split,
        masks.camera,
        masks.place,
        masks.image_id,
        len(masks.lights),
        tuple("degenerate" if bad else masks.class_names[number]
              for number, bad in zip(masks.light_class, masks.degenerate, strict=True)),
        tuple(float(f"{degrees:.6g}") for degrees in masks.light_degrees),
        masks.hard,
        float(masks.other.sum(dtype=np.float64)) / area,
        float(masks.valid.mean()),
        tuple((masks.mask.sum((0, 1), dtype=np.float64) / area).tolist()),
        *masks.size,
        masks.black,
        masks.white,
        flags,
    )  # fmt: skip
