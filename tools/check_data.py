#!/usr/bin/env python
"""Check image data in one pass: damaged files, missing partners, wrong sizes, mixed depths, profiles, duplicates.

    python tools/check_data.py options/nafnet_fast.yml
    python tools/check_data.py --gt datasets/realestate/train/gt --lq datasets/realestate/train/lq --gt-size 256

What was found out about a file is remembered (by path, size and time), so a check that was interrupted or killed goes
on where it was, and a second one reads only what has changed: seconds instead of minutes. --recheck reads everything
again, which also finds what a failing disk did to a file since.

An option file is checked with all its data sets at once: pairs that are shared between training and another set are
found by content, and a store (.store, or io_backend type mmap) is compared with its checksums and its source folder.

Exit status: 0 without errors (warnings are no errors), 1 with errors, 2 if the call itself is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import not_negative, positive, quiet_start, run_main, writing  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.check import ERROR, KINDS, DataSetToCheck, Report, check_data  # noqa: E402
from basicsr.data.check_cache import VerdictCache, default_cache  # noqa: E402
from basicsr.data.check_files import VERDICT_VERSION  # noqa: E402
from basicsr.data.work_progress import WorkProgress, print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from basicsr.engine.options_fill import absolute  # noqa: E402
from basicsr.engine.options_merge import load_options  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("options", nargs="?", metavar="OPTIONS.yml", help="check every data set of an option file")
    parser.add_argument("--gt", help="folder, .lmdb or .store of targets")
    parser.add_argument("--lq", help="folder, .lmdb or .store of inputs")
    parser.add_argument("--scale", type=positive, default=1, help="target size over input size (with --gt and --lq)")
    parser.add_argument("--gt-size", type=positive, help="edge of the training crop in the target")
    parser.add_argument("--filename-tmpl", default="{}", help="name of the input of a target {}")
    parser.add_argument("--workers", type=positive, help="threads (default: all cores)")
    parser.add_argument("--show", type=not_negative, default=20, help="findings shown of each kind (default 20)")
    parser.add_argument("--json", metavar="FILE", help="write all findings as JSON; - for standard output")
    parser.add_argument("--cache", metavar="FILE", help=f"where verdicts are remembered (default {default_cache()})")
    parser.add_argument("--no-cache", action="store_true", help="remember nothing, read all files")
    parser.add_argument("--recheck", action="store_true", help="read all files again, whatever is remembered")
    return parser.parse_args()


def sets_of(args: argparse.Namespace) -> list[DataSetToCheck]:
    if args.options and not (args.gt or args.lq):
        return sets_of_options(load_options(args.options).root.plain())
    if (args.gt or args.lq) and not args.options:
        phase = "train" if args.gt_size else "val"
        return [DataSetToCheck("data", args.gt, args.lq, phase, args.scale, args.gt_size, args.filename_tmpl)]
    raise UserError("give an option file, or --gt and/or --lq.")


def sets_of_options(opt: dict[str, Any]) -> list[DataSetToCheck]:
    sets = []
    datasets = opt.get("datasets") or {}
    if not isinstance(datasets, dict) or not all(isinstance(entry or {}, dict) for entry in datasets.values()):
        raise UserError("datasets: each must be a name with keys below it (dataroot_gt, dataroot_lq, ...).")
    for key, entry in ((key, entry) for key, entry in datasets.items() if entry):
        roots = {half: entry.get(f"dataroot_{half}") for half in ("gt", "lq")}
        if not any(roots.values()):
            continue
        paths = {half: absolute(root, ROOT) if root else None for half, root in roots.items()}
        meta = entry.get("meta_info_file")
        sets.append(
            DataSetToCheck(
                name=entry.get("name") or key,
                gt=paths["gt"],
                lq=paths["lq"],
                phase=key.split("_")[0],
                scale=int(opt.get("scale") or 1),
                gt_size=entry.get("gt_size"),
                filename_tmpl=entry.get("filename_tmpl") or "{}",
                meta_info_file=absolute(meta, ROOT) if meta else None,
                pad_small=bool(entry.get("pad_small", "use_flip" in entry)),
                io_backend=entry.get("io_backend"),
            )
        )
    if not sets:
        raise UserError("the option file has no data set with dataroot_gt or dataroot_lq.")
    return sets


def show(report: Report, limit: int, seconds: float) -> None:
    counts = report.counts()
    for kind in KINDS:
        found = [finding for finding in report.findings if finding.kind == kind]
        for finding in found[:limit]:
            print(f"{finding.level}: {finding.path}: {finding.message}")
        if len(found) > limit:
            print(f"{found[0].level}: ... and {len(found) - limit} more of kind {kind}")
    print(f"\n{report.images} files, {report.pairs} pairs, {report.nbytes / 2**30:.2f} GiB{pace(report, seconds)}")
    width = max((len(kind) for kind in counts), default=0)
    for kind, (level, meaning) in KINDS.items():
        if counts[kind]:
            print(f"  {level:<7} {kind:<{width}} {counts[kind]:>6}  {meaning}")
    errors = report.errors
    warnings = len(report.findings) - errors
    print("no problems found" if not report.findings else f"{errors} {ERROR}s, {warnings} warnings")


def pace(report: Report, seconds: float) -> str:
    """How fast files were read, and how many were not."""
    read = report.images - report.remembered
    text = f" in {seconds:.1f} s" + (f", {read / seconds:.1f} files a second" if read else "")
    return text + (f" ({report.remembered} unchanged since an earlier check)" if report.remembered else "")


def main() -> int:
    print_any_name()
    args = parse_args()
    sets = sets_of(args)
    path = None if args.no_cache else Path(args.cache) if args.cache else default_cache()
    start = time.monotonic()
    with WorkProgress("check") as progress, VerdictCache(path, VERDICT_VERSION, args.recheck) as cache:
        report = check_data(sets, args.workers, progress, cache)
    seconds = time.monotonic() - start
    if args.json == "-":
        print(json.dumps(report.as_dict(), indent=1))
    else:
        show(report, args.show, seconds)
    if args.json and args.json != "-":
        with writing(args.json):
            Path(args.json).write_text(json.dumps(report.as_dict(), indent=1), encoding="utf-8")
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
