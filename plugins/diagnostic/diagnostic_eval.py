"""The table of diagnoses: how right each method is, and whether its correction brings the photo back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from plugins.classification.class_metric import calculate_calibration_error
from plugins.color_science import delta_e2000, rgb_to_lab
from plugins.diagnostic.advice import PARAMETERS
from plugins.diagnostic.analysis import diagnostics_of
from plugins.diagnostic.classic_baselines import CLASSIC, HistogramRidge, MeanLuminance, Method
from plugins.diagnostic.color_statistics import color_statistics
from plugins.diagnostic.degradation import correct
from plugins.diagnostic.degradation_draws import EV_THRESHOLD, SATURATION_THRESHOLD
from plugins.diagnostic.diagnostic_cnn_arch import Decoded, DiagnosticCNN, saturation_logits
from plugins.diagnostic.diagnostic_metric import cast_angles
from plugins.diagnostic.estimate import estimates_of
from plugins.diagnostic.parameters import estimate_of, parameters_of
from plugins.diagnostic.tone_statistics import tone_statistics

Array = np.ndarray[Any, Any]

HARM = 3.0
"""Mean ΔE00 to which a photo that needed nothing may be changed before it counts as harmed."""
CAST_TOLERANCE = 3.0
"""Degrees within which a cast counts as found."""
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
        photos: (N,), number of the photo that the sample was made of.
    """

    images: Tensor
    originals: Tensor
    estimates: Tensor
    known: Tensor
    exposure: Tensor
    saturation: Tensor
    photos: Tensor

    @property
    def untouched(self) -> Tensor:
        """(N,), whether nothing was done to the sample (beyond a camera's developing)."""
        return (self.estimates == 0).all(1)

    @classmethod
    def gathered(cls, samples: Iterable[Mapping[str, Any]]) -> Samples:
        """Gather items of ``DegradedPhotoDataset`` that give originals."""
        items = list(samples)
        labels = [item["labels"] for item in items]
        numbers = {path: number for number, path in enumerate(dict.fromkeys(item["lq_path"] for item in items))}
        return cls(
            torch.stack([item["image"] for item in items]),
            torch.stack([item["original"] for item in items]),
            torch.stack([label["estimate"] for label in labels]),
            torch.stack([label["known"] for label in labels]),
            torch.tensor([label["exposure_class"] for label in labels]),
            torch.tensor([label["saturation_class"] for label in labels]),
            torch.tensor([numbers[item["lq_path"]] for item in items]),
        )


@dataclass(frozen=True)
class Row:
    """One method's figures; see :func:`measure`.

    Attributes:
        name: The method.
        values: Column, a key of ``COLUMNS``, to figure.
        spread: Column to the half-width of the figure's 95 % interval over photos; empty where not asked for.
    """

    name: str
    values: dict[str, float]
    spread: dict[str, float] = field(default_factory=dict)


COLUMNS: dict[str, tuple[str, str, bool]] = {
    "exposure_accuracy": ("exposure class", "{:.1%}", True),
    "ev_error": ("EV error", "{:.2f}", False),
    "angle_mean": ("cast, mean", "{:.2f}°", False),
    "angle_median": ("median", "{:.2f}°", False),
    "within_3": ("within 3°", "{:.1%}", True),
    "saturation_accuracy": ("saturation class", "{:.1%}", True),
    "saturation_error": ("log error", "{:.2f}", False),
    "delta_e": ("ΔE00, spoilt", "{:.2f}", False),
    "delta_e_untouched": ("ΔE00, good", "{:.2f}", False),
    "harmed": ("harmed", "{:.1%}", False),
}
"""Column to its heading, how it is written, and whether more is better."""
JUDGED = tuple(name for name in COLUMNS if name not in ("delta_e_untouched", "harmed"))
"""Columns that methods are compared in: in the last two, whoever does nothing is best."""
_RESAMPLES = 1000


def measure(
    name: str, samples: Samples, estimates: Tensor, classes: tuple[Tensor, Tensor] | None = None, spread: bool = False
) -> Row:
    """Compare estimates with what was applied, and corrected photos with the originals.

    Args:
        name: The method.
        samples: The test.
        estimates: (N, 4), the method's.
        classes: Its classes (N,) of exposure and saturation. Omitted: by the thresholds on its estimates.
        spread: Whether to give intervals: photos, with all their samples, are drawn anew 1000 times.

    Returns:
        Shares in [0, 1]; errors in EV, degrees, log saturation, mean ΔE00. ``delta_e`` is over the samples to which
        something was done, ``delta_e_untouched`` how far the correction moves those to which nothing was, against
        what went in; ``harmed`` is the share of those that it moves by more than ``HARM``.
    """
    each = _figures_of_samples(samples, estimates, classes)
    values = {column: _conclusion(column)(found[counted]) for column, (found, counted) in each.items()}
    return Row(name, values, _spreads(each, samples.photos.numpy()) if spread else {})


def _figures_of_samples(
    samples: Samples, estimates: Tensor, classes: tuple[Tensor, Tensor] | None
) -> dict[str, tuple[Array, Array]]:
    """Column to the figures of all samples (N,), and which of them count (N,)."""
    exposure, saturation = classes or (
        _classes(estimates[:, 0], EV_THRESHOLD),
        _classes(estimates[:, 3], SATURATION_THRESHOLD),
    )
    error, known = (estimates - samples.estimates).abs().numpy(), (samples.known > 0).numpy()
    angles = cast_angles(estimates.double().numpy(), samples.estimates.double().numpy())
    still = samples.untouched
    against = torch.where(still[:, None, None, None], samples.images, samples.originals)
    distances, good = correction_distances(samples.images, estimates, against).numpy(), still.numpy()
    return {
        "exposure_accuracy": ((exposure == samples.exposure).numpy(), (samples.exposure >= 0).numpy()),
        "ev_error": (error[:, 0], known[:, 0]),
        "angle_mean": (angles, known[:, 1]),
        "angle_median": (angles, known[:, 1]),
        "within_3": (angles <= CAST_TOLERANCE, known[:, 1]),
        "saturation_accuracy": ((saturation == samples.saturation).numpy(), (samples.saturation >= 0).numpy()),
        "saturation_error": (error[:, 3], known[:, 3]),
        "delta_e": (distances, ~good),
        "delta_e_untouched": (distances, good),
        "harmed": (distances > HARM, good),
    }


def _conclusion(column: str) -> Callable[[Array], float]:
    statistic = np.median if column == "angle_median" else np.mean
    return lambda values: float(statistic(values)) if len(values) else float("nan")


def _spreads(each: Mapping[str, tuple[Array, Array]], photos: Array) -> dict[str, float]:
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(photos == photo) for photo in np.unique(photos)]
    found: dict[str, list[float]] = {column: [] for column in each}
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([rows[number] for number in rng.integers(0, len(rows), len(rows))])
        for column, (values, counted) in each.items():
            found[column].append(_conclusion(column)(values[chosen][counted[chosen]]))
    return {column: _half_width(np.array(values)) for column, values in found.items()}


def _half_width(values: Array) -> float:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (np.nan, np.nan)
    return float(high - low) / 2


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
    methods["network's statistics + ridge"] = fitted_ridge(train, val, tone_statistics)
    return [measure(name, test, method(test.images)) for name, method in methods.items()]


def fitted_ridge(train: Samples, val: Samples, source: Callable[[Tensor], Tensor] = color_statistics) -> HistogramRidge:
    """Ridge regression on these statistics, with the penalty that is best on ``val``."""
    features = source(train.images)

    def error(ridge: HistogramRidge) -> float:
        gaps = (ridge(val.images) - val.estimates).abs() * val.known / val.estimates.std(0).clamp(min=1e-3)
        return float(gaps.mean())

    fits = (HistogramRidge.fitted(features, train.estimates, train.known, p, source) for p in PENALTIES)
    return min(fits, key=error)


def network_rows(name: str, test: Samples, answer: Decoded) -> list[Row]:
    """Figures of a network: of its estimates, and of what the advice makes of them (see :func:`advised`)."""
    classes = (answer.exposure_probabilities.argmax(1), answer.saturation_probabilities.argmax(1))
    return [
        measure(name, test, answer.estimate, classes, spread=True),
        measure(f"{name}, as advised", test, advised(answer), classes),
    ]


def advised(answer: Decoded) -> Tensor:
    """What is really corrected, (N, 4): estimates without trifles and within the limits of the parameters."""
    rows = []
    for number in range(len(answer.estimate)):
        one = Decoded(*(getattr(answer, item.name)[number : number + 1] for item in fields(answer)))
        exposure, balance, saturation = diagnostics_of(one)
        red, green, blue = balance.suggested_gains
        wanted = (exposure.suggested_gamma, red, green, blue, saturation.suggested_adjustment, 0.0)
        rows.append(estimate_of(dict(zip(PARAMETERS, wanted, strict=True))).batch())
    return torch.cat(rows)


def not_better(network: Row, others: Iterable[Row]) -> list[str]:
    """``method: column`` wherever another method is at least as good as the network, in the columns of ``JUDGED``."""
    found = []
    for other in others:
        for column in JUDGED:
            heading, _, more = COLUMNS[column]
            mine, theirs = network.values[column], other.values[column]
            if not (mine > theirs if more else mine < theirs):
                found.append(f"{other.name}: {heading}")
    return found


def goals(estimated: Row, advice: Row, uncorrected: Row) -> list[str]:
    """Each goal, what was reached, and whether it is met."""
    half = uncorrected.values["delta_e"] / 2
    lines = []
    for what, reached, limit, more, form in (
        ("exposure class", estimated.values["exposure_accuracy"], 0.90, True, "{:.1%}"),
        ("cast within 3°", estimated.values["within_3"], 0.85, True, "{:.1%}"),
        ("saturation class", estimated.values["saturation_accuracy"], 0.90, True, "{:.1%}"),
        ("ΔE00 of spoilt photos, as advised", advice.values["delta_e"], half, False, "{:.2f}"),
        ("ΔE00 of good photos, as advised", advice.values["delta_e_untouched"], 2.0, False, "{:.2f}"),
        ("good photos harmed, as advised", advice.values["harmed"], 0.05, False, "{:.1%}"),
    ):
        met = reached >= limit if more else reached < limit
        bound = f"{'at least' if more else 'below'} {form.format(limit)}"
        lines.append(f"{what}: {form.format(reached)}, goal {bound}: {'met' if met else 'not met'}")
    return lines


def oracle_rows(test: Samples) -> list[Row]:
    """The floor: the truth itself as estimate; what is left was clipped, rounded, compressed or bent by the curve.

    And the same within the limits of gamma, gains and saturation, which no advice can go beyond.
    """
    within = [estimate_of(parameters_of(truth)).batch() for truth in estimates_of(test.estimates)]
    return [
        measure("oracle", test, test.estimates),
        measure("oracle, within the limits", test, torch.cat(within)),
    ]


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
    headings = [heading for heading, _, _ in COLUMNS.values()]
    lines = ["| | " + " | ".join(headings) + " |", "|---|" + "---:|" * len(headings)]
    for row in rows:
        cells = [_cell(row, column, form) for column, (_, form, _) in COLUMNS.items()]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Row, column: str, form: str) -> str:
    text = form.format(row.values[column])
    return f"{text} ± {form.format(row.spread[column]).rstrip('%°')}" if column in row.spread else text


def _classes(values: Tensor, threshold: float) -> Tensor:
    return 1 + (values > threshold).long() - (values < -threshold).long()
