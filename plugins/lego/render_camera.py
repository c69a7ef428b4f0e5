"""How a part lies and from where it is seen.

The world has y up and the part's middle at its origin; the ground lies below. A part rests on a stable face of its
convex hull, likelier on large low ones, or is held in any pose with the ground somewhere below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugins.lego.ldraw_mesh import PartMesh

Array = NDArray[Any]

ANY_POSE = -1
_STEEP = 65.0


@dataclass(frozen=True)
class Pose:
    """What is drawn for a view: all that ``make_view`` needs beside the mesh.

    Attributes:
        rest: Number of the resting pose, or ``ANY_POSE``.
        quaternion: (4,) rotation for ``ANY_POSE``.
        azimuth: Turn on the ground, in degrees.
        elevation: Height of the camera over the horizon, in degrees; 90 looks straight down.
        roll: Turn of the camera about its axis, in degrees.
        field: Angle that the part's bounding sphere fills, in degrees: small is far away with a long lens.
        fill: Longer side of the part's outline, as a share of the frame.
        shift: (2,) place of the outline in the free room, -1 to 1.
        lift: Room between part and ground, in bounding radii.
    """

    rest: int
    quaternion: tuple[float, float, float, float]
    azimuth: float
    elevation: float
    roll: float
    field: float
    fill: float
    shift: tuple[float, float]
    lift: float


@dataclass(frozen=True)
class View:
    """A pose worked out for one mesh.

    Attributes:
        turn: (3, 3) of the part, in the world.
        camera: (3, 3) rows right, down and forward of the camera, in the world.
        eye: (3,) place of the camera.
        ground: Height of the ground (negative).
        focal: Focal length in frame widths.
        center: (2,) column and row of the camera's axis, in frame widths.
    """

    turn: Array
    camera: Array
    eye: Array
    ground: float
    focal: float
    center: tuple[float, float]

    def lens(self, samples: int) -> Array:
        """(3,) focal length, column and row of the axis for a frame of so many samples."""
        return np.array([self.focal, *self.center]) * samples


def sample_pose(mesh: PartMesh, rng: np.random.Generator, any_pose: float = 0.12) -> Pose:
    """Draw a pose and a camera.

    Args:
        mesh: The part.
        rng: The source of chance.
        any_pose: Share of poses that no ground could hold.
    """
    free = rng.random() < any_pose
    rest = ANY_POSE if free else _draw(mesh.pose_weights, rng)
    quaternion = rng.normal(size=4)
    quaternion /= np.linalg.norm(quaternion)
    above = rng.random() < 0.35
    elevation = rng.uniform(_STEEP, 89.0) if above else rng.uniform(18.0, _STEEP)
    spread = 180.0 if elevation > _STEEP else 12.0
    # tight crops are commoner than loose ones; a few cut into the part
    fill = rng.uniform(0.78, 1.03) if rng.random() < 0.75 else rng.uniform(0.45, 0.8)
    return Pose(
        rest,
        (float(quaternion[0]), float(quaternion[1]), float(quaternion[2]), float(quaternion[3])),
        float(rng.uniform(0, 360)),
        float(elevation),
        float(rng.uniform(-spread, spread)),
        float(rng.uniform(6.0, 40.0)),
        float(fill),
        (float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
        float(rng.uniform(0, 0.6)) if free and rng.random() < 0.5 else 0.0,
    )


def _draw(weights: Array, rng: np.random.Generator) -> int:
    chance = np.sqrt(np.asarray(weights, dtype=np.float64))  # rare poses are seen too
    chance /= chance.sum()
    return min(int(np.searchsorted(np.cumsum(chance), rng.random())), len(chance) - 1)


def make_view(mesh: PartMesh, pose: Pose) -> View:
    """Work a pose out for a mesh."""
    if pose.rest == ANY_POSE:
        turn = _from_quaternion(pose.quaternion)
    else:
        turn = _onto(np.asarray(mesh.poses[pose.rest % len(mesh.poses)], dtype=np.float64))
    turn = _about_y(np.radians(pose.azimuth)) @ turn
    points = mesh.corners.reshape(-1, 3) @ turn.T
    radius = float(mesh.radius)
    ground = float(points[:, 1].min()) - pose.lift * radius
    elevation, roll = np.radians(pose.elevation), np.radians(pose.roll)
    backward = np.array([0.0, np.sin(elevation), np.cos(elevation)])
    right = np.array([1.0, 0.0, 0.0])
    down = np.array([0.0, -np.cos(elevation), np.sin(elevation)])
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    eye = backward * radius / np.sin(np.radians(pose.field) / 2)
    camera = np.stack([right, down, -backward])
    seen = (points - eye) @ camera.T
    outline = seen[:, :2] / seen[:, 2:]
    low, high = outline.min(0), outline.max(0)
    extent = np.maximum(high - low, 1e-6)
    focal = pose.fill / float(extent.max())
    room = np.abs(1 - extent * focal) / 2
    middle = 0.5 + np.array(pose.shift) * room * 0.8
    center = middle - (low + high) / 2 * focal
    return View(turn, camera, eye, ground, focal, (float(center[0]), float(center[1])))


def _from_quaternion(q: tuple[float, float, float, float]) -> Array:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _onto(direction: Array) -> Array:
    """A rotation that takes a direction to straight down."""
    direction = direction / np.linalg.norm(direction)
    down = np.array([0.0, -1.0, 0.0])
    cosine = float(direction @ down)
    if cosine < -0.9999:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.cross(direction, down)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn: Array = np.eye(3) + skew + skew @ skew / (1 + cosine)
    return turn


def _about_y(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
