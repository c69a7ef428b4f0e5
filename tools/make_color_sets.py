#!/usr/bin/env python
"""Divide a paired data set by colour: lists for a colour-stress validation set, a test set and training.

    python tools/make_color_sets.py options/nafnet_color_ft.yml --keep-val datasets/realestate/val
    python tools/make_color_sets.py --gt datasets/all/gt --lq datasets/all/lq --out datasets/all/sets --dry-run
    python tools/make_color_sets.py options/nafnet_color_ft.yml --checkpoint net_g_latest.pth --device cuda

Writes stress.txt, test.txt, train.txt and train_colorful.txt (meta_info files), manifest.csv (every figure of every
pair and the reason for its place) and contact_sheet.jpg. No photo is copied or moved.
Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from tqdm import tqdm  # noqa: E402

from basicsr.data.paired_image_dataset import PairedImageOptions  # noqa: E402
from basicsr.engine.device import resolve_device  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from basicsr.engine.options_fill import absolute  # noqa: E402
from basicsr.engine.options_merge import load_options  # noqa: E402
from plugins.color_fidelity import color_sets_files as files  # noqa: E402
from plugins.color_fidelity.color_sets import RANKINGS, ColorSetOptions, ColorSets, make_color_sets  # noqa: E402
from plugins.color_fidelity.color_sets_figures import LossMeter  # noqa: E402
from plugins.color_fidelity.color_sets_split import DROPPED, KEPT, SPLITS, STRESS, TEST, TRAIN, SplitSizes  # noqa: E402
from plugins.color_fidelity.enhance_network import load_network  # noqa: E402


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("options", nargs="?", type=Path, metavar="OPTIONS.yml", help="divide its datasets.train")
    parser.add_argument("--gt", help="folder, .lmdb or .store of targets (instead of an option file)")
    parser.add_argument("--lq", help="folder, .lmdb or .store of inputs")
    parser.add_argument("--meta-info", help="divide only the targets that this list names")
    parser.add_argument("--filename-tmpl", default="{}", help="name of the input of a target {}")
    parser.add_argument(
        "--out", type=Path, help="folder for the lists (default: color_sets beside the targets' folder)"
    )
    parser.add_argument(
        "--keep-val", type=Path, action="append", default=[], metavar="PATH",
        help="validation set that stays as it is: folder of targets, or list of targets of this data set; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--stress", type=int, metavar="N", help="pairs of the stress set (default: a tenth, at most 60)"
    )
    parser.add_argument("--test", type=int, metavar="N", help="pairs of the test set (default: 8 %%, at most 50)")
    parser.add_argument(
        "--pool-share", type=float, default=0.5, help="share of the boldest pairs held out (default 0.5)"
    )
    parser.add_argument(
        "--max-repeat", type=int, default=8, help="most lines of a pair in train_colorful.txt (default 8)"
    )
    parser.add_argument("--rank-by", choices=RANKINGS, help="default: amount; lost where a checkpoint is given")
    parser.add_argument("--checkpoint", type=Path, help="rank by the colour that these weights lose")
    parser.add_argument("--opt", type=Path, help="option file of the checkpoint's training; not needed for a NAFNet")
    parser.add_argument("--param-key", help="params or params_ema (default: params_ema where there is one)")
    parser.add_argument("--side", type=positive, default=384, help="longer side of what the network sees (default 384)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=positive, help="threads that read pictures (default: all cores)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be chosen, write nothing")
    parser.add_argument("--force", action="store_true", help="replace the lists of an earlier call")
    return parser.parse_args(arguments)


def data_of(args: argparse.Namespace) -> PairedImageOptions:
    if args.gt and args.lq and not args.options:
        return PairedImageOptions(
            args.gt, args.lq, meta_info_file=args.meta_info, filename_tmpl=args.filename_tmpl, phase="val"
        )
    if args.options is None or args.gt or args.lq:
        raise UserError("give an option file, or both --gt and --lq.")
    train: dict[str, Any] = (load_options(args.options).root.plain().get("datasets") or {}).get("train") or {}
    for key in ("dataroot_gt", "dataroot_lq"):
        if not train.get(key):
            raise UserError(f"{args.options}: datasets.train has no {key}; paired data is needed.")
    listed = args.meta_info or train.get("meta_info_file")
    return PairedImageOptions(
        dataroot_gt=absolute(train["dataroot_gt"], ROOT),
        dataroot_lq=absolute(train["dataroot_lq"], ROOT),
        io_backend=train.get("io_backend"),
        meta_info_file=absolute(listed, ROOT) if listed else None,
        filename_tmpl=train.get("filename_tmpl") or "{}",
        phase="val",
    )


def meter_of(args: argparse.Namespace) -> LossMeter | None:
    if args.checkpoint is None:
        return None
    device = resolve_device({"device": args.device})
    return LossMeter(load_network(args.checkpoint, args.opt, args.param_key, device), args.side)


def run_with_progress(options: ColorSetOptions, meter: LossMeter | None) -> ColorSets:
    bars: dict[str, tqdm] = {}

    def progress(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(desc=what, total=total, unit="img", dynamic_ncols=True, disable=None)
        bars[what].update(done - bars[what].n)

    try:
        return make_color_sets(options, meter, progress)
    finally:
        for bar in bars.values():
            bar.close()


def show(sets: ColorSets) -> None:
    print(f"{len(sets.entries)} pairs, ranked by {sets.rank_by}")
    for name in SPLITS:
        members = sets.members(name)
        if not members:
            continue
        coverage = sum(entry.look.amount.coverage for entry in members) / len(members)
        line = f"  {name:8} {len(members):5} pairs, {coverage:4.0%} of their area colourful"
        losses = [entry.look.loss.kept for entry in members if entry.look.loss is not None]
        known = [kept for kept in losses if kept == kept]
        if known:
            line += f", {sum(known) / len(known):4.0%} of their colour kept"
        if name == TRAIN:
            line += f"; {sum(entry.repeats for entry in members)} lines in {files.COLORFUL_LIST}"
        print(line)
    groups = {entry.group for entry in sets.entries if entry.group_size > 1}
    if groups:
        count = sum(entry.group_size > 1 for entry in sets.entries)
        print(f"{len(groups)} groups of near-duplicates ({count} pairs), each kept in one set")
    for note in sets.notes():
        print(f"note: {note}")
    dropped = sets.members(DROPPED)
    for entry in dropped[:10]:
        print(f"dropped from training: {entry.name}: {entry.reason} (similarity {entry.similarity:.2f})")
    if len(dropped) > 10:
        print(f"dropped from training: ... and {len(dropped) - 10} more, see {files.MANIFEST}")
    if not sets.kept_elsewhere and not sets.members(KEPT):
        print("note: no validation set is kept apart; give the one you have with --keep-val")


def show_use(data: PairedImageOptions, sets: ColorSets, out: Path) -> None:
    print(f"\n{out}: look at {files.SHEET}. In an option file:\n")
    uses = (
        ("train", TRAIN, files.COLORFUL_LIST),
        ("val_2", STRESS, files.STRESS_LIST),
        ("test_1", TEST, files.TEST_LIST),
    )
    print("datasets:")
    for key, name, listed in uses:
        if sets.members(name):
            print(f"  {key}:")
            if key != "train":
                print(f"    name: {name}\n    type: PairedImageDataset")
            for option, value in (("gt", data.dataroot_gt), ("lq", data.dataroot_lq)):
                print(f"    dataroot_{option}: {_from_root(Path(value))}")
            print(f"    meta_info_file: {_from_root(out / listed)}")


def _from_root(path: Path) -> Path:
    whole = path.resolve()
    return whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    data = data_of(args)
    out = args.out or Path(data.dataroot_gt.rstrip("/")).parent / "color_sets"
    if not args.dry_run:
        files.check_folder(out, data, args.force)
    sizes = SplitSizes(args.stress, args.test, args.pool_share)
    options = ColorSetOptions(data, tuple(args.keep_val), sizes, args.rank_by, args.max_repeat, args.seed, args.workers)
    sets = run_with_progress(options, meter_of(args))
    show(sets)
    if args.dry_run:
        for name in (STRESS, TEST):
            for entry in sets.members(name):
                print(f"{name}: {entry.score:.4f} {entry.look.amount.hue:8} {entry.name}")
        print("dry run: nothing was written")
        return 0
    files.write_color_sets(sets, out)
    show_use(data, sets, out)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
