"""The parts of :class:`~plugins.color_fidelity.color_aware_loss.ColorAwareLoss` as losses of their own.

Any of them can stand under ``train`` as ``<name>_opt``, with a schedule of its own (``start_iter``, ``ramp_iter``).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY
from plugins.color_fidelity import color_terms as terms
from plugins.color_fidelity.color_terms import LabSpace, MaskType, PenaltyKind, SSIMType


class View(NamedTuple):
    """One scale of a pair: RGB (N, 3, h, w) twice and the weight map (N, 1, h, w)."""

    pred: Tensor
    target: Tensor
    weight: Tensor


def require_choice(name: str, value: str, choices: Any) -> None:
    """Raise ``UserError`` unless ``value`` is one of the ``Literal`` type's values."""
    if value not in get_args(choices):
        raise UserError(f"{name}: '{value}' is none of {', '.join(get_args(choices))}")


def require_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise ``UserError`` unless ``low <= value <= high``."""
    if not low <= value <= high:
        allowed = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise UserError(f"{name}: {value} is out of range, it must be {allowed}")


class ColorRegions:
    """Where and at which scales colour is compared; arguments as in :class:`ColorPartLoss`."""

    def __init__(
        self,
        chroma_threshold: float,
        mask_type: MaskType,
        mask_strength: float,
        neutral_weight: float,
        color_scales: Sequence[int],
    ) -> None:
        require_range("chroma_threshold", chroma_threshold, 0.0)
        require_range("mask_strength", mask_strength, 0.0)
        require_choice("mask_type", mask_type, MaskType)
        require_range("neutral_weight", neutral_weight, 0.0, 1.0)
        if not color_scales or any(scale < 1 for scale in color_scales):
            raise UserError(
                f"color_scales: {list(color_scales)} must be a list of whole numbers from 1 on, such as [1, 8]"
            )
        self.color_scales = tuple(color_scales)
        self._mask: tuple[float, MaskType, float, float] = (chroma_threshold, mask_type, mask_strength, neutral_weight)

    def views(self, pred: Tensor, target: Tensor) -> list[View]:
        """The pair at every scale, with the weight map of the target at that scale."""
        pairs = [(terms.pool(pred, scale), terms.pool(target, scale)) for scale in self.color_scales]
        return [View(p, t, terms.region_weight(t, *self._mask)) for p, t in pairs]


class PairLoss(nn.Module):
    """A loss of a pair of RGB images, computed in float32 with autocast off."""

    def __init__(self, loss_weight: float) -> None:
        super().__init__()
        require_range("loss_weight", loss_weight, 0.0)
        self.loss_weight = loss_weight

    def pair_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Each image's value, (N,), before ``loss_weight``."""
        raise NotImplementedError

    def forward(self, pred: Tensor, target: Tensor, **context: Any) -> Tensor:
        """Mean of the images' values times ``loss_weight``.

        Args:
            pred: (N, 3, H, W) RGB, nominally in [0, 1], not clamped; any floating type.
            target: Of the same shape.
            **context: Ignored.

        Returns:
            A scalar, float32 (float64 for float64 images).

        Raises:
            ValueError: The shapes differ or are not RGB batches.
        """
        terms.check_pair(pred, target)
        with torch.autocast(device_type=pred.device.type, enabled=False):
            values = self.pair_values(terms.as_working_precision(pred), terms.as_working_precision(target))
            return self.loss_weight * values.mean()


class ColorPartLoss(PairLoss):
    """A loss that compares colour where the target is colourful.

    Args:
        loss_weight: Factor on the value.
        color_type: Penalty of a difference: l1, l2 (square) or charbonnier (square near zero, else l1).
        chroma_threshold: Target chroma at which a pixel counts half (soft, sigmoid) or starts to count (hard).
        mask_type: soft: rho / (rho + threshold), sigmoid: sigmoid(mask_strength * (rho - threshold)), hard: 0 or 1.
        mask_strength: Slope of the sigmoid per unit of chroma; the other mask types do not use it.
        neutral_weight: What a pixel without colour still counts, in [0, 1]; 1 counts all pixels alike.
        mask_floor: Least share of an image that the weights count as covering, in (0, 1].
        color_scales: Block sizes in pixels at which colour is compared, averaged; 1 is every pixel.
        eps: Rounds chroma off at grey, in squared units; also charbonnier's.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        color_type: PenaltyKind = "l1",
        chroma_threshold: float = 0.06,
        mask_type: MaskType = "soft",
        mask_strength: float = 25.0,
        neutral_weight: float = 0.0,
        mask_floor: float = 0.05,
        color_scales: Sequence[int] = (1,),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(loss_weight)
        require_choice("color_type", color_type, PenaltyKind)
        require_range("mask_floor", mask_floor, 1e-6, 1.0)
        require_range("eps", eps, 1e-12, 1e-2)
        mask = (chroma_threshold, mask_type, mask_strength, neutral_weight)
        self.regions = ColorRegions(*mask, color_scales)
        self.color_type: PenaltyKind = color_type
        self.mask_floor = mask_floor
        self.eps = eps

    def term(self, view: View) -> Tensor:
        """Each image's value at one scale, (N,)."""
        raise NotImplementedError

    def view_values(self, views: Sequence[View]) -> Tensor:
        """Each image's value over all scales, (N,), before ``loss_weight``."""
        return torch.stack([self.term(view) for view in views]).mean(dim=0)

    def pair_values(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.view_values(self.regions.views(pred, target))


@LOSS_REGISTRY.register()
class ChromaMagnitudeLoss(ColorPartLoss):
    """Saturation: difference of the lengths of (Cb - 0.5, Cr - 0.5), whatever the hue.

    Example:
        >>> image = torch.rand(2, 3, 16, 16)
        >>> ChromaMagnitudeLoss()(image, image).item()
        0.0
    """

    def term(self, view: View) -> Tensor:
        return terms.chroma_magnitude_term(*view, self.color_type, self.mask_floor, self.eps)


@LOSS_REGISTRY.register()
class ChromaBiasLoss(ColorPartLoss):
    """Systematic wash-out: difference of an image's mean chroma over the target's colourful pixels."""

    def term(self, view: View) -> Tensor:
        return terms.chroma_bias_term(*view, self.color_type, self.mask_floor, self.eps)


@LOSS_REGISTRY.register()
class CbCrLoss(ColorPartLoss):
    """Difference of Cb and of Cr: hue and saturation at once."""

    def term(self, view: View) -> Tensor:
        return terms.cbcr_term(*view, self.color_type, self.mask_floor, self.eps)


@LOSS_REGISTRY.register()
class SaturationLoss(ColorPartLoss):
    """Difference of HSV saturation, in a form that is linear in the prediction."""

    def term(self, view: View) -> Tensor:
        return terms.saturation_term(*view, self.color_type, self.mask_floor, self.eps)


@LOSS_REGISTRY.register()
class HueLoss(ColorPartLoss):
    """Hue: 1 - cos of the angle between the chroma vectors, times chroma.

    Args:
        loss_weight: Factor on the value.
        hue_detach: Take the prediction's own chroma as a constant: the loss turns colours and never greys them.
        chroma_threshold: Target chroma at which a pixel counts half (soft, sigmoid) or starts to count (hard).
        mask_type: soft: rho / (rho + threshold), sigmoid: sigmoid(mask_strength * (rho - threshold)), hard: 0 or 1.
        mask_strength: Slope of the sigmoid per unit of chroma; the other mask types do not use it.
        neutral_weight: What a pixel without colour still counts, in [0, 1]; 1 counts all pixels alike.
        mask_floor: Least share of an image that the weights count as covering, in (0, 1].
        color_scales: Block sizes in pixels at which colour is compared, averaged; 1 is every pixel.
        eps: Rounds directions off at grey, in squared units of chroma.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        hue_detach: bool = True,
        chroma_threshold: float = 0.06,
        mask_type: MaskType = "soft",
        mask_strength: float = 25.0,
        neutral_weight: float = 0.0,
        mask_floor: float = 0.05,
        color_scales: Sequence[int] = (1,),
        eps: float = 1e-6,
    ) -> None:
        mask = (chroma_threshold, mask_type, mask_strength, neutral_weight)
        super().__init__(loss_weight, "l1", *mask, mask_floor, color_scales, eps)
        self.hue_detach = hue_detach

    def term(self, view: View) -> Tensor:
        return terms.hue_term(*view, self.hue_detach, self.mask_floor, self.eps)


@LOSS_REGISTRY.register()
class LabLoss(ColorPartLoss):
    """Difference of a and of b in CIELAB (divided by 100) or OKLab.

    Args:
        loss_weight: Factor on the value.
        lab_space: cielab (D65) or oklab.
        color_type: Penalty of a difference: l1, l2 (square) or charbonnier (square near zero, else l1).
        chroma_threshold: Target chroma at which a pixel counts half (soft, sigmoid) or starts to count (hard).
        mask_type: soft: rho / (rho + threshold), sigmoid: sigmoid(mask_strength * (rho - threshold)), hard: 0 or 1.
        mask_strength: Slope of the sigmoid per unit of chroma; the other mask types do not use it.
        neutral_weight: What a pixel without colour still counts, in [0, 1]; 1 counts all pixels alike.
        mask_floor: Least share of an image that the weights count as covering, in (0, 1].
        color_scales: Block sizes in pixels at which colour is compared, averaged; 1 is every pixel.
        eps: Charbonnier's, in squared units.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        lab_space: LabSpace = "cielab",
        color_type: PenaltyKind = "l1",
        chroma_threshold: float = 0.06,
        mask_type: MaskType = "soft",
        mask_strength: float = 25.0,
        neutral_weight: float = 0.0,
        mask_floor: float = 0.05,
        color_scales: Sequence[int] = (1,),
        eps: float = 1e-6,
    ) -> None:
        mask = (chroma_threshold, mask_type, mask_strength, neutral_weight)
        super().__init__(loss_weight, color_type, *mask, mask_floor, color_scales, eps)
        require_choice("lab_space", lab_space, LabSpace)
        self.lab_space: LabSpace = lab_space

    def term(self, view: View) -> Tensor:
        return terms.lab_term(*view, self.lab_space, self.color_type, self.mask_floor, self.eps)


@LOSS_REGISTRY.register()
class RGBLoss(PairLoss):
    """Difference of R, G and B over the whole image.

    Args:
        loss_weight: Factor on the value.
        rgb_type: Penalty of a difference: l1, l2 (square) or charbonnier (square near zero, else l1).
        eps: Charbonnier's, in squared units.
    """

    def __init__(self, loss_weight: float = 1.0, rgb_type: PenaltyKind = "l1", eps: float = 1e-6) -> None:
        super().__init__(loss_weight)
        require_choice("rgb_type", rgb_type, PenaltyKind)
        require_range("eps", eps, 1e-12, 1e-2)
        self.rgb_type: PenaltyKind = rgb_type
        self.eps = eps

    def pair_values(self, pred: Tensor, target: Tensor) -> Tensor:
        return terms.rgb_term(pred, target, self.rgb_type, self.eps)


@LOSS_REGISTRY.register()
class LumaLoss(RGBLoss):
    """Difference of luma (Y of YCbCr) over the whole image: tone without a say in colour."""

    def pair_values(self, pred: Tensor, target: Tensor) -> Tensor:
        return terms.luma_term(pred, target, self.rgb_type, self.eps)


@LOSS_REGISTRY.register()
class SSIMLoss(PairLoss):
    """1 - SSIM or 1 - MS-SSIM over the whole image; needs the package pytorch-msssim.

    Args:
        loss_weight: Factor on the value.
        ssim_type: ssim (crops from 11 pixels on) or ms_ssim (from 161 on).

    Raises:
        UserError: pytorch-msssim is not installed.
    """

    def __init__(self, loss_weight: float = 1.0, ssim_type: SSIMType = "ssim") -> None:
        super().__init__(loss_weight)
        require_choice("ssim_type", ssim_type, SSIMType)
        terms.load_msssim()
        self.ssim_type: SSIMType = ssim_type

    def pair_values(self, pred: Tensor, target: Tensor) -> Tensor:
        return terms.ssim_term(pred, target, self.ssim_type)
