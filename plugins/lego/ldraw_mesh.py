"""A part as arrays that can be rendered: triangles, smooth normals, rounded edges, stud tops, resting poses; cached.

Normals are smooth across an edge of two triangles unless a type-2 line lies on it or the faces meet at more than 60
degrees. Moulded edges are never sharp: where a type-2 line lies on an edge, the mean normal of its two faces is kept,
so that a renderer can bend the normal towards it close to the edge.
"""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError

from basicsr.engine.checkpoint import write_atomic
from plugins.lego.ldraw_library import text_hash
from plugins.lego.ldraw_parse import FlatPart, PartReader

Array = NDArray[Any]

FORMAT = 4
_MERGE = 0.02  # LDU: corners this close are one
_SMOOTH_COSINE = 0.5
_MIN_AREA = 1e-6
_STUD_RADIUS, _STUD_HEIGHT = 6.0, 4.0
_POSE_MERGE_COSINE = 0.999
_RAREST_POSE = 0.01
_EDGE_ENDS = np.array([[1, 2], [2, 0], [0, 1]])  # edge i lies opposite corner i


@dataclass(frozen=True)
class PartMesh:
    """A part in LDU, y up, its bounding box centred at the origin. float32 unless said otherwise.

    Attributes:
        corners: (F, 3, 3) corners of the triangles.
        normals: (F, 3, 3) unit normals at the corners.
        faces: (F, 3) unit normals of the triangles.
        bevels: (F, 3, 3) mean normal across the edge opposite each corner; zero where there is none.
        heights: (F, 3) distance of each corner from the edge opposite to it.
        colors: (F,) int32 LDraw codes; 16 is the part's own colour.
        stud_uv: (F, 3, 2) place on the top of a stud in units of its radius; only where ``stud_axes`` is not zero.
        stud_axes: (F, 2, 3) directions of u and v on a stud's top, else zero.
        poses: (P, 3) unit vectors that point down in the poses in which the part can rest.
        pose_weights: (P,) how likely each is, sum 1.
        radius: () of the bounding sphere round the origin.
    """

    corners: Array
    normals: Array
    faces: Array
    bevels: Array
    heights: Array
    colors: Array
    stud_uv: Array
    stud_axes: Array
    poses: Array
    pose_weights: Array
    radius: Array


def build_mesh(part: FlatPart) -> PartMesh:
    """Make a flattened part renderable."""
    corners = part.triangles * (1.0, -1.0, -1.0)  # y up; a half turn, so the winding stays
    low, high = corners.min((0, 1)), corners.max((0, 1))
    middle = (low + high) / 2
    corners = corners - middle
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1)
    keep = length > _MIN_AREA
    uv, axes = _stud_tops(corners, part, middle)
    corners, cross, length, uv, axes = corners[keep], cross[keep], length[keep], uv[keep], axes[keep]
    faces = cross / length[:, None]
    ends = part.edges * (1.0, -1.0, -1.0) - middle
    normals, bevels = _normals(corners, faces, ends)
    sides = np.linalg.norm(corners[:, _EDGE_ENDS[:, 1]] - corners[:, _EDGE_ENDS[:, 0]], axis=2)
    poses, weights = _resting_poses(corners, faces, length)
    real = np.float32
    return PartMesh(
        corners.astype(real),
        normals.astype(real),
        faces.astype(real),
        bevels.astype(real),
        (length[:, None] / np.maximum(sides, 1e-9)).astype(real),
        part.colors[keep],
        uv.astype(real),
        axes.astype(real),
        poses.astype(real),
        weights.astype(real),
        np.asarray(np.linalg.norm(corners, axis=2).max(), dtype=real),
    )


def _normals(corners: Array, faces: Array, ends: Array) -> tuple[Array, Array]:
    count = len(corners)
    points = np.concatenate([corners.reshape(-1, 3), ends.reshape(-1, 3)])
    _, ids = np.unique(np.round(points / _MERGE).astype(np.int64), axis=0, return_inverse=True)
    ids = ids.reshape(-1)
    vertex = ids[: count * 3].reshape(count, 3)
    total = int(ids.max()) + 1
    lined = ids[count * 3 :].reshape(-1, 2)
    hard = np.unique(lined.min(1) * total + lined.max(1))
    first, second = vertex[:, _EDGE_ENDS[:, 0]], vertex[:, _EDGE_ENDS[:, 1]]
    keys = (np.minimum(first, second) * total + np.maximum(first, second)).reshape(-1)
    pairs = _neighbours(keys)  # (P, 2) indices of half-edges: triangle * 3 + edge
    one, two = pairs // 3
    cosine = (faces[one] * faces[two]).sum(1)
    is_hard = np.isin(keys[pairs[0]], hard)
    smooth = ~is_hard & (cosine > _SMOOTH_COSINE)
    groups = _corner_groups(pairs[:, smooth], vertex, count)
    weight = _corner_angles(corners)
    sums = np.zeros((int(groups.max()) + 1, 3))
    np.add.at(sums, groups, (faces[:, None] * weight[:, :, None]).reshape(-1, 3))
    normals = sums[groups].reshape(count, 3, 3)
    norm = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = np.where(norm > 1e-6, normals / np.maximum(norm, 1e-9), faces[:, None])
    bevels = np.zeros((count * 3, 3))
    mean = faces[one] + faces[two]
    size = np.linalg.norm(mean, axis=1)
    use = is_hard & (size > 0.2) & (cosine < 0.999)
    for side in (0, 1):
        bevels[pairs[side, use]] = mean[use] / size[use, None]
    return normals, bevels.reshape(count, 3, 3)


def _neighbours(keys: Array) -> Array:
    """(2, P) pairs of half-edges with the same key; of more than two the neighbours in order are paired."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    return np.stack([order[:-1][same], order[1:][same]])


def _corner_groups(pairs: Array, vertex: Array, count: int) -> Array:
    """(3F,) number of the group of corners that share a normal."""
    links = []
    for a_end in (0, 1):
        corner = [half // 3 * 3 + _EDGE_ENDS[half % 3, a_end] for half in (pairs[0],)][0]
        here = vertex.reshape(-1)[corner]
        for b_end in (0, 1):
            other = pairs[1] // 3 * 3 + _EDGE_ENDS[pairs[1] % 3, b_end]
            match = vertex.reshape(-1)[other] == here
            links.append(np.stack([corner[match], other[match]]))
    link = np.concatenate(links, axis=1)
    graph = coo_matrix((np.ones(link.shape[1], dtype=bool), (link[0], link[1])), shape=(count * 3, count * 3))
    return np.asarray(connected_components(graph, directed=False)[1])


def _corner_angles(corners: Array) -> Array:
    ahead = corners[:, [1, 2, 0]] - corners
    back = corners[:, [2, 0, 1]] - corners
    scale = np.linalg.norm(ahead, axis=2) * np.linalg.norm(back, axis=2)
    angles: Array = np.arccos(np.clip((ahead * back).sum(2) / np.maximum(scale, 1e-12), -1, 1))
    return angles


def _stud_tops(corners: Array, part: FlatPart, middle: Array) -> tuple[Array, Array]:
    """Which triangles are the top of a stud, and where on it their corners lie."""
    uv, axes = np.zeros((len(corners), 3, 2)), np.zeros((len(corners), 2, 3))
    flip = np.array([1.0, -1.0, -1.0])
    for matrix, (start, stop) in zip(part.studs, part.stud_faces, strict=True):
        across, down, along = (matrix[:, axis] * flip for axis in range(3))
        lengths = [float(np.linalg.norm(axis)) for axis in (across, down, along)]
        if min(lengths) < 1e-6:
            continue
        offset = corners[start:stop] - (matrix[:, 3] * flip - middle - down * _STUD_HEIGHT)
        near = (np.abs(offset @ down) < 0.1 * lengths[1]).all(1)
        place = np.stack([offset @ across / lengths[0] ** 2, offset @ along / lengths[2] ** 2], -1) / _STUD_RADIUS
        uv[start:stop][near] = place[near]
        axes[start:stop][near] = np.stack([across / lengths[0], along / lengths[2]])
    return uv, axes


def _resting_poses(corners: Array, faces: Array, doubled_areas: Array) -> tuple[Array, Array]:
    """Downward directions of the stable faces of the convex hull, weighted by the solid angle that tips onto them.

    The centre of mass is taken as the centre of the surface, which suits thin-walled mouldings.
    """
    center = (corners.mean(1) * doubled_areas[:, None]).sum(0) / doubled_areas.sum()
    points = corners.reshape(-1, 3)
    try:
        hull = ConvexHull(points)
    except QhullError:  # flat part (sticker, cloth): lies on either side
        normal = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][2]
        return np.stack([normal, -normal]), np.array([0.5, 0.5])
    planes, points = hull.equations, points[hull.vertices]
    found: list[Array] = []
    weights: list[float] = []
    for plane in np.unique(np.round(planes, 4), axis=0):
        normal = plane[:3] / np.linalg.norm(plane[:3])
        if any(float(normal @ other) > _POSE_MERGE_COSINE for other in found):
            continue
        along = points @ normal
        margin, area = _support(points[along > along.max() - 0.05], normal, center)
        height = float(along.max() - center @ normal)
        if margin <= 0.02 * np.sqrt(area) or height <= 0:
            continue
        found.append(normal)
        weights.append(area / (area + height**2 * 4))  # about the solid angle of the face seen from the centre
    if not found:
        return np.array([[0.0, -1.0, 0.0]]), np.ones(1)
    chance = np.array(weights) / np.sum(weights)
    steady = chance >= min(_RAREST_POSE, float(chance.max()))
    return np.stack(found)[steady], chance[steady] / chance[steady].sum()


def _support(points: Array, normal: Array, center: Array) -> tuple[float, float]:
    """How far the centre's foot lies inside the supporting polygon (negative: outside), and the polygon's area."""
    helper = np.eye(3)[np.argmin(np.abs(normal))]
    u = np.cross(normal, helper)
    u /= np.linalg.norm(u)
    plane = np.stack([points @ u, points @ np.cross(normal, u)], -1)
    foot = np.array([center @ u, center @ np.cross(normal, u)])
    try:
        hull = ConvexHull(plane)
    except QhullError:
        return -1.0, 0.0
    return float(-(hull.equations[:, :2] @ foot + hull.equations[:, 2]).max()), float(hull.volume)


def load_mesh(reader: PartReader, part: str, cache: Path | None = None) -> PartMesh:
    """A part's mesh, from the cache where it is there.

    Args:
        reader: The library's reader.
        part: The part's id.
        cache: Folder for ``<part>-<hash>.npz``; no cache if None. The hash names the text of the part's own file and
            the library's path.

    Raises:
        UserError: The part cannot be read (see ``PartReader.read``), or the cache cannot be written.
    """
    text = reader.library.text(reader.library.part_key(part))
    name = f"{part.lower().removesuffix('.dat')}-{text_hash(f'{FORMAT} {reader.library.path} {text}')}.npz"
    if cache is not None:
        # a cache that is cut off or of another make is made anew
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            with np.load(cache / name, allow_pickle=False) as stored:
                return PartMesh(**{field.name: stored[field.name] for field in fields(PartMesh)})
    mesh = build_mesh(reader.read(part))
    if cache is not None:
        arrays = {field.name: getattr(mesh, field.name) for field in fields(PartMesh)}
        write_atomic(cache / name, lambda file: np.savez(file, **arrays))
    return mesh
