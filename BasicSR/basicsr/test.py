# ruff: noqa: E402 - run as a script, the search path has to be put right before the engine is imported
"""Test trained weights from an option file: ``python BasicSR/basicsr/test.py -opt options/x.yml``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sized
from pathlib import Path
from typing import Any, cast

_HERE = Path(__file__).resolve().parent
# The project: two levels above this package. An installed package has no project around it but the current folder.
ROOT = _HERE.parents[1] if _HERE.parent.name == "BasicSR" else Path.cwd()
if __name__ == "__main__":
    # As a script, this folder would be searched first and its data/ and utils/ would hide top-level modules.
    sys.path[:] = [str(_HERE.parent), str(ROOT), *(p for p in sys.path if Path(p or ".").resolve() != _HERE)]
    from basicsr.engine.cli import quiet_start

    quiet_start()  # the imports below take seconds

from basicsr.engine import distributed
from basicsr.engine.checkpoint import load_weights
from basicsr.engine.errors import UserError
from basicsr.engine.options_merge import load_options
from basicsr.engine.run_setup import log_options, open_test_folder, run_log, start_process
from basicsr.utils.logger import get_root_logger
from basicsr.utils.options import parse_options


def prefer_ema(opt: dict[str, Any], args: argparse.Namespace) -> None:
    """Test the weights that training validated: the EMA copy, where the file has one and the options name none.

    Args:
        opt: ``path.param_key_<x>`` is changed in place.
        args: The command line; whether a key was written is read from the file itself.
    """
    if not any(value for key, value in opt["path"].items() if key.startswith("pretrain_network_")):
        get_root_logger().warning("path.pretrain_network_g is not set: the network is tested as it was initialised.")
    written = load_options(args.opt, args.force_yml or ()).root.plain().get("path") or {}
    for key, weights in list(opt["path"].items()):
        if not key.startswith("pretrain_network_") or not weights:
            continue
        label = key[len("pretrain_network_") :]
        if "param_key" in written or f"param_key_{label}" in written:
            continue
        if "params_ema" in load_weights(weights):
            opt["path"][f"param_key_{label}"] = "params_ema"
            get_root_logger().info(
                "%s holds EMA weights, which training validated: they are tested. For the others, set "
                "path.param_key_%s: params.",
                weights,
                label,
            )


def create_test_dataloaders(opt: dict[str, Any]) -> list[Any]:
    """Build the loader of every data set, in the order of their keys.

    Raises:
        UserError: There is no data set.
    """
    from basicsr.data import build_dataloader, build_dataset

    loaders = []
    for _, dataset_opt in sorted(opt["datasets"].items()):
        dataset = build_dataset(dataset_opt)
        loader = build_dataloader(
            dataset, dataset_opt, opt["num_gpu"], dist=opt["dist"], sampler=None, seed=opt["manual_seed"]
        )
        loaders.append(loader)
        get_root_logger().info("Test data: %s images in %s.", f"{len(cast(Sized, dataset)):,}", dataset_opt["name"])
    if not loaders:
        raise UserError("datasets: empty: name at least one set to test on")
    return loaders


def test_pipeline(root_path: str | Path) -> None:
    """Read the command line and test.

    Args:
        root_path: The project's folder: ``results/`` is made in it, relative paths start there.

    Raises:
        UserError: Something in the options, the data or the weights that the user can put right.
    """
    from basicsr.models import build_model

    with run_log() as log:
        opt, args = parse_options(root_path, is_train=False)
        start_process(opt, root_path)
        prefer_ema(opt, args)
        loaders = create_test_dataloaders(opt)
        log_options(opt)
        model = build_model(opt)
        open_test_folder(opt, log)
        for loader in loaders:
            get_root_logger().info("Testing %s...", loader.dataset.opt["name"])
            model.validation(loader, current_iter=opt["name"], tb_logger=None, save_img=opt["val"]["save_img"])
        distributed.barrier()
    distributed.shutdown()


if __name__ == "__main__":
    from basicsr.engine.cli import run_main

    sys.exit(run_main(lambda: test_pipeline(ROOT)))
