"""IlluminantUNet: the class of light, and the light, of every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from basicsr.engine.errors import UserError
from basicsr.utils.registry import ARCH_REGISTRY
from plugins.illuminant.illuminant_cnn_arch import (
    CLIPPED,
    DARK,
    FIRST_CENTER,
    SMALLEST,
    STATISTICS,
    STRIDE,
    IlluminantCNN,
)
from plugins.illuminant.illuminant_map import mix_lights

MAX_OFFSET = 1.0
"""Bound of the offset's size in natural logarithms of R/G and B/G."""
# Pixel (of the padded picture) at position 0, and pixels between positions, of IlluminantCNN's three feature maps.
_HALF, _QUARTER, _LAST = (4.5, 1.0), (11.0, 2.0), (float(FIRST_CENTER), float(STRIDE))
_CELL = 4
_CELLS = (FIRST_CENTER + (_CELL - 1) / 2, float(_CELL))
_WINDOWS = (3, 9)
_STATISTICS = STATISTICS * (len(_WINDOWS) + 1)


@ARCH_REGISTRY.register()
class IlluminantUNet(nn.Module):
    """IlluminantCNN's convolutions as the encoder, and a small decoder with skips at 1/2, 1/4 and the picture itself.

    Input is (N, 3, H, W) in [0, 1], of any size; output is (N, C, H, W): ``num_classes`` logits for every pixel and,
    with ``residual_light``, two channels more. The picture is reflected at its borders so that every pixel has a whole
    neighbourhood, and each feature map is read where its positions lie (the last one at every fourth pixel). After
    Ronneberger, Fischer and Brox, "U-Net: Convolutional networks for biomedical image segmentation", MICCAI 2015.

    Args:
        num_classes: Number of classes of light.
        residual_light: Also answer how far the light is from the mixture of the classes' centroids: an offset of
            log R/G and log B/G. Centroids alone round every light by about 2 degrees.
        features: Weights file of an IlluminantCNN whose convolutions are taken; null begins with random ones.
        freeze_features: Leave the convolutions and their running statistics as they are.
        width: Channels of the decoder at the picture's size; coarser levels have two and three times as many.
        encoder_scale: The convolutions see the picture shrunk by this factor: 2 costs a quarter and sees twice as far.

    Raises:
        UserError: The file of ``features`` is missing, damaged or not of an IlluminantCNN.
        ValueError: A number is not positive, or features are to be frozen that nobody trained.
    """

    def __init__(
        self,
        num_classes: int = 5,
        residual_light: bool = False,
        features: str | None = None,
        freeze_features: bool = False,
        width: int = 32,
        encoder_scale: int = 1,
    ) -> None:
        super().__init__()
        if min(num_classes, width, encoder_scale) < 1 or width % 8:
            raise ValueError(
                f"num_classes {num_classes}, width {width} and encoder_scale {encoder_scale} must be positive, "
                "width a multiple of 8"
            )
        self.num_classes, self.residual_light = num_classes, residual_light
        self.freeze_features, self.encoder_scale = freeze_features, encoder_scale
        encoder = IlluminantCNN(num_classes) if features is None else _trained(features)
        self.stage1, self.stage2, self.stage3 = encoder.stage1, encoder.stage2, encoder.stage3
        if freeze_features:
            for stage in (self.stage1, self.stage2, self.stage3):
                stage.requires_grad_(False).eval()
        self.whole = nn.Linear(256, 3 * width)
        self.coarse = nn.Conv2d(256, 3 * width, 1)
        self.coarse_mix = _mix(3 * width, 3 * width)
        self.quarter_skip = nn.Conv2d(64, width, 1)
        self.middle_mix = _mix(4 * width + _STATISTICS, 2 * width)
        self.half_skip = nn.Conv2d(32, width // 2, 1)
        self.fine_mix = _mix(2 * width + width // 2 + 3, width)
        self.answer = nn.Conv2d(width, num_classes + 2 * residual_light, 1)
        self.direct = _statistics_head(num_classes + 2 * residual_light)

    def train(self, mode: bool = True) -> IlluminantUNet:
        """Switch the mode; frozen features stay in evaluation."""
        super().train(mode)
        if self.freeze_features:
            for stage in (self.stage1, self.stage2, self.stage3):
                stage.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        scale = self.encoder_scale
        seen = image if scale == 1 else functional.avg_pool2d(_to_multiple(image, scale), scale)
        half, quarter, last = self._encode(seen)
        rows, columns = (torch.arange(size, device=image.device) for size in (height, width))
        # The grid of every second pixel of what the encoder sees, in its pixels.
        coarse_grid = [torch.arange(0, size + 1, 2, device=image.device).float() for size in seen.shape[-2:]]
        deep = self.coarse_mix(self.coarse(last) + self.whole(last.mean((2, 3)))[..., None, None])
        statistics = local_statistics(seen)
        parts = [_at(deep, _LAST, coarse_grid), _at(self.quarter_skip(quarter), _QUARTER, coarse_grid)]
        middle = self.middle_mix(torch.cat([*parts, _at(statistics, _CELLS, coarse_grid)], 1))
        grid = [(index + 0.5) / scale - 0.5 for index in (rows, columns)]
        unpadded = (float(FIRST_CENTER), 2.0)
        fine = [_at(middle, unpadded, grid), _at(self.half_skip(half), _HALF, grid), image]
        output: Tensor = self.answer(self.fine_mix(torch.cat(fine, 1)))
        output = output + _at(self.direct(statistics), _CELLS, grid)
        if not self.residual_light:
            return output
        logits, offset = output[:, : self.num_classes], output[:, self.num_classes :]
        return torch.cat([logits, MAX_OFFSET * torch.tanh(offset / MAX_OFFSET)], 1)

    def _encode(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """IlluminantCNN's three feature maps of the padded picture."""
        half = self.stage1(pad_by_reflection(image))
        quarter = self.stage2(functional.max_pool2d(half, 2))
        return half, quarter, self.stage3(functional.max_pool2d(quarter, 2))

    @torch.no_grad()
    def predict_shares(self, image: Tensor) -> Tensor:
        """Share of each class in the light of each pixel, (N, ``num_classes``, H, W), of sum 1."""
        return self(image)[:, : self.num_classes].softmax(1)

    @torch.no_grad()
    def predict_light(self, image: Tensor, centroids: Tensor) -> Tensor:
        """The light of each pixel, (N, 3, H, W) in linear light, green 1.

        Args:
            image: (N, 3, H, W).
            centroids: (K, 3) or (N, K, 3), in linear light.
        """
        return light_of_output(self(image), centroids)


def light_of_output(output: Tensor, centroids: Tensor) -> Tensor:
    """The illuminant map that an IlluminantUNet's output says, differentiable.

    Args:
        output: (N, K, H, W) logits, or (N, K + 2, H, W) with offsets.
        centroids: (K, 3) or (N, K, 3), in linear light.

    Returns:
        (N, 3, H, W), green 1.

    Raises:
        ValueError: The output has neither K nor K + 2 channels.
    """
    classes = centroids.shape[-2]
    if output.shape[1] not in (classes, classes + 2):
        raise ValueError(f"{output.shape[1]} output channels do not fit {classes} classes of light")
    offset = output[:, classes:] if output.shape[1] > classes else None
    return mix_lights(output[:, :classes].softmax(1), centroids, offset)


def local_statistics(image: Tensor) -> Tensor:
    """What the classical methods say of each neighbourhood: log R/G and log B/G of the light by each of them.

    Grey-world, shades-of-grey (p = 6), white-patch and grey-edge, of the values as they are and of their power 2.2
    (which makes sRGB about linear), over windows of 12 and 36 pixels and over the whole picture: a short way from the
    picture's colours to the light's, which the convolutions need not learn. Clipped pixels do not count; see
    :func:`plugins.illuminant.illuminant_cnn_arch.light_statistics`.

    Args:
        image: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 48, ceil(H / 4), ceil(W / 4)); the last 16 are those of the whole picture.
    """
    valid = (image.amax(1, keepdim=True) < CLIPPED).to(image.dtype)
    found: list[list[Tensor]] = [[] for _ in range(len(_WINDOWS) + 1)]
    for power in (1.0, 2.2):
        values = image.clamp(min=0).pow(power) * valid
        sums = torch.cat([values, values.pow(6), _edges(values, valid)], 1)
        means, largest = (pool(sums, _CELL, ceil_mode=True) for pool in (functional.avg_pool2d, functional.max_pool2d))
        largest = largest[:, :3]
        for level, window in enumerate(_WINDOWS):
            half = window // 2
            mean = functional.avg_pool2d(means, window, 1, half, count_include_pad=False)
            found[level] += [*mean.split(3, 1), functional.max_pool2d(largest, window, 1, half)]
        whole = [*means.mean((2, 3), keepdim=True).split(3, 1), largest.amax((2, 3), keepdim=True)]
        found[-1] += [part.expand_as(largest) for part in whole]
    return torch.cat([_ratios(parts) for parts in found], 1)


def _ratios(parts: Sequence[Tensor]) -> Tensor:
    """Log R/G and log B/G of (mean, mean of the sixth power, mean edge, maximum), twice: (N, 16, h, w)."""
    roots = [part.clamp(min=DARK**6).pow(1 / 6) if place % 4 == 1 else part for place, part in enumerate(parts)]
    logs = (torch.stack(roots, 1) + DARK).log()
    return torch.cat([logs[:, :, 0] - logs[:, :, 1], logs[:, :, 2] - logs[:, :, 1]], 1)


def _edges(values: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute difference from the next pixel to the right and below; 0 beside pixels that do not count."""
    across = functional.pad((values.diff(dim=3)).abs() * valid[..., 1:] * valid[..., :-1], (0, 1))
    down = functional.pad((values.diff(dim=2)).abs() * valid[..., 1:, :] * valid[..., :-1, :], (0, 0, 0, 1))
    return (across + down) / 2


def pad_by_reflection(image: Tensor) -> Tensor:
    """Reflect a picture (N, 3, H, W), of any size, so that IlluminantCNN's position (i, j) is its pixel (4 i, 4 j).

    There are positions for every fourth pixel up to or beyond the last one.
    """
    for dim in (-2, -1):
        size = image.shape[dim]
        padded = STRIDE * -(-(size - 1) // STRIDE) + SMALLEST
        index = torch.arange(-FIRST_CENTER, padded - FIRST_CENTER, device=image.device)
        image = image.index_select(dim, _reflected(index, size))
    return image


def _reflected(index: Tensor, size: int) -> Tensor:
    """Bring indices into a picture's row by reflection at its first and last pixel, as often as it takes."""
    if size == 1:
        return torch.zeros_like(index)
    wave = index.remainder(2 * (size - 1))
    return torch.minimum(wave, 2 * (size - 1) - wave)


def _to_multiple(image: Tensor, scale: int) -> Tensor:
    for dim in (-2, -1):
        size = image.shape[dim]
        index = torch.arange(-(-size // scale) * scale, device=image.device)
        image = image.index_select(dim, _reflected(index, size))
    return image


def _at(features: Tensor, place: tuple[float, float], pixels: Sequence[Tensor]) -> Tensor:
    """Read a feature map at pixels, bilinearly; beyond its positions the nearest one counts.

    Args:
        features: (N, C, h, w).
        place: Pixel of the padded picture at position 0, and pixels from one position to the next.
        pixels: Rows and columns in the picture that was padded.
    """
    axes = []
    for size, pixel in zip(features.shape[-2:], pixels, strict=True):
        position = (pixel.to(features.dtype) + FIRST_CENTER - place[0]) / place[1]
        axes.append(position * (2 / max(size - 1, 1)) - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows], -1).expand(len(features), -1, -1, -1)
    return functional.grid_sample(features, grid, padding_mode="border", align_corners=True)


def _mix(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, padding_mode="replicate"),
        nn.BatchNorm2d(outside),  # one of the picture itself would take out its level, which is the light
        nn.ReLU(inplace=True),
    )


def _statistics_head(outside: int) -> nn.Sequential:
    """From the statistics of a cell straight to its answer, as in IlluminantCNN; it begins with nothing to say."""
    head = nn.Sequential(
        nn.BatchNorm2d(_STATISTICS),
        nn.Conv2d(_STATISTICS, 128, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(128, 128, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(128, outside, 1),
    )
    nn.init.zeros_(head[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(head[-1].bias)  # type: ignore[arg-type]
    return head


def _trained(path: str) -> IlluminantCNN:
    from plugins.illuminant.checkpoint import load_network

    network, _ = load_network(path)
    if not isinstance(network, IlluminantCNN):
        raise UserError(f"{path}: holds a {type(network).__name__}; features come from an IlluminantCNN")
    return network
