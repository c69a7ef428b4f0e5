"""One picture of a part: a pure function of (seed, part, colour, number) and the settings.

What is drawn is first written down as a ``Scene`` of plain numbers (pose, light, ground, camera), then rendered; the
same scene without its numbers is what ``renders.csv`` lists.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from plugins.lego.ldraw_colors import LDrawColor
from plugins.lego.ldraw_mesh import PartMesh
from plugins.lego.ldraw_parse import INHERITED
from plugins.lego.render_camera import Pose, make_view, sample_pose
from plugins.lego.render_ground import Ground, ground_texture, noise, sample_ground
from plugins.lego.render_lights import Lighting, make_light_field, sample_lighting
from plugins.lego.render_raster import CameraMesh, Layer, draw_layers, surface_samples, to_camera
from plugins.lego.render_sensor import MAX_EXPOSURE, MAX_GAIN_ERROR, Sensor, expose, sample_sensor
from plugins.lego.render_shade import Material, ground_light, make_stage, material, shade_layers, shade_solid

Array = NDArray[Any]

_DEEPEST = 6
_RELIEF_SIDE, _RIPPLE_SIDE = 64, 256


@dataclass(frozen=True)
class SceneOptions:
    """What may vary, and how finely it is computed.

    Attributes:
        size: Height and width in pixels.
        any_pose: Share of poses that no ground could hold.
        gain_error: Largest error of white-balance gains.
        exposure: Largest error of the exposure in stops.
        supersample: Samples a pixel along each side.
        lights: Point lights, a multiple of 8.
        shadow_size: Texels a side of a shadow map.
        photo_share: Share of grounds that are the user's photos, where there are any.
    """

    size: int = 224
    any_pose: float = 0.12
    gain_error: float = MAX_GAIN_ERROR
    exposure: float = MAX_EXPOSURE
    supersample: int = 2
    lights: int = 48
    shadow_size: int = 144
    photo_share: float = 0.5


QUALITIES: dict[str, dict[str, int]] = {"full": {}, "plain": {"lights": 16, "shadow_size": 96}}
"""Options by name: ``plain`` has a third of the lights, so coarser shadows, in about half the time."""


@dataclass(frozen=True)
class Surface:
    """How worn the moulding is: bevel radius in LDU, strengths of stud relief and ripple, roughness, gloss."""

    bevel: float
    relief: float
    ripple: float
    rough: float
    gloss: float
    shade: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Everything that was drawn for one picture."""

    pose: Pose
    lighting: Lighting
    ground: Ground
    surface: Surface
    sensor: Sensor
    seed: int


@dataclass(frozen=True)
class Palette:
    """Colours of the triangles that do not have the part's own colour, and the folder of background photos."""

    colors: dict[int, LDrawColor]
    photo_folder: Path | None = None
    photos: list[str] = field(default_factory=list)


def scene_seed(seed: int, part: str, color: int, number: int) -> int:
    """The seed of one picture: 63 bits that depend on all four."""
    words = [seed & 0xFFFFFFFF, zlib.crc32(part.lower().encode()), color & 0xFFFFFFFF, number & 0xFFFFFFFF]
    high, low = np.random.SeedSequence(words).generate_state(2, np.uint32)
    return (int(high) << 31) ^ int(low)


def sample_scene(mesh: PartMesh, palette: Palette, options: SceneOptions, seed: int) -> Scene:
    """Draw a scene for a mesh."""
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)]
    pose_rng, light_rng, ground_rng, surface_rng, sensor_rng = streams
    return Scene(
        sample_pose(mesh, pose_rng, options.any_pose),
        sample_lighting(light_rng),
        sample_ground(ground_rng, palette.photos, options.photo_share),
        _sample_surface(surface_rng),
        sample_sensor(sensor_rng, options.gain_error, options.exposure),
        seed,
    )


def _sample_surface(rng: np.random.Generator) -> Surface:
    tint = 1 + rng.uniform(-0.02, 0.02, 3)  # batches of plastic differ a little
    return Surface(
        float(rng.uniform(0.35, 0.9)),
        float(rng.uniform(0.25, 0.8)),
        float(rng.uniform(0.0, 0.03)),
        float(rng.uniform(0.04, 0.2)),
        float(rng.uniform(0.6, 1.2)),
        (float(tint[0]), float(tint[1]), float(tint[2])),
    )


def render(mesh: PartMesh, color: LDrawColor, scene: Scene, palette: Palette, options: SceneOptions) -> Array:
    """Render a scene.

    Args:
        mesh: The part.
        color: Its own colour.
        scene: What was drawn.
        palette: Other colours, photos.
        options: How finely.

    Returns:
        (size, size, 3) uint8 sRGB, before JPEG.

    Raises:
        UserError: numba is missing, or a background photo cannot be read.
    """
    light = render_light(mesh, color, scene, palette, options)
    return expose(light, scene.sensor)


def render_light(mesh: PartMesh, color: LDrawColor, scene: Scene, palette: Palette, options: SceneOptions) -> Array:
    """As ``render``, up to the camera: (size, size, 3) float32, linear, 1 is a white sheet in full light."""
    view = make_view(mesh, scene.pose)
    samples = options.size * options.supersample
    lens = view.lens(samples)
    camera = to_camera(mesh, view)
    plastic = material(color, scene.surface.rough, scene.surface.gloss)
    texture = ground_texture(scene.ground, palette.photo_folder)
    field = make_light_field(scene.lighting, texture.mean((0, 1)), options.lights)
    radius = float(mesh.radius)
    stage = make_stage(camera, view, field, radius, options.shadow_size, scene.seed & 0x7FFFFFFF)
    clear = bool(plastic.through.any())
    layers = draw_layers(camera, lens, samples, _DEEPEST if clear else 1)
    solid = layers[0].index >= 0
    nothing = np.zeros_like(solid)
    spread = (scene.ground.span * radius, float(np.radians(scene.ground.turn)))
    below = ground_light(stage, view, lens, nothing if clear else solid, texture, spread, plastic, radius)
    looks = np.array([scene.surface.bevel, scene.surface.relief, scene.surface.ripple])
    drawn = [_drawn(camera, layer, lens, looks, scene.seed) for layer in layers]
    if clear:
        light = shade_layers(stage, drawn, below, plastic)
    else:
        albedo = _albedo(mesh, plastic, palette, scene.surface, layers[0].index)
        mask, position, normal = drawn[0]
        light = shade_solid(stage, mask, position, normal, albedo, plastic.gloss, plastic.rough)
        light = np.where(solid[..., None], light, below)
    return np.asarray(cv2.resize(light, (options.size, options.size), interpolation=cv2.INTER_AREA))


def _drawn(camera: CameraMesh, layer: Layer, lens: Array, looks: Array, seed: int) -> tuple[Array, Array, Array]:
    position, normal = surface_samples(camera, layer, lens, looks, (stud_relief(), ripple(seed % 8)))
    return layer.index >= 0, position, normal


def _albedo(mesh: PartMesh, plastic: Material, palette: Palette, surface: Surface, index: Array) -> Array:
    """(H, W, 3) reflectance of what each sample sees."""
    codes, places = np.unique(mesh.colors, return_inverse=True)
    shade = np.array(surface.shade, np.float32)
    known = [
        plastic.albedo
        if code == INHERITED or int(code) not in palette.colors
        else material(palette.colors[int(code)]).albedo
        for code in codes
    ]
    table = np.minimum(np.stack(known) * shade, 0.96).astype(np.float32)
    if len(codes) == 1:
        return np.broadcast_to(table[0], (*index.shape, 3))
    return np.asarray(table[places.reshape(-1)[index]])


@lru_cache(maxsize=1)
def stud_relief() -> Array:
    """(64, 64, 2) float32: slopes along u and v of four raised letters on a stud's top."""
    scale = 4
    plate = np.zeros((_RELIEF_SIDE * scale, _RELIEF_SIDE * scale), np.uint8)
    (width, height), _ = cv2.getTextSize("LEGO", cv2.FONT_HERSHEY_DUPLEX, 2.2, 9)
    corner = ((plate.shape[1] - width) // 2, (plate.shape[0] + height) // 2)
    cv2.putText(plate, "LEGO", corner, cv2.FONT_HERSHEY_DUPLEX, 2.2, 255, 9, cv2.LINE_AA)
    raised = cv2.GaussianBlur(plate.astype(np.float32) / 255, (0, 0), 2.5)
    raised = cv2.resize(raised, (_RELIEF_SIDE, _RELIEF_SIDE), interpolation=cv2.INTER_AREA)
    slopes = np.stack([np.gradient(raised, axis=1), np.gradient(raised, axis=0)], -1)
    return np.ascontiguousarray((slopes * 2).astype(np.float32))


@lru_cache(maxsize=8)
def ripple(number: int) -> Array:
    """(256, 256, 2) float32: slopes of an uneven moulded surface, one of a few."""
    rng = np.random.default_rng(number)
    slopes = np.stack([noise(rng, (10, 10), octaves=3), noise(rng, (10, 10), octaves=3)], -1)
    return np.ascontiguousarray(slopes.astype(np.float32))
