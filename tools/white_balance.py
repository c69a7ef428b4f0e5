#!/usr/bin/env python
"""Take the colour of the light out of photos: one light for a photo, or a light for every pixel.

    python tools/white_balance.py photos/ --weights best_illuminant_cnn.pth -o balanced/
    python tools/white_balance.py room.jpg --weights best_illuminant_cnn.pth --lights multi -o balanced/
    python tools/white_balance.py raw/ --encoding linear --black 2048 --white 16383 --weights net_g_best.pth -o out/
    python tools/white_balance.py photos/ --method shades-of-grey -o compared/
    python tools/white_balance.py --masks masks/ --root LSMI/ --split test --weights unet.pth -o out/

The light is said by exactly one of --weights (an IlluminantCNN: centroids of its classes, or with --lights multi its
class maps; an IlluminantUNet: a map), --method (a classical method) and --light. Balancing is von Kries' diagonal
change in linear light; luminance is kept, clipped highlights stay white.

Written are <name>.* (depth, EXIF and sRGB profile as in the photo; raw pictures and LSMI scenes as linear 16-bit PNG),
<name>_light.png (the map) and <name>_compare.png (before, after, map, true map). With --masks the scenes' true maps are
known: each pixel's angular error is measured as LSMI does, beside that of the best single light, into errors.csv.
Exit status: 0, 1 if a photo failed (it is named, the others are done), 2 if the call itself is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

from basicsr.engine.cli import check_writable, positive, quiet_start, run_main, writing  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.work_progress import WorkProgress, print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.color_fidelity.enhance_files import read_photo, write_photo  # noqa: E402
from plugins.illuminant import white_balance_files as files  # noqa: E402
from plugins.illuminant.cam import METHODS as CAM_METHODS  # noqa: E402
from plugins.illuminant.centroids import read_centroids  # noqa: E402
from plugins.illuminant.light_images import check_levels  # noqa: E402
from plugins.illuminant.refine import REFINEMENTS  # noqa: E402
from plugins.illuminant.white_balance import KEEP  # noqa: E402
from plugins.illuminant.white_balance_run import (  # noqa: E402
    Estimator,
    NetworkSettings,
    classic,
    fixed_light,
    load_estimator,
)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, nargs="?", help="a photo, or a folder of photos")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    said = parser.add_mutually_exclusive_group(required=True)
    said.add_argument("--weights", type=Path, metavar="NET.pth", help="of an IlluminantCNN or IlluminantUNet")
    said.add_argument("--method", metavar="NAME", help="grey-world, white-patch, shades-of-grey or grey-edge")
    said.add_argument("--light", metavar="R,G,B", help="this light, in linear light of any scale, as 1.8,1,0.6")
    add("--masks", type=Path, metavar="DIR", help="balance the LSMI scenes of prepare_lsmi_masks.py's folder")
    add("--root", type=Path, metavar="DIR", help="LSMI's folder, with --masks")
    add("--split", choices=("train", "val", "test"), help="only these scenes, with --masks")
    add("--limit", type=positive, metavar="N", help="only the first N pictures")
    add("--encoding", choices=("srgb", "linear"), help="of the photos (default: srgb; scenes of --masks are linear)")
    add("--black", type=float, default=0.0, help="black level of linear photos (default: 0)")
    add("--white", type=float, help="saturation level of linear photos (default: the range of 8 or 16 bits)")
    add("--sensor", metavar="NAME", help="whose RGB the photos are: weights of another sensor are refused")
    add("--lights", choices=("single", "multi"), default="single", help="of an IlluminantCNN (default: single)")
    add("--answer", choices=("class", "mixture"), default="mixture", help="single light: the likeliest class's "
        "centroid, or all by their probabilities (default: mixture)")  # fmt: skip
    add("--cam", choices=CAM_METHODS, default="gradcam++", help="class maps of --lights multi (default: gradcam++)")
    add("--refine", choices=REFINEMENTS, default="guided", help="how class maps follow edges (default: guided)")
    add("--side", type=positive, metavar="N", help="shorter side that the network sees (default: as in training)")
    add("--keep", choices=KEEP, default="luminance", help="of each pixel, of the picture's mean, or nothing")
    add("--no-pictures", action="store_true", help="write no maps and before/after pictures")
    return parser.parse_args(arguments)


def check(args: argparse.Namespace) -> None:
    if (args.source is None) == (args.masks is None):
        raise UserError("give either photos to balance or --masks DIR --root DIR (see --help)")
    if (args.masks is None) != (args.root is None):
        raise UserError("--masks and --root go together: the masks' folder and the folder of LSMI's pictures")
    if args.masks is None and args.split is not None:
        raise UserError("--split chooses among the scenes of --masks; photos have no split")
    if args.masks is not None and (args.encoding == "srgb" or args.black or args.white is not None):
        raise UserError("scenes of --masks are linear and know their levels: leave out --encoding, --black and --white")
    args.encoding = args.encoding or ("srgb" if args.masks is None else "linear")
    check_levels(args.encoding, args.black, args.white, "--black, --white")


def open_source(args: argparse.Namespace) -> tuple[list[Any], Callable[[Any], files.Picture]]:
    """What is to be balanced, and how one of it is opened."""
    if args.masks is not None:
        rows: list[Any] = files.scene_rows(args.masks, args.split)
        return rows[: args.limit], lambda row: files.scene_picture(args.root, args.masks, row)
    paths = files.photo_files(args.source)[: args.limit]
    files.check_targets(paths, args.output)
    if args.encoding == "linear":
        return list(paths), lambda path: files.linear_picture(path, args.black, args.white)
    return list(paths), lambda path: files.srgb_picture(path, read_photo, write_photo)


def estimator(args: argparse.Namespace) -> Estimator:
    if args.light is not None:
        return fixed_light(args.light)
    if args.method is not None:
        return classic(args.method)
    sensor = args.sensor
    if args.masks is not None:
        sensor = read_centroids(args.masks / "centroids.json").sensor
    settings = NetworkSettings(args.lights, args.answer, args.cam, args.refine, args.side)
    return load_estimator(args.weights, args.encoding, settings, sensor)[0]


def work(args: argparse.Namespace) -> tuple[list[files.Result], int]:
    """Balance all pictures; returns the results and how many failed."""
    items, open_one = open_source(args)
    estimate = estimator(args)
    results: list[files.Result] = []
    failed = 0
    with WorkProgress("white balance") as progress:
        for done, item in enumerate(items, start=1):
            try:
                picture = open_one(item)
                result = files.balance_picture_to(picture, estimate, args.keep, args.output, not args.no_pictures)
                results.append(result)
            except UserError as error:
                failed += 1
                print(f"failed: {error}", file=sys.stderr)
            progress(done, len(items), str(getattr(item, "image", item)))
    return results, failed


def main(arguments: Sequence[str] | None = None) -> int:
    print_any_name()
    args = parse_arguments(arguments)
    check(args)
    check_writable(args.output / "errors.csv")
    with writing("the results"):
        results, failed = work(args)
        means = files.mean_row(results)
        if means is not None:
            files.write_errors(args.output / "errors.csv", results)
    for result in results:
        light = ", ".join(f"{value:.3f}" for value in result.light)
        error = (
            "" if result.errors is None else f"  error mean {result.errors.mean:.2f} max {result.errors.maximum:.2f}"
        )
        print(f"{result.file}  light {light}{error}")
    if means is not None:
        print(
            f"{means['pictures']:.0f} scenes: error of a pixel in degrees, mean {means['mean']:.2f}, median "
            f"{means['median']:.2f}, 95 % {means['p95']:.2f}, largest {means['maximum']:.2f} (means over the scenes); "
            f"best single light: mean {means['single_mean']:.2f}"
        )
    if failed:
        print(f"failed: {failed} of {failed + len(results)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
