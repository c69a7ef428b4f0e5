#!/usr/bin/env python
"""Write paired demo data from real photographs: targets, and what a camera would have seen before the edit.

    python tools/make_demo_data.py                                  # photographs of the installed packages
    python tools/make_demo_data.py --photos ~/Pictures --out datasets/mine --size 512

Writes <out>/{train,val,val_color,test,stress}/{lq,gt}, manifest.csv and contact_sheet.png. The same seed gives the same
files. A photograph is in one split only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import not_negative, quiet_start, run_main, writing  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from tqdm import tqdm  # noqa: E402

from plugins.color_fidelity.demo_data import CONTACT_SHEET, DemoDataOptions, make_demo_data  # noqa: E402
from plugins.color_fidelity.demo_photos import SPLITS, SplitPlan  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "datasets" / "demo", help="folder (default: datasets/demo)")
    parser.add_argument("--photos", type=Path, help="folder of photos (default: those of installed packages)")
    parser.add_argument("--size", type=int, default=320, help="largest longer side in pixels (default: 320)")
    parser.add_argument("--seed", type=not_negative, default=0)
    parser.add_argument("--shots", type=int, default=8, help="versions of each training photo (default: 8)")
    parser.add_argument("--eval-shots", type=int, default=2, help="versions of each other photo (default: 2)")
    parser.add_argument(
        "--colorful-train",
        type=float,
        default=SplitPlan.colorful_train,
        metavar="SHARE",
        help="share of colourful photos among the training photos of a folder (default: %(default)s)",
    )
    for split in SPLITS:
        flag = split.replace("_", "-")
        parser.add_argument(
            f"--max-{flag}", type=not_negative, metavar="N", help=f"largest number of photos in {split}"
        )
    parser.add_argument("--force", action="store_true", help="replace the folder if this tool has written it")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    limits = {split: getattr(args, f"max_{split}") for split in SPLITS}
    options = DemoDataOptions(
        out=args.out,
        photos=args.photos,
        size=args.size,
        seed=args.seed,
        shots={split: args.shots if split == "train" else args.eval_shots for split in SPLITS},
        max_photos={split: count for split, count in limits.items() if count is not None},
        plan=SplitPlan(colorful_train=args.colorful_train),
        force=args.force,
    )
    with writing(str(args.out)), tqdm(desc="pairs", unit="pair", dynamic_ncols=True, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        written = make_demo_data(options, progress)
    for split in SPLITS:
        members = [item for item in written if item.split == split]
        share = sum(item.saturated_share for item in members) / max(1, len(members))
        photos = len({item.source for item in members})
        print(f"{split:10} {len(members):4} pairs of {photos:3} photographs, {share:4.0%} of the pixels saturated")
    print(f"{args.out}: look at {CONTACT_SHEET}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
