"""Class activation maps of IlluminantCNN: where in a photo the network sees each class of light."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from plugins.illuminant.cam_score import align, score_maps, stretch_range
from plugins.illuminant.illuminant_cnn_arch import SMALLEST, IlluminantCNN

METHODS = ("gradcam", "gradcam++", "scorecam", "confidence")
"""The maps there are."""

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` with forward passes."""


def class_maps(
    net: nn.Module,
    image: Tensor,
    classes: Sequence[int],
    method: str = "gradcam++",
    *,
    top_k: int | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> np.ndarray[Any, Any]:
    """Maps of classes, of the size of the image.

    Position (i, j) of the network's last feature map lies on pixel (4 i + 32, 4 j + 32) of the maps; between positions
    they are bilinear, in the border of 32 pixels the outermost value continues. ``gradcam``, ``gradcam++`` and
    ``scorecam`` maps each reach from 0 to 1 (a map that is the same everywhere is all 1, or all 0 where the evidence is
    not positive); ``confidence`` maps are probability times weight, on one scale for all classes.

    Args:
        net: An :class:`IlluminantCNN`, of any ``pool``. Its mode, parameters and gradients stay as they are.
        image: (1, 3, H, W) in [0, 1], at least 65 x 65, in the encoding that the network was trained on.
        classes: Class indices, of any number and order.
        method: ``gradcam``: Selvaraju et al., "Grad-CAM", ICCV 2017. ``gradcam++``: Chattopadhyay et al.,
            "Grad-CAM++", WACV 2018. ``scorecam``: Wang et al., "Score-CAM", CVPR workshops 2020. ``confidence``: the
            network's own map, the class probability of each position by itself times its weight in the pooling.
        top_k: Channels that ``scorecam`` masks the image with, the most varied first; the weights of the others are
            predicted. None takes all, which is exact.
        batch_size: Masked images that ``scorecam`` passes through the network at a time.
        progress: Told about the forward passes of ``scorecam``.

    Returns:
        (number of classes, H, W) float32 in [0, 1].

    Raises:
        UserError: The network is another one, the image is too small, of a wrong shape or not finite, or a class or
            method does not exist.
    """
    maps = raw_maps(net, image, classes, method, top_k=top_k, batch_size=batch_size, progress=progress)
    if method != "confidence":
        maps = stretch_range(maps, flat=1.0)
    aligned: np.ndarray[Any, Any] = align(maps, (image.shape[-2], image.shape[-1])).clamp(0, 1).cpu().numpy()
    return aligned


def raw_maps(
    net: nn.Module,
    image: Tensor,
    classes: Sequence[int],
    method: str,
    *,
    top_k: int | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
    resize: Callable[[Tensor, tuple[int, int]], Tensor] = align,
) -> Tensor:
    """The maps on the network's own grid, not scaled; arguments as in :func:`class_maps`.

    Args:
        resize: How ``scorecam`` brings a feature map (C, h, w) to the size of the image.

    Returns:
        (number of classes, h, w), not negative, on the network's device.
    """
    network = _checked(net, image, classes, method)
    device = next(network.parameters()).device
    with torch.inference_mode(False), evaluating(network), torch.no_grad():
        fed = image.detach().clone().to(device)
        last = network.features(fed).last
        if method == "scorecam":
            return score_maps(network, fed, last, list(classes), top_k, batch_size, progress, resize)
        if method == "confidence":
            weights = network.weights(last)[0]
            return network.position_logits(last).softmax(1)[0, list(classes)] * (weights / weights.amax())
        return _gradient_maps(network, last, classes, method == "gradcam++")


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module's mode is put back."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _gradient_maps(net: IlluminantCNN, last: Tensor, classes: Sequence[int], plus_plus: bool) -> Tensor:
    maps = []
    with torch.enable_grad():
        leaf = last.detach().requires_grad_()
        logits = net.head(net.pooled(leaf))[0]
        for index in classes:
            # With respect to the feature map only: no parameter gets a gradient.
            (gradient,) = torch.autograd.grad(logits[index], leaf, retain_graph=True)
            weights = _plus_plus_weights(gradient[0], last[0]) if plus_plus else gradient[0].mean((1, 2))
            maps.append(torch.einsum("c,chw->hw", weights, last[0]).relu())
    return torch.stack(maps).detach() if maps else last.new_zeros((0, *last.shape[-2:]))


def _plus_plus_weights(gradient: Tensor, last: Tensor) -> Tensor:
    """Channel weights (C,), eq. 19 of the paper for the score exp(logit), whose own factor the scaling removes."""
    square = gradient.square()
    below = 2 * square + last.sum((1, 2), keepdim=True) * square * gradient
    # Only positive gradients count, for which the divisor is positive: features are not negative.
    alpha = torch.where((gradient > 0) & (below > 0), square / below.clamp_min(torch.finfo(below.dtype).tiny), 0)
    return (alpha * gradient.relu()).sum((1, 2))


def _checked(net: nn.Module, image: Tensor, classes: Sequence[int], method: str) -> IlluminantCNN:
    if not isinstance(net, IlluminantCNN):
        raise UserError(f"network: class activation maps are of an IlluminantCNN, this is a {type(net).__name__}.")
    if method not in METHODS:
        raise UserError(f"method: '{method}': there is no such map; there are: {', '.join(METHODS)}.")
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] != 3:
        raise UserError(f"image: of shape {tuple(image.shape)}; one RGB image has (1, 3, H, W).")
    if min(image.shape[-2:]) < SMALLEST:
        height, width = image.shape[-2:]
        raise UserError(f"image: {height} x {width} pixels; the network needs at least {SMALLEST} x {SMALLEST}.")
    if not bool(torch.isfinite(image).all()):
        raise UserError("image: holds NaN or infinite values.")
    wrong = [index for index in classes if not 0 <= index < net.num_classes]
    if wrong:
        raise UserError(f"classes: {wrong}: the network has the classes 0 to {net.num_classes - 1}.")
    return net
