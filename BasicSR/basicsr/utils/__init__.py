"""Helpers under their upstream names. A name is imported when it is first used, so the package itself stays light."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "color_util": ("bgr2ycbcr", "rgb2ycbcr", "rgb2ycbcr_pt", "ycbcr2bgr", "ycbcr2rgb"),
    "download_util": ("load_file_from_url",),
    "file_client": ("FileClient",),
    "img_process_util": ("USMSharp", "filter2D", "usm_sharp"),
    "img_util": ("crop_border", "imfrombytes", "img2tensor", "imwrite", "tensor2img"),
    "logger": ("AvgTimer", "MessageLogger", "get_env_info", "get_root_logger", "init_tb_logger", "init_wandb_logger"),
    "matlab_functions": ("imresize",),
    "misc": (
        "check_resume",
        "get_time_str",
        "make_exp_dirs",
        "mkdir_and_rename",
        "scandir",
        "set_random_seed",
        "sizeof_fmt",
    ),
    "options": ("yaml_load",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'basicsr.utils' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"basicsr.utils.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
