"""Find pretrained weights by tag or file, and say where to put them where they are missing.

Looked for, in this order: the path given; ``experiments/pretrained_models`` of the current and of the project's folder;
the folder ``$BASICSR_WEIGHTS``; torch's own download folder. Only then are they downloaded, and that is logged.
"""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from basicsr.engine.errors import UserError
from basicsr.utils.download_util import load_file_from_url

ENVIRONMENT_VARIABLE = "BASICSR_WEIGHTS"
_MODEL_ZOO = "https://download.pytorch.org/models/"
# torchvision's weights "IMAGENET1K_V1". The digits are the start of the file's SHA-256, which the download checks.
_FILES = {
    "vgg11": "vgg11-8a719046.pth",
    "vgg11_bn": "vgg11_bn-6002323d.pth",
    "vgg13": "vgg13-19584684.pth",
    "vgg13_bn": "vgg13_bn-abd245e5.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg16_bn": "vgg16_bn-6c64b313.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg19_bn": "vgg19_bn-c79401a0.pth",
}


def search_folders() -> list[Path]:
    """The folders where weights are looked for, in order."""
    checkout = Path(__file__).resolve().parents[3]
    # Installed from a wheel, the engine lies in site-packages and there is no project's folder around it.
    roots = [Path.cwd(), *([checkout] if (checkout / "BasicSR").is_dir() else [])]
    folders = [root / "experiments" / "pretrained_models" for root in dict.fromkeys(roots)]
    if os.environ.get(ENVIRONMENT_VARIABLE):
        folders.append(Path(os.environ[ENVIRONMENT_VARIABLE]).expanduser())
    return [*folders, Path(torch.hub.get_dir()) / "checkpoints"]


def find_weights(source: str) -> Path:
    """Find a weight file, downloading it as the last resort.

    Args:
        source: A tag of torchvision's model zoo (``vgg19``, ...) or a file: a path, or a name in one of the folders.

    Returns:
        The file.

    Raises:
        UserError: If it is nowhere and cannot be downloaded; the message says which file to put where.
    """
    name = _FILES.get(source, source)
    folders = search_folders()
    for candidate in (Path(name).expanduser(), *(folder / name for folder in folders)):
        if candidate.is_file():
            return candidate
    looked = "\n  ".join(str(folder / name) for folder in folders)
    if source not in _FILES:
        tags = ", ".join(_FILES)
        raise UserError(f"weights '{source}' not found: no such file, nor a known tag ({tags}). Looked for\n  {looked}")
    url = _MODEL_ZOO + name
    logging.getLogger("basicsr").info("Downloading the pretrained weights %s from %s", name, url)
    try:
        return Path(load_file_from_url(url, model_dir=str(folders[-1]), progress=False))
    except UserError as error:
        raise UserError(
            f"the pretrained weights '{source}' are missing: put the file {name} (torchvision's model zoo, tag "
            f"'{source}', {url}) in one of these places:\n  {looked}\nor set ${ENVIRONMENT_VARIABLE} to the folder it "
            f"is in. ({error})"
        ) from error


def load_weights_of(source: str, expected: str) -> dict[str, Any]:
    """Find and read a state dict onto the CPU, without executing anything the file may contain.

    Args:
        source: See ``find_weights``.
        expected: What the file should hold, for the error message.

    Returns:
        The state dict.

    Raises:
        UserError: If the file is missing, damaged or something else than a state dict.
    """
    path = find_weights(source)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be read as weights ({error}); expected {expected}. Replace the file") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} is not a state dict; expected {expected}")
    return state
