#!/usr/bin/env python3
"""Write a trained NAFNet as an ONNX file for images of any size, and check it against torch.

    python tools/export_onnx.py experiments/NAME/models/net_g_latest.pth -o model.onnx --photos photos/

Both run the same images: some of --photos, or made ones, several sizes among them. The table shows the largest and the
mean difference in steps of 8 bit (1/255). Exit status: 0, or 1 and no file if a difference is above --tolerance, or 2
if the call itself is wrong. tools/enhance.py takes the file as its --checkpoint.
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
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    from plugins.color_fidelity.enhance_network import load_network, network_options
    from plugins.color_fidelity.enhance_record import file_sha256
    from plugins.color_fidelity.onnx_export import DEFAULT_TOLERANCE, check_parity, export, parity_images

    tolerance = DEFAULT_TOLERANCE if args.tolerance is None else args.tolerance
    output = args.output or args.checkpoint.with_suffix(".onnx")
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
