"""Number formats of a training step: fp32, or the forward pass in bf16 or fp16 under autocast."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from basicsr.engine.errors import UserError

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """What the forward pass computes in. Weights, gradients, losses and norms are fp32 in every case.

    Attributes:
        name: ``fp32``, ``bf16`` or ``fp16``.
        device_type: ``cpu``, ``cuda`` or ``mps``.
    """

    name: str = "fp32"
    device_type: str = "cpu"

    def __post_init__(self) -> None:
        if self.name not in _DTYPES:
            raise UserError(f"precision: {self.name}: use one of {', '.join(_DTYPES)}")
        if self.name == "bf16" and self.device_type == "cuda" and not torch.cuda.is_bf16_supported():
            raise UserError("precision: bf16: this GPU has no bfloat16; use precision: fp16 or fp32")

    @property
    def dtype(self) -> torch.dtype | None:
        """The autocast type; None in fp32."""
        return _DTYPES[self.name]

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the network's forward pass runs."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype=self.dtype)

    def make_scaler(self) -> torch.amp.GradScaler | None:
        """The gradient scaler that fp16 needs against underflow; None otherwise."""
        return torch.amp.GradScaler(self.device_type) if self.name == "fp16" else None


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``change`` to every tensor in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: map_tensors(item, change) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [map_tensors(item, change) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def to_fp32(value: Any) -> Any:
    """Half-precision tensors, in nested lists, tuples and dicts, as fp32: losses are computed in fp32."""
    return map_tensors(value, lambda t: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t)
