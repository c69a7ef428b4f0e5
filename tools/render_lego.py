#!/usr/bin/env python
"""Render training pictures of LEGO parts from LDraw geometry: any part, colour, pose, light, camera and background.

    python tools/render_lego.py --ldraw complete.zip --parts 3001,3003,3020 --colors solid --count 5 --out datasets/lego
    python tools/render_lego.py --ldraw ldraw/ --parts parts.txt --colors 1,4,14,15 --count 50 --out datasets/lego \\
        --backgrounds photos/tables --jobs 4

complete.zip is the parts library of ldraw.org (CC BY: name LDraw.org where you publish pictures). Writes
<out>/<part>/<colour>/<number>.jpg, renders.csv (part, colour, and how each picture was made) and contact_sheet.png.
Each picture depends on the seed, its part, its colour and its number alone: run it again to go on where it was stopped,
or with a larger --count or more parts to add pictures. Needs the extra 'lego' (numba).
Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import not_negative, positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.work_progress import WorkProgress  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.lego.ldraw_colors import library_colors  # noqa: E402
from plugins.lego.ldraw_library import open_library  # noqa: E402
from plugins.lego.render_job import LISTING, RenderJob, check_job, choose_colors, choose_parts, render_all  # noqa: E402
from plugins.lego.render_scene import QUALITIES, SceneOptions  # noqa: E402
from plugins.lego.render_sheet import write_sheet  # noqa: E402

SHEET = "contact_sheet.png"


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ldraw", type=Path, required=True, help="LDraw folder, complete.zip or tar archive")
    parser.add_argument("--parts", default="all", help="ids with commas, a file with one id a line, or all (default)")
    parser.add_argument(
        "--colors", default="solid", help="LDraw codes with commas, a finish (solid, transparent, ...), or all"
    )
    parser.add_argument("--count", type=positive, default=10, help="pictures of each part in each colour (default 10)")
    parser.add_argument("--size", type=positive, default=224, help="height and width in pixels (default 224)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to, or to go on with")
    parser.add_argument("--jobs", default="all", help="processes: a number, or all cores (default)")
    parser.add_argument("--seed", type=not_negative, default=0)
    parser.add_argument("--backgrounds", type=Path, metavar="FOLDER", help="your photos of tables, floors, boxes")
    parser.add_argument("--format", choices=("jpg", "png"), default="jpg", help="png holds the same pixels as jpg")
    parser.add_argument("--quality", choices=sorted(QUALITIES), default="full", help="plain is faster, shadows coarser")
    parser.add_argument(
        "--white-balance-error", type=float, default=SceneOptions.gain_error, metavar="SHARE",
        help="largest error of the red and blue gain (default 0.05; more blurs the names of colours)",
    )  # fmt: skip
    parser.add_argument(
        "--exposure-error", type=float, default=SceneOptions.exposure, metavar="STOPS", help="largest (default 0.15)"
    )
    return parser.parse_args(arguments)


def processes_of(jobs: str) -> int:
    """Number of processes."""
    if jobs == "all":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not jobs.isdecimal() or not 1 <= int(jobs) <= 512:
        raise UserError(f"--jobs {jobs}: give a number of processes from 1 to 512, or all.")
    return int(jobs)


def job_of(args: argparse.Namespace) -> RenderJob:
    """The job that the arguments describe."""
    if not 0 <= args.white_balance_error <= 0.5 or not 0 <= args.exposure_error <= 3:
        raise UserError("--white-balance-error is from 0 to 0.5, --exposure-error from 0 to 3.")
    library = open_library(args.ldraw)
    options = SceneOptions(
        size=args.size, gain_error=args.white_balance_error, exposure=args.exposure_error, **QUALITIES[args.quality]
    )
    return RenderJob(
        args.ldraw,
        choose_parts(library, args.parts),
        choose_colors(library_colors(library), args.colors),
        args.count,
        args.out,
        args.seed,
        args.format,
        args.backgrounds,
        options,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    processes = processes_of(args.jobs)
    job = job_of(args)
    check_job(job)
    total = len(job.parts) * len(job.colors) * job.count
    print(f"{len(job.parts)} parts x {len(job.colors)} colours x {job.count} = {total} pictures, {processes} processes")
    with WorkProgress("render") as progress:
        rows = render_all(job, processes, progress)
    write_sheet(job.out, rows, job.out / SHEET)
    print(f"{job.out / LISTING}: {len(rows)} pictures; look at {job.out / SHEET}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
