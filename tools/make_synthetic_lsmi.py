#!/usr/bin/env python
"""Make scenes under two or three lights, in exactly the form of the LSMI data set, with the truth beside them.

    python tools/make_synthetic_lsmi.py datasets/lsmi_made --scenes 60 --size 256
    python tools/make_synthetic_lsmi.py datasets/lsmi_made --layout both --cameras galaxy,nikon,sony
    python tools/make_synthetic_lsmi.py datasets/lsmi_made --photos photos --apart 15 --measured

Photographs are taken as reflectances; lights with soft borders fall on them (windows, lamps, shadows, gradients), with
three colour charts in each scene; the camera adds noise, its black level and clipping. Photographs are divided among
train, val and test, so no photograph is in two of them. Written are <camera>/PlaceN/... (raw), <camera>_<size>/...
(preprocessed), and truth/: exact mixtures, lights and illuminant maps and pictures without noise.
Call it again to go on after an interruption, or with more --scenes to add some. Then: tools/prepare_lsmi_masks.py.
Exit status: 0, or 2 after an error.
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
from plugins.illuminant.lsmi_layout import CAMERAS, PREPROCESSED, RAW, Levels  # noqa: E402
from plugins.illuminant.lsmi_synthetic import FAULTS, SyntheticOptions, make_synthetic  # noqa: E402

LAYOUTS = {"raw": (RAW,), "preprocessed": (PREPROCESSED,), "both": (RAW, PREPROCESSED)}


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the data set")
    parser.add_argument("--scenes", type=positive, default=60, help="scenes a camera (default 60)")
    parser.add_argument("--size", type=positive, default=256, help="height of the pictures (default 256)")
    parser.add_argument("--layout", choices=LAYOUTS, default="raw", help="default: raw")
    parser.add_argument(
        "--cameras", default="nikon", help=f"of {','.join(CAMERAS)}, separated by commas (default: nikon)"
    )
    parser.add_argument("--black", type=float, help="black level, for a camera of another name")
    parser.add_argument("--white", type=float, help="white level, for a camera of another name")
    parser.add_argument("--photos", type=Path, help="folder of photographs (default: those of installed packages)")
    parser.add_argument("--lights", type=Path, help="csv with columns r, g, b (default: daylight and incandescent)")
    parser.add_argument(
        "--apart", type=float, default=5.0, metavar="DEGREES", help="least angle between a scene's lights (default 5)"
    )
    parser.add_argument("--three", type=float, default=0.4, help="share of scenes with three lights (default 0.4)")
    parser.add_argument("--seed", type=not_negative, default=0)
    parser.add_argument(
        "--measured", action="store_true", help="mixtures and lights as measured from the noisy pictures"
    )
    parser.add_argument(
        "--fault", choices=FAULTS, action="append", default=[],
        help="repeat a fault of the published maps: a chart that clips, dark pixels that wrap; repeatable",
    )  # fmt: skip
    return parser.parse_args(arguments)


def options_of(args: argparse.Namespace) -> SyntheticOptions:
    if (args.black is None) != (args.white is None):
        raise UserError("--black and --white are needed together.")
    return SyntheticOptions(
        args.out,
        args.scenes,
        args.size,
        tuple(dict.fromkeys(name for name in args.cameras.split(",") if name)),
        LAYOUTS[args.layout],
        args.seed,
        args.photos,
        args.lights,
        args.three,
        args.apart,
        args.measured,
        tuple(sorted(set(args.fault))),
        None if args.black is None else Levels(args.black, args.white),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    print_any_name()
    options = options_of(args)
    with WorkProgress("scenes") as progress:
        made = make_synthetic(options, progress)
    counts = ", ".join(f"{count} {name}" for name, count in made.scenes.items())
    print(f"{options.out}: {sum(made.scenes.values())} scenes ({counts}), {made.kept} of them were there before")
    for split, names in made.photos.items():
        print(f"  {split}: made of {len(names)} photographs")
        if not names:
            print(f"note: no photographs are left for {split}: give at least three")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
