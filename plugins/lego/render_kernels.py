"""Compiled loops of the renderer: z-buffers, shadow maps, and the light that leaves each sample.

Importing this module imports numba (extra ``lego``); ``render_raster.kernels()`` does so with a clear error. Vectors
are in the camera's frame: x right, y down, z forward. Buffers hold 1/z, so that larger is nearer and 0 is empty.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit


def _jit(function: Any) -> Any:
    """Compile, keeping the result in ``__pycache__`` or the user's cache folder where one of them can be written."""
    options: dict[str, Any] = {
        "nogil": True,
        "fastmath": {"contract", "reassoc", "arcp", "nsz"},
        "error_model": "numpy",
    }
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(**options)(function)


@_jit
def raster(points: Any, depth: Any, index: Any, behind: Any, peel: bool) -> None:
    """Draw triangles into a z-buffer, in place.

    Args:
        points: (F, 3, 3) float32: column, row and 1/z of each corner, pixel centres at .5.
        depth: (H, W) float32, 1/z of the nearest surface so far.
        index: (H, W) int32, number of the nearest triangle, -1 where there is none.
        behind: (H, W) float32: with ``peel`` only surfaces farther than this are drawn.
        peel: Whether to look at ``behind``.
    """
    height, width = depth.shape
    for face in range(points.shape[0]):
        x0, y0, z0 = points[face, 0, 0], points[face, 0, 1], points[face, 0, 2]
        x1, y1, z1 = points[face, 1, 0], points[face, 1, 1], points[face, 1, 2]
        x2, y2, z2 = points[face, 2, 0], points[face, 2, 1], points[face, 2, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        left = max(0, int(math.ceil(min(x0, x1, x2) - 0.5)))
        right = min(width - 1, int(math.floor(max(x0, x1, x2) - 0.5)))
        top = max(0, int(math.ceil(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(math.floor(max(y0, y1, y2) - 0.5)))
        scale = np.float32(1.0) / area
        a1, b1 = (y2 - y0) * scale, (x0 - x2) * scale  # weight of corner 1 over columns and rows
        a2, b2 = (y0 - y1) * scale, (x1 - x0) * scale
        for row in range(top, bottom + 1):
            dy = row + np.float32(0.5) - y0
            dx = left + np.float32(0.5) - x0
            w1 = a1 * dx + b1 * dy
            w2 = a2 * dx + b2 * dy
            for column in range(left, right + 1):
                if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                    z = z0 + w1 * (z1 - z0) + w2 * (z2 - z0)
                    if z > depth[row, column] and (not peel or z < behind[row, column]):
                        depth[row, column] = z
                        index[row, column] = face
                w1 += a1
                w2 += a2


@_jit
def shadow_maps(corners: Any, frames: Any, scale: float, maps: Any) -> None:
    """Draw what each distant light sees, from the front, in parallel projection.

    Args:
        corners: (F, 3, 3) float32, relative to the middle of the part.
        frames: (L, 3, 3) float32: rows are the right, the down and the towards-the-light direction of each light.
        scale: Texels a unit of length.
        maps: (L, S, S) float32, filled with the height towards the light of the nearest surface; -1e9 is empty.
    """
    size = maps.shape[1]
    half = np.float32(size * 0.5)
    for light in range(frames.shape[0]):
        frame, plane = frames[light], maps[light]
        plane[:] = -1e9
        for face in range(corners.shape[0]):
            xs0, ys0, zs0 = _project(frame, corners[face, 0], scale, half)
            xs1, ys1, zs1 = _project(frame, corners[face, 1], scale, half)
            xs2, ys2, zs2 = _project(frame, corners[face, 2], scale, half)
            area = (xs1 - xs0) * (ys2 - ys0) - (xs2 - xs0) * (ys1 - ys0)
            if abs(area) < 1e-6:
                continue
            left = max(0, int(math.ceil(min(xs0, xs1, xs2) - 0.5)))
            right = min(size - 1, int(math.floor(max(xs0, xs1, xs2) - 0.5)))
            top = max(0, int(math.ceil(min(ys0, ys1, ys2) - 0.5)))
            bottom = min(size - 1, int(math.floor(max(ys0, ys1, ys2) - 0.5)))
            inverse = np.float32(1.0) / area
            a1, b1 = (ys2 - ys0) * inverse, (xs0 - xs2) * inverse
            a2, b2 = (ys0 - ys1) * inverse, (xs1 - xs0) * inverse
            for row in range(top, bottom + 1):
                dy = row + np.float32(0.5) - ys0
                dx = left + np.float32(0.5) - xs0
                w1 = a1 * dx + b1 * dy
                w2 = a2 * dx + b2 * dy
                for column in range(left, right + 1):
                    if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                        z = zs0 + w1 * (zs1 - zs0) + w2 * (zs2 - zs0)
                        if z > plane[row, column]:
                            plane[row, column] = z
                    w1 += a1
                    w2 += a2


@_jit
def _project(frame: Any, point: Any, scale: float, half: float) -> Any:
    x = frame[0, 0] * point[0] + frame[0, 1] * point[1] + frame[0, 2] * point[2]
    y = frame[1, 0] * point[0] + frame[1, 1] * point[1] + frame[1, 2] * point[2]
    z = frame[2, 0] * point[0] + frame[2, 1] * point[1] + frame[2, 2] * point[2]
    return x * scale + half, y * scale + half, z


@_jit
def surfaces(
    index: Any, corners: Any, normals: Any, faces: Any, bevels: Any, heights: Any, stud_uv: Any, stud_axes: Any,
    relief: Any, ripple: Any, lens: Any, looks: Any, position: Any, normal: Any,
) -> None:  # fmt: skip
    """Where each sample lies and which way its surface looks, in place.

    Args:
        index: (H, W) int32 of ``raster``.
        corners, normals, faces, bevels, heights, stud_uv, stud_axes: The mesh in the camera's frame, float32.
        relief: (R, R, 2) slope of the relief on stud tops along u and v.
        ripple: (N, N, 2) slopes of the uneven surface of mouldings, tiled.
        lens: (4,) focal length in samples, column and row of the axis, unused.
        looks: (3,) bevel radius in LDU, strength of the relief, strength of the ripple.
        position: (H, W, 3) float32, written where there is a surface.
        normal: (H, W, 3) float32, unit, towards the camera; likewise.
    """
    height, width = index.shape
    size, tiles = relief.shape[0], ripple.shape[0]
    for row in range(height):
        for column in range(width):
            f = index[row, column]
            if f < 0:
                continue
            dx = (column + np.float32(0.5) - lens[1]) / lens[0]
            dy = (row + np.float32(0.5) - lens[2]) / lens[0]
            nx, ny, nz = faces[f, 0], faces[f, 1], faces[f, 2]
            p0 = corners[f, 0]
            facing = nx * dx + ny * dy + nz
            if abs(facing) < 1e-6:
                facing = np.float32(1e-6)
            z = (nx * p0[0] + ny * p0[1] + nz * p0[2]) / facing
            px, py, pz = dx * z, dy * z, z
            # barycentric weights from the distances to the edges
            e1x, e1y, e1z = corners[f, 1, 0] - p0[0], corners[f, 1, 1] - p0[1], corners[f, 1, 2] - p0[2]
            e2x, e2y, e2z = corners[f, 2, 0] - p0[0], corners[f, 2, 1] - p0[1], corners[f, 2, 2] - p0[2]
            qx, qy, qz = px - p0[0], py - p0[1], pz - p0[2]
            d11 = e1x * e1x + e1y * e1y + e1z * e1z
            d12 = e1x * e2x + e1y * e2y + e1z * e2z
            d22 = e2x * e2x + e2y * e2y + e2z * e2z
            q1 = qx * e1x + qy * e1y + qz * e1z
            q2 = qx * e2x + qy * e2y + qz * e2z
            bottom = d11 * d22 - d12 * d12
            if bottom < 1e-12:
                bottom = np.float32(1e-12)
            w1 = min(max((d22 * q1 - d12 * q2) / bottom, np.float32(0)), np.float32(1))
            w2 = min(max((d11 * q2 - d12 * q1) / bottom, np.float32(0)), np.float32(1))
            w0 = max(np.float32(1) - w1 - w2, np.float32(0))
            sx = w0 * normals[f, 0, 0] + w1 * normals[f, 1, 0] + w2 * normals[f, 2, 0]
            sy = w0 * normals[f, 0, 1] + w1 * normals[f, 1, 1] + w2 * normals[f, 2, 1]
            sz = w0 * normals[f, 0, 2] + w1 * normals[f, 1, 2] + w2 * normals[f, 2, 2]
            for edge in range(3):
                weight = w0 if edge == 0 else (w1 if edge == 1 else w2)
                distance = weight * heights[f, edge]
                bx, by, bz = bevels[f, edge, 0], bevels[f, edge, 1], bevels[f, edge, 2]
                if distance < looks[0] and bx * bx + by * by + bz * bz > 0.1:
                    bend = np.float32(1) - distance / looks[0]
                    sx, sy, sz = sx + bend * (bx - sx), sy + bend * (by - sy), sz + bend * (bz - sz)
            ax, ay, az = stud_axes[f, 0, 0], stud_axes[f, 0, 1], stud_axes[f, 0, 2]
            if ax * ax + ay * ay + az * az > 0.1:
                u = w0 * stud_uv[f, 0, 0] + w1 * stud_uv[f, 1, 0] + w2 * stud_uv[f, 2, 0]
                v = w0 * stud_uv[f, 0, 1] + w1 * stud_uv[f, 1, 1] + w2 * stud_uv[f, 2, 1]
                i = min(max(int((v * 0.5 + 0.5) * size), 0), size - 1)
                j = min(max(int((u * 0.5 + 0.5) * size), 0), size - 1)
                gu, gv = relief[i, j, 0] * looks[1], relief[i, j, 1] * looks[1]
                sx -= gu * ax + gv * stud_axes[f, 1, 0]
                sy -= gu * ay + gv * stud_axes[f, 1, 1]
                sz -= gu * az + gv * stud_axes[f, 1, 2]
            s, t = (px + 0.5 * pz) * 1.3, (py - 0.4 * pz) * 1.3
            i, j = int(math.floor(s)) % tiles, int(math.floor(t)) % tiles
            sx += ripple[i, j, 0] * looks[2]
            sy += ripple[i, j, 1] * looks[2]
            length = math.sqrt(sx * sx + sy * sy + sz * sz)
            if facing > 0:  # seen from behind: an inner side, or a file without stated winding
                length = -length
            if abs(length) < 1e-6:
                length = 1.0
            position[row, column, 0], position[row, column, 1], position[row, column, 2] = px, py, pz
            normal[row, column, 0] = sx / length
            normal[row, column, 1] = sy / length
            normal[row, column, 2] = sz / length


@_jit
def irradiance(
    mask: Any, position: Any, normal: Any, middle: Any, directions: Any, weights: Any, frames: Any, scale: float,
    maps: Any, bias: float, order: Any, lit: Any, blocked: Any,
) -> None:  # fmt: skip
    """Light that arrives at each sample, and the light that the part itself keeps from it, in place.

    Each sample of a 2x2 block looks at another quarter of the lights; the mean over the block has seen all of them.

    Args:
        mask: (H, W) bool: where to compute.
        position, normal: (H, W, 3) float32.
        middle: (3,) of the part.
        directions: (L, 3) towards the lights; L is a multiple of 4.
        weights: (L, 3) irradiance that each light gives a surface that faces it.
        frames, scale, maps: As in ``shadow_maps``.
        bias: How far a sample is lifted along its normal before it is compared, in LDU.
        order: (J, 2) float32 offsets in texels, taken in turn: soft borders.
        lit: (H, W, 3) float32, light that arrives.
        blocked: (H, W, 3) float32, light that would arrive if the part were not in the way.
    """
    height, width = mask.shape
    lights, size = directions.shape[0], maps.shape[1]
    half = np.float32(size * 0.5)
    turns = order.shape[0]
    for row in range(height):
        for column in range(width):
            if not mask[row, column]:
                continue
            nx, ny, nz = normal[row, column, 0], normal[row, column, 1], normal[row, column, 2]
            qx = position[row, column, 0] - middle[0] + nx * bias
            qy = position[row, column, 1] - middle[1] + ny * bias
            qz = position[row, column, 2] - middle[2] + nz * bias
            r0 = g0 = b0 = r1 = g1 = b1 = np.float32(0)
            turn = (row * 31 + column * 17 + (row * column) % 13) % turns
            for light in range((row % 2) * 2 + column % 2, lights, 4):
                cosine = nx * directions[light, 0] + ny * directions[light, 1] + nz * directions[light, 2]
                if cosine <= 0:
                    continue
                frame = frames[light]
                turn = turn + 1 if turn + 1 < turns else 0
                x = (frame[0, 0] * qx + frame[0, 1] * qy + frame[0, 2] * qz) * scale + half + order[turn, 0]
                y = (frame[1, 0] * qx + frame[1, 1] * qy + frame[1, 2] * qz) * scale + half + order[turn, 1]
                free = True
                if x >= 0 and y >= 0 and x < size and y < size:
                    z = frame[2, 0] * qx + frame[2, 1] * qy + frame[2, 2] * qz
                    free = maps[light, int(y), int(x)] <= z + bias
                r, g, b = weights[light, 0] * cosine, weights[light, 1] * cosine, weights[light, 2] * cosine
                if free:
                    r0, g0, b0 = r0 + r, g0 + g, b0 + b
                else:
                    r1, g1, b1 = r1 + r, g1 + g, b1 + b
            lit[row, column, 0], lit[row, column, 1], lit[row, column, 2] = 4 * r0, 4 * g0, 4 * b0
            blocked[row, column, 0], blocked[row, column, 1], blocked[row, column, 2] = 4 * r1, 4 * g1, 4 * b1


@_jit
def reflections(
    mask: Any, position: Any, normal: Any, up: Any, sky: Any, ground: Any, lamp_directions: Any, lamp_shapes: Any,
    lamp_radiance: Any, blur: float, mirrored: Any, slant: Any,
) -> None:  # fmt: skip
    """What a mirror at each sample would show, and the cosine of the view, in place.

    Args:
        mask, position, normal: As in ``irradiance``; the camera is the origin.
        up: (3,) unit, away from the ground.
        sky: (2, 3) radiance at the horizon and overhead.
        ground: (3,) radiance of the ground.
        lamp_directions: (A, 3) unit, towards the middle of each area light.
        lamp_shapes: (A,) angular radius in radians.
        lamp_radiance: (A, 3).
        blur: Softness of the lamps' outlines in radians: the surface's roughness.
        mirrored: (H, W, 3) float32.
        slant: (H, W) float32, cosine between normal and view.
    """
    height, width = mask.shape
    for row in range(height):
        for column in range(width):
            if not mask[row, column]:
                continue
            px, py, pz = position[row, column, 0], position[row, column, 1], position[row, column, 2]
            far = np.float32(1) / math.sqrt(px * px + py * py + pz * pz)
            vx, vy, vz = px * far, py * far, pz * far
            nx, ny, nz = normal[row, column, 0], normal[row, column, 1], normal[row, column, 2]
            toward = vx * nx + vy * ny + vz * nz
            slant[row, column] = min(max(-toward, np.float32(0.02)), np.float32(1))
            rx, ry, rz = vx - 2 * toward * nx, vy - 2 * toward * ny, vz - 2 * toward * nz
            rise = rx * up[0] + ry * up[1] + rz * up[2]
            above = min(max(rise * 4 + np.float32(0.5), np.float32(0)), np.float32(1))
            high = min(max(rise, np.float32(0)), np.float32(1))
            for channel in range(3):
                dome = sky[0, channel] + (sky[1, channel] - sky[0, channel]) * high
                mirrored[row, column, channel] = ground[channel] + above * (dome - ground[channel])
            for lamp in range(lamp_directions.shape[0]):
                near = rx * lamp_directions[lamp, 0] + ry * lamp_directions[lamp, 1] + rz * lamp_directions[lamp, 2]
                angle = math.acos(min(max(near, np.float32(-1)), np.float32(1)))
                share = (lamp_shapes[lamp] - angle) / blur * np.float32(0.5) + np.float32(0.5)
                if share > 0:
                    share = min(share, np.float32(1))
                    share = share * share * (3 - 2 * share)
                    for channel in range(3):
                        mirrored[row, column, channel] += share * lamp_radiance[lamp, channel]
