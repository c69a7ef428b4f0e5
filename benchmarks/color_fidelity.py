#!/usr/bin/env python
"""The study of benchmarks/results/color_fidelity.md, from photos to tables: data, baseline, rows, limits, pictures.

    python benchmarks/color_fidelity.py --photos ~/Pictures               # about three hours on two cores
    python benchmarks/color_fidelity.py --photos ~/Pictures --write       # and put the tables into the results page

What is complete is not done again, so an interrupted study goes on. The rows are those of options/ablation with
options/ablation/overlays/study.yml laid over; all are trained once, the main ones with three seeds. The results page
holds its tables between marks, <!-- begin NAME --> and <!-- end NAME -->; --write replaces what is between them.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from basicsr.engine.cli import positive, run_main, writing  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from basicsr.engine.image_io import to_float  # noqa: E402
from plugins.color_fidelity.demo_camera import CameraRanges, take_shot  # noqa: E402
from plugins.color_fidelity.demo_photos import packaged_photos  # noqa: E402
from plugins.color_fidelity.enhance_network import load_network  # noqa: E402
from plugins.color_fidelity.enhance_run import Runner  # noqa: E402
from plugins.color_fidelity.fidelity import measure  # noqa: E402

DATA = ROOT / "datasets" / "study"
OUT = ROOT / "experiments" / "study"
PAGE = ROOT / "benchmarks" / "results" / "color_fidelity.md"
FIGURES = PAGE.with_suffix("")
OVERLAY = "options/ablation/overlays/study.yml"
SPLIT = ["--seed", "11", "--size", "320", "--shots", "8", "--eval-shots", "1", "--colorful-train", "0.2"]
TERMS = ["chroma", "hue", "oklab", "ssim"]
SAMPLING = ["chroma_crops", "oversample", "jitter", "whole_photos"]
ONCE = ["context", "recipe", "all", *TERMS, *SAMPLING]
MAIN = ["continued", "bar", "oklab_chroma", "oklab_bold", "context_gentle", "context_recipe"]
SEEDS = ["0", "1", "2"]
SHOWN = {"coffee-10": "stress", "flower-00": "stress", "chelsea-00": "test"}
ROWS_SHOWN = {"continued": "continued", "bar": "CbCr L1, hard mask", "oklab_bold": "OKLab and chroma"}
CELL = (200, 300)


def call(*command: str) -> None:
    """Run one of the project's scripts from its root."""
    print(f"$ python {shlex.join(command)}", flush=True)
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"python {shlex.join(command)} ended with status {done.returncode}; its message is above.")


def train_everything(photos: Path | None, jobs: int) -> None:
    """Make the data, train the baseline and all rows; judge them."""
    if not (DATA / "manifest.csv").is_file():
        if photos is None:
            raise UserError(f"{DATA} is not there yet: give --photos FOLDER with a hundred photos or more.")
        call("tools/make_demo_data.py", "--photos", str(photos), "--out", str(DATA), *SPLIT)
    if not (ROOT / "experiments/NAFNet_Study_Baseline/models/net_g_latest.pth").is_file():
        call("BasicSR/basicsr/train.py", "-opt", "options/study/baseline.yml", "--auto_resume")
    sheet = ["tools/run_ablation.py", "options/ablation", "--overlay", OVERLAY, "--out", str(OUT)]
    common = [*sheet, "--jobs", str(jobs), "--threads", "1", "--train-only"]
    call(*common, "--rows", *MAIN, *ONCE, "--seeds", SEEDS[0])
    call(*common, "--rows", *MAIN, "--seeds", *SEEDS[1:])
    call(*sheet, "--threads", "2", "--evaluate-only", "--rows", *MAIN, *ONCE, "--seeds", *SEEDS)


def picture() -> np.ndarray:
    """Packaged photographs, none of them trained on: input, the networks of three rows, target."""
    strips = []
    for photo in packaged_photos(320):
        if photo.name not in SHOWN:
            continue
        rng = np.random.default_rng(0)
        lq = take_shot(photo.pixels, CameraRanges().draw(rng), rng)
        cells = [cell(lq, photo.pixels, "before")]
        for row, label in ROWS_SHOWN.items():
            run = ROOT / "experiments" / f"Study_{row}_s0"
            network = Runner(load_network(run / "models" / "net_g_latest.pth", run / f"{run.name}.yml"))
            output = network(torch.from_numpy(to_float(lq)).permute(2, 0, 1)[None])[0].clamp(0, 1)
            pixels = np.round(output.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            cells.append(cell(pixels, photo.pixels, label))
        strips.append(np.hstack([*cells, cell(photo.pixels, photo.pixels, "target")]))
    return np.vstack(strips)


def cell(pixels: np.ndarray, target: np.ndarray, label: str) -> np.ndarray:
    """One picture of a strip, with its saturation ratio and its ΔE00 below."""
    height, width = pixels.shape[:2]
    factor = min(CELL[0] / height, CELL[1] / width)
    small = cv2.resize(pixels, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    canvas = np.full((CELL[0] + 26, CELL[1] + 6, 3), 255, np.uint8)
    top, left = (CELL[0] - small.shape[0]) // 2, (CELL[1] - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    figures = measure(pixels, target)
    text = label if label == "target" else f"{label}: {figures['sat_ratio']:.2f}, dE {figures['de00_mean']:.1f}"
    cv2.putText(canvas, text, (4, CELL[0] + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.46, (30, 30, 30), 1, cv2.LINE_AA)
    return canvas


def conditions(command: Sequence[str]) -> str:
    """Command, device, date."""
    seeds = f"seeds {', '.join(SEEDS)} of {', '.join(MAIN)}; seed 0 of the other rows"
    return (
        f"Command: `python {shlex.join(command)}`. Device: CPU, {cpu_name()}, one thread a training. "
        f"Date: {datetime.date.today()}. torch {torch.__version__.partition('+')[0]}. Seeds: {seeds}."
    )


def cpu_name() -> str:
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8")) if info.is_file() else None
    return found.group(1) if found else platform.processor() or platform.machine()


def fill(page: str, parts: dict[str, str]) -> str:
    """Replace what is between the marks of each part."""
    for name, text in parts.items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(page):
            raise UserError(f"{PAGE}: the marks <!-- begin {name} --> and <!-- end {name} --> are missing.")
        page = pattern.sub(lambda match, text=text: f"{match[1]}{text.strip()}\n{match[2]}", page)
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of photos; needed once")
    parser.add_argument("--jobs", type=positive, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--write", action="store_true", help=f"put tables and pictures into {PAGE.relative_to(ROOT)}")
    args = parser.parse_args()
    train_everything(args.photos, args.jobs)
    if not (OUT / "limits.png").is_file():
        call("benchmarks/color_limits.py", str(DATA), "--out", str(OUT / "limits"))
    if not args.write:
        return 0
    command = ["benchmarks/color_fidelity.py", "--photos", "PHOTOS", "--write"]
    parts = {"conditions": conditions(command)}
    parts["tables"] = (OUT / "table.md").read_text(encoding="utf-8")
    parts["limits"] = (OUT / "limits.md").read_text(encoding="utf-8")
    with writing(str(PAGE)):
        FIGURES.mkdir(exist_ok=True)
        for name in ("plot.png", "limits.png"):
            shutil.copy(OUT / name, FIGURES / name)
        ok = cv2.imwrite(str(FIGURES / "pictures.jpg"), picture()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        if not ok:
            raise UserError(f"{FIGURES / 'pictures.jpg'}: cannot be written.")
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
