#!/usr/bin/env python3
"""Enhance a photo or a folder of photos of any size with a trained network.

    python tools/enhance.py photos/ --checkpoint experiments/NAME/models/net_g_latest.pth -o enhanced/
    python tools/enhance.py a.jpg --checkpoint net_g.pth -o b.png --compare

EXIF, colour profile, depth and alpha are kept. Photos whose output exists are skipped, so an interrupted run goes on.
Exit status: 0, or 1 if a photo failed (it is named, the others are done), or 2 if the call itself is wrong.
"""

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import run_main  # noqa: E402


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a photo, or a folder of photos")
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights: net_g_*.pth or .safetensors")
    parser.add_argument("-o", "--output", type=Path, required=True, help="output folder (or file, for one photo)")
    parser.add_argument("--opt", type=Path, help="option file of the training; not needed for a NAFNet")
    parser.add_argument("--param-key", help="params or params_ema (default: params_ema where there is one)")
    parser.add_argument("--recursive", action="store_true", help="also photos in sub-folders")
    parser.add_argument("--format", choices=("jpg", "png", "tif"), help="write this format (default: as the source)")
    parser.add_argument("--tile", default="auto", help="auto (by free memory), 0 (whole photos) or a size in pixels")
    parser.add_argument("--overlap", type=int, default=64, help="pixels that tiles share (NAFNet needs none)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--overwrite", action="store_true", help="do photos again whose output exists")
    parser.add_argument("--compare", action="store_true", help="also write a before/after sheet of each photo")
    return parser.parse_args(arguments)


def tile_size(text: str) -> int | str:
    from basicsr.engine.errors import UserError

    if text != "auto" and not text.isdigit():
        raise UserError(f"--tile {text}: use auto, 0 or a size in pixels")
    return text if text == "auto" else int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    from basicsr.engine.device import resolve_device
    from plugins.color_fidelity.enhance import Runner, enhance_all, plan_jobs
    from plugins.color_fidelity.enhance_network import load_network

    jobs = plan_jobs(args.source, args.output, args.recursive, args.format and f".{args.format}")
    net = load_network(args.checkpoint, args.opt, args.param_key, resolve_device({"device": args.device}))
    run = Runner(net, tile_size(args.tile), args.overlap, args.precision)  # type: ignore[arg-type]
    counts = {"done": 0, "skipped": 0, "failed": 0}
    spent = 0.0
    for number, outcome in enumerate(enhance_all(jobs, run, args.overwrite, args.compare), start=1):
        counts[outcome.status] += 1
        spent += outcome.seconds
        worked = counts["done"] + counts["failed"]
        left = datetime.timedelta(seconds=round((len(jobs) - number) * spent / max(1, worked)))
        place = f"[{number}/{len(jobs)}]"
        if outcome.status == "failed":
            print(f"{place} failed: {outcome.message}", file=sys.stderr, flush=True)
        elif outcome.status == "skipped":
            print(f"{place} skipped: {outcome.message}", flush=True)
        else:
            print(f"{place} {outcome.job.target}  {outcome.message}  {outcome.seconds:.1f} s  left {left}", flush=True)
    print(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
