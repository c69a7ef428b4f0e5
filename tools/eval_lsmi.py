#!/usr/bin/env python
"""Measure where a network sees each class of light in LSMI scenes, beside answers that look at nothing.

    python tools/eval_lsmi.py --weights best_illuminant_cnn.pth --masks masks --root LSMI --output results
    python tools/eval_lsmi.py --weights cnn.pth unet.pth --masks masks --root LSMI --output results \\
        --refine none guided crf --limit 20

--weights takes an IlluminantCNN, trained on photos of one light: its class activation maps are the zero-shot answer. An
IlluminantUNet, trained on masks, may stand beside it (row "network"). --masks is the folder that
tools/prepare_lsmi_masks.py wrote, with the centroids of the network.

Rows: all ones, uniform, random, global class (the network's first class everywhere), oracle (the truth), then each
method, with each refinement. Figures: mean IoU of shares and of maps at 0.5, and by the published rule (at 0.1 of each
map's maximum, which praises maps that are high everywhere); mean absolute error of the shares; Spearman's correlation
of map and share; region AUC and the correlation of the two top maps: do different classes light up different regions?
(Identical maps: 0.5 and 1.)

Writes figures.csv, figures.json and overlays_NN.png to --output. Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

from basicsr.engine.cli import check_writable, not_negative, positive, quiet_start, run_main, writing  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.work_progress import WorkProgress, print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.illuminant.cam import METHODS  # noqa: E402
from plugins.illuminant.lsmi_eval import (  # noqa: E402
    EvalOptions,
    SceneResult,
    Table,
    evaluate,
    markdown_table,
    mean_figures,
    region_answer,
    settings_of,
    write_tables,
)
from plugins.illuminant.lsmi_eval_files import choose_rows, open_networks, read_scenes  # noqa: E402
from plugins.illuminant.lsmi_mask_files import read_mask_file  # noqa: E402
from plugins.illuminant.lsmi_scores import TRIVIAL_ROWS  # noqa: E402
from plugins.illuminant.overlay import OverlayRow, contact_sheet, write_sheet  # noqa: E402
from plugins.illuminant.refine import REFINEMENTS  # noqa: E402

PER_SHEET = 6


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights", type=Path, nargs="+", required=True, metavar="NET.pth",
        help="an IlluminantCNN's weights, an IlluminantUNet's, or both",
    )  # fmt: skip
    parser.add_argument("--masks", type=Path, required=True, metavar="DIR", help="folder of prepare_lsmi_masks.py")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="LSMI's folder, with the pictures")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--split", metavar="NAME", help="train, val or test (default: every picture with masks)")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD",
        help=f"class activation maps, of: {', '.join(METHODS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--refine", nargs="+", choices=REFINEMENTS, default=["none", "guided"], metavar="HOW",
        help=f"refinements, of: {', '.join(REFINEMENTS)} (default: none guided); crf needs the extra 'crf'",
    )  # fmt: skip
    parser.add_argument("--classes", choices=("top2", "all"), default="top2", help="classes looked at (default: top2)")
    parser.add_argument("--limit", type=positive, metavar="N", help="N pictures, evenly spread over the list")
    parser.add_argument("--side", type=positive, default=256, help="longer side in pixels to shrink to (default: 256)")
    parser.add_argument(
        "--top-k", type=not_negative, default=64, metavar="N",
        help="channels that Score-CAM masks with, the most varied first; 0: all, up to 4 times slower (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--encode-srgb", action="store_true",
        help="for a network of srgb pictures of this sensor: feed it the linear scenes with the sRGB curve",
    )  # fmt: skip
    parser.add_argument("--overlays", type=not_negative, default=12, metavar="N", help="scenes drawn (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the row of noise")
    return parser.parse_args(arguments)


def overlay_row(result: SceneResult) -> OverlayRow:
    truth = {"truth": result.scene.truth.transpose(2, 0, 1)}
    found = {name: answer.maps for name, answer in result.answers.items() if name not in TRIVIAL_ROWS}
    return OverlayRow(result.scene.name, result.scene.display, {**truth, **found})


def write_overlays(folder: Path, rows: Sequence[OverlayRow], class_names: Sequence[str]) -> list[Path]:
    paths = []
    for start in range(0, len(rows), PER_SHEET):
        paths.append(folder / f"overlays_{start // PER_SHEET + 1:02}.png")
        write_sheet(paths[-1], contact_sheet(rows[start : start + PER_SHEET], class_names))
    return paths


def main(argv: list[str] | None = None) -> int:
    print_any_name()
    args = parse_args(argv)
    options = EvalOptions(tuple(args.methods), tuple(args.refine), args.classes, args.top_k or None, args.seed)
    check_writable(args.output / "figures.csv")
    if not args.root.is_dir():
        raise UserError(f"{args.root}: there is no such folder; --root is the folder of the data set.")
    rows = choose_rows(args.masks, args.split, args.limit)
    networks = open_networks(args.weights, read_mask_file(args.masks / rows[0].npz), args.encode_srgb)
    tables: dict[str, Table] = {}
    drawn: list[OverlayRow] = []
    scenes = read_scenes(args.masks, args.root, rows, args.side)
    with WorkProgress("scenes", every=20.0) as progress:
        for result in evaluate(scenes, len(rows), networks, options, progress):
            tables[result.scene.name] = result.figures
            if len(drawn) < args.overlays:
                drawn.append(overlay_row(result))
    settings = {
        **settings_of(options), "weights": [str(path) for path in args.weights], "split": args.split,
        "side": args.side, "encode_srgb": args.encode_srgb,
    }  # fmt: skip
    with writing("the results"):
        written = write_tables(args.output, tables, settings)
        written += write_overlays(args.output, drawn, networks.class_names)
    means = mean_figures(list(tables.values()))
    print(f"{len(tables)} scenes, means over the scenes in which a figure has a meaning\n")
    print(markdown_table(means))
    print(f"\n{region_answer(means, list(tables.values()))}\n")
    for path in written:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
