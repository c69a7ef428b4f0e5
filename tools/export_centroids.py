#!/usr/bin/env python
"""Make the classes of light of a camera: k-means of its measured lights, by direction.

    python tools/export_centroids.py Cube++/gt.csv --columns mean --sensor 'Canon 550D' --out experiments/cube
    python tools/export_centroids.py INTEL-TAU/Nikon_D810 --sensor 'Nikon D810' --out experiments/nikon
    python tools/export_centroids.py --sampled 2000 --sensor sRGB --out experiments/srgb

LIGHTS is a table with r, g, b (csv, with or without header and names) or a folder of .wp files. Lights are linear RGB
of the camera, of any scale, also where the photos are sRGB; only their direction counts. Classes of one sensor mean
nothing to another, which is why --sensor is stored with them.
Writes centroids.json (for the data set's option 'centroids'), centroids.npy ((K, 3) float64) and centroids.png, and
with --sampled the lights themselves, lights.csv. Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import check_writable, not_negative, positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

import numpy as np  # noqa: E402

from basicsr.data.work_progress import print_any_name  # noqa: E402
from basicsr.engine.checkpoint import write_atomic  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.color_science.illuminants import sample_lights  # noqa: E402
from plugins.illuminant.centroid_fit import CentroidFit, fit_centroids  # noqa: E402
from plugins.illuminant.centroid_plot import write_centroid_plot  # noqa: E402
from plugins.illuminant.truth_table import read_lights  # noqa: E402

FILES = ("centroids.json", "centroids.npy", "centroids.png")
SAMPLES = "lights.csv"


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "lights", nargs="?", type=Path, metavar="LIGHTS", help="table of lights, or folder of .wp files"
    )
    parser.add_argument("--sensor", required=True, metavar="NAME", help="camera or colour space whose RGB it is")
    parser.add_argument("--columns", metavar="NAME", help="which light of a table with several: mean, left, right, ...")
    parser.add_argument(
        "--sampled", type=positive, metavar="N", help="no measured lights: draw N of daylight and lamps in linear sRGB"
    )
    parser.add_argument("--seed", type=not_negative, default=0, help="number that fixes the draw (default: 0)")
    parser.add_argument(
        "--drop-degenerate", action="store_true", help="leave out rows that are no light (a zero), instead of an error"
    )
    parser.add_argument("-k", type=positive, default=5, metavar="K", help="number of classes (default: 5)")
    parser.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="folder to write to (default: .)")
    args = parser.parse_args(arguments)
    if (args.lights is None) == (args.sampled is None):
        parser.error("give either LIGHTS or --sampled N")
    if not args.sensor.strip():
        parser.error("--sensor must name a camera or a colour space")
    return args


def table(fit: CentroidFit) -> str:
    """One line a class, as Markdown."""
    classes = fit.centroids
    lines = [
        "| class | r | g | b | share | lights | nearest other | mean angle | p95 angle |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rgb, share, count, separation, angles in zip(
        classes.names, classes.rgb, classes.shares, classes.counts, classes.separations, fit.within, strict=True
    ):
        color = " | ".join(f"{value:.4f}" for value in rgb)
        spread = f"{separation:.2f}° | {angles.mean:.2f}° | {angles.p95:.2f}°"
        lines.append(f"| {name} | {color} | {100 * share:.1f} % | {count} | {spread} |")
    return "\n".join(lines)


def write_samples(lights: np.ndarray, path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow("rgb")
    writer.writerows(lights.tolist())
    write_atomic(path, lambda file: file.write(text.getvalue().encode()))


def write_files(fit: CentroidFit, folder: Path) -> None:
    content = json.dumps(fit.centroids.as_dict(), indent=2, ensure_ascii=False) + "\n"
    write_centroid_plot(fit, folder / FILES[2])
    write_atomic(folder / FILES[1], lambda file: np.save(file, fit.centroids.array, allow_pickle=False))
    write_atomic(folder / FILES[0], lambda file: file.write(content.encode()))


def main(arguments: Sequence[str] | None = None) -> int:
    print_any_name()
    args = parse_args(arguments)
    names = FILES if args.sampled is None else (*FILES, SAMPLES)
    for name in names:
        check_writable(args.out / name)
    if args.sampled is not None:
        if args.columns is not None:
            raise UserError("--columns chooses columns of a table; --sampled has none.")
        lights = sample_lights(args.sampled, np.random.default_rng(args.seed))
        source = f"{args.sampled} sampled daylights and lamps, seed {args.seed}"
    else:
        lights, source = read_lights(args.lights, args.columns, args.drop_degenerate), args.lights.name
    fit = fit_centroids(lights, args.sensor, args.k, source)
    write_files(fit, args.out)
    if args.sampled is not None:
        write_samples(lights, args.out / SAMPLES)
    print(table(fit))
    overall = fit.overall
    print(f"\n{overall.count} lights; a classifier that is always right and answers the centroid still errs")
    print(f"{overall.mean:.2f}° on average, {overall.median:.2f}° in the median, {overall.p95:.2f}° at p95.")
    if fit.agreement:
        shares = 100 * np.array(fit.agreement)
        print(f"Centroids of either half of the lights give the same class to {np.median(shares):.1f} % of them")
        print(f"(median of {len(shares)} divisions into halves; the worst one {shares.min():.1f} %).")
    for name in names:
        print(f"wrote {args.out / name}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
