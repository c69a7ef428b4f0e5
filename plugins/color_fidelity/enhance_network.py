"""The network for enhancement: from its checkpoint alone (NAFNet), or from the option file it was trained with."""

import importlib
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.engine.checkpoint import load_weights
from basicsr.engine.errors import UserError
from basicsr.engine.network_io import fit, read_state_dict
from basicsr.engine.options_merge import load_options
from basicsr.engine.plugins import load_plugins

_STATE_KEYS = {"optimizers", "schedulers", "iter"}
_NAFNET_PARTS = {"intro", "ending", "encoders", "decoders", "middle_blks", "ups", "downs"}
_BLOCK = re.compile(r"(encoders|decoders|middle_blks)\.(\d+)\.(?:(\d+)\.)?")


def load_network(
    checkpoint: Path, options: Path | None = None, param_key: str | None = None, device: torch.device | None = None
) -> nn.Module:
    """Build a network and load its weights.

    Args:
        checkpoint: A ``net_g_*.pth`` or ``.safetensors``, or an ``.onnx`` of ``tools/export_onnx.py``.
        options: The option file of its training, whose ``network_g`` is built; None: the sizes of a NAFNet are read off
            the checkpoint.
        param_key: ``params`` or ``params_ema``; None takes the averaged weights where there are some.
        device: Where to put it; the CPU if not given.

    Returns:
        The network in evaluation mode, without gradients.

    Raises:
        UserError: A file is missing, damaged or of another kind, or weights and network do not fit each other.
    """
    if checkpoint.suffix.lower() == ".onnx" and checkpoint.is_file():
        if device is not None and device.type != "cpu":
            raise UserError(f"{checkpoint}: ONNX files run on the CPU here; use --device cpu")
        if options is not None or param_key is not None:
            raise UserError(
                f"{checkpoint}: an ONNX file holds its network and weights; leave --opt and --param-key out"
            )
        return OnnxNetwork(checkpoint).eval()
    refuse_training_state(checkpoint)
    state, section = read_state_dict(checkpoint, param_key or "params_ema")
    if param_key is not None and section != param_key:
        raise UserError(f"{checkpoint}: it holds no '{param_key}', but {section}; leave --param-key out")
    net = build_network(nafnet_options(state, checkpoint) if options is None else network_options(options))
    fit(net, state, str(checkpoint), strict=True)
    return net.eval().requires_grad_(False).to(device or torch.device("cpu"))


def refuse_training_state(checkpoint: Path) -> None:
    """Raise ``UserError`` for a training state, which holds no weights, for a folder, for a file that is not there."""
    if checkpoint.is_dir():
        raise UserError(f"{checkpoint}: a folder; name a weights file in it, such as {checkpoint / 'net_g_latest.pth'}")
    if not checkpoint.is_file():
        near = sorted(path.name for path in checkpoint.parent.glob("*.pth")) if checkpoint.parent.is_dir() else []
        found = f"; in that folder there are {', '.join(near[:5])}" if near else ""
        raise UserError(f"{checkpoint}: no such checkpoint{found}")
    if checkpoint.suffix == ".state" or len(_STATE_KEYS & set(load_weights(checkpoint))) > 1:
        weights = checkpoint.parent.parent / "models" / f"net_g_{checkpoint.stem}.pth"
        raise UserError(f"{checkpoint}: a training state (optimizer, schedule), not weights; use {weights}")


def network_options(options: Path) -> dict[str, Any]:
    """The section ``network_g`` of an option file, with the file's plug-ins loaded."""
    root = load_options(options).root.plain()
    section = root.get("network_g")
    if not isinstance(section, Mapping) or "type" not in section:
        raise UserError(f"{options}: it has no section network_g with a type")
    load_plugins(root.get("plugins"))
    return dict(section)


def nafnet_options(state: Mapping[str, Tensor], source: Path) -> dict[str, Any]:
    """Read the sizes of a NAFNet off its state dict.

    Raises:
        UserError: The keys are not a NAFNet's.
    """
    if not {"intro.weight", "ending.weight"} <= set(state) or not any(key.startswith("middle_blks.") for key in state):
        shown = ", ".join(list(state)[:3])
        raise UserError(
            f"{source}: not a NAFNet (its keys begin with {shown}); give the option file it was trained with: --opt"
        )
    more = sorted({key.split(".")[0] for key in state} - _NAFNET_PARTS)
    if more:
        raise UserError(
            f"{source}: a NAFNet with something more ({', '.join(more)}); give the option file of its training: --opt"
        )
    levels = 1 + max((int(key.split(".")[1]) for key in state if key.startswith("downs.")), default=-1)
    numbers: dict[str, list[int]] = {"encoders": [0] * levels, "decoders": [0] * levels, "middle_blks": [0]}
    for key in state:
        match = _BLOCK.match(key)
        if match is None:
            continue
        part, first, second = match.groups()
        level, block = (0, int(first)) if part == "middle_blks" else (int(first), int(second or 0))
        if level >= len(numbers[part]):
            raise UserError(f"{source}: not a NAFNet: {key} has no level to belong to; give its option file: --opt")
        numbers[part][level] = max(numbers[part][level], block + 1)
    width, channels = state["intro.weight"].shape[:2]
    return {
        "type": "NAFNet",
        "img_channel": int(channels),
        "width": int(width),
        "middle_blk_num": numbers["middle_blks"][0],
        "enc_blk_nums": numbers["encoders"],
        "dec_blk_nums": numbers["decoders"],
    }


class OnnxNetwork(nn.Module):
    """An exported network (``tools/export_onnx.py``) run by ONNX Runtime on the CPU, in the place of a torch network.

    It runs whole images only: its attention averages over all of what it is given, so it cannot be cut into tiles.

    Args:
        path: The ``.onnx`` file.

    Raises:
        UserError: ONNX Runtime is missing, or the file is damaged or was not written by ``tools/export_onnx.py``.
    """

    whole_only = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        if importlib.util.find_spec("onnxruntime") is None:
            raise UserError(f"{path}: running it needs onnxruntime: pip install 'basicsr[onnx]'")
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_cpu_mem_arena = False  # would keep the memory of the largest photo for ever
        options.enable_mem_pattern = False  # is remembered for every size of photo
        options.log_severity_level = 3
        errors = tuple(
            value for value in vars(onnxruntime.capi.onnxruntime_pybind11_state).values() if _is_exception(value)
        )
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except errors as error:
            raise UserError(f"{path}: not an ONNX file that can be run ({str(error).splitlines()[0]})") from error
        facts = self._session.get_modelmeta().custom_metadata_map
        if "padder_size" not in facts:
            raise UserError(f"{path}: it does not say its padder_size; export it with tools/export_onnx.py")
        self.padder_size = int(json.loads(facts["padder_size"]))
        self.context_size = json.loads(facts.get("context_size", "null"))
        self.width = int(json.loads(facts.get("width", "32")))
        self.place = nn.Parameter(torch.zeros(0), requires_grad=False)  # says that it is on the CPU
        if self.context_size is not None:
            self.make_context = self._make_context

    def _make_context(self, image: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(image, tuple(self.context_size))

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, C, H, W) on the CPU, height and width multiples of ``padder_size``, to the same shape."""
        inputs = {"image": np.ascontiguousarray(image.float().numpy())}
        if context is not None:
            inputs["context"] = context.float().numpy()
        return torch.from_numpy(self._session.run(["output"], inputs)[0])


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
