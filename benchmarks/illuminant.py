#!/usr/bin/env python
"""Illuminant estimation, measured: IlluminantCNN beside the classical methods, on the same pictures in one run.

    python benchmarks/illuminant.py --photos DIR                                    # re-illuminated photos
    python benchmarks/illuminant.py --photos DIR --paper DIR --groups FILE --write  # and real lamps, from the paper

Trains the demo's network on three quarters of the photos (options/demo/illuminant_cnn.yml, --iterations of it),
measures on the rest under lights that training never drew, and, with --paper, on photos of things on white paper with
the paper hidden. --write records the tables in benchmarks/results/illuminant.md. A complete training is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import positive, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()

import torch  # noqa: E402

from plugins.illuminant.centroids import Centroids  # noqa: E402
from plugins.illuminant.checkpoint import load_network  # noqa: E402
from plugins.illuminant.demo import FOLDS, DemoOptions, make_data, test_samples, train  # noqa: E402
from plugins.illuminant.eval_samples import PaperSet, log_refused, read_groups  # noqa: E402
from plugins.illuminant.illuminant_eval import Answers, answer_all, by_group, markdown_table, rows  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "illuminant.md"
MARK = "<!-- measured by benchmarks/illuminant.py -->"
LARGE_GROUP = 15
"""Smaller groups get no table of their own."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="white-balanced photos (default: those of installed packages)")
    parser.add_argument("--paper", type=Path, help="photos of things on white paper")
    parser.add_argument("--groups", type=Path, help="table 'file, light' of those")
    parser.add_argument("--iterations", type=positive, help="of the training (default: the demo's)")
    parser.add_argument(
        "--fold", type=int, choices=range(FOLDS), default=0, help="which quarter of --photos to hold out"
    )
    parser.add_argument("--write", action="store_true", help="record the tables")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    force = []
    if args.iterations:
        force = [f"train:total_iter={args.iterations}"]
    options = DemoOptions(ROOT, args.photos, None, args.fold, f"bench{args.fold or ''}", force=tuple(force))
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {text}", flush=True)

    make_data(options, say)
    train(options, say)
    network, record = load_network(options.weights)
    answers = answer_all(test_samples(options), network, record.encoding, record.centroids)
    parts = [
        f"{datetime.date.today()}, {os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}, "
        f"{args.iterations or 'the demo’s'} iterations.",
        "## Photos under drawn lights",
        f"{len(answers.names)} pictures: {len(set(answers.groups))} held-out photos under twelve lights each.",
        markdown_table(rows(answers, record.centroids)),
    ]
    if args.paper is not None:
        paper = PaperSet(args.paper, read_groups(args.groups), record.size)
        found = answer_all(paper.samples(), network, record.encoding, record.centroids)
        log_refused(paper.refused)
        parts += ["## Real lamps, the paper hidden", *_paper_parts(found, record.centroids, len(paper.refused))]
    text = "\n\n".join(parts)
    print(text)
    if args.write:
        RESULTS.write_text(f"{_before()}{MARK}\n\n{text}\n", encoding="utf-8")
    return 0


def _before() -> str:
    """What people wrote above the tables."""
    return RESULTS.read_text(encoding="utf-8").split(MARK)[0] if RESULTS.is_file() else "# Illuminant estimation\n\n"


def _paper_parts(found: Answers, centroids: Centroids, refused: int) -> list[str]:
    parts = [f"{len(found.names)} photos, {refused} left out.", markdown_table(rows(found, centroids))]
    for group, count, table in by_group(found, centroids):
        if count >= LARGE_GROUP:
            parts += [f"{group} ({count}):", markdown_table(table)]
    return parts


if __name__ == "__main__":
    sys.exit(run_main(main))
