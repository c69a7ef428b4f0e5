#!/usr/bin/env python
"""The illuminant demo: photographs under drawn lights, a small IlluminantCNN, a table beside the classical methods.

    python tools/run_illuminant_demo.py                              # photographs of installed packages
    python tools/run_illuminant_demo.py --photos ~/Pictures --tag mine

The photos are taken as white-balanced. Training shows every crop under a light drawn anew; the held-out photos (a
quarter; never a crop of them in training) are shown under twelve lights each, which training does not draw. Trained by
BasicSR/basicsr/train.py with options/demo/illuminant_cnn.yml. A stage that is complete is not run again.
Exit status: 0; with --check 1 where the network does not beat every classical method; 2 after an error.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from plugins.illuminant.checkpoint import load_network  # noqa: E402
from plugins.illuminant.classic_methods import METHODS  # noqa: E402
from plugins.illuminant.demo import DemoOptions, make_data, test_samples, train  # noqa: E402
from plugins.illuminant.illuminant_eval import (  # noqa: E402
    answer_all,
    beaten_methods,
    rows,
    text_table,
    write_answers,
)
from plugins.illuminant.illuminant_plot import write_error_plot  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of white-balanced photos (default: packaged ones)")
    parser.add_argument("--lights", type=Path, help="table of measured lights (default: drawn daylight and lamps)")
    parser.add_argument("--tag", default="", help="ending of the folders' names, to keep several demos")
    parser.add_argument("--size", type=positive, default=512, help="longer side of the stored photos (default: 512)")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier demo wrote and start again")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a classical method is better")
    parser.add_argument("--force_yml", nargs="+", default=[], metavar="a:b=v", help="settings for the training")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    options = DemoOptions(
        root=ROOT,
        photos=args.photos,
        lights=args.lights,
        tag=args.tag,
        size=args.size,
        fresh=args.fresh,
        force=tuple(args.force_yml),
    )
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {text}", flush=True)

    make_data(options, say)
    train(options, say)
    network, record = load_network(options.weights)
    answers = answer_all(test_samples(options), network, record.encoding, record.centroids)
    table = rows(answers, record.centroids)
    photos = len(set(answers.groups))
    print(f"\n{len(answers.names)} pictures: {photos} held-out photos under lights that training never showed.")
    print(f"Angular error in degrees, answering the class's centroid.\n\n{text_table(table)}\n")
    options.results.mkdir(parents=True, exist_ok=True)
    write_answers(answers, record.centroids, options.results / "answers.csv")
    write_error_plot(answers, "held-out photos under drawn lights", options.results / "errors.png")
    beaten = beaten_methods(table)
    print(f"better on mean and worst 25 % than: {', '.join(beaten) or 'none'} ({len(beaten)} of {len(METHODS)})")
    say("done")
    print(f"table    {options.results / 'answers.csv'}")
    print(f"plot     {options.results / 'errors.png'}")
    print(f"classes  {options.data / 'centroids.png'}")
    print(f"weights  {options.weights}")
    return 1 if args.check and len(beaten) < len(METHODS) else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
