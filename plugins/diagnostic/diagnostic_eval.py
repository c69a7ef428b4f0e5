"""The table of diagnoses: how right each method is, and whether its correction brings the photo back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from plugins.classification.class_metric import calculate_calibration_error
from plugins.color_science import delta_e2000, rgb_to_lab
from plugins.diagnostic.classic_baselines import CLASSIC, HistogramRidge, MeanLuminance, Method
from plugins.diagnostic.color_statistics import color_statistics
from plugins.diagnostic.degradation import correct
from plugins.diagnostic.degradation_draws import EV_THRESHOLD, SATURATION_THRESHOLD
from plugins.diagnostic.diagnostic_cnn_arch import Decoded, DiagnosticCNN, decode, saturation_logits
from plugins.diagnostic.diagnostic_metric import cast_angles

Array = np.ndarray[Any, Any]

HARM = 3.0
"""Mean ΔE00 to which a photo that needed nothing may be changed before it counts as harmed."""
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
_BATCH = 32


@dataclass(frozen=True)
class Samples:
    """A data set in memory.

    Attributes:
        images: (N, 3, S, S), spoilt.
        originals: (N, 3, S, S), before.
        estimates: (N, 4), what was applied.
        known: (N, 4), whether it can be known.
        exposure: (N,), classes, -1 unknown.
        saturation: (N,), classes, -1 unknown.
    """

    images: Tensor
    originals: Tensor
    estimates: Tensor
    known: Tensor
    exposure: Tensor
    saturation: Tensor

    @property
    def untouched(self) -> Tensor:
        """(N,), whether nothing was done to the sample (beyond a camera's developing)."""
        return (self.estimates == 0).all(1)

    @classmethod
    def gathered(cls, samples: Iterable[Mapping[str, Any]]) -> Samples:
        """Gather items of ``DegradedPhotoDataset`` that give originals."""
        items = list(samples)
        labels = [item["labels"] for item in items]
        return cls(
            torch.stack([item["image"] for item in items]),
            torch.stack([item["original"] for item in items]),
            torch.stack([label["estimate"] for label in labels]),
            torch.stack([label["known"] for label in labels]),
            torch.tensor([label["exposure_class"] for label in labels]),
            torch.tensor([label["saturation_class"] for label in labels]),
        )


@dataclass(frozen=True)
class Row:
    """One method's figures; see :func:`measure`."""

    name: str
    exposure_accuracy: float
    ev_error: float
    angle_mean: float
    angle_median: float
    within_3: float
    saturation_accuracy: float
    saturation_error: float
    delta_e: float
    delta_e_untouched: float
    harmed: float


def measure(name: str, samples: Samples, estimates: Tensor, classes: tuple[Tensor, Tensor] | None = None) -> Row:
    """Compare estimates with what was applied, and corrected photos with the originals.

    Args:
        name: The method.
        samples: The test.
        estimates: (N, 4), the method's.
        classes: Its classes (N,) of exposure and saturation. Omitted: by the thresholds on its estimates.

    Returns:
        Shares in [0, 1]; errors in EV, degrees, log saturation, mean ΔE00. ``delta_e`` is over the samples to which
        something was done, ``delta_e_untouched`` how far the correction moves those to which nothing was, against
        what went in; ``harmed`` is the share of those that it moves by more than ``HARM``.
    """
    exposure, saturation = classes or (
        _classes(estimates[:, 0], EV_THRESHOLD),
        _classes(estimates[:, 3], SATURATION_THRESHOLD),
    )
    error, known = (estimates - samples.estimates).abs(), samples.known > 0
    cast = known[:, 1]
    angles = cast_angles(estimates[cast].double().numpy(), samples.estimates[cast].double().numpy())
    still = samples.untouched
    against = torch.where(still[:, None, None, None], samples.images, samples.originals)
    distances = correction_distances(samples.images, estimates, against)
    return Row(
        name,
        _share(exposure == samples.exposure, samples.exposure >= 0),
        float(error[known[:, 0], 0].mean()),
        float(angles.mean()),
        float(np.median(angles)),
        float((angles <= 3).mean()),
        _share(saturation == samples.saturation, samples.saturation >= 0),
        float(error[known[:, 3], 3].mean()),
        float(distances[~still].mean()),
        float(distances[still].mean()),
        float((distances[still] > HARM).float().mean()),
    )


def correction_distances(images: Tensor, estimates: Tensor, originals: Tensor) -> Tensor:
    """Mean ΔE00 of each corrected picture from its original, (N,)."""
    found = []
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            corrected = (correct(images[part], estimates[part].float()) * 255).round() / 255
            found.append(delta_e2000(rgb_to_lab(corrected), rgb_to_lab(originals[part])).mean((1, 2)))
    return torch.cat(found)


def network_outputs(
    net: DiagnosticCNN, images: Tensor, progress: Callable[[int], None] | None = None
) -> dict[str, Tensor]:
    """Outputs for all pictures, in evaluation mode and without gradients."""
    was_training = net.training
    net.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            parts.append(net(images[start : start + _BATCH]))
            if progress is not None:
                progress(len(parts[-1]["exposure"]))
    net.train(was_training)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def classic_rows(test: Samples, train: Samples, val: Samples) -> list[Row]:
    """Figures of every classical method; what must be fitted is fitted to ``train``, its penalty to ``val``."""
    methods: dict[str, Method] = dict(CLASSIC)
    methods["mean-luminance EV"] = MeanLuminance.fitted(train.originals)
    methods["histograms + ridge"] = fitted_ridge(train, val)
    return [measure(name, test, method(test.images)) for name, method in methods.items()]


def fitted_ridge(train: Samples, val: Samples) -> HistogramRidge:
    """Ridge regression with the penalty that is best on ``val``."""
    features = color_statistics(train.images)

    def error(ridge: HistogramRidge) -> float:
        gaps = (ridge(val.images) - val.estimates).abs() * val.known / val.estimates.std(0).clamp(min=1e-3)
        return float(gaps.mean())

    return min((HistogramRidge.fitted(features, train.estimates, train.known, p) for p in PENALTIES), key=error)


def network_row(name: str, test: Samples, outputs: Mapping[str, Tensor]) -> tuple[Row, Decoded]:
    """Figures of a network, and its decoded answers."""
    answer = decode(outputs)
    classes = (answer.exposure_probabilities.argmax(1), answer.saturation_probabilities.argmax(1))
    return measure(name, test, answer.estimate, classes), answer


def oracle_row(test: Samples) -> Row:
    """The floor: the truth itself as estimate; what is left was clipped, rounded, compressed or bent by the curve."""
    return measure("oracle", test, test.estimates)


def fitted_temperature(logits: Tensor, classes: Tensor) -> float:
    """The divisor of logits (N, K) that makes the known classes likeliest (Guo et al., ICML 2017), 0.05 to 20."""
    known = classes >= 0
    if not known.any():
        return 1.0
    grid = torch.logspace(np.log10(0.05), np.log10(20), 301, dtype=torch.float64)
    scores = [functional.cross_entropy(logits[known].double() / value, classes[known]) for value in grid]
    return float(grid[int(torch.stack(scores).argmin())])


def calibrate(net: DiagnosticCNN, outputs: Mapping[str, Tensor], val: Samples) -> tuple[float, float]:
    """Set the network's ``temperatures`` by its outputs on a validation set; estimates and classes do not change."""
    found = (
        fitted_temperature(outputs["exposure"], val.exposure),
        fitted_temperature(saturation_logits(outputs), val.saturation),
    )
    net.get_buffer("temperatures").copy_(torch.tensor(found))
    return found


def calibration_errors(
    outputs: Mapping[str, Tensor], samples: Samples, temperatures: tuple[float, float]
) -> list[float]:
    """Expected calibration errors of exposure and saturation."""
    heads = {
        "exposure": (outputs["exposure"] / temperatures[0]).numpy(),
        "saturation": (saturation_logits(outputs) / temperatures[1]).numpy(),
    }
    labels = {"exposure": samples.exposure.numpy(), "saturation": samples.saturation.numpy()}
    return [calculate_calibration_error(heads, labels, head=head) for head in heads]


def table(rows: Iterable[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| | exposure class | EV error | cast, mean | median | within 3° | saturation class | log error "
        "| ΔE00, spoilt | ΔE00, good | harmed |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.exposure_accuracy:.1%} | {row.ev_error:.2f} | {row.angle_mean:.2f}° "
            f"| {row.angle_median:.2f}° | {row.within_3:.1%} | {row.saturation_accuracy:.1%} "
            f"| {row.saturation_error:.2f} | {row.delta_e:.2f} | {row.delta_e_untouched:.2f} | {row.harmed:.1%} |"
        )
    return "\n".join(lines)


def _classes(values: Tensor, threshold: float) -> Tensor:
    return 1 + (values > threshold).long() - (values < -threshold).long()


def _share(hits: Tensor, counted: Tensor) -> float:
    return float(hits[counted].float().mean()) if counted.any() else float("nan")
