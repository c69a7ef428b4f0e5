"""Validation of illuminant maps: figures from registered metrics, white-balanced pictures, maps to look at."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from basicsr.engine.errors import UserError
from basicsr.engine.validation import Measured, Validation
from basicsr.utils.img_util import imwrite
from plugins.illuminant import illuminant_map_metric
from plugins.illuminant.light_images import to_linear
from plugins.illuminant.white_balance import balance
from plugins.illuminant.white_balance_pictures import exposure_of, light_picture, shown, side_by_side

logger = logging.getLogger("basicsr")

Array = np.ndarray[Any, Any]


class IlluminantMapValidation(Validation):
    """:class:`Validation` of an IlluminantMapModel.

    Metrics get arrays (H, W, 3 + K): light and shares, NaN where the truth is not known. ``val.save_img`` writes the
    picture balanced by the answered map as ``<name>_<iteration>.png``, the map as ``<name>_<iteration>_light.png``, and
    with ``val.save_gt`` both by the truth (``_gt``, ``_gt_light``). Previews show the picture, the balanced one, the
    answered map and the true one.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for label, entry in self.metrics.items():
            if not hasattr(illuminant_map_metric, entry["type"]):
                known = ", ".join(name for name in dir(illuminant_map_metric) if name.startswith("calculate_"))
                raise UserError(f"val.metrics.{label}: {entry['type']} does not measure illuminant maps; use {known}.")
        self.encoding = self.model.record.encoding  # type: ignore[attr-defined]

    def _measure(self, sample: int, name: str, index: int) -> Measured:
        arrays = {key: value[0].permute(1, 2, 0).numpy() for key, value in self._finite(name, sample).items()}
        image = Measured(index, name, self._figures(arrays))
        wants_preview = index < self._previews()
        if self.writer is None and not wants_preview:
            return image
        linear = np.clip(to_linear(arrays["lq"], self.encoding), 0, 1)
        exposure = exposure_of(linear)
        balanced, light = shown(balance(linear, arrays["light"]), exposure), light_picture(arrays["light"])
        if self.writer is not None:
            self._write(name, linear, exposure, balanced, light, arrays)
        if wants_preview:
            truth = light_picture(arrays["gt"], arrays["valid"][..., 0] > 0)
            image.preview = side_by_side([shown(linear, exposure), balanced, light, truth])
        return image

    def _finite(self, name: str, sample: int) -> dict[str, torch.Tensor]:
        visuals = {key: value[sample : sample + 1] for key, value in self.visuals.items()}
        if not torch.isfinite(visuals["light"]).all():
            logger.warning("Validation %s: the output for %s is not finite, taken as grey.", self.dataset_name, name)
            visuals["light"] = torch.ones_like(visuals["light"])
            visuals["shares"] = torch.full_like(visuals["shares"], 1 / visuals["shares"].shape[1])
        return visuals

    def _figures(self, arrays: Mapping[str, Array]) -> dict[str, float]:
        if not self.metrics:
            return {}
        from basicsr.metrics import calculate_metric

        known = arrays["valid"] > 0
        answer = np.concatenate([arrays["light"], arrays["shares"]], axis=2)
        truth = np.where(known, np.concatenate([arrays["gt"], arrays["gt_shares"]], axis=2), np.nan)
        data = {"img": answer, "img2": truth}
        return {label: float(calculate_metric(data, dict(entry))) for label, entry in self.metrics.items()}

    def _write(
        self, name: str, linear: Array, exposure: float, balanced: Array, light: Array, arrays: Mapping[str, Array]
    ) -> None:
        if self.writer is None:
            return
        pictures = {False: (balanced, light)}
        if self.val_opt.get("save_gt"):
            truth = arrays["gt"]
            pictures[True] = shown(balance(linear, truth), exposure), light_picture(truth, arrays["valid"][..., 0] > 0)
        for target, (picture, map_) in pictures.items():
            path = self.writer.path(name, target)
            imwrite(picture[..., ::-1], str(path))
            imwrite(map_[..., ::-1], str(path.with_name(f"{path.stem}_light{path.suffix}")))
