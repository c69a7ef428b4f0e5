#!/usr/bin/env python3
"""How long one photo takes from its JPEG to advice, after warm-up, with the stages beside it.

    python benchmarks/diagnostic_latency.py --threads 2
    python benchmarks/diagnostic_latency.py --photo photo.jpg --model models/diagnostic_model.pth

Without --photo a 2-megapixel JPEG is made from a sample photo; without --model the network has random weights, which
take as long. Scenes are classified only where weights are given; that is a second network. Goal: median below 60 ms.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import io
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

from basicsr.engine.cli import positive, run_main  # noqa: E402

NAME = "benchmark"
GOAL_STAGE, GOAL_MS = "JPEG to advice", 60.0
RESULT = ROOT / "benchmarks" / "results" / "diagnostic_latency.md"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a JPEG (default: 1920 x 1080, made from a sample photo)")
    parser.add_argument("--model", type=Path, help="weights (default: random ones)")
    parser.add_argument("--scene-weights", type=Path, help="also classify the scene with these weights")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--repeats", type=positive, default=50)
    parser.add_argument("--write", action="store_true", help=f"record the figures in {RESULT.relative_to(ROOT)}")
    return parser.parse_args()


def sample_jpeg() -> bytes:
    """A sample photo enlarged to 2 megapixels, with noise, so that it is as costly to decode as a camera's."""
    import cv2
    import numpy as np
    from PIL import Image

    from plugins.sample_photos import sample_photos

    path = next(photo.path for photo in sample_photos() if photo.name == "astronaut")
    with Image.open(path) as image:
        pixels = cv2.resize(np.asarray(image.convert("RGB")), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    noisy = pixels + np.random.default_rng(0).normal(0, 4, pixels.shape)
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds, after five calls that do not count."""
    times = []
    for number in range(repeats + 5):
        start = time.perf_counter()
        call()
        if number >= 5:
            times.append(1000 * (time.perf_counter() - start))
    times.sort()
    return times[len(times) // 2], times[min(len(times) - 1, round(0.95 * (len(times) - 1)))]


def main() -> int:
    args = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import cv2
    import torch

    from plugins.diagnostic.analysis import analyze_image_with_ai
    from plugins.diagnostic.diagnostic_cnn_arch import DiagnosticCNN
    from plugins.diagnostic.model_files import load_diagnostic_model
    from plugins.diagnostic.photo_advice import SMALLEST_SIDE, Adviser
    from plugins.diagnostic.photo_files import read_photo, read_small_srgb
    from plugins.diagnostic.preview import generate_preview
    from plugins.diagnostic.scenes import classify_image

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    content = args.photo.read_bytes() if args.photo else sample_jpeg()
    torch.manual_seed(0)
    net = load_diagnostic_model(args.model, "cpu") if args.model else DiagnosticCNN().eval().requires_grad_(False)
    adviser = Adviser(net, args.scene_weights)
    whole, small = read_photo(content, NAME), read_small_srgb(content, NAME, SMALLEST_SIDE)
    # fixed, because a network that finds nothing to correct would make the last stage a mere copy
    final = {"gamma": 1.2, "gain_r": 1.1, "gain_g": 1.0, "gain_b": 0.9, "sat": 1.2, "hue": 0.0}
    advice = dataclasses.replace(adviser.look(small).advice(1.0), final_params=final)
    stages: dict[str, Callable[[], Any]] = {
        "decode, reduced": lambda: read_small_srgb(content, NAME, SMALLEST_SIDE),
        "diagnosis": lambda: analyze_image_with_ai(small, net),
        "scene": lambda: classify_image(small, args.scene_weights),
        GOAL_STAGE: lambda: adviser.look_at_file(content, NAME).advice(0.6),
        "(decode, whole, with EXIF)": lambda: read_photo(content, NAME),
        "(corrected photo, whole)": lambda: generate_preview(whole.rgb, advice),
    }
    height, width = whole.rgb.shape[:2]
    what = (
        f"{width} x {height}, {len(content) / 1e6:.2f} MB, network's input {net.input_size} x {net.input_size}, "
        f"{args.threads} threads, {args.repeats} repeats"
    )
    print(f"{what}\n{'stage':28s} {'median ms':>10s} {'p95 ms':>10s}")
    lines = []
    for stage, call in stages.items():
        median, late = timed(call, args.repeats)
        print(f"{stage:28s} {median:10.1f} {late:10.1f}", flush=True)
        lines.append(f"| {stage} | {median:.1f} | {late:.1f} |")
        if stage == GOAL_STAGE:
            verdict = f"Goal: median of '{stage}' below {GOAL_MS:.0f} ms: {'met' if median < GOAL_MS else 'not met'}."
    print(verdict)
    if args.write:
        write(what, lines, verdict)
    return 0


def write(what: str, lines: list[str], verdict: str) -> None:
    head = (
        "# One photo, from its JPEG to advice\n\n"
        f"`python benchmarks/diagnostic_latency.py --write` · {os.cpu_count()} CPU cores · {datetime.date.today()} · "
        f"Python {platform.python_version()}\n\n{what}, after five calls that do not count"
    )
    table = "\n".join(["| stage | median ms | p95 ms |", "|---|---:|---:|", *lines])
    RESULT.write_text(f"{head}\n\n{table}\n\n{verdict}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_main(main))
