"""Meshes into sample buffers: the lazily imported kernels, the camera's projection, layers of see-through parts."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.engine.errors import UserError
from plugins.lego.ldraw_mesh import PartMesh
from plugins.lego.render_camera import View

Array = NDArray[Any]
_NEAR = 1e-3


def kernels() -> ModuleType:
    """The compiled loops.

    Raises:
        UserError: numba is not installed.
    """
    try:
        return importlib.import_module("plugins.lego.render_kernels")
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        raise UserError("rendering needs numba, which is not installed: pip install 'basicsr[lego]'.") from error


@dataclass(frozen=True)
class CameraMesh:
    """A mesh in the camera's frame (x right, y down, z forward), float32; fields as in ``PartMesh``."""

    corners: Array
    normals: Array
    faces: Array
    bevels: Array
    heights: Array
    stud_uv: Array
    stud_axes: Array
    middle: Array


@dataclass(frozen=True)
class Layer:
    """One layer of surfaces: (H, W) int32 number of the triangle, -1 where there is none, and (H, W) 1/z."""

    index: Array
    depth: Array


def to_camera(mesh: PartMesh, view: View) -> CameraMesh:
    """Turn a mesh as the view says and move it in front of the camera."""
    turn = (view.camera @ view.turn).astype(np.float32)
    middle = (view.camera @ -view.eye).astype(np.float32)

    def turned(vectors: Array) -> Array:
        return np.ascontiguousarray(vectors @ turn.T)

    return CameraMesh(
        turned(mesh.corners) + middle, turned(mesh.normals), turned(mesh.faces), turned(mesh.bevels),
        mesh.heights, mesh.stud_uv, turned(mesh.stud_axes), middle,
    )  # fmt: skip


def draw_layers(mesh: CameraMesh, lens: Array, size: int, count: int = 1) -> list[Layer]:
    """What each sample sees: the nearest surface, and those behind it.

    Args:
        mesh: In the camera's frame.
        lens: (3,) focal length, column and row of the axis, in samples.
        size: Height and width in samples.
        count: Most layers; fewer come back where nothing is left behind.

    Returns:
        Layers, nearest first; at least one.
    """
    module = kernels()
    inverse = 1 / np.maximum(mesh.corners[..., 2:], _NEAR)
    points = np.concatenate([mesh.corners[..., :2] * inverse * lens[0] + lens[1:3], inverse], -1).astype(np.float32)
    layers: list[Layer] = []
    behind = np.zeros((size, size), np.float32)
    for number in range(count):
        depth = np.zeros((size, size), np.float32)
        index = np.full((size, size), -1, np.int32)
        module.raster(points, depth, index, behind, number > 0)
        if number and not (index >= 0).any():
            break
        layers.append(Layer(index, depth))
        behind = depth * np.float32(1 - 2e-4)  # a surface does not lie behind itself
    return layers


def surface_samples(mesh: CameraMesh, layer: Layer, lens: Array, looks: Array, maps: tuple[Array, Array]) -> Any:
    """Where each sample lies and which way it looks.

    Args:
        mesh: In the camera's frame.
        layer: Which triangle each sample sees.
        lens: As in ``draw_layers``.
        looks: (3,) bevel radius in LDU, strength of the stud relief, strength of the ripple.
        maps: The relief's and the ripple's slopes.

    Returns:
        Two arrays (H, W, 3) float32: position and normal, zero where there is no surface.
    """
    shape = (*layer.index.shape, 3)
    position, normal = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    kernels().surfaces(
        layer.index, mesh.corners, mesh.normals, mesh.faces, mesh.bevels, mesh.heights, mesh.stud_uv, mesh.stud_axes,
        maps[0], maps[1], lens.astype(np.float32), looks.astype(np.float32), position, normal,
    )  # fmt: skip
    return position, normal
