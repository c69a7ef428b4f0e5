"""Time of a whole HTML report: tools/eval_color.py on 57 images x 4 checkpoints of 2 megapixels, as a process.

    python benchmarks/report.py [--images 57] [--runs 4] [--megapixels 2] [--keep FOLDER] [--write]

Synthetic photographs (shapes, textures, grain) with their inputs and four checkpoints each are written to a temporary
folder as 8-bit PNG. Then the command runs as a user would run it, once, with two workers. For the ratio, scikit-image
measures ΔE00 and SSIM (only these) on a few of the same pairs in the same run, decoding included.
"""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.io import imread
from skimage.metrics import structural_similarity

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

RESULT = ROOT / "benchmarks" / "results" / "report.md"
LIMIT_SECONDS, LIMIT_BYTES = 90, 30_000_000
_REFERENCE_PAIRS = 3
_SETS = ("interior", "stress")


@dataclass(frozen=True)
class Figures:
    """What was measured: wall and CPU seconds of the command, size of the page, and scikit-image's seconds a pair."""

    seconds: float
    cpu_seconds: float
    size: int
    reference_seconds: float


def photograph(seed: int, width: int, height: int) -> np.ndarray:
    """A scene of lit walls, painted shapes and texture: (height, width, 3) float32 BGR in [0, 1]."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.35, 0.85) + rng.uniform(-0.08, 0.08, 3)
    image = np.broadcast_to(base.astype(np.float32), (height, width, 3)).copy()
    for _ in range(26):
        center = rng.uniform((0, 0), (width, height))
        corners = center + rng.normal(0, rng.uniform(0.03, 0.2) * width, (rng.integers(3, 8), 2))
        hue, sat, value = rng.uniform(0, 360), rng.beta(1.2, 2.2), rng.uniform(0.15, 0.95)
        color = cv2.cvtColor(np.array([[[hue, sat, value]]], np.float32), cv2.COLOR_HSV2BGR)[0, 0]
        cv2.fillConvexPoly(image, cv2.convexHull(corners.astype(np.int32)), color.tolist(), cv2.LINE_AA)
    for cell in (4, 16, 64, 256):
        small = rng.normal(1, 0.05, (height // cell + 2, width // cell + 2)).astype(np.float32)
        image *= cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)[:, :, None]
    image += cv2.randn(np.empty_like(image), (0, 0, 0), (0.006, 0.006, 0.006))
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.8), 0, 1)


def graded(image: np.ndarray, seed: int, saturation: float, hue: float, tone: float) -> np.ndarray:
    """An imperfect rendering: less or more colour in a part of the picture, another tone, a little noise."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    where = cv2.resize(rng.uniform(0, 1, (3, 4)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None]
    turned = image + hue * (np.roll(image, 1, axis=2) - image) * where[:, :, None]
    result = grey + (turned - grey) * (1 + (saturation - 1) * (0.4 + 0.6 * where[:, :, None]))
    result = np.clip(result, 0, 1) ** (1 + tone)
    return result + cv2.randn(np.empty_like(result), (0, 0, 0), (0.004, 0.004, 0.004))


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    codes = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    cv2.imwrite(str(path), codes, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def make_images(folder: Path, images: int, runs: int, megapixels: float) -> None:
    """Write targets, inputs and the outputs of the runs, in two sets."""
    width = round((megapixels * 1e6 * 1.5) ** 0.5)
    height = round(width / 1.5)

    def one(number: int) -> None:
        name = f"{_SETS[number % 4 == 3]}/photo_{number:03d}"
        target = photograph(number, width, height)
        save(folder / "gt" / f"{name}.png", target)
        save(folder / "lq" / f"{name}.png", graded(target, 1000 + number, 0.45, 0.05, 0.5))
        rng = np.random.default_rng(5000 + number)
        for run in range(runs):
            saturation = 0.72 + 0.26 * run / max(1, runs - 1) + rng.normal(0, 0.05)
            output = graded(target, 2000 + number, saturation, 0.16 * rng.random(), rng.normal(0, 0.05))
            save(folder / f"run_{run + 1}" / f"{name}.png", output)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(images)))


def time_report(folder: Path, runs: int) -> tuple[float, float, int]:
    """Run the command; wall seconds, CPU seconds, bytes of the page."""
    page, sets = folder / "report.html", [f"--run=run_{run + 1}={folder / f'run_{run + 1}'}" for run in range(runs)]
    command = [sys.executable, str(ROOT / "tools" / "eval_color.py"), *sets]
    command += ["--gt", str(folder / "gt"), "--lq", str(folder / "lq"), "--html", str(page), "--jobs", "2", "--quiet"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, page.stat().st_size


def time_reference(folder: Path) -> float:
    """CPU seconds that scikit-image takes for a pair: decode both, ΔE00 with mean and p95, SSIM."""
    targets = sorted((folder / "gt").rglob("*.png"))[:_REFERENCE_PAIRS]
    start = time.process_time()
    for path in targets:
        target, pred = imread(path), imread(folder / "run_1" / path.relative_to(folder / "gt"))
        difference = deltaE_ciede2000(rgb2lab(target), rgb2lab(pred))
        structural_similarity(
            target, pred, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        float(difference.mean()), float(np.percentile(difference, 95))
    return (time.process_time() - start) / len(targets)


def as_text(figures: Figures, args: argparse.Namespace) -> str:
    pairs = args.images * (args.runs + 1)
    whole = figures.reference_seconds * pairs
    return "\n".join(
        [
            "# Time of an HTML report",
            "",
            f"`python benchmarks/report.py` · {datetime.date.today().isoformat()} · {os.cpu_count()} cores (shared) · "
            f"{args.images} images × {args.runs} checkpoints of {args.megapixels:g} megapixels, with their inputs",
            "",
            "| | seconds | CPU-seconds | MB |",
            "|---|---:|---:|---:|",
            f"| the whole command, every figure, pictures and page | {figures.seconds:.1f} | {figures.cpu_seconds:.1f} "
            f"| {figures.size / 1e6:.1f} |",
            f"| asked for | {LIMIT_SECONDS} | | {LIMIT_BYTES / 1e6:.0f} |",
            f"| scikit-image, ΔE00 and SSIM of the same pairs alone ({figures.reference_seconds:.2f} s a pair) | "
            f"| {whole:.0f} | |",
            "",
            f"CPU-seconds: {whole / figures.cpu_seconds:.1f} times fewer than scikit-image's two figures.",
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=57)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the images here, or use those that are here")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="report-"))
    try:
        if not (folder / "gt").is_dir():
            make_images(folder, args.images, args.runs, args.megapixels)
        figures = Figures(*time_report(folder, args.runs), time_reference(folder))
    finally:
        if args.keep is None:
            shutil.rmtree(folder)
    text = as_text(figures, args)
    print(text)
    if args.write:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(text, encoding="utf-8")
    return 0 if figures.seconds < LIMIT_SECONDS and figures.size < LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
