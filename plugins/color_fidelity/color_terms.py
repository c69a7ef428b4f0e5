"""The terms of the colour-aware losses: pure functions of prediction and target.

Every term takes RGB batches of shape (N, 3, H, W), nominally in [0, 1] and gamma-encoded as stored in the file, and
returns one value an image, shape (N,): zero where both images agree, never negative. The mean of a batch is therefore
the mean of its images' values, whatever the batch is split into. The prediction is never clamped: a colour outside
the gamut still feels where it should go. Inputs are expected in float32 or float64 (:func:`as_working_precision`).

What the formulas are and why: ``docs/color_fidelity.md``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from basicsr.engine.errors import UserError
from plugins.color_science import chroma_vector, rgb_to_lab, rgb_to_oklab, rgb_to_ycbcr, saturation

PenaltyKind = Literal["l1", "charbonnier", "l2"]
MaskType = Literal["hard", "sigmoid", "soft"]
LabSpace = Literal["cielab", "oklab"]
SSIMType = Literal["ssim", "ms_ssim"]

HUE_FLOOR = 0.02  # chroma below which a hue is mostly noise: 5 steps of 8 bits
VALUE_FLOOR = 0.05  # HSV value below which a saturation is mostly noise
OKLAB_TOE = 216 / 24389  # the cone response below which CIELAB's cube root is a line; here it keeps OKLab as tame
LAB_UNIT = 100.0  # makes a* and b* as large as the other terms' values
SSIM_WINDOW = 11
MS_SSIM_MIN_SIDE = (SSIM_WINDOW - 1) * 2**4 + 1


def check_pair(pred: Tensor, target: Tensor) -> None:
    """Raise ``ValueError`` unless both are RGB batches of one shape (N, 3, H, W)."""
    if pred.shape != target.shape:
        raise ValueError(
            f"prediction and target must have one shape, got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    if pred.dim() != 4 or pred.shape[1] != 3:
        raise ValueError(f"colour losses need RGB batches of shape (N, 3, H, W), got {tuple(pred.shape)}")


def as_working_precision(image: Tensor) -> Tensor:
    """float64 stays as it is; anything else becomes float32, in which the small constants below do not vanish."""
    return image if image.dtype == torch.float64 else image.float()


def penalty(difference: Tensor, kind: PenaltyKind = "l1", eps: float = 1e-6) -> Tensor:
    """Element-wise price of a difference.

    Args:
        difference: Any shape.
        kind: ``l1`` (absolute value, asks for the median of what is plausible), ``l2`` (square, asks for its mean) or
            ``charbonnier`` (a square up to about ``sqrt(eps)``, an absolute value beyond; zero at zero).
        eps: Added under the root of ``charbonnier``, in units of the squared difference.

    Example:
        >>> penalty(torch.tensor([-0.5, 0.0, 0.5]), "l2")
        tensor([0.2500, 0.0000, 0.2500])
    """
    if kind == "l1":
        return difference.abs()
    if kind == "l2":
        return difference.square()
    return torch.sqrt(difference.square() + eps) - eps**0.5


def region_weight(
    target: Tensor,
    chroma_threshold: float = 0.06,
    mask_type: MaskType = "soft",
    mask_strength: float = 25.0,
    neutral_weight: float = 0.0,
) -> Tensor:
    """How much a pixel counts in the colour terms, from the target alone.

    With ``rho`` the length of the target's chroma vector and ``c`` the threshold: ``hard`` is 1 where ``rho >= c``,
    ``sigmoid`` is ``sigmoid(mask_strength * (rho - c))``, ``soft`` is ``rho / (rho + c)``.

    Args:
        target: (N, 3, H, W) RGB.
        chroma_threshold: The chroma that splits, or counts half. A pure primary has 0.53 to 0.6, a pastel wall 0.04.
        mask_type: ``hard``, ``sigmoid`` or ``soft``.
        mask_strength: Slope of the sigmoid per unit of chroma: it climbs from 0.27 to 0.73 within 2 / mask_strength.
        neutral_weight: What a pixel counts where that weight is 0; 1 counts all pixels alike.

    Returns:
        (N, 1, H, W) in [0, 1], without gradient.

    Example:
        >>> red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1)
        >>> round(region_weight(red).item(), 3)
        0.841
    """
    rho = chroma_vector(target.detach()).square().sum(dim=1, keepdim=True).sqrt()
    if mask_type == "hard":
        weight = (rho >= chroma_threshold).to(rho.dtype)
    elif mask_type == "sigmoid":
        weight = torch.sigmoid(mask_strength * (rho - chroma_threshold))
    else:
        weight = rho / (rho + chroma_threshold).clamp_min(torch.finfo(rho.dtype).tiny)
    return neutral_weight + (1.0 - neutral_weight) * weight


def weighted_mean(values: Tensor, weight: Tensor | None, floor: float = 0.05) -> Tensor:
    """Mean of each image's values under a weight map.

    Args:
        values: (N, C, H, W).
        weight: (N, 1, H, W) in [0, 1], or None for a plain mean.
        floor: Least share of the image that the weights are taken to cover: a crop with three coloured pixels does not
            give them the say of a whole image, and one with none counts zero.

    Returns:
        (N,).

    Example:
        >>> weighted_mean(torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4))
        tensor([0., 0.])
    """
    if weight is None:
        return values.mean(dim=(1, 2, 3))
    total = (values.mean(dim=1, keepdim=True) * weight).sum(dim=(1, 2, 3))
    covered = weight.sum(dim=(1, 2, 3)).clamp_min(floor * weight[0].numel())
    return total / covered


def pool(image: Tensor, scale: int) -> Tensor:
    """A low-passed, smaller copy: the mean of each ``scale`` x ``scale`` block, of what is left of it at the edges.

    Example:
        >>> pool(torch.rand(1, 3, 10, 6), 4).shape
        torch.Size([1, 3, 3, 2])
    """
    if scale == 1:
        return image
    window = (min(scale, image.shape[-2]), min(scale, image.shape[-1]))
    return F.avg_pool2d(image, window, ceil_mode=True, count_include_pad=False)


def rgb_term(pred: Tensor, target: Tensor, kind: PenaltyKind = "l1", eps: float = 1e-6) -> Tensor:
    """Mean penalty of the RGB difference, (N,)."""
    return weighted_mean(penalty(pred - target, kind, eps), None)


def luma_term(pred: Tensor, target: Tensor, kind: PenaltyKind = "l1", eps: float = 1e-6) -> Tensor:
    """Mean penalty of the difference in luma (Y of full-range BT.601), (N,): tone without a say in colour."""
    difference = rgb_to_ycbcr(pred)[:, :1] - rgb_to_ycbcr(target)[:, :1]
    return weighted_mean(penalty(difference, kind, eps), None)


def _magnitude_difference(pred: Tensor, target: Tensor, eps: float) -> Tensor:
    """Chroma of the prediction less the target's, (N, 1, H, W).

    Both lengths are measured from a point ``sqrt(eps)`` behind the origin, opposite the target's hue: at exact grey a
    length has no gradient, and from there it points to the target's colour.
    """
    p, t = chroma_vector(pred), chroma_vector(target)
    shift = eps**0.5 * t / torch.sqrt(t.square().sum(dim=1, keepdim=True) + eps)
    p_length, t_length = (torch.sqrt((x + shift).square().sum(dim=1, keepdim=True) + eps) for x in (p, t))
    return p_length - t_length


def chroma_magnitude_term(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    kind: PenaltyKind = "l1",
    floor: float = 0.05,
    eps: float = 1e-6,
) -> Tensor:
    """Mean penalty of the difference in chroma, the length of (Cb - 0.5, Cr - 0.5): saturation without hue.

    Args:
        pred: (N, 3, H, W) RGB.
        target: Of the same shape.
        weight: (N, 1, H, W), see :func:`region_weight`; None counts all pixels alike.
        kind: See :func:`penalty`.
        floor: See :func:`weighted_mean`.
        eps: Rounds the length off at grey, in units of squared chroma.

    Returns:
        (N,). The gradient with respect to a pixel's chroma is at most 1 before averaging (``l1``, ``charbonnier``).

    Example:
        >>> grey, red = torch.full((1, 3, 2, 2), 0.5), torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
        >>> round(chroma_magnitude_term(grey, red).item(), 3)
        0.316
    """
    return weighted_mean(penalty(_magnitude_difference(pred, target, eps), kind, eps), weight, floor)


def chroma_bias_term(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    kind: PenaltyKind = "l1",
    floor: float = 0.05,
    eps: float = 1e-6,
) -> Tensor:
    """Penalty of an image's *mean* difference in chroma: a systematic wash-out counts, errors that cancel do not.

    Arguments and result as in :func:`chroma_magnitude_term`.
    """
    mean = weighted_mean(_magnitude_difference(pred, target, eps), weight, floor)
    return penalty(mean, kind, eps)


def hue_term(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    detach_chroma: bool = True,
    floor: float = 0.05,
    eps: float = 1e-6,
) -> Tensor:
    """Mean of ``rho_p * rho_t / (rho_t + 0.02) * (1 - cos(hue difference))``: no angle is computed, nothing wraps.

    Args:
        pred: (N, 3, H, W) RGB.
        target: Of the same shape.
        weight: (N, 1, H, W), see :func:`region_weight`; None counts all pixels alike.
        detach_chroma: Take the prediction's own chroma ``rho_p`` as a constant in the gradient. Otherwise the cheapest
            way to mend a wrong hue is to grey it.
        floor: See :func:`weighted_mean`.
        eps: Rounds the directions off at grey, in units of squared chroma.

    Returns:
        (N,). The gradient with respect to a pixel's chroma is at most 1 (2 without ``detach_chroma``) before averaging.

    Example:
        >>> red, blue = (torch.tensor(c).view(1, 3, 1, 1) for c in ([0.8, 0.2, 0.2], [0.2, 0.2, 0.8]))
        >>> bool(hue_term(red, blue) > 0.3), bool(hue_term(red, 0.5 * red + 0.2) < 1e-5)
        (True, True)
    """
    p, t = chroma_vector(pred), chroma_vector(target)
    rho_p, rho_t = (torch.sqrt(x.square().sum(dim=1, keepdim=True) + eps) for x in (p, t))
    # 1 - cos as half the squared distance of unit vectors: exact at equality, where a difference of products cancels.
    # With sqrt(eps) as a third component a grey has a direction too, at right angles to every hue.
    third = eps**0.5 / rho_p - eps**0.5 / rho_t
    distance = (p / rho_p - t / rho_t).square().sum(dim=1, keepdim=True) + third.square()
    chroma = rho_p.detach() if detach_chroma else rho_p
    return weighted_mean(0.5 * chroma * rho_t / (rho_t + HUE_FLOOR) * distance, weight, floor)


def cbcr_term(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    kind: PenaltyKind = "l1",
    floor: float = 0.05,
    eps: float = 1e-6,
) -> Tensor:
    """Mean penalty of the difference in Cb and Cr: hue and saturation at once, as a point in the chroma plane.

    Arguments and result as in :func:`chroma_magnitude_term`.

    Example:
        >>> image = torch.rand(2, 3, 8, 8)
        >>> cbcr_term(image + 0.1, image).abs().max().item() < 1e-6  # a change of brightness is no change of chroma
        True
    """
    return weighted_mean(penalty(chroma_vector(pred) - chroma_vector(target), kind, eps), weight, floor)


def saturation_term(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    kind: PenaltyKind = "l1",
    floor: float = 0.05,
    eps: float = 1e-6,
) -> Tensor:
    """Mean penalty of ``((max - min) - S_target * max) / (max_target + 0.05)`` of the prediction's R, G, B.

    Zero where the prediction's HSV saturation is the target's, at any brightness; close to the difference in saturation
    elsewhere, but linear in the prediction, so that black has no unbounded gradient.
    Arguments and result as in :func:`chroma_magnitude_term`.

    Example:
        >>> image = torch.rand(2, 3, 8, 8)
        >>> saturation_term(0.5 * image, image).abs().max().item() < 2e-3
        True
    """
    # A grey has no largest channel to push: both are moved a little towards the target's colour, which names one.
    offset = target - target.mean(dim=1, keepdim=True)
    reach = offset.abs().amax(dim=1, keepdim=True) + eps**0.5
    pred, target = (image + eps**0.5 * offset / reach for image in (pred, target))
    p_max, t_max = pred.amax(dim=1, keepdim=True), target.amax(dim=1, keepdim=True)
    p_range = p_max - pred.amin(dim=1, keepdim=True)
    difference = (p_range - saturation(target).unsqueeze(1) * p_max) / (t_max.clamp_min(0) + VALUE_FLOOR)
    return weighted_mean(penalty(difference, kind, eps), weight, floor)


def lab_term(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    space: LabSpace = "cielab",
    kind: PenaltyKind = "l1",
    floor: float = 0.05,
    eps: float = 1e-6,
) -> Tensor:
    """Mean penalty of the difference in a and b of CIELAB (divided by 100) or OKLab.

    Args:
        pred: (N, 3, H, W) sRGB.
        target: Of the same shape.
        weight: (N, 1, H, W), see :func:`region_weight`; None counts all pixels alike.
        space: ``cielab`` (D65) or ``oklab``.
        kind: See :func:`penalty`.
        floor: See :func:`weighted_mean`.
        eps: See :func:`penalty`.

    Returns:
        (N,).
    """
    convert, unit = LAB_SPACES[space]
    difference = (convert(pred)[:, 1:] - convert(target)[:, 1:]) / unit
    return weighted_mean(penalty(difference, kind, eps), weight, floor)


LAB_SPACES: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "cielab": (rgb_to_lab, LAB_UNIT),
    "oklab": (partial(rgb_to_oklab, toe=OKLAB_TOE), 1.0),
}


def load_msssim() -> Any:
    """The ``pytorch_msssim`` package.

    Raises:
        UserError: It is not installed.
    """
    try:
        import pytorch_msssim
    except ImportError as error:
        raise UserError(
            "the SSIM loss needs the package pytorch-msssim, which is not installed: pip install basicsr[color], "
            "or leave its weight at 0"
        ) from error
    return pytorch_msssim


def _with_finite_gradient(image: Tensor) -> Tensor:
    """MS-SSIM's fractional powers have an infinite slope at zero; such an image then takes no part in the gradient."""

    def finite(grad: Tensor | None) -> Tensor | None:
        return grad if grad is None else torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)

    image = image.view_as(image)
    if image.requires_grad:
        image.register_hook(finite)
    return image


def ssim_term(pred: Tensor, target: Tensor, kind: SSIMType = "ssim") -> Tensor:
    """``1 - SSIM`` or ``1 - MS-SSIM`` (Gaussian window 11, sigma 1.5, data range 1), (N,).

    Raises:
        UserError: pytorch-msssim is missing, or the images are smaller than the windows.
    """
    side, least = min(pred.shape[-2:]), MS_SSIM_MIN_SIDE if kind == "ms_ssim" else SSIM_WINDOW
    if side < least:
        raise UserError(
            f"ssim_type '{kind}' needs images of {least} pixels a side or more, got {pred.shape[-2]}x{pred.shape[-1]}: "
            f"{'use ssim_type: ssim or ' if kind == 'ms_ssim' else ''}raise gt_size"
        )
    measure = getattr(load_msssim(), kind)
    similarity: Tensor = measure(_with_finite_gradient(pred), target, data_range=1.0, size_average=False)
    return (1.0 - similarity).clamp_min(0.0)
