#!/usr/bin/env python3
"""float32 and int8 of a LEGO classifier: milliseconds a picture, agreement, and accuracy on real test pictures.

    python benchmarks/lego_inference.py lego.onnx lego.int8.onnx --manifest datasets/lego/manifest.csv --threads 1 2

Pictures of the split ``test`` are prepared by ``ClassifierLoader`` and judged one by one, as a device does it, twice:
by this processor's kernels, and as the file says (ONNX Runtime's optimisations off), which is what ARM computes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import positive, run_main  # noqa: E402


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", type=Path, nargs="+", help="files of tools/export_onnx.py, the float32 one first")
    add("--manifest", type=Path, required=True, help="manifest.csv of tools/prepare_lego.py")
    add("--split", default="test", choices=("train", "val", "test"), help="default: test")
    add("--most", type=positive, default=1000, help="most pictures (default 1000)")
    add("--threads", type=positive, nargs="+", default=[1, 2], help="threads of the network (default: 1 2)")
    add("--runs", type=positive, default=100, help="pictures that are timed (default 100)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    from basicsr.engine.errors import UserError
    from plugins.classification.class_onnx import open_session, run_session
    from plugins.lego.bench_inference import line_of, measure
    from plugins.lego.inference import ClassifierLoader, ModelFileError
    from plugins.lego.inference_image import ImageError
    from plugins.lego.lego_export import class_numbers, spread
    from plugins.lego.lego_manifest import read_manifest

    records = spread([one for one in read_manifest(args.manifest) if one.split == args.split], args.most)
    if not records:
        raise UserError(f"{args.manifest}: no image of the split {args.split}")
    try:
        contents = [(args.manifest.parent / one.path).read_bytes() for one in records]
        print(f"{len(records)} pictures of the split {args.split}")
        print(f"{'model':<28}{'kernels':<12}" + "".join(f"{name:>16}" for name in ("part", "color", "as the first")))
        first: dict[str, np.ndarray] = {}
        for model in args.models:
            loader = ClassifierLoader(model)
            inputs = [loader.prepare(content)[None] for content in contents]
            for optimize in (True, False):
                session = open_session(model, optimize)
                rows = [run_session(session, one) for one in inputs]
                found = {head: np.array([int(row[head].argmax()) for row in rows]) for head in rows[0]}
                first = first or found
                cells = []
                for head in ("part", "color"):
                    truth = class_numbers(head, list(loader.info.classes.get(head, ())), records)
                    known = truth >= 0
                    shown = head in found and known.any()
                    cells.append(
                        f"{np.mean(found[head][known] == truth[known]):.1%} of {known.sum()}" if shown else "-"
                    )
                same = "/".join(f"{np.mean(found[head] == first[head]):.1%}" for head in found)
                kind = "this CPU's" if optimize else "as written"
                print(f"{model.name[:27]:<28}{kind:<12}" + "".join(f"{one:>16}" for one in (*cells, same)), flush=True)
        print("\nmilliseconds a picture, p50 / p95: prepare, network, whole")
        for model in args.models:
            for threads in args.threads:
                print(line_of(measure(model, threads, contents, args.runs)), flush=True)
    except (ModelFileError, ImageError, OSError) as error:
        raise UserError(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
