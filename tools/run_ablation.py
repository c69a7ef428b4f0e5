#!/usr/bin/env python
"""Train every row of a sheet of option files with several seeds, judge all with the same metrics, one table, one plot.

    python tools/run_ablation.py options/ablation
    python tools/run_ablation.py options/ablation --rows continued bar all --seeds 0 1
    python tools/run_ablation.py options/ablation --overlay options/ablation/overlays/two_cores.yml --smoke
    python tools/run_ablation.py options/ablation --list

Runs that are complete are not trained again, interrupted ones go on. See docs/color_ablation.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

from basicsr.engine.cli import positive, quiet_start, run_main, writing  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from plugins.color_fidelity.ablation import Sheet, load_sheet  # noqa: E402
from plugins.color_fidelity.ablation_session import (  # noqa: E402
    Choices,
    Plan,
    checked_options,
    describe_rows,
    evaluate_sheet,
    make_plan,
    train_sheet,
)

LINES_OF_CHANGES = 6


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description[0], epilog=description[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheet", type=Path, metavar="FOLDER", help="folder of option files; each is a row")
    parser.add_argument("--overlay", type=Path, metavar="FILE", help="option file laid over every row; ~ removes a key")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows")
    parser.add_argument("--out", type=Path, metavar="DIR", help="results (default: experiments/<sheet's folder>)")
    parser.add_argument("--reference", metavar="ROW", help="row that changes are counted against")
    parser.add_argument("--list", action="store_true", help="show the rows and what each changes, and stop")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained, and stop")
    parser.add_argument("--train-only", action="store_true", help="do not judge")
    parser.add_argument("--evaluate-only", action="store_true", help="judge what is complete, train nothing")
    parser.add_argument(
        "--smoke", action="store_true", help="a quick trial of everything with the sheet's smoke options"
    )
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="trainings at the same time (default: 1)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads of each (default: cores / jobs)")
    parser.add_argument("--device", metavar="NAME", help="where networks are judged (default: as in the options)")
    parser.add_argument("--save-images", action="store_true", help="write every output to <out>/images as PNG")
    return parser.parse_args(argv)


def open_sheet(args: argparse.Namespace) -> Sheet:
    out = args.out or ROOT / "experiments" / args.sheet.resolve().name
    out = out.with_name(out.name + "_smoke") if args.smoke else out
    seeds = list(dict.fromkeys(args.seeds))
    return load_sheet(
        args.sheet, ROOT, out.resolve(), overlay=args.overlay, seeds=seeds, rows=args.rows, smoke=args.smoke
    )


def show_plan(plan: Plan, sheet: Sheet) -> None:
    if sheet.start is not None:
        print(f"all rows start from {sheet.start} (sha256 {plan.checksum or 'not there yet'})")
    for name, twin in sheet.same.items():
        print(f"{name}: the same options as {twin} under this overlay; left out")
    for run, state in plan.states:
        done = f" after {state.done:,} of {run.total_iter:,} iterations" if state.status.value == "interrupted" else ""
        print(f"  {state.status.value + done:12} {run.name}")
        for line in state.changes[:LINES_OF_CHANGES]:
            print(f"               {line}")
        if len(state.changes) > LINES_OF_CHANGES:
            print(f"               ... and {len(state.changes) - LINES_OF_CHANGES} more")
    print(f"{plan.left} of {len(plan.states)} runs to train, {plan.iterations:,} iterations", flush=True)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{timedelta(seconds=int(time.monotonic() - begin))}  {text}", flush=True)

    sheet = open_sheet(args)
    if args.list:
        print(describe_rows(sheet, args.reference))
        return 0
    plan = make_plan(sheet)
    show_plan(plan, sheet)
    options: dict[str, Any] = checked_options(sheet, plan, data=not args.dry_run, start=not args.evaluate_only)
    if args.dry_run:
        return 0
    failed: dict[str, str] = {}
    if not args.evaluate_only:
        with writing(str(sheet.out)):
            failed = train_sheet(plan, sheet, say, args.jobs, args.threads)
    if not args.train_only:
        choices = Choices(args.reference, args.device, args.save_images, args.threads, tuple(argv or sys.argv[1:]))
        with writing(str(sheet.out)):
            results, files = evaluate_sheet(sheet, options, failed, choices, say)
        print(f"\n{results}")
        for path in files:
            print(f"wrote {path}")
    for name, reason in failed.items():
        print(f"failed: {name}: {reason.splitlines()[0]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
