#!/usr/bin/env python
"""Several lights, end to end, with the truth known: scenes, masks, class maps, the trained head, white balance.

    python benchmarks/illuminant_maps.py --cnn experiments/IlluminantCNN_Demo/models/best_illuminant_cnn.pth
    python benchmarks/illuminant_maps.py --cnn CNN.pth --photos DIR --scenes 160 --iterations 1500 --write

Every step is the command that a user types: make_synthetic_lsmi, prepare_lsmi_masks (with the network's own
centroids), train.py on options/demo/illuminant_unet.yml, eval_lsmi, white_balance. No photograph of a test scene is in
a training scene, and colour charts are hidden from everything that answers. --write records the tables in
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()

import numpy as np  # noqa: E402

from basicsr.engine.errors import UserError  # noqa: E402
from plugins.illuminant.checkpoint import read_record  # noqa: E402
from plugins.illuminant.illuminant_scene import usable_lights  # noqa: E402
from plugins.illuminant.lsmi_mask_files import read_manifest, read_mask_file  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "illuminant_maps.md"
MARK = "<!-- measured by benchmarks/illuminant_maps.py -->"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cnn", type=Path, required=True, help="weights of an IlluminantCNN trained on srgb pictures")
    parser.add_argument("--photos", type=Path, help="photographs (default: those of installed packages)")
    parser.add_argument("--lights", type=Path, help="table of lights (default: drawn daylight and lamps)")
    parser.add_argument("--apart", type=float, default=5.0, help="least angle of a scene's lights (default: 5)")
    parser.add_argument("--scenes", type=positive, default=48, help="scenes made (default: 48)")
    parser.add_argument("--size", type=positive, default=160, help="their height in pixels (default: 160)")
    parser.add_argument("--iterations", type=positive, help="of the U-Net's training (default: the demo's)")
    parser.add_argument("--limit", type=positive, default=12, help="test pictures for the class maps (default: 12)")
    parser.add_argument("--work", type=Path, default=ROOT / "datasets" / "bench_lsmi", help="folder for the scenes")
    parser.add_argument("--write", action="store_true", help="record the tables")
    return parser.parse_args()


def call(*command: Any) -> float:
    """Run one of our commands; its seconds.

    Raises:
        UserError: It failed.
    """
    begin = time.monotonic()
    print("$", *command, flush=True)
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"{command[0]} ended with status {done.returncode}.")
    return time.monotonic() - begin


def main() -> int:
    args = parse_args()
    work, masks = args.work, args.work / "masks"
    work.mkdir(parents=True, exist_ok=True)
    record = read_record(args.cnn)
    centroids = work.with_name(f"{work.name}_centroids.json")
    centroids.write_text(json.dumps(record.centroids.as_dict(), indent=2), encoding="utf-8")
    photos = ["--photos", args.photos] if args.photos else []
    lights = ["--lights", args.lights] if args.lights else []
    size = ["--scenes", args.scenes, "--size", args.size, "--apart", args.apart]
    times = {"scenes": call("tools/make_synthetic_lsmi.py", work, *size, *photos, *lights)}
    times["masks"] = call("tools/prepare_lsmi_masks.py", work, "--centroids", centroids, "--jobs", 2)
    worst = mask_error(work, masks)
    unet = ROOT / "experiments" / "IlluminantUNet_Bench"
    options = "options/demo/illuminant_unet.yml"
    times["training"] = call("BasicSR/basicsr/train.py", "-opt", options, *forced(args, unet))
    best = unet / "models" / "best_illuminant_unet.pth"
    maps, balanced = work.with_name(f"{work.name}_maps"), work.with_name(f"{work.name}_balanced")
    common = ["--masks", masks, "--root", work, "--split", "test"]
    times["class maps"] = call(
        *("tools/eval_lsmi.py", "--weights", args.cnn, *common, "--output", maps, "--encode-srgb"),
        *("--limit", args.limit, "--refine", "none", "guided", "crf", "--side", args.size),
    )
    errors = {}
    answers = {"IlluminantUNet": ["--weights", best], "training lights' mean": ["--light", mean_light(masks)]}
    answers |= {name: ["--method", name] for name in ("shades-of-grey", "grey-edge", "white-patch", "grey-world")}
    for name, how in answers.items():
        times[f"white balance by {name}"] = call("tools/white_balance.py", *common, *how, "-o", balanced / name)
        errors[name] = balanced / name / "errors.csv"
    text = "\n\n".join(
        [
            f"{datetime.date.today()}, {os.cpu_count()} CPU cores, {args.scenes} scenes of {args.size} px, lights at "
            f"least {args.apart:g} degrees apart, drawn {'from a table' if args.lights else 'by sample_lights'}, "
            f"{args.iterations or 'the demo’s'} iterations. "
            f"Seconds: {', '.join(f'{name} {seconds:.0f}' for name, seconds in times.items())}.",
            f"Masks: largest difference from the generator's truth {worst:.1e}.",
            "## Light of every pixel (test scenes)",
            pixel_table(errors),
            "## Class maps, zero-shot",
            maps_table(maps / "figures.csv"),
        ]
    )
    print(f"\n{text}")
    if args.write:
        before = RESULTS.read_text(encoding="utf-8").split(MARK)[0] if RESULTS.is_file() else "# Several lights\n\n"
        RESULTS.write_text(f"{before}{MARK}\n\n{text}\n", encoding="utf-8")
    return 0


def forced(args: argparse.Namespace, experiment: Path) -> list[str]:
    """The settings that point the demo's option file at these scenes."""
    settings = [f"name={experiment.name}"]
    for entry in ("train", "val"):
        settings += [f"datasets:{entry}:dataroot={args.work}", f"datasets:{entry}:dataroot_masks={args.work / 'masks'}"]
    if args.iterations:
        settings += [
            f"train:total_iter={args.iterations}",
            f"train:scheduler:periods=[{args.iterations}]",
            f"val:val_freq={max(1, args.iterations // 5)}",
            f"logger:save_checkpoint_freq={max(1, args.iterations // 5)}",
            "train:ema_decay=0.99",
        ]
    return ["--auto_resume", "--force_yml", *settings]  # broken off, the same command goes on


def mask_error(work: Path, masks: Path) -> float:
    """Largest difference of a mask from the generator's exact mixtures, over all valid pixels."""
    worst = 0.0
    for row in read_manifest(masks):
        file = read_mask_file(masks / row.npz)
        truth = np.load(work / "truth" / row.camera / f"{row.image_id}.npz")["mixture"]
        wanted = np.zeros_like(file.mask, dtype=np.float64)
        for light, kind in enumerate(file.light_class):
            if not file.outlier[light] and not file.degenerate[light]:
                wanted[..., kind] += truth[..., light]
        worst = max(worst, float(np.abs(wanted - file.mask)[file.valid].max()))
    return worst


def mean_light(masks: Path) -> str:
    """The direction halfway between all lights of the training scenes: what can be answered without a look."""
    lights = [usable_lights(masks / row.npz) for row in read_manifest(masks) if row.split == "train"]
    joined = np.concatenate(lights)
    mean = (joined / np.linalg.norm(joined, axis=1, keepdims=True)).mean(0)
    return ",".join(f"{value:.5f}" for value in mean / mean.sum())


def pixel_table(files: Mapping[str, Path]) -> str:
    """Who answers, to the mean over the pictures whose light is known, in degrees."""
    lines = [
        "| answer | mean of a picture's pixels | median | p95 | largest | pictures |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    single = math.nan
    for name, path in files.items():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["mean"] not in ("", "nan")]
        means = [np.mean([float(row[key]) for row in rows]) for key in ("mean", "median", "p95", "maximum")]
        lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in means)} | {len(rows)} |")
        single = np.mean([float(row["single_mean"]) for row in rows])
    lines.append(f"| best single light, from the truth | {single:.2f} | | | | |")
    return "\n".join(lines)


def maps_table(path: Path) -> str:
    """Means over the scenes of eval_lsmi's figures, as a Markdown table."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    head, methods = rows[0][2:], list(dict.fromkeys(row[1] for row in rows[1:]))
    lines = [f"| method | {' | '.join(head)} |", f"|---|{'---:|' * len(head)}"]
    for method in methods:
        values = np.array([[float(cell or "nan") for cell in row[2:]] for row in rows[1:] if row[1] == method])
        lines.append(f"| {method} | {' | '.join(f'{value:.3f}' for value in np.nanmean(values, axis=0))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_main(main))
