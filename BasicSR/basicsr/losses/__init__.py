"""Losses: importing the package registers every ``*_loss.py`` beside this file."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import nn

from basicsr.engine.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY

for _module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    if _module.endswith("_loss"):
        importlib.import_module(f"{__name__}.{_module}")

from basicsr.losses.gan_loss import g_path_regularize, gradient_penalty_loss, r1_penalty  # noqa: E402

__all__ = ["build_loss", "g_path_regularize", "gradient_penalty_loss", "r1_penalty"]


def build_loss(opt: Mapping[str, Any]) -> nn.Module:
    """Build a loss from its options.

    Args:
        opt: ``type`` is the name in ``LOSS_REGISTRY``; every other key is an argument of that class. Not modified.

    Returns:
        The loss module.

    Raises:
        KeyError: If ``type`` is missing or not registered.
        UserError: If the class refuses a value.
    """
    arguments = deepcopy(dict(opt))
    loss_type = arguments.pop("type")
    loss_class = LOSS_REGISTRY.get(loss_type)
    try:
        loss: nn.Module = loss_class(**arguments)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"loss {loss_type} refuses {arguments}: {error}") from error
    logging.getLogger("basicsr").info("Loss [%s] is created.", type(loss).__name__)
    return loss
