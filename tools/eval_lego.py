#!/usr/bin/env python
"""Measure a LEGO classifier on images that it has not learnt from: parts, colours, pieces, confidence, confusions.

    python tools/eval_lego.py --weights experiments/Lego_Classifier/models/best_lego_classifier.pth \\
        --manifest datasets/lego/manifest.csv
    python tools/eval_lego.py --weights best.pth --manifest datasets/lego/manifest.csv \\
        --write-temperature best_calibrated.pth
    python tools/eval_lego.py --weights best.pth --manifest datasets/lego/manifest.csv --prototypes prototypes.json \\
        --projector results/lego/projector                  (then: tensorboard --logdir results/lego/projector)

Only real captures count; a split with synthetic images is refused unless --source says what to do with them. Images are
prepared as the weights file says. A temperature for each head is fitted on the real images of the validation split.
Writes to --out: report.html (one file, opens from the disk), answers.csv (every answer to every image), pieces.csv
(what the views of a piece say together), figures.json (all of it) and confusion_<head>.png.
Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import check_writable, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.work_progress import WorkProgress, print_any_name  # noqa: E402
from basicsr.engine.device import resolve_device  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.lego import lego_eval_files as files  # noqa: E402
from plugins.lego.lego_eval import write_with_temperature  # noqa: E402
from plugins.lego.lego_eval_report import write_page  # noqa: E402
from plugins.lego.lego_eval_run import EvalOptions, Evaluation, evaluate  # noqa: E402
from plugins.lego.lego_manifest import SOURCES, SPLITS  # noqa: E402
from plugins.lego.lego_prototypes import judge_prototypes, save_prototypes, write_projector  # noqa: E402


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="weights file of a LegoModel")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.csv of tools/prepare_lego.py")
    parser.add_argument("--split", choices=SPLITS, default="test", help="which images (default: test)")
    parser.add_argument(
        "--source",
        metavar="A,B,...",
        help=f"which sources count, of {', '.join(SOURCES)} (default: real, and no other)",
    )
    parser.add_argument("--out", type=Path, default=Path("results/lego"), help="folder (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--no-baselines", action="store_true", help="skip the median-Lab neighbours (reads train images)"
    )
    parser.add_argument(
        "--write-temperature",
        type=Path,
        metavar="FILE",
        help="write a copy of the weights with the fitted temperatures",
    )
    parser.add_argument(
        "--prototypes",
        type=Path,
        metavar="FILE",
        help="also name parts by the nearest mean embedding of the real training images, trained or not; write these",
    )
    parser.add_argument("--projector", type=Path, metavar="FOLDER", help="embeddings for TensorBoard's projector")
    return parser.parse_args(arguments)


def sources_of(text: str | None) -> tuple[str, ...] | None:
    """The sources of ``--source``."""
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    wrong = [name for name in names if name not in SOURCES]
    if wrong or not names:
        raise UserError(f"--source {text}: there are {', '.join(SOURCES)}; separate several with commas.")
    return names


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot be written before anything is computed."""
    for name in (files.ANSWERS, files.FIGURES, files.PAGE):
        check_writable(args.out / name)
    if args.prototypes is not None:
        check_writable(args.prototypes)
    if args.write_temperature is not None:
        check_writable(args.write_temperature)
        if args.write_temperature.exists() and args.write_temperature.resolve() == args.weights.resolve():
            raise UserError(f"--write-temperature {args.write_temperature}: name another file than --weights.")


def show(result: Evaluation) -> None:
    """Print the table and what has to be known with it."""
    print(f"{len(result.answers.records)} images of the split {result.split}\n")
    print(files.text_table(result))
    print()
    for line in files.calibration_lines(result):
        print(line)
    for note in result.notes:
        print(f"note: {note}")


def more(args: argparse.Namespace, options: EvalOptions) -> list[Path]:
    """What was asked for beside the figures; files and folders that were written."""
    written = []
    with WorkProgress("embeddings") as progress:
        if args.prototypes is not None:
            prototypes, lines = judge_prototypes(options, progress)
            save_prototypes(args.prototypes, prototypes)
            written.append(args.prototypes)
            print("\n" + "\n".join(lines))
        if args.projector is not None:
            write_projector(options, args.projector, progress)
            written.append(args.projector)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    print_any_name()
    sources = sources_of(args.source)
    check(args)
    device = resolve_device({"device": args.device})
    options = EvalOptions(args.weights, args.manifest, args.split, sources, device, not args.no_baselines)
    with WorkProgress("images") as progress:
        result = evaluate(options, progress)
    show(result)
    written = files.write_files(result, args.out)
    write_page(result, args.out / files.PAGE)
    if args.write_temperature is not None:
        if not result.fitted:
            raise UserError("--write-temperature: no temperature was fitted: the validation split has no such image.")
        write_with_temperature(args.weights, args.write_temperature, result.fitted)
        written.append(args.write_temperature)
    written.extend(more(args, options))
    print("\n" + "\n".join(str(path) for path in [args.out / files.PAGE, *written]))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
