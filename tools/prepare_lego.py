#!/usr/bin/env python
"""Gather images of LEGO parts from every source into one manifest with splits and numbered classes.

    python tools/prepare_lego.py --out datasets/lego --renders datasets/lego/renders --real captures \\
        --real-colors name --targets target_parts.txt
    python tools/prepare_lego.py --out datasets/lego --legacy legacy --legacy-colors rebrickable --b200c B200C --force

A source is a folder (part/images, part/colour/images, or part/colour/piece/images) or a csv table with the columns
path, part, color, and for real captures piece (or session, photo). In a folder, <piece>_<view>.jpg names the piece.
Colours are numbers of a scheme that has to be said: ldraw, rebrickable, bricklink, or name; 9999 is unknown.

Real captures are divided into train, val and test by piece (70/15/15; a hash of the piece's name decides, so pieces
added later move no other); synthetic images all train. Writes manifest.csv, part_names.json, color_names.json (numbers
of classes stay when the tool is called again), issues.csv (unreadable files, copies, look-alikes), and
images_per_part.png. No image is copied or moved. Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()

from basicsr.data.work_progress import WorkProgress, print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.lego import lego_prepare_files as files  # noqa: E402
from plugins.lego.color_ids import LDRAW, SCHEMES, canonical_color  # noqa: E402
from plugins.lego.lego_prepare import Prepared, PrepareOptions, prepare, summary  # noqa: E402
from plugins.lego.lego_prepare_scan import Place, read_aliases, read_targets  # noqa: E402
from plugins.lego.lego_split import SplitShares  # noqa: E402


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifest and the class files")
    for source, text in (
        ("legacy", "renders on white"),
        ("b200c", "B200C: a folder a part, no colours"),
        ("real", "camera captures"),
        ("renders", "folder of tools/render_lego.py (its renders.csv is read)"),
    ):
        parser.add_argument(
            f"--{source}", type=Path, action="append", default=[], metavar="PATH", help=f"{text}; repeatable"
        )
    for source in ("legacy", "real"):
        parser.add_argument(f"--{source}-colors", choices=SCHEMES, help=f"what the colours of --{source} are")
    parser.add_argument("--targets", type=Path, metavar="FILE", help="part ids to keep, one a line (default: all)")
    parser.add_argument("--aliases", type=Path, metavar="CSV", help="columns part,class: which part is which class")
    parser.add_argument(
        "--keep-prints", action="store_true", help="a print (3001pr0001) is a class of its own (default: its part's)"
    )
    parser.add_argument(
        "--merge-moulds", action="store_true", help="3040a and 3040b are the class 3040 (default: apart)"
    )
    parser.add_argument("--colors", metavar="A,B,...", help="LDraw codes to tell apart (default: all that occur)")
    parser.add_argument("--tolerate-colors", action="store_true", help="colours not in the table count as unknown")
    parser.add_argument("--val", type=float, default=0.15, help="share of the pieces for validation (default 0.15)")
    parser.add_argument("--test", type=float, default=0.15, help="share of the pieces for the test (default 0.15)")
    parser.add_argument("--seed", type=int, default=0, help="another division")
    parser.add_argument("--drop-similar", action="store_true", help="leave out pictures that look like a held-out one")
    parser.add_argument(
        "--similar", type=float, default=4.0, metavar="D", help="difference of look-alikes, of 255 (default 4)"
    )
    parser.add_argument("--decode-all", action="store_true", help="decode synthetic images too, not only their headers")
    parser.add_argument("--new-classes", action="store_true", help="number the classes anew; old weights do not fit")
    parser.add_argument("--workers", type=positive, help="threads that read files (default: all cores)")
    parser.add_argument("--dry-run", action="store_true", help="report, write nothing")
    parser.add_argument("--force", action="store_true", help="replace the manifest of an earlier call")
    return parser.parse_args(arguments)


def options_of(args: argparse.Namespace) -> PrepareOptions:
    places = [
        *(Place("legacy", path, args.legacy_colors) for path in args.legacy),
        *(Place("b200c", path) for path in args.b200c),
        *(Place("real", path, args.real_colors) for path in args.real),
        *(Place("render", path, LDRAW) for path in args.renders),
    ]
    if not places:
        raise UserError("no source: give at least one of --legacy, --b200c, --real, --renders.")
    codes = tuple(canonical_color(code, LDRAW, "--colors") for code in (args.colors or "").split(",") if code.strip())
    old_parts, old_colors = files.old_classes(args.out, not args.new_classes)
    return PrepareOptions(
        places=tuple(places),
        out=args.out,
        aliases=read_aliases(args.aliases, not args.keep_prints, args.merge_moulds),
        targets=tuple(read_targets(args.targets)) if args.targets else (),
        colors=codes,
        shares=SplitShares(args.val, args.test, args.seed),
        old_parts=old_parts,
        old_colors=old_colors,
        tolerate_colors=args.tolerate_colors,
        drop_similar=args.drop_similar,
        similar_limit=args.similar,
        decode_all=args.decode_all,
        workers=args.workers,
    )


def show(prepared: Prepared) -> None:
    print(f"{'source':8} {'split':6} {'images':>8} {'parts':>6} {'colour known':>13} {'pieces':>7}")
    for source, split, images, parts, known, pieces in summary(prepared):
        print(f"{source:8} {split:6} {images:8} {parts:6} {known:13} {pieces or '':>7}")
    print(f"{len(prepared.parts)} classes of parts, {len(prepared.colors)} of colours")
    if prepared.not_wanted:
        print(f"{prepared.not_wanted} images are of parts that are not in the list")
    for (kind, action), count in Counter((issue.kind, issue.action) for issue in prepared.issues).items():
        print(f"{count} files {kind}: {action}")
        for issue in [one for one in prepared.issues if (one.kind, one.action) == (kind, action)][:3]:
            print(f"  {issue.path}{f' and {issue.other}' if issue.other else ''}: {issue.reason}")
    for note in prepared.notes:
        print(f"note: {note}")


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    print_any_name()
    if not args.dry_run:
        files.check_out(args.out, args.force)
    with WorkProgress("reading") as progress:
        prepared = prepare(options_of(args), progress)
    show(prepared)
    if args.dry_run:
        print("dry run: nothing was written")
        return 0
    files.write_prepared(prepared, args.out)
    print(f"\n{args.out}: look at {files.PICTURE} and {files.ISSUES}. In options/lego_classifier.yml:")
    print(f"  manifest: {args.out / 'manifest.csv'}")
    print(f"  num_parts: {len(prepared.parts)}\n  num_colors: {len(prepared.colors)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
