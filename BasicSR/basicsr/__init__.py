"""A BasicSR-compatible training engine for current PyTorch.

Importing the package is light: torch, torchvision and the components load when they are used. Upstream's names at the
top of the package (``basicsr.build_network``, ``basicsr.build_model``, ``basicsr.img2tensor``, ...) are found on first
use.
"""

from __future__ import annotations

import importlib
from typing import Any

from basicsr.version import __version__

_HOME_OF = {
    "build_network": "archs",
    "build_dataloader": "data",
    "build_dataset": "data",
    "build_loss": "losses",
    "calculate_metric": "metrics",
    "build_model": "models",
    "test_pipeline": "test",
    "train_pipeline": "train",
}
_PACKAGES = ("archs", "data", "losses", "metrics", "models", "ops", "utils", "test", "train")

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"basicsr.{name}")
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"basicsr.{_HOME_OF[name]}"), name)
    utils = importlib.import_module("basicsr.utils")
    if name in utils.__all__:
        return getattr(utils, name)
    raise AttributeError(f"module 'basicsr' has no attribute '{name}'")
