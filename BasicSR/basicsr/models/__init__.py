"""Models: what is trained, how, and how it is judged; importing the package registers its ``*_model.py`` files."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from basicsr.utils.registry import MODEL_REGISTRY

if TYPE_CHECKING:
    from basicsr.models.base_model import BaseModel

__all__ = ["build_model"]

for _module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    if _module.endswith("_model"):
        importlib.import_module(f"{__name__}.{_module}")


def build_model(opt: Mapping[str, Any]) -> BaseModel:
    """Build the model of a run.

    Args:
        opt: The run's options; ``model_type`` is the name in ``MODEL_REGISTRY``. Not modified: the model gets a copy.

    Returns:
        The model, with its networks on the device.

    Raises:
        KeyError: If ``model_type`` is not registered.
    """
    options = deepcopy(dict(opt))
    model: BaseModel = MODEL_REGISTRY.get(options["model_type"])(options)
    logging.getLogger("basicsr").info("Model [%s] is created.", type(model).__name__)
    return model
