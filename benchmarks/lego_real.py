#!/usr/bin/env python3
"""A LEGO classifier on real photos: each image alone, turned four ways, per piece, with other batch-norm statistics.

    python benchmarks/lego_real.py --manifest datasets/lego_study/parts/manifest.csv --split test \\
        experiments/Lego_Study_Renders/models/net_g_latest.pth experiments/Lego_Study_Real/models/net_g_latest.pth

"Four turns" is the mean of the log-probabilities of the picture turned by 0, 90, 180 and 270 degrees. "Adapted" has
the batch norms' statistics taken anew from the real *training* photos, without their labels (Li et al., "AdaBN", 2016):
what somebody can do who has photos of bricks and has named none. Nothing here chooses by looking at the labels.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from basicsr.engine.cli import run_main  # noqa: E402
from plugins.lego import lego_eval_stats as stats  # noqa: E402
from plugins.lego.lego_classifier_arch import LegoClassifier  # noqa: E402
from plugins.lego.lego_eval import LegoRecord, answer_all, choose, load_classifier, read_rgb8  # noqa: E402
from plugins.lego.lego_manifest import SPLITS, TRAIN, read_manifest  # noqa: E402
from plugins.lego.lego_resize import prepare_image  # noqa: E402

BATCH = 32


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("weights", type=Path, nargs="+", help="weights files of a LegoModel")
    add("--manifest", type=Path, required=True, help="manifest.csv of tools/prepare_lego.py")
    add("--split", default="test", choices=SPLITS, help="default: test")
    add("--no-adapted", action="store_true", help="leave out the adapted statistics")
    return parser.parse_args(arguments)


class FourTurns(nn.Module):
    """Mean log-probabilities of the picture turned four ways.

    Args:
        network: What is asked.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        seen = [self.network(torch.rot90(image, turn, (2, 3))) for turn in range(4)]
        return {head: torch.stack([one[head].log_softmax(1) for one in seen]).mean(0) for head in seen[0]}


def adapted(network: LegoClassifier, batches: Iterator[Tensor]) -> LegoClassifier:
    """A copy whose batch norms of two dimensions have the mean statistics of the batches."""
    result = copy.deepcopy(network).eval()
    for module in result.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
            module.train()
    with torch.no_grad():
        for batch in batches:
            result(batch)
    return result.eval()


def inputs(files: Sequence[Path], record: LegoRecord) -> Iterator[Tensor]:
    """Batches of the images, mixed."""
    order = np.random.default_rng(0).permutation(len(files))
    for start in range(0, len(files), BATCH):
        chosen = order[start : start + BATCH]
        if len(chosen) > BATCH // 2:
            yield torch.from_numpy(np.stack([prepare_image(read_rgb8(files[n]), record.recipe) for n in chosen]))


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    everything = read_manifest(args.manifest)
    folder = args.manifest.parent
    chosen = choose(everything, args.split, ("real",), args.manifest)
    unlabelled = [folder / one.path for one in choose(everything, TRAIN, ("real",), args.manifest)]
    columns = f"{'images':>8}{'top-1':>9}{'95 %':>16}{'top-5':>9}{'balanced':>10}{'pieces':>8}{'top-1':>9}{'top-5':>9}"
    for path in args.weights:
        network, record = load_classifier(path)
        ways: dict[str, nn.Module] = {"as it is": network, "four turns": FourTurns(network)}
        if not args.no_adapted:
            other = adapted(network, inputs(unlabelled, record))
            ways |= {"adapted": other, "adapted, four turns": FourTurns(other)}
        print(f"{path}\n{'':<24}{columns}", flush=True)
        for name, way in ways.items():
            answers = answer_all(way, record, chosen, folder)
            for head, logits in answers.logits.items():
                labels = answers.labels[head]
                if not (labels >= 0).any():
                    continue
                one = stats.figures(logits, labels, stats.groups_of(chosen))
                voted = stats.votes(answers, head)
                piece = stats.figures(voted.scores, voted.labels)
                title = name if head == "part" else f"{name}, colour"
                cells = f"{one.count:>8}{one.top1:>9.1%}{f'{one.low:.1%}-{one.high:.1%}':>16}{one.top5:>9.1%}"
                cells += f"{one.balanced:>10.1%}{piece.count:>8}{piece.top1:>9.1%}{piece.top5:>9.1%}"
                print(f"{title:<24}{cells}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
