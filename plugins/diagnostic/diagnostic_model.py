"""DiagnosticModel: trains DiagnosticCNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from basicsr.utils.registry import MODEL_REGISTRY
from plugins.classification.classification_model import ClassificationModel
from plugins.diagnostic.degradation_draws import (
    EV_THRESHOLD,
    EXPOSURE_CLASSES,
    SATURATION_CLASSES,
    SATURATION_THRESHOLD,
)
from plugins.diagnostic.diagnostic_cnn_arch import INPUT_SIZE, saturation_logits

_NAMES = {"exposure_class": EXPOSURE_CLASSES, "saturation_class": SATURATION_CLASSES}


@MODEL_REGISTRY.register()
class DiagnosticModel(ClassificationModel):
    """Diagnosis of photos, for DiagnosticCNN and data sets of the type DegradedPhotoDataset.

    Beside the network's three outputs, losses and metrics find ``exposure_class`` and ``saturation_class``: logits
    (N, 3), so that everything made for classifiers works on them.

    Args:
        opt: The run's options.
    """

    def by_head(self, output: Any) -> dict[str, Tensor]:
        """The network's outputs, and the logits of the two heads that have classes."""
        heads = dict(output)
        return {**heads, "exposure_class": heads["exposure"], "saturation_class": saturation_logits(heads)}

    def class_names(self, head: str) -> list[str] | None:
        """Names of the classes of a head."""
        return list(_NAMES[head]) if head in _NAMES else None

    def checkpoint_record(self) -> Mapping[str, Any]:
        """What the outputs mean: size of the pictures and limits of the classes."""
        train = (self.opt.get("datasets") or {}).get("train") or {}
        return {
            "task": "photo diagnostics",
            "size": int(train.get("image_size") or INPUT_SIZE),
            "ev_threshold": EV_THRESHOLD,
            "saturation_threshold": SATURATION_THRESHOLD,
        }
