"""The loss of all eleven outputs of DiagnosticCNN."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from basicsr.engine.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY
from plugins.color_science import rgb_to_oklab
from plugins.diagnostic.degradation import correct
from plugins.diagnostic.diagnostic_cnn_arch import light_coordinates, log_scale, raw_estimate, saturation_logits
from plugins.diagnostic.estimate import limited

_TOE = 1e-3
_LEVEL_UNIT = 0.25
_NEEDED = ("estimate", "known", "exposure_class", "saturation_class")


@LOSS_REGISTRY.register()
class DiagnosticLoss(nn.Module):
    """Classes, amounts with their uncertainty, and the corrected picture; labels that cannot be known do not count.

    Each head has its weight. Exposure: cross-entropy of the three classes, and the negative log-likelihood of EV under
    a Laplace distribution whose scale the network states itself (A. Kendall and Y. Gal, "What uncertainties do we need
    in Bayesian deep learning for computer vision?", NeurIPS 2017). White balance: the same likelihood of the two
    log-ratios with one common scale, and the smooth absolute error of temperature and tint. Saturation: cross-entropy
    of the three classes and the smooth absolute error of log saturation. Re-rendering: mean distance in OKLab of the
    picture corrected by the estimate from the original, times 10, through the same ``correct`` that users get; samples
    without ``original`` or with an unknown label leave it out.

    Args:
        exposure_weight: Weight of the exposure head.
        white_balance_weight: Weight of the white-balance head.
        saturation_weight: Weight of the saturation head.
        class_weight: Weight of the cross-entropies beside the amounts within a head.
        render_weight: Weight of the re-rendered error.
        render_size: Pixels a side at which it is measured.
        loss_weight: Factor on all.

    Raises:
        UserError: A weight is negative, or ``render_size`` is below 8.
    """

    def __init__(
        self,
        exposure_weight: float = 1.0,
        white_balance_weight: float = 1.0,
        saturation_weight: float = 1.0,
        class_weight: float = 1.0,
        render_weight: float = 1.0,
        render_size: int = 56,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {
            "exposure": exposure_weight,
            "white_balance": white_balance_weight,
            "saturation": saturation_weight,
            "render": render_weight,
        }
        negative = [name for name, value in {**self.weights, "class": class_weight}.items() if value < 0]
        if negative or render_size < 8:
            what = f"{negative[0]}_weight must not be negative" if negative else "render_size must be at least 8"
            raise UserError(f"DiagnosticLoss: {what}")
        self.class_weight, self.render_size, self.loss_weight = class_weight, render_size, loss_weight

    def forward(
        self,
        pred: Mapping[str, Tensor],
        target: Mapping[str, Tensor],
        batch: Mapping[str, Tensor] | None = None,
        **context: object,
    ) -> dict[str, Tensor]:
        """Compare.

        Args:
            pred: Outputs of DiagnosticCNN.
            target: ``estimate`` (N, 4), ``known`` (N, 4), ``exposure_class`` and ``saturation_class`` (N,).
            batch: ``lq`` (N, 3, H, W), and perhaps ``original`` of the same shape: the photo as it was.
            **context: Not used.

        Returns:
            ``total``, and for the log ``exposure``, ``white_balance``, ``saturation``, ``render`` without weights.

        Raises:
            UserError: The data gives no such labels.
        """
        missing = [name for name in _NEEDED if name not in target]
        if missing:
            raise UserError(f"DiagnosticLoss: the data has no {', '.join(missing)}; use DegradedPhotoDataset")
        error = (raw_estimate(pred) - target["estimate"]).abs()
        known = target["known"]
        parts = {
            "exposure": self._exposure(pred["exposure"], target, error[:, 0], known[:, 0]),
            "white_balance": self._white_balance(
                pred["white_balance"].float(), target, error, known[:, 1] * known[:, 2]
            ),
            "saturation": self._saturation(pred, target, error[:, 3], known[:, 3]),
        }
        if batch is not None and "original" in batch and self.weights["render"] > 0:
            parts["render"] = self._render(raw_estimate(pred), batch, known.amin(1))
        total = torch.stack([self.weights[name] * value for name, value in parts.items()]).sum()
        return {"total": self.loss_weight * total, **{name: value.detach() for name, value in parts.items()}}

    def _exposure(self, logits: Tensor, target: Mapping[str, Tensor], error: Tensor, known: Tensor) -> Tensor:
        classes = _cross_entropy(logits.float(), target["exposure_class"])
        return self.class_weight * classes + _mean(_laplace(error, log_scale(logits)), known)

    def _white_balance(self, outputs: Tensor, target: Mapping[str, Tensor], error: Tensor, known: Tensor) -> Tensor:
        scale = log_scale(outputs[:, 2:])
        ratios = _laplace(error[:, 1], scale) + _laplace(error[:, 2], scale)
        wanted = light_coordinates(target["estimate"][:, 1], target["estimate"][:, 2])
        light = functional.smooth_l1_loss(outputs[:, :2], wanted, beta=0.2, reduction="none").sum(1)
        return _mean(ratios + light, known)

    def _saturation(
        self, pred: Mapping[str, Tensor], target: Mapping[str, Tensor], error: Tensor, known: Tensor
    ) -> Tensor:
        classes = _cross_entropy(saturation_logits(pred), target["saturation_class"])
        level = functional.smooth_l1_loss(error / _LEVEL_UNIT, torch.zeros_like(error), beta=0.3, reduction="none")
        return self.class_weight * classes + _mean(level, known)

    def _render(self, estimate: Tensor, batch: Mapping[str, Tensor], known: Tensor) -> Tensor:
        spoilt, original = (self._small(batch[name]) for name in ("lq", "original"))
        corrected = correct(spoilt, limited(estimate), clip=False, check=False).clamp(-0.2, 1.5)
        difference = rgb_to_oklab(corrected, _TOE) - rgb_to_oklab(original, _TOE)
        return 10 * _mean((difference.square().sum(1) + 1e-8).sqrt().mean((1, 2)), known)

    def _small(self, image: Tensor) -> Tensor:
        return functional.interpolate(image.float(), size=(self.render_size,) * 2, mode="area").clamp(0, 1)


def _laplace(error: Tensor, log_of_scale: Tensor) -> Tensor:
    return error * (-log_of_scale).exp() + log_of_scale


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0 where nothing counts. A value that does not count may be anything but NaN."""
    return (values * weight).sum() / weight.sum().clamp(min=1)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    known = (classes >= 0).float()
    each = functional.cross_entropy(logits, classes.clamp(min=0), reduction="none")
    return _mean(each, known)
