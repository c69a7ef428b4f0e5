#!/usr/bin/env python
"""How many 256-crops a second come from photographs of 3300x2200, against upstream's PairedImageDataset.

    python benchmarks/data_loading.py
    python benchmarks/data_loading.py --upstream-python ENV/bin/python --write benchmarks/results/data_loading.md

The photo-like pairs are made in a temporary folder and removed. ``--upstream-python`` is a Python with basicsr==1.4.2
installed (see benchmarks/engine.py for how to make one); it runs as a child process, in turns with ours, on the same
files. One process, one thread; the figures are medians over the rounds. On a busy machine trust the CPU
seconds, not the wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import types
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH, CROP = 2200, 3300, 256


def photo_like(seed: int) -> np.ndarray:
    """Noise of all sizes, lit unevenly, with edges and a little grain: compresses about like a camera's picture."""
    rng = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for size, strength in ((4, 70), (16, 35), (64, 18), (256, 7), (1024, 3)):
        noise = rng.normal(0, strength, (size * 2 // 3 + 1, size, 3)).astype(np.float32)
        image += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        corner, other = (rng.integers(0, (WIDTH, HEIGHT)) for _ in range(2))
        cv2.rectangle(image, corner.tolist(), other.tolist(), rng.normal(0, 60, 3).tolist(), int(rng.integers(1, 12)))
    image += 120 + rng.normal(0, 1.5, image.shape).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def make_files(folder: Path, pairs: int) -> None:
    from PIL import Image

    for i in range(pairs):
        gt = photo_like(i)
        for half, image in (("gt", gt), ("lq", (gt * 0.7).astype(np.uint8))):
            for form, arguments in (("png", {}), ("jpg", {"quality": 95})):
                (folder / form / half).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / form / half / f"{i:03d}.{form}", **arguments)


def make_stores(folder: Path) -> None:
    from basicsr.data.image_store_build import build_store
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    for half in ("gt", "lq"):
        source = folder / "png" / half
        names = sorted(path.name for path in source.iterdir())
        make_lmdb_from_imgs(str(source), str(folder / f"{half}.lmdb"), names, [name[:-4] for name in names])
        build_store(source, folder / f"{half}.store", workers=1)


def section(root: str, kind: str, ending: str = "", **more: Any) -> dict[str, Any]:
    base = {"phase": "train", "scale": 1, "gt_size": CROP, "use_hflip": True, "use_rot": True, "name": "b"}
    roots = {f"dataroot_{half}": f"{root}/{half}{ending}" for half in ("gt", "lq")}
    return {**base, **roots, "type": "PairedImageDataset", "io_backend": {"type": kind}, **more}


def measure(opt: dict[str, Any], samples: int, crops_per_image: int = 1) -> dict[str, float]:
    """Time ``samples`` samples of whichever basicsr this Python has."""
    cv2.setNumThreads(1)
    from basicsr.data.paired_image_dataset import PairedImageDataset

    dataset = PairedImageDataset(opt)
    random.seed(0)
    order = [i // crops_per_image % len(dataset) for i in range(samples)]
    dataset[order[-1]]  # opens what is opened once
    wall, cpu = time.perf_counter(), time.process_time()
    for index in order:
        assert dataset[index]["gt"].shape == (3, CROP, CROP)
    return {"wall": (time.perf_counter() - wall) / samples, "cpu": (time.process_time() - cpu) / samples}


def child(argument: str) -> None:
    """Entry of the upstream process: the smallest shims that let basicsr 1.4.2 import, then the same measurement."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        try:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:
            pass  # torchvision's compiled part is there
    import torchvision.transforms.functional as functional

    shim = types.ModuleType("torchvision.transforms.functional_tensor")
    shim.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[shim.__name__] = shim
    print("RESULT " + json.dumps(measure(**json.loads(argument))))


def measure_upstream(python: str, opt: dict[str, Any], samples: int) -> dict[str, float]:
    argument = json.dumps({"opt": opt, "samples": samples})
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, __file__, "--child", argument],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tempfile.gettempdir(),
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"the upstream process failed:\n{done.stderr[-2000:]}")
    return json.loads(lines[0][7:])


def cases(folder: Path) -> dict[str, tuple[dict[str, Any], int, int, str | None]]:
    """Name -> (options, samples a round, crops of one image, the upstream case it is compared with)."""
    png, jpg, root = str(folder / "png"), str(folder / "jpg"), str(folder)
    several = {"crops_per_image": 4}
    return {
        "folder, PNG": (section(png, "disk"), 8, 1, "upstream folder, PNG"),
        "folder, PNG, crops_per_image 4": (section(png, "disk", **several), 8, 4, "upstream folder, PNG"),
        "folder, JPEG": (section(jpg, "disk"), 12, 1, "upstream folder, JPEG"),
        "folder, JPEG, crops_per_image 4": (section(jpg, "disk", **several), 12, 4, "upstream folder, JPEG"),
        "LMDB": (section(root, "lmdb", ".lmdb"), 8, 1, "upstream LMDB"),
        "memory-mapped": (section(root, "mmap", ".store"), 600, 1, "upstream folder, PNG"),
    }


def upstream_cases(folder: Path) -> dict[str, tuple[dict[str, Any], int]]:
    return {
        "upstream folder, PNG": (section(str(folder / "png"), "disk"), 6),
        "upstream folder, JPEG": (section(str(folder / "jpg"), "disk"), 8),
        "upstream LMDB": (section(str(folder), "lmdb", ".lmdb"), 6),
    }


def collect(folder: Path, rounds: int, upstream: str | None) -> dict[str, dict[str, float]]:
    results: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for name, (opt, samples, crops, _) in cases(folder).items():
            results.setdefault(name, []).append(measure(opt, samples, crops))
        for name, (opt, samples) in upstream_cases(folder).items() if upstream else ():
            results.setdefault(name, []).append(measure_upstream(str(upstream), opt, samples))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu")}
        for name, runs in results.items()
    }


def table(folder: Path, results: dict[str, dict[str, float]]) -> str:
    references = {name: reference for name, (_, _, _, reference) in cases(folder).items()}
    lines = [
        "| source | samples/s (wall) | CPU ms a sample | against | ratio (CPU) | ratio (wall) |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for name, value in results.items():
        reference = references.get(name) or "-"
        base = results.get(reference)
        ratios = f"{base['cpu'] / value['cpu']:.1f} | {base['wall'] / value['wall']:.1f}" if base else "- | -"
        against = reference if base else "-"
        lines.append(f"| {name} | {1 / value['wall']:.1f} | {1000 * value['cpu']:.2f} | {against} | {ratios} |")
    return "\n".join(lines)


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream-python", help="a Python with basicsr==1.4.2 installed")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="Markdown file for the result")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, args.pairs)
        make_stores(folder)
        results = collect(folder, args.rounds, args.upstream_python)
        text = table(folder, results)
    print(text)
    if args.write:
        args.write.parent.mkdir(parents=True, exist_ok=True)
        args.write.write_text(report(text, args), encoding="utf-8")


def report(text: str, args: argparse.Namespace) -> str:
    upstream = " --upstream-python <env with basicsr==1.4.2>" if args.upstream_python else ""
    lines = (
        f"# Crops of {CROP} from photographs of {WIDTH}x{HEIGHT}",
        "",
        f"`OMP_NUM_THREADS=1 python benchmarks/data_loading.py{upstream} --pairs {args.pairs} --rounds {args.rounds}`,",
        f"{time.strftime('%Y-%m-%d')}, {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"OpenCV {cv2.__version__}, Pillow {metadata.version('pillow')}.",
        "",
        "A sample is a pair of crops, mirrored and transposed, as tensors. One process; medians over the rounds, ours",
        "and upstream's in turns in one run. Files and stores are in the page cache. The LMDB holds PNGs of level 1.",
        "The memory-mapped store is compared with upstream reading the folder of PNGs that it was made from. On a",
        "busy machine the wall-clock columns wander; trust the CPU columns.",
        "",
        text,
        "",
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
