"""Option files and the command line of ``train.py`` and ``test.py``."""

from __future__ import annotations

import argparse
import os
import sys
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import yaml

from basicsr.engine.errors import UserError
from basicsr.engine.options_check import Report
from basicsr.engine.options_fill import (
    apply_debug_mode,
    draw_seed,
    fill_defaults,
    resolve_num_gpu,
    resolve_paths,
)
from basicsr.engine.options_merge import load_options
from basicsr.engine.options_sections import check_options
from basicsr.engine.options_yaml import parse_value, read_file, read_yaml
from basicsr.utils.logger import get_root_logger

EPILOG = """\
examples
  python BasicSR/basicsr/train.py -opt options/nafnet_fast.yml
  python BasicSR/basicsr/train.py -opt options/nafnet_fast.yml --auto_resume
  python BasicSR/basicsr/train.py -opt options/nafnet_fast.yml --force_yml train:total_iter=2000 train:optim_g:lr=1e-4
  torchrun --nproc_per_node=4 BasicSR/basicsr/train.py -opt options/nafnet_fast.yml --launcher pytorch

--force_yml values: text, 3, -1, 1e-4, true, false, ~ (nothing), [1, 2], "text in quotes". Everything behind the first =
is the value. All options are checked before anything runs; tools/check_options.py does the same without training.
Every option is explained in docs/options.md.
"""


def ordered_yaml() -> tuple[type[yaml.SafeLoader], type[yaml.SafeDumper]]:
    """A YAML loader that keeps the order of keys in ``OrderedDict`` and a dumper that writes it. Both are safe ones."""

    class Loader(yaml.SafeLoader):
        pass

    class Dumper(yaml.SafeDumper):
        pass

    def construct(loader: yaml.SafeLoader, node: yaml.MappingNode) -> OrderedDict[Any, Any]:
        loader.flatten_mapping(node)
        return OrderedDict(loader.construct_pairs(node))

    def represent(dumper: yaml.SafeDumper, data: Mapping[Any, Any]) -> yaml.Node:
        return dumper.represent_dict(data.items())

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct)
    Dumper.add_representer(OrderedDict, represent)
    Dumper.add_representer(dict, represent)
    return Loader, Dumper


def yaml_load(f: str | Path | IO[str]) -> dict[str, Any]:
    """Read YAML from a file's path, a text or an open file, without inheritance or checks.

    Raises:
        UserError: It is not a valid option file, or a key is written twice.
    """
    if isinstance(f, Path) or (isinstance(f, str) and "\n" not in f and Path(f).is_file()):
        loaded = read_file(Path(f))
    else:
        loaded = read_yaml(f if isinstance(f, str) else f.read(), getattr(f, "name", "<text>"))
    if loaded.problems:
        raise UserError("\n".join(map(str, loaded.problems)))
    return loaded.root.plain()


def dict2str(opt: Mapping[str, Any], indent_level: int = 1) -> str:
    """Nested options as indented lines for the log."""
    indent = " " * (indent_level * 2)
    lines = ["\n"]
    for key, value in opt.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:[{dict2str(value, indent_level + 1)}{indent}]\n")
        else:
            lines.append(f"{indent}{key}: {value}\n")
    return "".join(lines)


def _postprocess_yml_value(value: str) -> Any:
    return parse_value(value)


def make_parser(is_train: bool = True) -> argparse.ArgumentParser:
    """The command line of ``train.py`` or ``test.py``."""
    what = "Train" if is_train else "Test"
    parser = argparse.ArgumentParser(
        description=f"{what} what one YAML file describes. See docs/options.md for its keys.",
        epilog=EPILOG if is_train else EPILOG.replace("train.py", "test.py").replace(" --auto_resume", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-opt", required=True, metavar="FILE", help="the option file (YAML)")
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm"],
        default="none",
        help="who started this process: none = one process, pytorch = torchrun, slurm = srun",
    )
    parser.add_argument("--auto_resume", action="store_true", help="continue from the newest training state, if any")
    parser.add_argument("--debug", action="store_true", help="prefix the name with debug_; log, save, validate often")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="accepted for old launchers")
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=None,
        metavar="KEY:KEY=VALUE",
        help="change values of the file, e.g. train:optim_g:lr=1e-4",
    )
    return parser


def parse_options(root_path: str | Path, is_train: bool = True) -> tuple[dict[str, Any], argparse.Namespace]:
    """Read ``sys.argv``, the option file, what it inherits and what is forced; check all of it; fill in every default.

    Args:
        root_path: The project's root: data, weights and the experiment folders are relative to it.
        is_train: Training or testing.

    Returns:
        ``(opt, args)``: a plain nested dict, and the parsed command line.

    Raises:
        UserError: Something in the options is wrong; the message lists everything that is.
    """
    args = make_parser(is_train).parse_args()
    root = Path(root_path).resolve()
    loaded = load_options(args.opt, args.force_yml or ())
    report = check_options(loaded, root, is_train, auto_resume=args.auto_resume)
    _refuse_errors(report)
    warnings = [str(warning) for warning in report.warnings]
    opt = fill_defaults(report.values, is_train)
    if args.debug and not opt["name"].startswith("debug"):
        opt["name"] = "debug_" + opt["name"]
    opt["is_train"] = is_train
    opt["auto_resume"] = args.auto_resume
    if is_train:
        apply_debug_mode(opt)
    resolve_paths(opt, root, is_train)
    warnings.append(resolve_num_gpu(opt) or "")
    _start_processes(opt, args.launcher)
    # From here on this process knows its rank, so that only the first one speaks.
    logger = get_root_logger()
    for warning in filter(None, warnings):
        logger.warning("%s", warning)
    _seed(opt)
    return opt, args


def _refuse_errors(report: Report) -> None:
    """Stop if there are errors. Every process finds the same ones; the first shows them."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    if report.errors and rank != "0":
        raise UserError("the options are wrong; the first process (rank 0) says what")
    report.raise_errors()


def _start_processes(opt: dict[str, Any], launcher: str) -> None:
    """Join the other processes, if there are any, and note who this one is; in place."""
    from basicsr.engine import distributed

    params = opt["dist_params"]
    if params["backend"] == "nccl" and opt["num_gpu"] == 0:
        # upstream's files name nccl as a matter of course; on the CPU it cannot work
        params["backend"] = "auto"
    opt["dist"] = distributed.init(launcher, params["backend"], params["port"], opt["device"], opt["num_gpu"])
    opt["rank"], opt["world_size"] = distributed.get_rank(), distributed.get_world_size()


def _seed(opt: dict[str, Any]) -> None:
    """Seed all random numbers with the same seed on every process (plus its rank); in place."""
    if opt["manual_seed"] is None:
        seed = draw_seed()
        if opt["dist"]:
            from basicsr.engine import distributed

            seed = distributed.broadcast_object(seed)
        opt["manual_seed"] = seed
        get_root_logger().info("manual_seed: %d (drawn; write it into the file to repeat this run)", seed)
    from basicsr.utils.misc import set_random_seed

    set_random_seed(opt["manual_seed"] + opt["rank"])


def copy_opt_file(opt_file: str | Path, experiments_root: str | Path) -> None:
    """Keep the option file in the run's folder, with the time and the command line on top.

    A file that inherits is written in full, so that the copy can be run from where it lies. Only the first process
    writes.
    """
    from basicsr.engine import distributed

    if not distributed.is_main():
        return
    source, target = Path(opt_file), Path(experiments_root) / Path(opt_file).name
    header = [f"# GENERATE TIME: {datetime.now().ctime()}", f"# CMD: {' '.join(sys.argv)}"]
    if "base" in read_file(source).root.value:
        _, dumper = ordered_yaml()
        header.append(f"# {source} and what it inherits from, merged; values given by --force_yml are in CMD only")
        text = yaml.dump(load_options(source).root.plain(), Dumper=dumper, default_flow_style=None, allow_unicode=True)
    else:
        text = source.read_text(encoding="utf-8-sig")
    target.write_text("\n".join(header) + "\n\n" + text, encoding="utf-8")
