#!/usr/bin/env python
"""Measure how faithful the colours of saved images are; see ``--help`` and docs/color_fidelity.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

from basicsr.engine.cli import check_writable, not_negative, positive, quiet_start, run_main, writing  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from tqdm import tqdm  # noqa: E402

from basicsr.data.work_progress import print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.color_fidelity.evaluation import INPUT_ROW, TARGET_ROW, Evaluation, Pair, evaluate  # noqa: E402
from plugins.color_fidelity.evaluation_files import at_iterations, folder_pairs, row_name, tree_pairs  # noqa: E402
from plugins.color_fidelity.evaluation_rules import failures, parse_rule  # noqa: E402
from plugins.color_fidelity.fidelity import FIGURES  # noqa: E402
from plugins.color_fidelity.report import MAIN_FIGURES, markdown_table, worst_table, write_csv, write_json  # noqa: E402
from plugins.color_fidelity.report_html import write_html  # noqa: E402
from plugins.color_fidelity.report_pictures import picture_side  # noqa: E402

EXAMPLES = """Any number of runs, folders of predictions and iterations can be compared: every FOLDER is a run, every
iteration in it is a checkpoint of its own in the report. --run is the same as a FOLDER without the word.

examples:
  eval_color.py experiments/NAFNet_Color/visualization
  eval_color.py base=experiments/base color=experiments/color --reference base --html report.html
  eval_color.py --run base=experiments/base --run color=experiments/color --iterations 5000,10000 --html report.html
  eval_color.py --pred results/ours --gt datasets/val/gt --lq datasets/val/lq --csv figures.csv
  eval_color.py experiments/color --fail-if 'sat_ratio<0.9' --fail-if 'de00_mean.worst>12'
"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Colour figures of saved images: visualization folders of runs, or folders of predictions.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="*", metavar="[NAME=]FOLDER", help="visualization or experiment folder of a run")
    parser.add_argument(
        "--run", action="append", default=[], metavar="[NAME=]FOLDER", help="one more of them (may be repeated)"
    )
    parser.add_argument(
        "--iterations", metavar="LIST", help="only these checkpoints, e.g. 5000,10000 or last (default: all)"
    )
    parser.add_argument(
        "--pred", action="append", default=[], metavar="[NAME=]DIR", help="folder of predictions (may be repeated)"
    )
    parser.add_argument("--gt", type=Path, metavar="DIR", help="targets, where there is no _gt file beside an image")
    parser.add_argument("--lq", type=Path, metavar="DIR", help="the network's inputs: adds a row of their own figures")
    parser.add_argument(
        "--reference", metavar="NAME", help="run that the others are compared with (default: the first)"
    )
    parser.add_argument(
        "--worst", type=not_negative, default=6, metavar="N", help="number of worst images shown first (default: 6)"
    )
    parser.add_argument("--worst-by", default="de00_mean", metavar="FIGURE", help="default: de00_mean")
    parser.add_argument("--all", action="store_true", help="every figure in the table, not only the main ones")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write one line an image")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as data")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report of one self-contained file")
    parser.add_argument("--title", default="Colour fidelity", help="title of the report")
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="RULE",
        help="exit with 1 if e.g. 'sat_ratio<0.9'",
    )
    parser.add_argument("--jobs", type=positive, metavar="N", help="images at a time (default: all cores)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(argv)


def named(text: str) -> tuple[str, Path]:
    """``name=path`` or a path that names itself."""
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        name, path = row_name(Path(text)), text
    if name in ("", INPUT_ROW, TARGET_ROW):
        raise UserError(f"'{name}' cannot be the name of a run, give another: NAME={path}")
    return name, Path(path)


def collect(args: argparse.Namespace) -> list[Pair]:
    runs = [*args.runs, *args.run]
    if not runs and not args.pred:
        raise UserError("nothing to evaluate: give visualization folders, or --pred DIR --gt DIR (see --help)")
    if args.pred and args.gt is None:
        raise UserError("--pred needs the folder of the targets: --gt DIR")
    pairs: list[Pair] = []
    for text in runs:
        name, path = named(text)
        pairs += tree_pairs(name, path, args.gt, args.lq)
    for text in args.pred:
        name, path = named(text)
        pairs += folder_pairs(name, path, args.gt, args.lq)
    return pairs if args.iterations is None else at_iterations(pairs, args.iterations)


def measure_all(pairs: list[Pair], args: argparse.Namespace) -> Evaluation:
    with tqdm(unit="image", disable=args.quiet or None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        side = picture_side if args.html else None
        return evaluate(pairs, reference=args.reference, jobs=args.jobs, progress=progress, picture_side=side)


def write_files(result: Evaluation, args: argparse.Namespace) -> None:
    with writing("the report"):
        if args.csv:
            write_csv(result, args.csv)
        if args.json:
            write_json(result, args.json)
        if args.html:
            write_html(result, args.html, title=args.title, worst=args.worst, worst_by=args.worst_by)


def main(argv: list[str] | None = None) -> int:
    print_any_name()
    args = parse_arguments(argv)
    rules = [parse_rule(text) for text in args.fail_if]
    if args.worst_by not in FIGURES:
        raise UserError(f"--worst-by {args.worst_by}: there is no such figure; there are: {', '.join(FIGURES)}")
    for path in filter(None, (args.csv, args.json, args.html)):
        check_writable(path)
    result = measure_all(collect(args), args)
    write_files(result, args)  # before anything is printed: a closed pipe must not cost the files
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(markdown_table(result, tuple(FIGURES) if args.all else MAIN_FIGURES))
    if args.worst > 0:
        for set_name in (name for name in result.sets if result.select(result.runs[-1], name)):
            print(f"\n{worst_table(result, result.runs[-1], set_name, args.worst, args.worst_by)}")
    for path in (args.csv, args.json, args.html):
        if path:
            print(f"wrote {path}")
    failed = failures(result, rules)
    for text in failed:
        print(f"failed: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
