"""Import torchvision even where its compiled part cannot be loaded.

torchvision's wheels carry a C++ library that must match the installed torch exactly. Where it does not (a CPU build of
torch beside a CUDA build of torchvision, a newer torch), current torchvision does not degrade to its Python part but
fails to import: it registers shape functions for two operators that only that library declares, and torch answers
"operator torchvision::nms does not exist". Backbones, transforms and image grids need neither operator, so declaring
them is enough. Calling one of them then fails with torch's own message that it has no implementation.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import torch

from basicsr.engine.errors import UserError

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
# A torch.library.Library withdraws what it declared when it is collected.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring its missing operators first where its compiled part does not load.

    Call it before anything imports torchvision: an import that failed leaves half of its registrations behind.

    Returns:
        The package ``torchvision``.

    Raises:
        UserError: If torchvision is not installed.
    """
    if "torchvision" not in sys.modules:
        spec = importlib.util.find_spec("torchvision")
        if spec is None or spec.origin is None:
            raise UserError("torchvision is not installed, and this feature needs it: pip install torchvision")
        # Looking first, because the failed import cannot be repeated in the same process.
        if not _declared and not _compiled_part_loads(Path(spec.origin).parent):
            _declare_operators()
    return importlib.import_module("torchvision")


def _compiled_part_loads(package: Path) -> bool:
    library = next(
        (path for suffix in importlib.machinery.EXTENSION_SUFFIXES if (path := package / f"_C{suffix}").is_file()), None
    )
    if library is None:
        return False
    add_dll_directory = getattr(os, "add_dll_directory", None)
    if add_dll_directory is not None:
        add_dll_directory(str(package))
    try:
        # What torchvision itself does next; loading a library a second time is harmless.
        torch.ops.load_library(str(library))
    except OSError:
        return False
    return True


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        library.define(f"{name}{_SCHEMA}")
    _declared.append(library)
