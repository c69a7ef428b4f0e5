#!/usr/bin/env python3
"""Say what is wrong with a photo, or with a folder of photos, and write it corrected.

    python tools/optimize_photo.py photo.jpg
    python tools/optimize_photo.py holiday/ -o holiday_advice/ --model models/diagnostic_model.pth
    python tools/optimize_photo.py photo.jpg --fusion-weight 0        (the scene's preset only; needs no model)

Of every photo four files are written: NAME_corrected (EXIF and colour profile are kept), NAME_before_after,
NAME_filters (each recommended filter by itself) and NAME_advice.json. Nothing is overwritten without --overwrite.
Exit status: 0; 1 if a photo failed (it is named, the others are done); 2 if the call itself is wrong; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import quiet_start, run_main  # noqa: E402

if TYPE_CHECKING:
    from plugins.diagnostic.photo_advice import Adviser, Outcome


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, help="a photo, or a folder of photos")
    add("-o", "--output", type=Path, default=Path("advice"), help="folder to write to (default: advice)")
    add("--model", type=Path, help="weights of the DiagnosticCNN (default: models/diagnostic_model.pth)")
    add("--scene-weights", type=Path, help="weights of ImageNet MobileNetV2 (default: torch's folder of downloads)")
    add("--fusion-weight", type=float, default=0.6, help="1: the model only, 0: the scene's preset only (default 0.6)")
    add("--format", choices=("jpg", "png"), help="of the corrected photo (default: as the source; PNG for other kinds)")
    add("--sheet-format", choices=("jpg", "png"), default="jpg", help="of the before/after and filters sheets")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--overwrite", action="store_true", help="replace what is there")
    add("--json", action="store_true", help="standard output is one JSON list of advice")
    return parser.parse_args(arguments)


def make_adviser(args: argparse.Namespace) -> Adviser:
    from basicsr.engine.device import resolve_device
    from plugins.diagnostic.model_files import load_diagnostic_model
    from plugins.diagnostic.photo_advice import Adviser
    from plugins.diagnostic.scenes import find_scene_weights

    device = resolve_device({"device": args.device})
    if find_scene_weights(args.scene_weights) is None:
        sys.stderr.write("no scene weights: every scene is Generic, whose preset changes nothing\n")
    # The preset alone needs no model, and one that is named is still asked what it sees.
    model = None if args.fusion_weight == 0 and args.model is None else load_diagnostic_model(args.model, device)
    return Adviser(model, args.scene_weights, device)


def told(outcome: Outcome) -> str:
    """What is printed of a photo."""
    if outcome.advice is None:
        return f"FAILED: {outcome.problem}"
    lines = [f"{outcome.job.source}", *(f"  {line}" for line in outcome.advice.corrections_summary)]
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in outcome.advice.final_params.items())
    lines += [f"  {numbers}", *(f"  note: {note}" for note in outcome.notes)]
    return "\n".join([*lines, f"  -> {outcome.job.corrected}"])


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    from basicsr.data.work_progress import WorkProgress, print_any_name
    from basicsr.engine.errors import UserError
    from plugins.diagnostic.corrections import check_weight
    from plugins.diagnostic.photo_advice import advice_record, advise_all, plan_jobs, refuse_overwriting

    try:
        check_weight(args.fusion_weight)
    except ValueError as error:
        raise UserError(f"--fusion-weight: {error}") from error
    print_any_name()
    jobs = plan_jobs(args.source, args.output, args.format, args.sheet_format)
    if not args.overwrite:
        refuse_overwriting(jobs)
    adviser = make_adviser(args)
    records: list[dict[str, Any]] = []
    failed = 0
    with WorkProgress("photos") as progress:
        for number, outcome in enumerate(advise_all(jobs, adviser, args.fusion_weight), 1):
            if outcome.advice is None:
                failed += 1
                sys.stderr.write(told(outcome) + "\n")
            elif args.json:
                records.append({"photo": str(outcome.job.source), **advice_record(outcome.advice)})
            else:
                print(told(outcome), flush=True)
            if len(jobs) > 1:
                progress(number, len(jobs), outcome.job.source.name)
    if args.json:
        print(json.dumps(records, indent=2))
    if failed:
        sys.stderr.write(f"{failed} of {len(jobs)} photos failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    quiet_start()
    sys.exit(run_main(main))
