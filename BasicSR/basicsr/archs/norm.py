"""Layer normalisation over the channels of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Normalise every pixel over its channels, with one gain and offset per channel.

    Written on ``F.layer_norm`` over a permuted view: the same value and state-dict keys as NAFNet's hand-written
    autograd function, but it compiles as one graph and exports.

    Args:
        channels: Number of channels C of the input ``(N, C, H, W)``.
        eps: Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised, in the shape, type and memory format of the input."""
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        # The mean and variance of half-precision values lose most of their digits, so they are taken in float32
        # whether the half precision comes from autocast or from a network converted with `.half()`.
        half = x.dtype in (torch.float16, torch.bfloat16)
        features = x.permute(0, 2, 3, 1)
        if half:
            features, weight, bias = features.float(), weight.float(), bias.float()
        out = F.layer_norm(features, (x.shape[1],), weight, bias, self.eps).permute(0, 3, 1, 2)
        return out.to(x.dtype) if half else out
