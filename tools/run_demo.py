#!/usr/bin/env python
"""The whole demo: data, baseline, baseline continued, colour fine-tune, enhanced photos, tables, report.

    python tools/run_demo.py                                   # or: make demo
    python tools/run_demo.py --photos ~/Pictures --tag mine    # the same on your own photos

Stages that are complete are not run again; an interrupted training is resumed. --fresh starts from nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from plugins.color_fidelity.demo import RUNS, DemoOptions, make_data, prepare, train_all  # noqa: E402
from plugins.color_fidelity.demo_data import CONTACT_SHEET  # noqa: E402
from plugins.color_fidelity.demo_report import criteria, enhance_sets, measure_demo, write_report  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of photos (default: those of installed packages)")
    parser.add_argument("--tag", default="", help="ending of the folders' names, to keep several demos")
    parser.add_argument("--size", type=int, default=320, help="largest longer side of a photo (default: 320)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and of the trainings")
    parser.add_argument("--shots", type=int, default=8, help="versions of each training photo (default: 8)")
    parser.add_argument("--eval-shots", type=int, default=2, help="versions of each other photo (default: 2)")
    parser.add_argument("--cores", type=int, help="cores to use (default: all)")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier demo wrote and start again")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a criterion is not met")
    parser.add_argument("--force_yml", nargs="+", default=[], metavar="a:b=v", help="settings for every training")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    options = DemoOptions(
        root=ROOT,
        photos=args.photos,
        tag=args.tag,
        size=args.size,
        seed=args.seed,
        shots=args.shots,
        eval_shots=args.eval_shots,
        fresh=args.fresh,
        cores=args.cores,
        force=tuple(args.force_yml),
    )
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {text}", flush=True)

    stages = prepare(options)
    make_data(options, stages, say)
    train_all(options, stages, say)
    say("enhancing the held-out and the stress photos")
    pairs = enhance_sets(options)
    say(f"measuring {len(pairs)} outputs")
    result = measure_demo(pairs, options)
    print(f"\n{write_report(options, result)}")
    times = ", ".join(f"{name} {stages.seconds(name):.0f} s" for name in ("data", *[run.row for run in RUNS]))
    say(f"done ({times})")
    print(f"report   {options.results / 'report.html'}")
    print(f"picture  {options.results / 'before_after.png'}")
    print(f"photos   {options.data / CONTACT_SHEET}")
    return 1 if args.check and not all(item.met for item in criteria(result)) else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
