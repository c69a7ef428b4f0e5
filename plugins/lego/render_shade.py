"""Light that reaches the camera: soft shadows, light between walls, glossy plastic, see-through plastic, the ground.

Matt and glossy parts follow Fresnel's reflection by Schlick's formula. Where the part blocks light from itself, the
blocking wall sends some of it on in its own colour (a geometric series of bounces), which is what makes hollow
undersides deep-coloured instead of black.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from plugins.lego import ldraw_colors as finishes
from plugins.lego.ldraw_colors import LDrawColor
from plugins.lego.render_camera import View
from plugins.lego.render_ground import to_linear
from plugins.lego.render_lights import LightField
from plugins.lego.render_raster import CameraMesh, kernels

Array = NDArray[Any]

_WALL_LIGHT = 0.5  # share of the full light on the wall that blocks the way
_GROUND_BLEED = 0.3
_BRIGHTEST = 4.0
_FARTHEST = 40.0  # radii; beyond it the ground ends
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Material:
    """How a surface answers light.

    Attributes:
        albedo: (3,) linear reflectance of the matt part.
        gloss: (3,) reflectance of the glossy part seen straight on.
        rough: Softness of reflections in radians.
        through: (3,) share of light that one surface lets through; 0 is opaque.
    """

    albedo: Array
    gloss: Array
    rough: float
    through: Array


def material(color: LDrawColor, rough: float = 0.05, gloss: float = 1.0) -> Material:
    """The material of an LDraw colour.

    Args:
        color: The colour.
        rough: Softness of the plastic's reflections in radians.
        gloss: Strength of the plastic's reflections; 1 is new.
    """
    rgb = to_linear(np.array(color.rgb, np.float32) / 255)
    plain = np.full(3, 0.045 * gloss, np.float32)
    opaque = np.zeros(3, np.float32)
    if color.finish == finishes.CHROME:
        return Material(rgb * 0.05, rgb * 0.9, 0.03, opaque)
    if color.finish == finishes.METAL:
        return Material(rgb * 0.55, rgb * 0.45, 0.25, opaque)
    if color.finish == finishes.PEARL:
        return Material(rgb * 0.8, rgb * 0.2 + 0.03, 0.3, opaque)
    if color.finish == finishes.RUBBER and not color.see_through:
        return Material(rgb, plain * 0.6, 0.5, opaque)
    if color.see_through:
        clear = np.maximum(rgb, 0.004) ** 0.24 * np.float32(0.97)
        return Material(rgb * 0.16, plain, 0.04, clear.astype(np.float32))
    return Material(rgb * 0.95, plain, rough, opaque)


@dataclass(frozen=True)
class Stage:
    """All that does not depend on the surface: the light in the camera's frame, its shadow maps, the ground."""

    field: LightField
    directions: Array
    lamps: Array
    frames: Array
    maps: Array
    scale: float
    bias: float
    order: Array
    up: Array
    middle: Array


def make_stage(mesh: CameraMesh, view: View, field: LightField, radius: float, map_size: int, seed: int) -> Stage:
    """Turn the light into the camera's frame and draw its shadow maps.

    Args:
        mesh: In the camera's frame.
        view: The camera.
        field: The light, in the world's frame.
        radius: Of the mesh.
        map_size: Texels a side of a shadow map.
        seed: Of the offsets that soften shadow borders.
    """
    camera = view.camera.astype(np.float32)
    directions = np.ascontiguousarray(field.directions @ camera.T)
    helper = np.where(np.abs(directions[:, :1]) < 0.7, [[1.0, 0, 0]], [[0, 1.0, 0]]).astype(np.float32)
    right = np.cross(helper, directions)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    frames = np.ascontiguousarray(np.stack([right, np.cross(directions, right), directions], 1).astype(np.float32))
    scale = (map_size / 2 - 2) / radius
    maps = np.empty((len(frames), map_size, map_size), np.float32)
    kernels().shadow_maps(mesh.corners - mesh.middle, frames, np.float32(scale), maps)
    order = np.random.default_rng(seed).uniform(-0.9, 0.9, (61, 2)).astype(np.float32)
    return Stage(
        field, directions, np.ascontiguousarray(field.lamp_directions @ camera.T), frames, maps, scale,
        1.1 / scale + 0.1, order, camera[:, 1].copy(), mesh.middle,
    )  # fmt: skip


def _arriving(stage: Stage, mask: Array, position: Array, normal: Array) -> tuple[Array, Array]:
    lit, blocked = np.zeros_like(position), np.zeros_like(position)
    kernels().irradiance(
        mask, position, normal, stage.middle, stage.directions, stage.field.weights, stage.frames,
        np.float32(stage.scale), stage.maps, np.float32(stage.bias), stage.order, lit, blocked,
    )  # fmt: skip
    return lit, blocked


def _mirrored(stage: Stage, mask: Array, position: Array, normal: Array, rough: float) -> tuple[Array, Array]:
    mirrored, slant = np.zeros_like(position), np.zeros(mask.shape, np.float32)
    shapes = stage.field.lamp_shapes
    spread = (shapes**2 / (shapes**2 + rough**2))[:, None]  # a wider reflection is a dimmer one
    kernels().reflections(
        mask, position, normal, stage.up, stage.field.sky, stage.field.ground, stage.lamps,
        np.maximum(shapes, np.float32(rough)), (stage.field.lamp_radiance * spread).astype(np.float32),
        np.float32(rough), mirrored, slant,
    )  # fmt: skip
    return mirrored, slant


def shade_solid(
    stage: Stage, mask: Array, position: Array, normal: Array, albedo: Array, gloss: Array, rough: float
) -> Array:
    """Light from opaque surfaces.

    Args:
        stage: The light.
        mask: (H, W) bool, where there is a surface.
        position, normal: (H, W, 3) float32.
        albedo: (H, W, 3) float32.
        gloss: (3,) reflectance straight on.
        rough: Softness of reflections in radians.

    Returns:
        (H, W, 3) float32, linear; 0 outside the mask.
    """
    lit, blocked = _arriving(stage, mask, position, normal)
    mirrored, slant = _mirrored(stage, mask, position, normal, rough)
    bounced = _WALL_LIGHT * albedo / (1 - (1 - _WALL_LIGHT) * albedo)
    free: Array = lit @ _LUMA
    free = free / np.maximum(free + blocked @ _LUMA, 1e-4)
    fresnel = _fresnel(slant, gloss, rough)
    light: Array = albedo * (1 - fresnel) * (lit + blocked * bounced)
    light += fresnel * mirrored * (0.15 + 0.85 * free)[..., None]
    return np.asarray(np.minimum(light, _BRIGHTEST) * mask[..., None])


def _fresnel(slant: Array, gloss: Array, rough: float) -> Array:
    grazing = (1 - slant) ** 5 * np.float32(max(0.0, 0.75 - rough))
    return np.asarray(gloss + (1 - gloss) * grazing[..., None])


def shade_layers(stage: Stage, layers: list[tuple[Array, Array, Array]], behind: Array, plastic: Material) -> Array:
    """Light through see-through surfaces, farthest first.

    Args:
        stage: The light.
        layers: (mask, position, normal) of each layer, nearest first.
        behind: (H, W, 3) light from behind all layers, not yet tinted.
        plastic: A see-through material.

    Returns:
        (H, W, 3) float32, linear.
    """
    light = behind
    for mask, position, normal in reversed(layers):
        mirrored, slant = _mirrored(stage, mask, position, normal, plastic.rough)
        lit, blocked = _arriving(stage, mask, position, normal)
        shift = np.round(normal[..., :2] * (2.0 * behind.shape[0] / 224)).astype(np.int32)
        bent = _shifted(light, shift)
        path = np.minimum(1 / np.maximum(slant, 0.25), 2.0)[..., None]
        fresnel = _fresnel(slant, plastic.gloss * 1.2, plastic.rough)
        scattered = plastic.albedo * (lit + blocked * plastic.through)
        here = bent * plastic.through**path * (1 - fresnel) * 0.96 + fresnel * mirrored + scattered * 0.5
        light = np.where(mask[..., None], np.minimum(here, _BRIGHTEST), light)
    return np.asarray(light, dtype=np.float32)


def _shifted(light: Array, shift: Array) -> Array:
    size = light.shape[0]
    rows, columns = np.mgrid[:size, :size]
    return np.asarray(light[np.clip(rows + shift[..., 1], 0, size - 1), np.clip(columns + shift[..., 0], 0, size - 1)])


def ground_light(
    stage: Stage, view: View, lens: Array, hidden: Array, texture: Array, spread: tuple[float, float],
    plastic: Material, radius: float,
) -> Array:  # fmt: skip
    """Light from the ground.

    Args:
        stage: The light.
        view: The camera.
        lens: As in ``render_raster.draw_layers``.
        hidden: (H, W) bool: samples that need no ground.
        texture: (T, T, 3) reflectance.
        spread: Side of the texture in LDU, and its turn in radians.
        plastic: Whose shadow falls on the ground: see-through parts cast a tinted one.
        radius: Of the part.

    Returns:
        (H, W, 3) float32, linear.
    """
    size = hidden.shape[0]
    along = np.arange(size, dtype=np.float32) + np.float32(0.5)
    rays = np.empty((size, size, 3), np.float32)
    rays[..., 0] = (along - np.float32(lens[1])) / np.float32(lens[0])
    rays[..., 1] = ((along - np.float32(lens[2])) / np.float32(lens[0]))[:, None]
    rays[..., 2] = 1
    up = stage.up
    height = np.float32(view.ground - view.eye[1])  # negative
    fall = np.minimum(rays @ up, np.float32(height / (np.linalg.norm(view.eye) + _FARTHEST * radius)))
    position = rays * (height / fall)[..., None]
    world = position @ view.camera.astype(np.float32)
    x, z = world[..., 0] + np.float32(view.eye[0]), world[..., 2] + np.float32(view.eye[2])
    c, s = np.float32(np.cos(spread[1])), np.float32(np.sin(spread[1]))
    unit = np.float32(texture.shape[0] / spread[0])
    middle = np.float32(texture.shape[0] / 2)
    plain = cv2.remap(
        texture, (x * c - z * s) * unit + middle, (x * s + z * c) * unit + middle, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    normal = np.empty_like(position)
    normal[:] = up
    lit, blocked = _arriving(stage, ~hidden, position, normal)
    passed = plastic.through**2 * 0.8 if plastic.through.any() else plastic.albedo * _GROUND_BLEED
    return np.asarray(plain * (lit + blocked * passed))
