"""Average pooling over a sliding window, for networks tested on larger images than they were trained on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW_RATIO = 1.5
SUBSAMPLING = (5, 4, 3, 2, 1)


class LocalAvgPool2d(nn.Module):
    """Mean over a window around each pixel ("TLC", Chu et al., ECCV 2022); over the whole image where it fits in one.

    Near the border the window of the nearest pixel that has a whole one is used.

    Args:
        kernel_size: Height and width of the window, in pixels of the feature map.
        max_step: Largest subsampling in each direction of the fast form.
        fast: Sum every ``step``-th pixel, for the largest step of 5..1 that divides the size.
    """

    def __init__(self, kernel_size: tuple[int, int], max_step: tuple[int, int] = (1, 1), fast: bool = False) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.max_step = max_step
        self.fast = fast

    @classmethod
    def for_crop(cls, feature_size: tuple[int, int], crop: tuple[int, int], fast: bool = False) -> LocalAvgPool2d:
        """The pool whose window covers 1.5 times the training crop.

        Args:
            feature_size: Height and width of the feature map that a training crop has at this place.
            crop: Height and width of the training crop in image pixels.
            fast: See the class.
        """
        window = [size * int(edge * WINDOW_RATIO) // edge for size, edge in zip(feature_size, crop, strict=True)]
        steps = [max(1, SUBSAMPLING[0] * size // edge) for size, edge in zip(feature_size, crop, strict=True)]
        return cls((window[0], window[1]), (steps[0], steps[1]), fast)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, fast={self.fast}"

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape, or to ``(N, C, 1, 1)`` where the window covers the image."""
        height, width = x.shape[-2:]
        if self.kernel_size[0] >= height and self.kernel_size[1] >= width:
            return F.adaptive_avg_pool2d(x, 1)
        out = self._fast_mean(x) if self.fast else _box_mean(x, self.kernel_size)
        rows, columns = height - out.shape[-2], width - out.shape[-1]
        padding = (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2)
        return F.pad(out, padding, mode="replicate")

    def _fast_mean(self, x: Tensor) -> Tensor:
        step_h, step_w = (
            min(limit, next(step for step in SUBSAMPLING if size % step == 0))
            for size, limit in zip(x.shape[-2:], self.max_step, strict=True)
        )
        sums = x[..., ::step_h, ::step_w].cumsum(dim=-1).cumsum(dim=-2)
        k_h = min(sums.shape[-2] - 1, self.kernel_size[0] // step_h)
        k_w = min(sums.shape[-1] - 1, self.kernel_size[1] // step_w)
        return F.interpolate(_window_sums(sums, k_h, k_w) / (k_h * k_w), scale_factor=(float(step_h), float(step_w)))


def _box_mean(x: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """Mean over every whole window: ``(N, C, H - kh + 1, W - kw + 1)``."""
    k_h, k_w = min(x.shape[-2], kernel_size[0]), min(x.shape[-1], kernel_size[1])
    # Running sums of a large map grow until float32 has few digits left for a difference: sums of the deviations from
    # the mean stay small.
    values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean = values.mean(dim=(-2, -1), keepdim=True)
    sums = F.pad((values - mean).cumsum(dim=-1).cumsum(dim=-2), (1, 0, 1, 0))
    return (_window_sums(sums, k_h, k_w) / (k_h * k_w) + mean).to(x.dtype)


def _window_sums(sums: Tensor, k_h: int, k_w: int) -> Tensor:
    return sums[..., k_h:, k_w:] - sums[..., :-k_h, k_w:] - sums[..., k_h:, :-k_w] + sums[..., :-k_h, :-k_w]
