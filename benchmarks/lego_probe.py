#!/usr/bin/env python3
"""What a backbone that was never trained on bricks tells of parts: frozen features and logistic regression.

    python benchmarks/lego_probe.py --manifest datasets/lego/manifest.csv --backbone efficientnet_lite0 \\
        --pretrained efficientnet-lite0-57934424.pth

The simple method that a trained network has to beat, on the same split: features of the real training images, the
strength of the regression chosen on the validation pieces, judged once on the test pieces; each image alone and turned
by 0, 90, 180 and 270 degrees, each piece by the mean of the log-probabilities of its views.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import positive, run_main  # noqa: E402

Array = np.ndarray[Any, Any]
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03)
SPLITS = ("train", "val", "test")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--manifest", type=Path, required=True, help="manifest.csv of tools/prepare_lego.py")
    add("--backbone", default="efficientnet_lite0", help="as network_g.backbone (default efficientnet_lite0)")
    add("--pretrained", default="imagenet", help="imagenet, or a file of weights")
    add("--size", type=positive, default=224, help="edge of the picture (default 224)")
    return parser.parse_args(arguments)


def features_of(backbone: Any, files: Sequence[Path], size: int) -> Array:
    """(4, N, C): features of the images, turned by 0, 90, 180 and 270 degrees."""
    import torch

    from plugins.lego.lego_eval import read_rgb8
    from plugins.lego.lego_resize import input_recipe, prepare_image

    recipe = input_recipe(size, "letterbox", 1.0, False)
    turned: list[list[Array]] = [[], [], [], []]
    with torch.inference_mode():
        for start in range(0, len(files), 32):
            batch = torch.from_numpy(np.stack([prepare_image(read_rgb8(one), recipe) for one in files[start:][:32]]))
            for turn, found in enumerate(turned):
                found.append(backbone(torch.rot90(batch, turn, (2, 3))).numpy())
    return np.stack([np.concatenate(found) for found in turned])


def fitted(features: Array, labels: Array, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200))
    return model.fit(features, labels)


def scores_of(model: Any, features: Array, classes: int) -> Array:
    """(N, K) log-probabilities; a class that was never trained has none to speak of."""
    logs = np.full((len(features), classes), -50.0)
    logs[:, model[-1].classes_] = model.predict_log_proba(features)
    return logs


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    from plugins.lego import lego_eval_stats as stats
    from plugins.lego.lego_backbones import build_backbone
    from plugins.lego.lego_classifier_arch import PART
    from plugins.lego.lego_eval import Answers, choose
    from plugins.lego.lego_manifest import PART_NAMES, read_classes, read_manifest

    backbone = build_backbone(args.backbone, args.pretrained).eval()
    numbers = read_classes(args.manifest.parent / PART_NAMES).numbers()
    everything = read_manifest(args.manifest)
    records = {split: choose(everything, split, ("real",), args.manifest) for split in SPLITS}
    folder = args.manifest.parent
    labels = {split: np.array([numbers[one.part] for one in mine]) for split, mine in records.items()}
    seen = {
        split: features_of(backbone, [folder / one.path for one in mine], args.size) for split, mine in records.items()
    }
    turns, _, channels = seen["train"].shape
    known, truth = seen["train"].reshape(-1, channels), np.tile(labels["train"], turns)
    right = [np.mean(fitted(known, truth, one).predict(seen["val"][0]) == labels["val"]) for one in STRENGTHS]
    strength = STRENGTHS[int(np.argmax(right))]
    model = fitted(known, truth, strength)
    print(f"{args.backbone}, {args.size} pixels; C {strength} chosen on {len(labels['val'])} validation images")
    print(f"{'test':<24}{'images':>8}{'top-1':>9}{'top-5':>9}{'pieces':>8}{'top-1':>9}")
    logs = np.stack([scores_of(model, one, len(numbers)) for one in seen["test"]])
    for name, scores in (("as it is", logs[0]), ("mean of four turns", logs.mean(0))):
        answers = Answers(records["test"], [], {PART: labels["test"]}, {PART: scores}, {})
        alone, voted = stats.figures(scores, labels["test"]), stats.votes(answers, PART)
        pieces = stats.figures(voted.scores, voted.labels)
        cells = f"{alone.count:>8}{alone.top1:>9.1%}{alone.top5:>9.1%}{pieces.count:>8}{pieces.top1:>9.1%}"
        print(f"{name:<24}{cells}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
