#!/usr/bin/env python3
"""Write a trained NAFNet, a LEGO classifier or a DiagnosticCNN as an ONNX file, and check it against torch.

    python tools/export_onnx.py experiments/NAME/models/net_g_latest.pth -o model.onnx --photos photos/
    python tools/export_onnx.py experiments/NAME/models/best_lego_classifier.pth -o lego.onnx
    python tools/export_onnx.py ... -o lego.onnx --int8 --calibration datasets/lego/manifest.csv
    python tools/export_onnx.py models/diagnostic_model.pth -o diagnostic.onnx --photos photos/

Both run the same images: some of --photos, or made ones, several sizes among them. The table shows the largest and the
mean difference in steps of 8 bit (1/255). Exit status: 0, or 1 and no file if a difference is above --tolerance, or 2
if the call itself is wrong. tools/enhance.py takes the file as its --checkpoint.

A classifier's file has the input image and the outputs part_logits, color_logits, for any number of pictures, and says
which classes they are and how a picture is resized; --tolerance is then a difference of logits (default: 0.001).
--int8 also writes NAME.int8.onnx: calibrated on the manifest's training images and judged on its validation images
(in a folder: on every second one, by agreement with float32). Neither file is written if a head lost more than
--max-loss points.

The file of a DiagnosticCNN gives the estimate, calibrated probabilities and the three heads (docs/diagnostic.md);
--tolerance is the largest difference of any of these (default: 0.001).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import run_main  # noqa: E402


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", type=Path, help="weights: net_g_*.pth or .safetensors")
    add("-o", "--output", type=Path, help="the .onnx to write (default: beside the checkpoint, by its name)")
    add("--opt", type=Path, help="option file of the training; not needed for a NAFNet")
    add("--param-key", help="params or params_ema (default: params_ema where there is one)")
    add("--photos", type=Path, metavar="DIR", help="check on photos of this folder (default: made images)")
    add("--count", type=int, default=4, help="most photos of --photos that are taken")
    add("--max-side", type=int, default=1024, help="photos are scaled down to this for the check")
    add("--tolerance", type=float, help="largest accepted difference in 1/255 (default: 0.05)")
    group = parser.add_argument_group("classifiers")
    add = group.add_argument
    add("--int8", action="store_true", help="also write the static int8 form; needs --calibration")
    add("--calibration", type=Path, metavar="PATH", help="manifest.csv, or a folder of pictures of the kind to be met")
    add("--max-loss", type=float, default=2.0, help="accepted loss of a head in percentage points (default: 2)")
    add("--calibration-method", default="minmax", choices=("minmax", "entropy", "percentile"), help="default: minmax")
    add("--temperature", action="append", default=[], metavar="HEAD=T", help="divides logits for honest confidences")
    add("--unknown-below", action="append", default=[], metavar="HEAD=P", help="a lower confidence means unknown")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    output = args.output or args.checkpoint.with_suffix(".onnx")
    from basicsr.engine.checkpoint import RECORD, load_weights
    from plugins.diagnostic.diagnostic_onnx import is_diagnostic_record
    from plugins.lego.lego_export import is_lego_record

    record = load_weights(args.checkpoint).get(RECORD)
    if is_lego_record(record):
        return export_lego(args, output)
    wrong = [name for name in ("int8", "calibration", "temperature", "unknown_below") if getattr(args, name)]
    if wrong:
        from basicsr.engine.errors import UserError

        raise UserError(f"--{wrong[0].replace('_', '-')}: it is for classifiers; {args.checkpoint} is none")
    return export_diagnosis(args, output) if is_diagnostic_record(record) else export_image_network(args, output)


def export_lego(args: argparse.Namespace, output: Path) -> int:
    """Export a classifier with its heads."""
    from plugins.lego.lego_export_run import ExportPlan, export_lego_classifier

    plan = ExportPlan(
        checkpoint=args.checkpoint, output=output, param_key=args.param_key or "params_ema", photos=args.photos,
        count=args.count, tolerance=args.tolerance, int8=args.int8, calibration=args.calibration,
        max_loss=args.max_loss, method=args.calibration_method,
        temperature=args.temperature, unknown_below=args.unknown_below,
    )  # fmt: skip
    for line in export_lego_classifier(plan):
        print(line, flush=True)
    return 0


def export_diagnosis(args: argparse.Namespace, output: Path) -> int:
    """Export a network that diagnoses photos."""
    from plugins.diagnostic.diagnostic_onnx import DiagnosticExport, export_diagnostic

    plan = DiagnosticExport(
        checkpoint=args.checkpoint, output=output, param_key=args.param_key or "params_ema", photos=args.photos,
        count=args.count, tolerance=args.tolerance,
    )  # fmt: skip
    for line in export_diagnostic(plan):
        print(line, flush=True)
    return 0


def export_image_network(args: argparse.Namespace, output: Path) -> int:
    """Export a network from picture to picture."""
    from plugins.color_fidelity.enhance_network import load_network, network_options
    from plugins.color_fidelity.enhance_record import file_sha256
    from plugins.color_fidelity.onnx_export import DEFAULT_TOLERANCE, check_parity, export, parity_images

    tolerance = DEFAULT_TOLERANCE if args.tolerance is None else args.tolerance
    images = parity_images(args.photos, args.count, args.max_side)
    net = load_network(args.checkpoint, args.opt, args.param_key)
    facts = {"checkpoint": args.checkpoint.name, "checkpoint_sha256": file_sha256(args.checkpoint)}
    if args.opt is not None:
        facts["network_options"] = network_options(args.opt)
    draft = output.with_name(f".{output.stem}.unchecked.onnx")
    try:
        export(net, draft, facts)
        print(f"{'largest':>9} {'mean':>9}  of 1/255")
        worst = 0.0
        for parity in check_parity(net, draft, images):
            worst = max(worst, parity.largest)
            width, height = parity.size
            print(f"{parity.largest:9.5f} {parity.mean:9.6f}  {width}x{height}  {parity.name}", flush=True)
        if not worst <= tolerance:
            print(f"failed: {worst:.5f} is above the tolerance of {tolerance}; no file is left", file=sys.stderr)
            return 1
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
    size = output.stat().st_size / 2**20
    print(f"{output}: {size:.1f} MiB, within {worst:.5f} of 1/255 of torch on {len(images)} images")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
