#!/usr/bin/env python
"""Turn LSMI's mixtures of lights into masks of the classes of light.

    python tools/prepare_lsmi_masks.py datasets/LSMI --centroids centroids.json --cameras nikon --jobs 4
    python tools/prepare_lsmi_masks.py datasets/LSMI/nikon_512 --centroids centroids.json --out datasets/nikon_masks

Each light of a scene gets the class whose centroid is nearest by angle; the shares of the lights of one class are added
up, pixel by pixel. A light over 10 degrees from every centroid, or one that is a failed measurement, counts as "other"
and makes its picture hard. Reads both of LSMI's layouts: <camera>/PlaceN/ (raw) and <camera>_<size>/train/ and so on
(preprocessed). Centroids belong to one camera: choose its pictures with --cameras.
Writes <split>/*.npz, manifest.csv, centroids.json and preview.png. Call it again to go on after an interruption.
Exit status: 0, or 2 after an error; files that cannot be used are counted and named, and the rest goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import not_negative, positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.work_progress import WorkProgress, print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.illuminant.centroids import OUTLIER_DEGREES, read_centroids  # noqa: E402
from plugins.illuminant.lsmi_layout import CAMERAS, LAYOUTS, SPLITS, UNLISTED, Levels  # noqa: E402
from plugins.illuminant.lsmi_prepare import Prepared, PrepareOptions, prepare_masks  # noqa: E402
from plugins.illuminant.lsmi_read import FLAGS, LIGHT_SOURCES  # noqa: E402


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the data set's folder, or one camera's")
    parser.add_argument("--centroids", type=Path, required=True, help="centroids.json of tools/export_centroids.py")
    parser.add_argument("--out", type=Path, help="folder for the masks (default: masks in the data set's folder)")
    parser.add_argument("--layout", choices=LAYOUTS, default="auto", help="default: the one that is there")
    parser.add_argument("--cameras", default="", help="only these, separated by commas")
    parser.add_argument(
        "--split", action="append", default=[], choices=(*SPLITS, UNLISTED), help="only this one; repeatable"
    )
    parser.add_argument("--single", action="store_true", help="pictures with one light, too")
    parser.add_argument(
        "--lights", choices=LIGHT_SOURCES, default="meta",
        help="the published lights (default), or measured on the raw layout's charts, clipping looked for",
    )  # fmt: skip
    parser.add_argument("--keep-charts", action="store_true", help="let the colour charts count as scene")
    parser.add_argument("--outlier-degrees", type=float, default=OUTLIER_DEGREES, help=f"default {OUTLIER_DEGREES:g}")
    parser.add_argument(
        "--size", type=not_negative, default=512, help="longer side of larger masks; 0: as they are (default 512)"
    )
    parser.add_argument("--black", type=float, help=f"black level of raw files, unless of {', '.join(CAMERAS)}")
    parser.add_argument("--white", type=float, help="white level of raw files")
    parser.add_argument("--limit", type=positive, help="at most so many pictures")
    parser.add_argument("--jobs", type=positive, default=1, help="processes (default 1)")
    return parser.parse_args(arguments)


def options_of(args: argparse.Namespace) -> PrepareOptions:
    if (args.black is None) != (args.white is None):
        raise UserError("--black and --white are needed together.")
    return PrepareOptions(
        args.root,
        args.centroids,
        args.out,
        args.layout,
        None if args.black is None else Levels(args.black, args.white),
        tuple(name for name in args.cameras.split(",") if name),
        tuple(args.split),
        args.single,
        args.lights,
        args.keep_charts,
        args.outlier_degrees,
        args.size or None,
        args.limit,
        args.jobs,
    )


def show(options: PrepareOptions, prepared: Prepared) -> None:
    rows = prepared.rows
    names = read_centroids(options.centroids).names
    splits = {split: sum(row.split == split for row in rows) for split in (*SPLITS, UNLISTED)}
    counted = ", ".join(f"{count} {split}" for split, count in splits.items() if count)
    scenes = len({(row.camera, row.place) for row in rows})
    print(f"{len(rows)} pictures of {scenes} scenes ({counted}); {prepared.kept} were there before")
    hard = sum(row.hard for row in rows)
    print(f"  hard             {hard:6} pictures, {hard / len(rows):6.1%}")
    print(f"  light in other   {prepared.other_share():13.1%} of the valid area")
    for name, share in zip(names, prepared.class_shares(), strict=True):
        lights = sum(row.classes.count(name) for row in rows)
        print(f"  {name:16} {share:13.1%} of the valid area, nearest of {lights} lights")
    print(f"  not valid        {prepared.invalid_share():13.1%} of the pixels")
    for flag, count in sorted(prepared.flags().items()):
        print(f"  {flag:16} {count:6} pictures: {FLAGS.get(flag, '')}")
    print(f"  broken           {prepared.broken:6} pictures left out")
    for problem in prepared.problems[:20]:
        print(f"problem: {problem.path}: {problem.what.removeprefix(f'{problem.path}: ')}")
    if len(prepared.problems) > 20:
        print(f"problem: ... and {len(prepared.problems) - 20} more")
    cameras = sorted({row.camera for row in rows})
    if len(cameras) > 1:
        print(f"note: {', '.join(cameras)}: centroids belong to one camera; those of another mean nothing here")
    print(f"{options.folder}: look at preview.png ({prepared.shown} pictures)")


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    print_any_name()
    options = options_of(args)
    with WorkProgress("masks") as progress:
        prepared = prepare_masks(options, progress)
    show(options, prepared)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
