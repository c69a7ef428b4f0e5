#!/usr/bin/env python3
"""Enhance a photo or a folder of photos of any size with a trained network.

    python tools/enhance.py photos/ --checkpoint experiments/NAME/models/net_g_latest.pth -o enhanced/
    python tools/enhance.py a.jpg --checkpoint net_g.pth -o b.png --compare

EXIF, colour profile, depth and alpha are kept. Photos whose output exists are skipped, so an interrupted run goes on;
outputs of other weights or settings are refused (--force makes them again), and a photo that changed is done again.
Exit status: 0, or 1 if a photo failed (it is named, the others are done), or 2 if the call itself is wrong,
130 after Ctrl-C and 143 after SIGTERM (what was computed is written).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import positive, run_main  # noqa: E402


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, help="a photo, or a folder of photos")
    add("--checkpoint", type=Path, required=True, help="weights: net_g_*.pth, .safetensors, or an exported .onnx")
    add("-o", "--output", type=Path, required=True, help="output folder (or file, for one photo)")
    add("--opt", type=Path, help="option file of the training; not needed for a NAFNet")
    add("--param-key", help="params or params_ema (default: params_ema where there is one)")
    add("--recursive", action="store_true", help="also photos in sub-folders")
    add("--format", choices=("jpg", "png", "tif"), help="write this format (default: as the source)")
    add("--keep-ending", action="store_true", help="put a new ending behind the old one: a.bmp becomes a.bmp.png")
    add("--max-side", type=positive, metavar="N", help="scale photos down to N pixels on their longer side first")
    add("--tile", default="auto", help="auto (by device and memory), 0 (whole photos) or a size in pixels")
    add("--overlap", type=int, default=64, help="pixels that tiles share (NAFNet needs none)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    add("--overwrite", action="store_true", help="do photos again whose output exists")
    add("--force", action="store_true", help="do photos again whose output has other weights, settings or makers")
    add("--compare", action="store_true", help="also write a before/after sheet of each photo")
    add("--summary", default="text", choices=("text", "json"), help="json: standard output is one JSON object")
    return parser.parse_args(arguments)


def tile_size(text: str) -> int | str:
    from basicsr.engine.errors import UserError

    if text != "auto" and not text.isdigit():
        raise UserError(f"--tile {text}: use auto, 0 or a size in pixels")
    return text if text == "auto" else int(text)


def work(args: argparse.Namespace, jobs: list[Any], run: Any, record: Any) -> int:
    """Do the jobs, telling of each, and end with the summary."""
    from plugins.color_fidelity.enhance import Plan, enhance_all
    from plugins.color_fidelity.enhance_stop import StopSignal
    from plugins.color_fidelity.enhance_summary import Tally

    if record is not None:
        record.clear_leftovers(jobs)
        if not (args.force or args.overwrite):
            record.refuse_mixture(jobs)
    told = sys.stderr if args.summary == "json" else sys.stdout
    with StopSignal() as stop:
        plan = Plan(args.overwrite, args.force, args.compare, args.max_side, record, stop=stop)
        tally = Tally(jobs, args.max_side, lambda job: plan.reason_to_skip(job) is None)
        try:
            for outcome in enhance_all(jobs, run, plan):
                line = tally.add(outcome)
                print(line, file=sys.stderr if outcome.status == "failed" else told, flush=True)
        finally:
            print(json.dumps(tally.as_dict(), indent=2) if args.summary == "json" else tally.as_text(), flush=True)
        if stop.signum is not None:
            return stop.status
    return 1 if tally.counts["failed"] else 0


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    from basicsr.engine.device import resolve_device
    from plugins.color_fidelity.enhance_network import load_network
    from plugins.color_fidelity.enhance_plan import plan_jobs
    from plugins.color_fidelity.enhance_record import OutputRecord
    from plugins.color_fidelity.enhance_run import Runner, run_settings

    jobs = plan_jobs(args.source, args.output, args.recursive, args.format and f".{args.format}", args.keep_ending)
    net = load_network(args.checkpoint, args.opt, args.param_key, resolve_device({"device": args.device}))
    run = Runner(net, tile_size(args.tile), args.overlap, args.precision)  # type: ignore[arg-type]
    settings = run_settings(run, args.checkpoint, args.param_key, args.max_side)
    # One photo to a named file leaves nothing else beside it.
    is_folder = args.source.is_dir() or jobs[0].target != args.output
    with OutputRecord(args.output, settings) if is_folder else nullcontext() as record:
        return work(args, jobs, run, record)


if __name__ == "__main__":
    sys.exit(run_main(main))
