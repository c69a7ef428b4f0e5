"""Network architectures: importing the package registers every ``*_arch.py`` beside this file."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import nn

from basicsr.engine.errors import UserError
from basicsr.utils.registry import ARCH_REGISTRY

__all__ = ["build_network"]

for _module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    if _module.endswith("_arch"):
        importlib.import_module(f"{__name__}.{_module}")

# NAFNet's own repository spells the module `NAFNet_arch`. An alias and not a second file: the two names are one file on
# a file system that ignores case.
sys.modules[f"{__name__}.NAFNet_arch"] = sys.modules[f"{__name__}.nafnet_arch"]


def build_network(opt: Mapping[str, Any]) -> nn.Module:
    """Build a network from its options.

    Args:
        opt: ``type`` is the name in ``ARCH_REGISTRY``; every other key is an argument of that class. Not modified.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        KeyError: If ``type`` is missing or not registered.
        UserError: If the class refuses a value.
    """
    arguments = deepcopy(dict(opt))
    network_type = arguments.pop("type")
    network_class = ARCH_REGISTRY.get(network_type)
    try:
        network: nn.Module = network_class(**arguments)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"network {network_type} refuses {arguments}: {error}") from error
    logging.getLogger("basicsr").info("Network [%s] is created.", type(network).__name__)
    return network
