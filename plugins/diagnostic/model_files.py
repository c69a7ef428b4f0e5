"""Where the diagnostic network's weights are found, and the network that is made of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basicsr.engine.checkpoint import RECORD, load_weights
from basicsr.engine.device import resolve_device
from basicsr.engine.errors import UserError
from basicsr.engine.network_io import fit, read_state_dict

if TYPE_CHECKING:
    from plugins.diagnostic.diagnostic_cnn_arch import DiagnosticCNN

MODEL_VARIABLE = "BASICSR_DIAGNOSTIC_MODEL"
MODEL_FILE = Path("models") / "diagnostic_model.pth"
"""Where the model lies by default, below the current folder or the project's."""
SMALLEST_INPUT = 32
"""Pixels a side of the smallest input that a network can be trained with."""

_cache: dict[tuple[str, int, int, str], DiagnosticCNN] = {}
_CACHE_SIZE = 4
_lock = threading.Lock()


def load_diagnostic_model(
    model_path: str | os.PathLike[str] | None = None, device: torch.device | str | None = None
) -> DiagnosticCNN:
    """Load the trained network, once per file: a second call gives the same object until the file changes.

    Args:
        model_path: Weights (``.pth`` or ``.safetensors``). Not given: ``$BASICSR_DIAGNOSTIC_MODEL``, then
            ``models/diagnostic_model.pth`` of the current and of the project's folder.
        device: Where to put it; a GPU where there is one if not given.

    Returns:
        The network in evaluation mode, without gradients. It is shared: do not train it.

    Raises:
        UserError: There is no model (the message says how to train one or where to put it), or it is damaged or of
            another network.
    """
    path = find_diagnostic_model(model_path)
    if path is None:
        raise UserError(missing_model_text())
    place = choose_device(device)
    about = path.stat()
    key = (str(path.resolve()), about.st_mtime_ns, about.st_size, str(place))
    with _lock:
        if key not in _cache:
            while len(_cache) >= _CACHE_SIZE:
                _cache.pop(next(iter(_cache)))
            _cache[key] = _read(path, place)
        return _cache[key]


def find_diagnostic_model(model_path: str | os.PathLike[str] | None = None) -> Path | None:
    """The file that :func:`load_diagnostic_model` would take; None where there is none.

    Raises:
        UserError: The file was named, by the argument or the environment variable, and is not there.
    """
    for source, value in (("model_path", model_path), (f"${MODEL_VARIABLE}", os.environ.get(MODEL_VARIABLE))):
        if value:
            path = Path(value).expanduser()
            if not path.is_file():
                raise UserError(f"{source}: {path}: there is no such file. {missing_model_text()}")
            return path
    return next((folder / MODEL_FILE for folder in _folders() if (folder / MODEL_FILE).is_file()), None)


def missing_model_text() -> str:
    """How to get a model, for messages and pages."""
    places = " or ".join(str(folder / MODEL_FILE) for folder in _folders())
    return (
        "The diagnostic model is missing. Train one: python BasicSR/basicsr/train.py -opt options/diagnostic_cnn.yml; "
        f"then copy its weights to {places}, or set ${MODEL_VARIABLE} to the file, or name it in the call."
    )


def choose_device(device: torch.device | str | None) -> torch.device:
    """``device`` if given, else a GPU where there is one, else the CPU."""
    if isinstance(device, torch.device):
        return device
    return resolve_device({"device": device or "auto"})


def _folders() -> list[Path]:
    """The current folder, and the project's own where this runs from a checkout."""
    checkout = Path(__file__).resolve().parents[2]
    return list(dict.fromkeys([Path.cwd(), *([checkout] if (checkout / "BasicSR").is_dir() else [])]))


def read_network(path: str | Path, param_key: str = "params_ema") -> tuple[DiagnosticCNN, dict[str, Any]]:
    """Build the network of a weights file, for the size of input that the file says it was trained with.

    Args:
        path: Weights (``.pth`` or ``.safetensors``).
        param_key: The section; another is taken where the file lacks it.

    Returns:
        The network in evaluation mode on the CPU, and the file's record (empty where there is none).

    Raises:
        UserError: The file is missing, damaged, or of another network.
    """
    from plugins.diagnostic.diagnostic_cnn_arch import DiagnosticCNN

    state, _ = read_state_dict(path, param_key)
    net = DiagnosticCNN()
    fit(net, state, str(path), strict=True)
    found = load_weights(path).get(RECORD)
    record = dict(found) if isinstance(found, Mapping) else {}
    size = record.get("size", net.input_size)
    if not isinstance(size, int) or size < SMALLEST_INPUT:
        raise UserError(f"{path}: its record is damaged: size is {size!r}")
    net.input_size = size
    return net.eval(), record


def _read(path: Path, device: torch.device) -> DiagnosticCNN:
    return read_network(path)[0].requires_grad_(False).to(device)
