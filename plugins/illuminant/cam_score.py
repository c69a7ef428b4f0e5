"""Score-CAM: the weight of a channel is what the network says of the picture masked by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from basicsr.engine.errors import UserError
from plugins.illuminant.illuminant_cnn_arch import FIRST_CENTER, STRIDE, IlluminantCNN

_CELLS, _RIDGE = 4, 0.03
_ROUNDING = 1e-5


def score_maps(
    net: IlluminantCNN,
    image: Tensor,
    last: Tensor,
    classes: Sequence[int],
    top_k: int | None,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
    resize: Callable[[Tensor, tuple[int, int]], Tensor],
) -> Tensor:
    """Score-CAM maps of several classes from one set of masked forward passes.

    A channel's weight for a class is the softmax over the channels of the class's logit for the image times the
    channel's map scaled to [0, 1] (algorithm 1 of Wang et al., "Score-CAM: Score-weighted visual explanations for
    convolutional neural networks", CVPR workshops 2020; the constant logit of a baseline leaves no trace in it).
    Channels that are the same everywhere mask nothing and are left out. With ``top_k`` only the channels that vary the
    most, to which the map owes its shape, are passed through the convolutions; the logits of the others are predicted
    from theirs (:func:`predict_logits`), because leaving many weak channels out changes the map far more. What a
    network with ``statistics`` makes of these is computed for every channel: it costs little, and cannot be predicted.

    Args:
        net: In evaluation mode.
        image: (1, 3, H, W).
        last: (1, C, h, w), its last feature map.
        classes: Class indices.
        top_k: Number of channels passed through the network, from 1 on; None takes all.
        batch_size: Masked images at a time.
        progress: Called with the number of passes done and of all.
        resize: Brings (n, h, w) to (n, H, W).

    Returns:
        (number of classes, h, w), not negative, not scaled.
    """
    if (top_k is not None and top_k < 1) or batch_size < 1:
        raise UserError(f"top_k and batch_size are whole numbers from 1 on, got {top_k} and {batch_size}.")
    channels = active_channels(last[0])
    if len(channels) == 0:
        return last.new_zeros((len(classes), *last.shape[-2:]))
    values = last[0, channels]
    masks = stretch_range(values)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    logits = _masked_logits(net, image, lambda part: resize(part, size), masks, top_k, batch_size, progress)
    return torch.einsum("ck,chw->khw", logits[:, list(classes)].softmax(0), values).relu()


def _masked_logits(
    net: IlluminantCNN,
    image: Tensor,
    resize: Callable[[Tensor], Tensor],
    masks: Tensor,
    top_k: int | None,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """Logits (n, K) of the image under each mask of (n, h, w); those of the convolutions are computed for ``top_k``."""
    count = len(masks) if top_k is None else min(top_k, len(masks))
    found, further = [], []
    for start in range(0, len(masks) if net.statistics is not None else count, batch_size):
        shown = image * resize(masks[start : start + batch_size])[:, None]
        if start < count:
            # Pixels with their channels side by side: a quarter less time for the large kernels on a CPU.
            part = shown[: count - start].contiguous(memory_format=torch.channels_last)
            found.append(net.convolution_logits(part))
            if progress is not None:
                progress(min(start + batch_size, count), count)
        statistics = net.statistics_logits(shown)
        if statistics is not None:
            further.append(statistics)
    logits = predict_logits(masks, torch.cat(found))
    return logits + torch.cat(further) if further else logits


def predict_logits(masks: Tensor, known: Tensor) -> Tensor:
    """Logits for all masks from those of the first ones, which stay as they are.

    Masks that leave the same parts of the picture visible get much the same logits: ridge regression on the masks'
    means over a grid of 4 x 4, kept within the range of the known logits.

    Args:
        masks: (n, h, w) in [0, 1].
        known: (m, K) logits of the first m masks, m from 1 to n.

    Returns:
        (n, K).
    """
    count = len(known)
    if count == len(masks):
        return known
    cells = functional.adaptive_avg_pool2d(masks[:, None], _CELLS).flatten(1)
    cells, mean = cells - cells[:count].mean(0), known.mean(0)
    alike = cells[:count] @ cells[:count].T
    alike = alike + (_RIDGE * alike.diagonal().mean() + 1e-6) * torch.eye(count, dtype=alike.dtype, device=alike.device)
    found = cells[count:] @ cells[:count].T @ torch.linalg.solve(alike, known - mean) + mean
    return torch.cat([known, found.clamp(known.amin(0), known.amax(0))])


def active_channels(last: Tensor) -> Tensor:
    """Indices of the channels of (C, h, w) that are not the same everywhere, the one that varies the most first."""
    flat = last.flatten(1)
    varied = flat.amax(1) - flat.amin(1) > _ROUNDING * flat.amax(1).abs()
    order = torch.sort(flat.var(1, correction=0), descending=True, stable=True).indices
    return order[varied[order]]


def stretch_range(maps: Tensor, flat: float = 0.0) -> Tensor:
    """Scale each map of (n, h, w) to reach from 0 to 1; a map without a range becomes ``flat`` where it is positive."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    extent = high - low
    varied = extent > _ROUNDING * high.abs()  # the last digits of a flat map are no shape
    scaled = (maps - low) / torch.where(varied, extent, 1)
    return torch.where(varied, scaled, flat * (maps > 0))


def align(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps on the network's grid (n, h, w), brought to the image's size (n, H, W), each value on the pixel it is of.

    Bilinear; outside the outermost positions their values continue.
    """
    rows, columns = (_weights(int(count), pixels, maps) for count, pixels in zip(maps.shape[-2:], size, strict=True))
    return rows @ maps @ columns.T


def stretch(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The usual way, which knows nothing of the padding: the grid spread over the whole image; for comparisons."""
    return functional.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def _weights(count: int, pixels: int, like: Tensor) -> Tensor:
    """(pixels, count): the share of each position in each pixel of one axis."""
    place = (torch.arange(pixels, device=like.device, dtype=like.dtype) - FIRST_CENTER) / STRIDE
    distance = place.clamp(0, count - 1)[:, None] - torch.arange(count, device=like.device, dtype=like.dtype)
    return (1 - distance.abs()).clamp_min(0)
