"""Diagnosis of held-out photos, spoilt by curves and operators that training never saw, beside classical methods.

    python benchmarks/diagnostic.py --photos ~/photos --weights experiments/DiagnosticCNN/models/diagnostic_model.pth
    python benchmarks/diagnostic.py --demo        writes demo photos, trains options/demo/diagnostic_cnn.yml, measures

The photos are split by their names as in training: methods that need fitting see the training part, their penalty and
the network's calibration the validation part, and the table the test part only. ``--export`` writes the calibrated
weights, as models/diagnostic_model.pth is to be; ``--write`` records the table in benchmarks/results/diagnostic.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

from basicsr.engine.cli import check_writable, quiet_start, run_main  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "diagnostic.md"
DEMO_PHOTOS = ROOT / "datasets" / "diagnostic_demo"
DEMO_WEIGHTS = ROOT / "experiments" / "DiagnosticCNN_Demo" / "models" / "diagnostic_model.pth"
BY_HAND = "## How these came about"
NOTES = """
Exposure and saturation classes: under or over beyond 0.5 EV and beyond a factor of 1.18; what was applied is at most
0.2 EV and 7 %, or at least 0.75 EV and a factor of 1.3. Cast: recovery error of the light; 3° is the tolerance. ΔE00,
spoilt: corrected against the original, over the photos to which something was done (the row `identity` is the
uncorrected one). ΔE00, good: how far photos that needed nothing are moved; harmed: the share moved by more than 3.
Labels that clipping has made unrecoverable are left out of the first seven columns.
"""


def gather(folder: Path, split: str, operators: str, size: int, copies: int, identity: float, seed: int) -> Any:
    from tqdm import tqdm

    from plugins.diagnostic.degraded_photo_dataset import DegradedPhotoDataset, DegradedPhotoOptions
    from plugins.diagnostic.diagnostic_eval import Samples

    options = DegradedPhotoOptions(
        str(folder), split=split, phase="val", image_size=size, copies=copies, operators=operators,
        identity_share=identity, give_original=True, seed=seed,
    )  # fmt: skip
    data = DegradedPhotoDataset(options)
    return Samples.gathered(data[index] for index in tqdm(range(len(data)), desc=f"{split} photos", leave=False)), data


def train_demo() -> None:
    from basicsr.train import train_pipeline
    from plugins.diagnostic.demo_photos import write_demo_photos

    write_demo_photos(DEMO_PHOTOS)
    sys.argv = ["train.py", "-opt", str(ROOT / "options" / "demo" / "diagnostic_cnn.yml")]
    train_pipeline(str(ROOT))


def evaluate(args: argparse.Namespace) -> str:
    from plugins.diagnostic import diagnostic_eval as figures
    from plugins.diagnostic.diagnostic_cnn_arch import INPUT_SIZE, decode
    from plugins.diagnostic.model_files import read_network

    net = read_network(args.weights)[0] if args.weights is not None else None
    size = args.size or (net.input_size if net is not None else INPUT_SIZE)
    test, photos = gather(args.photos, "test", "held_out", size, args.copies, 0.25, 1)
    train, _ = gather(args.photos, "train", "training", size, args.copies, 0.15, 2)
    val, _ = gather(args.photos, "val", "training", size, 2 * args.copies, 0.15, 3)
    rows = figures.classic_rows(test, train, val)
    remarks = [
        f"{len(photos.photos)} test photos, {len(test.images)} samples of {size} x {size}, {int(test.untouched.sum())} "
        "of them good."
    ]
    if net is not None:
        classic = list(rows)
        temperatures = figures.calibrate(net, figures.network_outputs(net, val.images), val)
        outputs = figures.network_outputs(net, test.images)
        own = figures.network_rows("DiagnosticCNN", test, decode(outputs, temperatures))
        rows += own
        remarks += compared(figures, own, classic)
        before, after = (figures.calibration_errors(outputs, test, t) for t in ((1.0, 1.0), temperatures))
        remarks.append(
            f"Expected calibration error on the test: exposure {before[0]:.3f}, with the temperature "
            f"{temperatures[0]:.2f} of the validation photos {after[0]:.3f}; "
            f"saturation {before[1]:.3f}, with {temperatures[1]:.2f} {after[1]:.3f}."
        )
        if args.export is not None:
            export(net, args.weights, args.export)
            print(f"Calibrated weights written to {args.export}.")
    rows += figures.oracle_rows(test)
    return figures.table(rows) + "\n\n" + "\n\n".join(remarks)


def compared(figures: Any, own: list[Any], classic: list[Any]) -> list[str]:
    """The goals, and where a classical method is at least as good."""
    identity = next(row for row in classic if row.name == "identity")
    reached = figures.goals(*own, identity)
    behind = figures.not_better(own[0], classic)
    better = "Better than every classical method in every column but the last two (which doing nothing wins)."
    return [
        "\n".join(f"- {line}" for line in reached),
        f"No better than: {'; '.join(behind)}." if behind else better,
    ]


def export(net: Any, weights: Path, target: Path) -> None:
    import torch

    from basicsr.engine.checkpoint import RECORD, load_weights, write_atomic

    record = load_weights(weights).get(RECORD, {})
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, lambda stream: torch.save({"params": net.state_dict(), RECORD: record}, stream))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of good photos")
    parser.add_argument("--weights", type=Path, help="weights of DiagnosticCNN; without them the classical rows only")
    parser.add_argument(
        "--demo", action="store_true", help="write demo photos, train on them, measure (2 cores: minutes)"
    )
    parser.add_argument("--size", type=int, help="edge of the pictures (default: that of the network's training)")
    parser.add_argument("--copies", type=int, default=8, help="degradations of each photo (default: %(default)s)")
    parser.add_argument("--export", type=Path, help="write the calibrated weights to this file")
    parser.add_argument("--write", action="store_true", help=f"record the table in {RESULT.relative_to(ROOT)}")
    args = parser.parse_args()
    if not args.demo and args.photos is None:
        parser.error("give --photos DIR, or --demo")
    return args


def main() -> int:
    args = parse()
    quiet_start()
    if args.export is not None:
        check_writable(args.export)
    start = time.perf_counter()
    if args.demo:
        train_demo()
        args.photos, args.weights = DEMO_PHOTOS, DEMO_WEIGHTS
    text = evaluate(args)
    print(text)
    print(f"{time.perf_counter() - start:.0f} s")
    if args.write:
        write(args, text)
    return 0


def write(args: argparse.Namespace, text: str) -> None:
    """Replace the recorded figures; what is written by hand below them stays."""
    old = RESULT.read_text(encoding="utf-8") if RESULT.exists() else ""
    kept = "\n" + old[old.index(BY_HAND) :] if BY_HAND in old else ""
    weights = "" if args.weights is None else f" --weights WEIGHTS --copies {args.copies}"
    command = f"python benchmarks/diagnostic.py {'--demo' if args.demo else f'--photos PHOTOS{weights}'} --write"
    head = (
        f"# Diagnosis of held-out photos with held-out degradations\n\n`{command}` · {os.cpu_count()} CPU cores · "
        f"{datetime.date.today()} · Python {platform.python_version()}"
    )
    RESULT.write_text(f"{head}\n\n{text}\n{NOTES}{kept}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_main(main))
