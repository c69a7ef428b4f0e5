#!/usr/bin/env python
"""How fast LEGO parts are rendered, in pictures per CPU-second, beside a z-buffer in plain numpy in the same run.

    python benchmarks/lego_render.py --ldraw ldraw/ --out benchmarks/results/lego_render.md

All on one core, pictures of 224 pixels with 2x2 samples a pixel. The z-buffers draw the same views and must agree. The
clock is CPU time, which other programs on the machine disturb less than wall time; read the ratios first.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from basicsr.engine.cli import positive, run_main, writing  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.lego.ldraw_colors import builtin_colors  # noqa: E402
from plugins.lego.ldraw_library import open_library  # noqa: E402
from plugins.lego.ldraw_mesh import PartMesh, build_mesh  # noqa: E402
from plugins.lego.ldraw_parse import PartReader  # noqa: E402
from plugins.lego.render_camera import make_view  # noqa: E402
from plugins.lego.render_raster import CameraMesh, draw_layers, surface_samples, to_camera  # noqa: E402
from plugins.lego.render_scene import (  # noqa: E402
    QUALITIES,
    Palette,
    Scene,
    SceneOptions,
    render,
    ripple,
    sample_scene,
    scene_seed,
    stud_relief,
)
from plugins.lego.render_sensor import encode_jpeg  # noqa: E402

PARTS = "3001,3003,3020,3040,3298,4733,2877,87087,6091,4032a"
SOLID, CLEAR = 4, 47


def numpy_buffer(mesh: CameraMesh, lens: Any, size: int) -> Any:
    """The reference: a loop over triangles, numpy over the pixels of each one's box. (size, size) 1/z."""
    inverse = 1 / mesh.corners[..., 2]
    points = mesh.corners[..., :2] * inverse[..., None] * lens[0] + lens[1:3]
    depth = np.zeros((size, size))
    for corners, z in zip(points, inverse, strict=True):
        low = np.maximum(np.ceil(corners.min(0) - 0.5), 0).astype(int)
        high = np.minimum(np.floor(corners.max(0) - 0.5), size - 1).astype(int)
        if (high < low).any():
            continue
        (x0, y0), (x1, y1), (x2, y2) = corners
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        dx = np.arange(low[0], high[0] + 1) + 0.5 - x0
        dy = (np.arange(low[1], high[1] + 1) + 0.5 - y0)[:, None]
        w1 = ((y2 - y0) * dx + (x0 - x2) * dy) / area
        w2 = ((y0 - y1) * dx + (x1 - x0) * dy) / area
        new = np.where((w1 >= 0) & (w2 >= 0) & (w1 + w2 <= 1), z[0] + w1 * (z[1] - z[0]) + w2 * (z[2] - z[0]), 0)
        box = depth[low[1] : high[1] + 1, low[0] : high[0] + 1]
        np.maximum(box, new, out=box)
    return depth


def cpu_seconds(work: Callable[[int], object], count: int) -> float:
    """CPU seconds of one call, the middle of all; a first call is not counted."""
    work(0)
    times = []
    for number in range(count):
        start = time.process_time()
        work(number)
        times.append(time.process_time() - start)
    return float(np.median(times))


def measure(meshes: dict[str, PartMesh], count: int) -> dict[str, float]:
    """CPU seconds a picture of each way."""
    palette = Palette(builtin_colors())
    names = list(meshes)
    options = SceneOptions()
    samples = options.size * options.supersample

    def scene_of(number: int) -> tuple[PartMesh, Scene]:
        name = names[number % len(names)]
        return meshes[name], sample_scene(meshes[name], palette, options, scene_seed(0, name, SOLID, number))

    def view_of(number: int) -> tuple[CameraMesh, Any]:
        mesh, scene = scene_of(number)
        view = make_view(mesh, scene.pose)
        return to_camera(mesh, view), view.lens(samples)

    def plain(number: int) -> Any:
        camera, lens = view_of(number)
        layer = draw_layers(camera, lens, samples)[0]
        _, normal = surface_samples(camera, layer, lens, np.array([0.6, 0.5, 0.0]), (stud_relief(), ripple(0)))
        light = np.maximum(normal @ np.array([-0.4, -0.7, -0.59], np.float32), 0) * 0.7 + 0.3 * (layer.index >= 0)
        return cv2.resize(light, (options.size, options.size), interpolation=cv2.INTER_AREA)

    def whole(quality: str, code: int) -> Callable[[int], object]:
        chosen = SceneOptions(**QUALITIES[quality])

        def work(number: int) -> object:
            mesh, scene = scene_of(number)
            pixels = render(mesh, palette.colors[code], scene, palette, chosen)
            return encode_jpeg(pixels, scene.sensor.quality)

        return work

    check(*view_of(1), samples)
    return {
        "z-buffer, plain numpy": cpu_seconds(lambda n: numpy_buffer(*view_of(n), samples), max(3, count // 4)),
        "z-buffer": cpu_seconds(lambda n: draw_layers(*view_of(n), samples), count),
        "z-buffer, normals, bevels, matt shading": cpu_seconds(plain, count),
        "whole picture, --quality plain": cpu_seconds(whole("plain", SOLID), count),
        "whole picture, --quality full": cpu_seconds(whole("full", SOLID), count),
        "whole picture, --quality full, see-through": cpu_seconds(whole("full", CLEAR), count),
    }


def check(camera: CameraMesh, lens: Any, samples: int) -> None:
    """Both z-buffers see the same."""
    ours, reference = draw_layers(camera, lens, samples)[0].depth, numpy_buffer(camera, lens, samples)
    off = np.abs(ours - reference) > 1e-3 * reference.max()
    if off.mean() > 1e-3:
        raise UserError(f"the z-buffers disagree on {off.mean():.2%} of the samples.")


def report(seconds: dict[str, float], parts: int, triangles: float) -> str:
    """The table."""
    base = seconds["z-buffer, plain numpy"]
    lines = [
        "# Rendering LEGO parts", "",
        f"`python benchmarks/lego_render.py`; 224 x 224 pixels, 2 x 2 samples each, one core, {parts} "
        f"parts of {triangles:.0f} triangles on average. CPU time.", "",
        "| | ms a picture | pictures a CPU-second | speed, plain numpy z-buffer = 1 |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, value in seconds.items():
        lines.append(f"| {name} | {value * 1e3:.1f} | {1 / value:.1f} | {base / value:.1f} |")
    lines += [
        "",
        "A whole picture has 48 lights with a shadow map each (16 with `plain`), light bounced between walls, gloss, a "
        "textured ground with the part's shadow, and the camera: veil, blur, noise, tone curve, JPEG.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ldraw", required=True, type=Path, help="LDraw folder or archive")
    parser.add_argument("--parts", default=PARTS, help="ids with commas")
    parser.add_argument("--count", type=positive, default=30, help="pictures of each kind (default 30)")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    reader = PartReader(open_library(args.ldraw))
    known = [part for part in args.parts.split(",") if reader.library.find(f"{part}.dat")]
    meshes = {part: build_mesh(reader.read(part)) for part in known}
    if not meshes:
        raise UserError(f"{args.ldraw}: has none of the parts {args.parts}.")
    text = report(
        measure(meshes, args.count), len(meshes), float(np.mean([len(mesh.corners) for mesh in meshes.values()]))
    )
    print(text)
    if args.out:
        with writing(str(args.out)):
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
