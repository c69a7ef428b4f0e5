"""ΔE00 of a full-HD pair: megapixels per second of ours against scikit-image, in one run.

    python benchmarks/color_metrics.py [--write]

Both start from the same two 8-bit sRGB images and end with the ΔE00 of every pixel, its mean and its 95th percentile.
The two take turns, and the fastest of the repeats counts, because other work on the machine only ever slows one down.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

from plugins.color_fidelity.fidelity import measure  # noqa: E402
from plugins.color_science import compare_colors  # noqa: E402
from plugins.color_science.fast import available_cores  # noqa: E402

HEIGHT, WIDTH = 1080, 1920
EVERYTHING = "every figure"
RESULT = ROOT / "benchmarks" / "results" / "color_metrics.md"


def make_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two images with smooth and noisy parts and every kind of colour; the second is a washed-out copy."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(x / (90 + 40 * k) + k) + np.cos(y / (70 + 30 * k) - k) for k in range(3)]
    image = np.clip(0.5 + 0.25 * np.stack(waves, axis=-1) + rng.normal(0, 0.02, (HEIGHT, WIDTH, 3)), 0, 1)
    grey = image.mean(axis=2, keepdims=True)
    faded = np.clip(grey + 0.75 * (image - grey) + rng.normal(0, 0.01, image.shape), 0, 1)
    return np.rint(255 * faded).astype(np.uint8), np.rint(255 * image).astype(np.uint8)


def with_skimage(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    difference = deltaE_ciede2000(rgb2lab(first), rgb2lab(second))
    return float(difference.mean()), float(np.percentile(difference, 95))


def with_ours(first: np.ndarray, second: np.ndarray, threads: int | None) -> tuple[float, float]:
    result = compare_colors(first, second, threads=threads)
    return result.mean, result.p95


def clock(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def report(best: dict[str, tuple[float, float]], figures: dict[str, tuple[float, float]], command: str) -> str:
    size = HEIGHT * WIDTH / 1e6
    base_wall, base_cpu = best["scikit-image"]
    machine = f"{cpu_name()}, {available_cores()} cores (shared with other work)"
    lines = [
        "# ΔE00 of a 1920 × 1080 pair of 8-bit images",
        "",
        f"`{command}` · {datetime.date.today().isoformat()} · {machine} · Python {platform.python_version()}, numpy "
        f"{np.__version__}",
        "",
        "| | Mpx/s | ratio | Mpx per CPU-second | ratio | mean ΔE00 | p95 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, (mean, p95) in figures.items():
        wall, cpu = best[name]
        speeds = f"{size / wall:.1f} | {base_wall / wall:.1f}× | {size / cpu:.1f} | {base_cpu / cpu:.1f}×"
        lines.append(f"| {name} | {speeds} | {mean:.4f} | {p95:.3f} |")
    wall, cpu = best[EVERYTHING]
    return "\n".join(
        [
            *lines,
            "",
            "From 8-bit sRGB to the difference of every pixel, its mean and its p95; fastest of the repeats.",
            f"All figures of `plugins.color_fidelity.fidelity.measure`, SSIM included, take {cpu:.2f} CPU-seconds.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    args = parser.parse_args()
    first, second = make_pair()
    cores = available_cores()
    runs: dict[str, Callable[[], object]] = {
        "scikit-image": lambda: with_skimage(first, second),
        "ours, one thread": lambda: with_ours(first, second, 1),
        f"ours, {cores} threads": lambda: with_ours(first, second, cores),
        EVERYTHING: lambda: measure(first, second),
    }
    figures = {"scikit-image": with_skimage(first, second), "ours, one thread": with_ours(first, second, 1)}
    figures[f"ours, {cores} threads"] = with_ours(first, second, cores)
    best = {name: (float("inf"), float("inf")) for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            wall, cpu = clock(run)
            best[name] = (min(best[name][0], wall), min(best[name][1], cpu))
    text = report(best, figures, "python " + " ".join(["benchmarks/color_metrics.py", *sys.argv[1:]]))
    print(text)
    if args.write:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
