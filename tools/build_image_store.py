#!/usr/bin/env python
"""Make a memory-mapped store of a folder of photos, so that a training crop reads only its own pages.

    python tools/build_image_store.py --gt datasets/realestate/train/gt --lq datasets/realestate/train/lq
    python tools/build_image_store.py datasets/realestate/train/gt /fast/disk/gt.store

The first form writes gt.store and lq.store beside the folders, the second one where you say. In the option file, point
dataroot_gt and dataroot_lq at the stores, or keep the folders and set io_backend: {type: mmap}.

A store holds decoded pixels: 3 bytes a pixel (6 of 16-bit files), 21 MB a photo of 3300x2200, 12 GiB for 577 of them
and as much again for their partners. The room is computed from the files' headers and looked for before anything is
written.

Run the same command again
  after an interruption (Ctrl-C, kill, power):  it goes on; what was finished is not done again
  after photos were changed, added, removed:    only these are done (--checksum: changes that kept size and time, too)
  to check the store:                           --verify names every image whose pixels are not what was written
  to mend what --verify found:                  --repair makes only these images anew

Exit status: 0 done, 1 --verify found damage, 2 nothing could be done or images cannot be used, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.image_store import STORE_SUFFIX  # noqa: E402
from basicsr.data.image_store_build import BuildReport, build_stores, verify_store  # noqa: E402
from basicsr.data.image_store_plan import BuildOptions  # noqa: E402
from basicsr.data.work_progress import WorkProgress, print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402

SHOWN = 20


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="folder of images; with --verify also a store, which is only checked")
    parser.add_argument("store", nargs="?", help="store to write, ends in .store (default: <source>.store)")
    parser.add_argument("--gt", help="folder of targets; writes <folder>.store")
    parser.add_argument("--lq", help="folder of inputs; writes <folder>.store")
    parser.add_argument("--workers", type=positive, help="decoding threads (default: all cores)")
    parser.add_argument("--checksum", action="store_true", help="compare the content of all sources, not size and time")
    parser.add_argument("--verify", action="store_true", help="afterwards read all pixels and compare their checksums")
    parser.add_argument("--repair", action="store_true", help="first read all pixels; make those anew that are damaged")
    return parser.parse_args()


def jobs_of(args: argparse.Namespace) -> list[tuple[str, str]]:
    jobs = [(args.source, args.store or beside(args.source))] if args.source else []
    return jobs + [(folder, beside(folder)) for folder in (args.gt, args.lq) if folder]


def beside(folder: str) -> str:
    """The store's usual place; ``.`` and ``..`` get the names that they stand for."""
    clean = folder.rstrip("/") or "/"
    named = os.path.basename(clean) not in ("", ".", "..")
    return (clean if named else os.path.abspath(clean)) + STORE_SUFFIX


def build(jobs: list[tuple[str, str]], args: argparse.Namespace) -> None:
    start = time.monotonic()
    with WorkProgress("store") as progress:
        options = BuildOptions(args.workers, args.checksum, args.repair, progress)
        reports = build_stores(jobs, options)
    for (_, store), report in zip(jobs, reports, strict=True):
        show(store, report)
    seconds = time.monotonic() - start
    written, size = sum(r.written for r in reports), sum(r.bytes_written for r in reports)
    speed = f", {written / seconds:.1f} images a second" if written else ""
    print(f"{written} images, {size / 2**30:.2f} GiB written in {seconds:.1f} s{speed}")


def show(store: str, report: BuildReport) -> None:
    print(
        f"{store}: {report.written} images written, {report.kept} unchanged, {report.removed} removed; "
        f"{report.bytes_total / 2**30:.2f} GiB"
    )
    if report.bytes_unused > report.bytes_total // 2:
        print(f"  {report.bytes_unused / 2**30:.2f} GiB are left from replaced images: delete the store, build anew")


def verify(stores: list[str], workers: int | None) -> int:
    """Check stores; returns the number of damaged images."""
    count = 0
    for store in stores:
        with WorkProgress("verify") as progress:
            damaged = verify_store(store, workers, progress)
        for name in damaged[:SHOWN]:
            print(f"{store}: {name}: damaged, its pixels have a wrong checksum")
        if len(damaged) > SHOWN:
            print(f"{store}: ... and {len(damaged) - SHOWN} more")
        print(
            f"{store}: {len(damaged)} damaged; mend with --repair" if damaged else f"{store}: all checksums are right"
        )
        count += len(damaged)
    return count


def main() -> int:
    print_any_name()
    args = parse_args()
    if args.source and args.source.rstrip("/").endswith(STORE_SUFFIX):
        if not args.verify or args.repair or args.store or args.gt or args.lq:
            raise UserError(f"{args.source} is a store. Give --verify to check it, or the folder to make it from.")
        return 1 if verify([args.source], args.workers) else 0
    jobs = jobs_of(args)
    if not jobs:
        raise UserError("nothing to do: give SOURCE [STORE], or --gt DIR and --lq DIR.")
    build(jobs, args)
    return 1 if args.verify and verify([store for _, store in jobs], args.workers) else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
