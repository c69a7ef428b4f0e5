#!/usr/bin/env python
"""Make a memory-mapped store of a folder of photos, so that a training crop reads only its own pages.

    python tools/build_image_store.py datasets/realestate/train/gt datasets/realestate/train/gt.store
    python tools/build_image_store.py --gt datasets/realestate/train/gt --lq datasets/realestate/train/lq

The second form writes gt.store and lq.store beside the folders. In the option file, point dataroot_gt and dataroot_lq
at the stores, or keep the folders and set io_backend: {type: mmap}. Run it again after a source has changed, or after
an interruption: only what is missing is done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from tqdm import tqdm  # noqa: E402

from basicsr.data.image_store import STORE_SUFFIX  # noqa: E402
from basicsr.data.image_store_build import build_store, verify_store  # noqa: E402
from basicsr.engine.cli import positive, run_main  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="folder of images")
    parser.add_argument("store", nargs="?", help="store to write, ends in .store (default: <source>.store)")
    parser.add_argument("--gt", help="folder of targets; writes <folder>.store")
    parser.add_argument("--lq", help="folder of inputs; writes <folder>.store")
    parser.add_argument("--workers", type=positive, help="decoding threads (default: all cores)")
    parser.add_argument("--verify", action="store_true", help="afterwards read all pixels and compare their checksums")
    return parser.parse_args()


def jobs(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if args.source:
        yield args.source, args.store or args.source.rstrip("/") + STORE_SUFFIX
    for folder in (args.gt, args.lq):
        if folder:
            yield folder, folder.rstrip("/") + STORE_SUFFIX


def build(source: str, store: str, workers: int | None, verify: bool) -> None:
    with tqdm(desc=store, unit="img", dynamic_ncols=True, disable=None) as bar:

        def progress(done: int, total: int, name: str) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = build_store(source, store, workers, progress)
    print(
        f"{store}: {report.written} images written, {report.kept} unchanged, {report.removed} removed; "
        f"{report.bytes_total / 2**30:.2f} GiB"
    )
    if report.bytes_unused > report.bytes_total // 2:
        print(f"  {report.bytes_unused / 2**30:.2f} GiB are left from replaced images: delete the store, build anew")
    if verify:
        damaged = verify_store(store)
        if damaged:
            raise UserError(
                f"{store}: {len(damaged)} images have wrong checksums (first: {damaged[0]}); build it anew."
            )
        print(f"{store}: all checksums are right")


def main() -> int:
    args = parse_args()
    todo = list(jobs(args))
    if not todo:
        raise UserError("nothing to do: give SOURCE [STORE], or --gt DIR and --lq DIR.")
    for source, store in todo:
        build(source, store, args.workers, args.verify)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
