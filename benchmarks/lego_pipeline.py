#!/usr/bin/env python3
"""How many training pictures a second LegoDataset makes, beside the same chances in torchvision, in the same run.

    python benchmarks/lego_pipeline.py                                     # pictures are drawn here
    python benchmarks/lego_pipeline.py --manifest datasets/lego/manifest.csv --out benchmarks/results/lego_pipeline.md

Both read the same files from the disk, on one core, and give (3, S, S) float32 in [0, 1]. The reference decodes with
Pillow and changes with torchvision.transforms.v2: quarter turns, flips, shift/scale/rotation, brightness, contrast,
saturation and hue, blur, noise and holes by the same chances; it replaces no backgrounds. The clock is CPU time; read
the ratio first.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import positive, run_main, writing  # noqa: E402

Array = np.ndarray[Any, Any]
OFF = ("rotate90", "flip", "affine", "light", "hue_saturation", "noise", "blur", "dropout", "background")
MADE = 64


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--manifest", type=Path, help="manifest.csv of tools/prepare_lego.py (default: drawn pictures)")
    add("--sizes", type=positive, nargs="+", default=[160, 224], help="edges of the network's picture")
    add("--count", type=positive, default=400, help="pictures that are timed of each kind (default 400)")
    add("--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def made_manifest(folder: Path) -> Path:
    """JPEG pictures of 224 pixels, noise on a slope of light with a block in the middle, and their manifest."""
    import cv2

    from plugins.lego.lego_manifest import COLOR_NAMES, PART_NAMES, Classes, Record, write_classes, write_manifest

    rng = np.random.default_rng(0)
    records = []
    for number in range(MADE):
        image = np.full((224, 224, 3), 215.0) + np.linspace(-20, 20, 224)[:, None, None]
        image[60:170, 50:180] = rng.uniform(0, 255, 3)
        image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
        records.append(Record(f"{number}.jpg", "render", "3001", 4, "", "train", str(number)))
    write_classes(folder / PART_NAMES, Classes(("3001",), ("3001",)))
    write_classes(folder / COLOR_NAMES, Classes(("4",), ("Red",), ("#B40000",)))
    write_manifest(folder / "manifest.csv", records)
    return folder / "manifest.csv"


def reference(size: int) -> Callable[[str], Any]:
    """The same chances with Pillow and torchvision."""
    import torch
    from PIL import Image

    from basicsr.engine.torchvision_compat import import_torchvision

    import_torchvision()
    from torchvision.transforms import InterpolationMode, v2

    turn = v2.RandomChoice([v2.RandomRotation((angle, angle)) for angle in (90, 180, 270)])
    change = v2.Compose(
        [
            v2.ToImage(), v2.Resize((size, size), InterpolationMode.BILINEAR, antialias=True),
            v2.RandomApply([turn], 0.5), v2.RandomHorizontalFlip(0.5),
            v2.RandomApply(
                [v2.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), interpolation=InterpolationMode.BILINEAR)], 0.5
            ),
            v2.RandomApply([v2.ColorJitter(0.1, 0.05)], 0.5), v2.RandomApply([v2.ColorJitter(0, 0, 0.04, 0.01)], 0.3),
            v2.RandomApply([v2.GaussianBlur(5)], 0.2), v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.GaussianNoise(0, 0.02)], 0.3), v2.RandomErasing(0.3, (0.002, 0.01)),
        ]
    )  # fmt: skip

    def work(path: str) -> Any:
        with Image.open(path) as image:
            return change(image.convert("RGB"))

    return work


def rate(work: Callable[[int], object], count: int) -> float:
    """Pictures a CPU-second; the first ones are not counted."""
    for number in range(min(20, count)):
        work(number)
    start = time.process_time()
    for number in range(count):
        random.seed(number)
        work(number)
    return count / (time.process_time() - start)


def measure(manifest: Path, size: int, count: int) -> dict[str, float]:
    """Pictures a CPU-second of each way."""
    from basicsr.engine.image_io import read_image
    from plugins.lego.lego_dataset import LegoDataset

    def dataset(**more: Any) -> LegoDataset:
        return LegoDataset(
            {"name": "bench", "phase": "train", "manifest": str(manifest), "image_size": size, "augment": True, **more}
        )

    whole, plain = dataset(), dataset(augment=dict.fromkeys(OFF, 0))
    no_background = dataset(augment={"background": 0})
    order = np.random.default_rng(0).permutation(len(whole))[:2000]
    ours = {
        "decode alone": lambda n: read_image(whole.paths[order[n % len(order)]]),
        "LegoDataset, nothing changed": lambda n: plain[order[n % len(order)]],
        "LegoDataset, all but backgrounds": lambda n: no_background[order[n % len(order)]],
        "LegoDataset": lambda n: whole[order[n % len(order)]],
    }
    other = reference(size)
    found = {name: rate(work, count) for name, work in ours.items()}
    return {**found, "Pillow, torchvision v2": rate(lambda n: other(whole.paths[order[n % len(order)]]), count)}


def report(found: dict[int, dict[str, float]]) -> str:
    """The table."""
    sizes = list(found)
    lines = [
        "# Training pictures of bricks", "",
        "`python benchmarks/lego_pipeline.py`; 2026-11-28, one of 2 CPU cores. Pictures a CPU-second, in brackets how "
        "many times as many as the last row's, which has the same chances but replaces no backgrounds.", "",
        "| | " + " | ".join(f"{size} x {size}" for size in sizes) + " |", "|---|" + "---|" * len(sizes),
    ]  # fmt: skip
    names = list(found[sizes[0]])
    for name in names:
        cells = [f"{found[size][name]:.0f} ({found[size][name] / found[size][names[-1]]:.1f})" for size in sizes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        manifest = args.manifest or made_manifest(Path(folder))
        text = report({size: measure(manifest, size, args.count) for size in args.sizes})
    print(text)
    if args.out:
        with writing(str(args.out)):
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
