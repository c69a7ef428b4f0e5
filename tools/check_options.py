"""Check option files without training: the same errors as train.py, all at once.

    python tools/check_options.py options/nafnet_fast.yml
    python tools/check_options.py options/*.yml --no-paths
    python tools/check_options.py my.yml --force_yml train:total_iter=100 --show

Exit status 0 if every file is right, 2 if not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import USER_ERROR_STATUS, quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

import yaml  # noqa: E402

from basicsr.engine.errors import UserError  # noqa: E402
from basicsr.engine.options_fill import apply_debug_mode, fill_defaults, resolve_paths  # noqa: E402
from basicsr.engine.options_merge import load_options  # noqa: E402
from basicsr.engine.options_sections import check_options  # noqa: E402
from basicsr.engine.options_yaml import LoadedFile  # noqa: E402
from basicsr.utils.options import ordered_yaml  # noqa: E402


def make_parser() -> argparse.ArgumentParser:
    description = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description[0], epilog=description[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="option files")
    parser.add_argument("--force_yml", nargs="+", default=[], metavar="KEY:KEY=VALUE", help="change values of the file")
    parser.add_argument("--no-paths", action="store_true", help="do not ask for data and weights to be there")
    parser.add_argument("--test", action="store_true", help="the files are for test.py (found out by itself otherwise)")
    parser.add_argument("--root", type=Path, default=ROOT, help="project root that relative paths start from")
    parser.add_argument("--show", action="store_true", help="print the options as the run would see them")
    return parser


def is_for_training(loaded: LoadedFile) -> bool:
    """A file with a train section or a train dataset is a training file."""
    datasets = loaded.root.value.get("datasets")
    has_set = datasets is not None and isinstance(datasets.value, dict) and "train" in datasets.value
    return "train" in loaded.root.value or has_set


def summary(opt: dict[str, Any], is_train: bool) -> str:
    """What the file describes, in a few lines."""
    networks = [f"{key}: {value['type']}" for key, value in opt.items() if key.startswith("network_")]
    sets = [f"{key} ({value['type']})" for key, value in opt["datasets"].items()]
    lines = [
        f"  {'training' if is_train else 'test'} '{opt['name']}' with {opt['model_type']}, {', '.join(networks)}",
        f"  datasets: {', '.join(sets) or 'none'}",
    ]
    if is_train:
        train = opt["train"]
        losses = [f"{key[:-4]} ({value['type']})" for key, value in train.items() if key.endswith("_opt")]
        rates = [f"{value['type']} {value['lr']:g}" for key, value in train.items() if key.startswith("optim_")]
        lines.append(f"  {train['total_iter']} iterations, {', '.join(rates)}, {train['scheduler']['type']}")
        lines.append(f"  losses: {', '.join(losses)}")
    if opt["val"]["metrics"]:
        lines.append(f"  metrics: {', '.join(opt['val']['metrics'])}")
    return "\n".join(lines)


def check_file(file: str, args: argparse.Namespace) -> bool:
    """Check one file and print what was found; False if it has errors."""
    root = args.root.resolve()
    try:
        loaded = load_options(file, args.force_yml)
        is_train = not args.test and is_for_training(loaded)
        report = check_options(loaded, root, is_train, paths=not args.no_paths)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if report.errors:
        print(f"error: {report.text()}", file=sys.stderr)
        return False
    opt = fill_defaults(report.values, is_train)
    print(f"{file}: ok")
    print(summary(opt, is_train))
    if args.show:
        if is_train:
            apply_debug_mode(opt)
        resolve_paths(opt, root, is_train)
        print(yaml.dump(opt, Dumper=ordered_yaml()[1], default_flow_style=None, allow_unicode=True, sort_keys=False))
    return True


def main() -> int:
    args = make_parser().parse_args()
    results = [check_file(file, args) for file in args.files]
    return 0 if all(results) else USER_ERROR_STATUS


if __name__ == "__main__":
    sys.exit(run_main(main))
