#!/usr/bin/env python
"""Compare a network with the classical methods: accuracy of the class of light, and angular error.

    python tools/eval_illuminant.py --weights best_illuminant_cnn.pth --paper photos/ --groups photos.csv
    python tools/eval_illuminant.py --weights best_illuminant_cnn.pth --opt options/illuminant_cnn.yml --set val

--paper measures on photos of things on white paper (sRGB): the paper's colour is the truth, and no method sees the
paper. --opt measures on a data set of an option file. --groups is a table 'file, light': the figures are also given
for each kind of light. Writes answers.csv (every answer to every picture) and errors.png to --out.
Exit status: 0, or 2 after an error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import check_writable, quiet_start, run_main, writing  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.data.work_progress import print_any_name  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.illuminant.checkpoint import load_network  # noqa: E402
from plugins.illuminant.eval_samples import PaperSet, dataset_samples, log_refused, read_groups  # noqa: E402
from plugins.illuminant.illuminant_eval import answer_all, by_group, rows, text_table, write_answers  # noqa: E402
from plugins.illuminant.illuminant_plot import write_error_plot  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="weights file of an IlluminantModel")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--paper", type=Path, metavar="DIR", help="folder of photos of things on white paper")
    source.add_argument("--opt", type=Path, metavar="YML", help="option file with an IlluminantDataset")
    parser.add_argument("--set", default="val", help="which data set of the option file (default: val)")
    parser.add_argument("--groups", type=Path, metavar="CSV", help="table 'file, light' of the photos on paper")
    parser.add_argument("--out", type=Path, default=Path("results/illuminant"), help="folder (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    print_any_name()
    check_writable(args.out / "answers.csv")
    network, record = load_network(args.weights)
    refused: dict[str, str] = {}
    if args.opt is not None:
        samples = dataset_samples(args.opt, args.set, ROOT)
    else:
        if record.encoding != "srgb":
            raise UserError(f"{args.weights}: trained on {record.encoding} pictures; photos on paper are sRGB.")
        paper = PaperSet(args.paper, read_groups(args.groups), record.size)
        samples, refused = paper.samples(), paper.refused
    answers = answer_all(samples, network, record.encoding, record.centroids)
    log_refused(refused)
    left_out = f", {len(refused)} left out" if refused else ""
    print(f"{len(answers.names)} pictures{left_out}. Angular error in degrees.\n")
    print(text_table(rows(answers, record.centroids)))
    if args.groups is not None:
        for group, count, table in by_group(answers, record.centroids):
            print(f"\n{group or '(no group)'}: {count} pictures\n{text_table(table)}")
    with writing(str(args.out)):
        args.out.mkdir(parents=True, exist_ok=True)
        write_answers(answers, record.centroids, args.out / "answers.csv")
        write_error_plot(answers, str(args.paper or args.opt), args.out / "errors.png")
    print(f"\nanswers  {args.out / 'answers.csv'}\nplot     {args.out / 'errors.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
