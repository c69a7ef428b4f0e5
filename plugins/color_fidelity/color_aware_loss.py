"""The composite loss: pixel fidelity and colour fidelity under one name, each part with a weight of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from basicsr.engine.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY
from plugins.color_fidelity import color_part_loss as parts
from plugins.color_fidelity import color_terms as terms
from plugins.color_fidelity.color_part_loss import ColorPartLoss, PairLoss, View
from plugins.color_fidelity.color_terms import LabSpace, MaskType, PenaltyKind, SSIMType


def _active_parts(
    loss_weight: float, candidates: Mapping[str, tuple[float, type[PairLoss], tuple[Any, ...]]]
) -> dict[str, PairLoss]:
    """Build the parts whose weight is above 0; ``candidates`` holds weight, class and the arguments after the first."""
    parts.require_range("loss_weight", loss_weight, 0.0)
    for name, (weight, _, _) in candidates.items():
        parts.require_range(f"{name}_weight", weight, 0.0)
    active = {name: cls(loss_weight * weight, *rest) for name, (weight, cls, rest) in candidates.items() if weight > 0}
    if not active:
        raise UserError(f"ColorAwareLoss: every weight is 0 ({', '.join(f'{name}_weight' for name in candidates)})")
    return active


def _values(part: PairLoss, pred: Tensor, target: Tensor, views: Sequence[View]) -> Tensor:
    return part.view_values(views) if isinstance(part, ColorPartLoss) else part.pair_values(pred, target)


@LOSS_REGISTRY.register()
class ColorAwareLoss(torch.nn.Module):
    """RGB fidelity plus terms that keep colour, for photo enhancement that must not wash colours out.

    A part is computed only where its weight is above 0. The value equals the sum of the parts' own losses
    (``RGBLoss``, ``ChromaMagnitudeLoss``, ...) with the same settings.

    Args:
        loss_weight: Factor on everything.
        rgb_weight: Weight of the RGB difference.
        rgb_type: Penalty of the RGB and luma differences: l1, l2 (square) or charbonnier.
        luma_weight: Weight of the luma (Y) difference: tone without a say in colour.
        cbcr_weight: Weight of the Cb and Cr differences: hue and saturation at once.
        magnitude_weight: Weight of the chroma difference: saturation without hue.
        hue_weight: Weight of the hue difference (1 - cos of the angle, times chroma).
        hue_detach: Take the prediction's own chroma as a constant, so that the hue part never greys a colour.
        saturation_weight: Weight of the HSV saturation difference.
        bias_weight: Weight of the difference of the image's mean chroma: systematic wash-out only.
        lab_weight: Weight of the differences of a and b in Lab.
        lab_space: cielab (values divided by 100) or oklab.
        ssim_weight: Weight of 1 - SSIM; above 0 it needs the package pytorch-msssim.
        ssim_type: ssim (crops from 11 pixels on) or ms_ssim (from 161 on).
        color_type: Penalty of the colour parts (not hue): l1, l2 (square) or charbonnier.
        color_scales: Block sizes in pixels at which colour is compared, averaged; 1 is every pixel.
        chroma_threshold: Target chroma at which a pixel counts half (soft, sigmoid) or starts to count (hard).
        mask_type: soft: rho / (rho + threshold), sigmoid: sigmoid(mask_strength * (rho - threshold)), hard: 0 or 1.
        mask_strength: Slope of the sigmoid per unit of chroma; the other mask types do not use it.
        neutral_weight: What a pixel without colour still counts, in [0, 1]; 1 counts all pixels alike.
        mask_floor: Least share of an image that the weights count as covering, in (0, 1].
        eps: Rounds chroma off at grey, in squared units; also charbonnier's.

    Raises:
        UserError: A value is out of range, all weights are 0, or ``ssim_weight`` is above 0 without pytorch-msssim.

    Example:
        >>> loss = ColorAwareLoss(magnitude_weight=0.5, hue_weight=0.5)
        >>> image = torch.rand(2, 3, 16, 16)
        >>> sorted(loss(image.mean(dim=1, keepdim=True).expand_as(image), image))
        ['cbcr', 'hue', 'magnitude', 'rgb', 'total']
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        rgb_weight: float = 1.0,
        rgb_type: PenaltyKind = "l1",
        luma_weight: float = 0.0,
        cbcr_weight: float = 0.25,
        magnitude_weight: float = 0.0,
        hue_weight: float = 0.0,
        hue_detach: bool = True,
        saturation_weight: float = 0.0,
        bias_weight: float = 0.0,
        lab_weight: float = 0.0,
        lab_space: LabSpace = "cielab",
        ssim_weight: float = 0.0,
        ssim_type: SSIMType = "ssim",
        color_type: PenaltyKind = "l1",
        color_scales: Sequence[int] = (1,),
        chroma_threshold: float = 0.06,
        mask_type: MaskType = "soft",
        mask_strength: float = 25.0,
        neutral_weight: float = 0.0,
        mask_floor: float = 0.05,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        mask = (chroma_threshold, mask_type, mask_strength, neutral_weight)
        region = (*mask, mask_floor, color_scales, eps)
        self.regions = parts.ColorRegions(*mask, color_scales)
        self.parts = _active_parts(
            loss_weight,
            {
                "rgb": (rgb_weight, parts.RGBLoss, (rgb_type, eps)),
                "luma": (luma_weight, parts.LumaLoss, (rgb_type, eps)),
                "cbcr": (cbcr_weight, parts.CbCrLoss, (color_type, *region)),
                "magnitude": (magnitude_weight, parts.ChromaMagnitudeLoss, (color_type, *region)),
                "hue": (hue_weight, parts.HueLoss, (hue_detach, *region)),
                "saturation": (saturation_weight, parts.SaturationLoss, (color_type, *region)),
                "bias": (bias_weight, parts.ChromaBiasLoss, (color_type, *region)),
                "lab": (lab_weight, parts.LabLoss, (lab_space, color_type, *region)),
                "ssim": (ssim_weight, parts.SSIMLoss, (ssim_type,)),
            },
        )

    def forward(self, pred: Tensor, target: Tensor, **context: Any) -> dict[str, Tensor]:
        """Compute the loss in float32 with autocast off.

        Args:
            pred: (N, 3, H, W) RGB, nominally in [0, 1], not clamped; any floating type.
            target: Of the same shape.
            **context: Ignored.

        Returns:
            Scalars: ``total`` and, weighted so that they add up to it, each active part (``rgb``, ``luma``, ``cbcr``,
            ``magnitude``, ``hue``, ``saturation``, ``bias``, ``lab``, ``ssim``).

        Raises:
            ValueError: The shapes differ or are not RGB batches.
        """
        terms.check_pair(pred, target)
        with torch.autocast(device_type=pred.device.type, enabled=False):
            pred, target = terms.as_working_precision(pred), terms.as_working_precision(target)
            views = self.regions.views(pred, target)
            values: dict[str, Tensor] = {}
            for name, part in self.parts.items():
                values[name] = part.loss_weight * _values(part, pred, target, views).mean()
            return {"total": torch.stack(list(values.values())).sum(), **values}
