"""DiagnosticCNN: what was done to a photo's exposure, white balance and saturation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from basicsr.engine.errors import UserError
from basicsr.engine.pretrained import ENVIRONMENT_VARIABLE, load_weights_of, search_folders
from basicsr.engine.torchvision_compat import import_torchvision
from basicsr.utils.registry import ARCH_REGISTRY
from plugins.diagnostic.estimate import NEUTRAL_KELVIN, kelvins_and_tints, limited
from plugins.diagnostic.tone_statistics import COUNT, tone_statistics

HEADS = {"exposure": 3, "white_balance": 5, "saturation": 3}
"""Name of each head and how many numbers it gives."""
INPUT_SIZE = 224
EV_PER_LOGIT = 0.25
"""Stops for each unit that the logit of over-exposed is above that of under-exposed."""
MIREDS = 100.0
"""Unit of the temperature output: reciprocal megakelvin."""
TINT_UNIT = 0.02
"""Unit of the tint output: distance from the locus in (u, v)."""
THREE_DEGREES = 0.11
"""Error of the log-ratios, as a length, that turns the colour of a near-grey light by about three degrees."""
TAGS = {"mobilenet_v2": "mobilenet_v2-b0353104.pth", "mobilenet_v2_v2": "mobilenet_v2-7ebf99e0.pth"}
"""Tags of torchvision's weights (IMAGENET1K_V1 and _V2) and their files."""

_MODEL_ZOO = "https://download.pytorch.org/models/"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SCALE_LIMITS = (math.log(0.02), math.log(3.0))


@dataclass(frozen=True)
class Decoded:
    """What the outputs say.

    Attributes:
        exposure_probabilities: (N, 3): under-, well, over-exposed.
        saturation_probabilities: (N, 3): under-, normal, over-saturated.
        estimate: (N, 4): what was applied: EV, log R/G, log B/G, log saturation; see ``plugins.diagnostic.estimate``.
        kelvin: (N,), temperature of the light that the cast looks like; 6504 is neutral.
        tint: (N,), its distance from the locus of lights: positive is greenish.
        exposure_confidence: (N,), the likeliest class's probability.
        white_balance_confidence: (N,), probability that the cast is known to three degrees.
        saturation_confidence: (N,), the likeliest class's probability.
        scales: (N, 2), the typical error that the network expects of EV (stops) and of each log-ratio.
    """

    exposure_probabilities: Tensor
    saturation_probabilities: Tensor
    estimate: Tensor
    kelvin: Tensor
    tint: Tensor
    exposure_confidence: Tensor
    white_balance_confidence: Tensor
    saturation_confidence: Tensor
    scales: Tensor


def decode(outputs: Mapping[str, Tensor], temperatures: tuple[float, float] = (1.0, 1.0)) -> Decoded:
    """Read the eleven outputs. Each is trained (``DiagnosticLoss``), and each is read in one way only:

    - ``exposure`` (u, w, o) are the logits of under-, well and over-exposed. EV is ``EV_PER_LOGIT (o - u)``, so that
      the class and the sign of EV cannot contradict each other. A common shift of three logits means nothing to the
      classes: it carries the uncertainty, ``log scale of EV = (u + w + o) / 3``.
    - ``white_balance`` (temperature, tint, r, g, b): r, g, b are the logarithms of the gains that would correct: their
      differences are the log-ratios, ``log R/G = g - r`` and ``log B/G = g - b``; a common shift again means nothing to
      a cast and carries the uncertainty, ``log scale = (r + g + b) / 3``. Temperature (in units of ``MIREDS`` from D65)
      and tint (in units of ``TINT_UNIT``) are the fixed function of the same two ratios, learnt beside them because it
      straightens out what daylight does; ``kelvin`` and ``tint`` here are computed from the ratios.
    - ``saturation`` (u, o, level): logits of under- and over-saturated beside a 0 for normal, and log saturation.

    Args:
        outputs: ``exposure`` (N, 3), ``white_balance`` (N, 5), ``saturation`` (N, 3).
        temperatures: Divisors of the logits of exposure and saturation; they calibrate the probabilities and change
            neither the classes nor the estimate.
    """
    exposure, balance = outputs["exposure"].float(), outputs["white_balance"].float()
    estimate = limited(raw_estimate(outputs))
    kelvin, tint = kelvins_and_tints(estimate[:, 1], estimate[:, 2])
    classes = (exposure / temperatures[0]).softmax(1)
    colors = (saturation_logits(outputs) / temperatures[1]).softmax(1)
    scales = torch.stack([log_scale(exposure), log_scale(balance[:, 2:])], 1).exp()
    return Decoded(
        classes,
        colors,
        estimate,
        kelvin,
        tint,
        classes.max(1).values,
        1 - (-0.5 * (THREE_DEGREES / scales[:, 1]).square()).exp(),
        colors.max(1).values,
        scales,
    )


def raw_estimate(outputs: Mapping[str, Tensor]) -> Tensor:
    """(N, 4), what was applied, not limited; see :func:`decode`."""
    exposure, balance = outputs["exposure"].float(), outputs["white_balance"].float()
    ev = EV_PER_LOGIT * (exposure[:, 2] - exposure[:, 0])
    red, green, blue = balance[:, 2:].unbind(1)
    return torch.stack([ev, green - red, green - blue, outputs["saturation"].float()[:, 2]], 1)


def saturation_logits(outputs: Mapping[str, Tensor]) -> Tensor:
    """(N, 3), logits of under-, normal, over-saturated."""
    under, over, _ = outputs["saturation"].float().unbind(1)
    return torch.stack([under, torch.zeros_like(under), over], 1)


def log_scale(triple: Tensor) -> Tensor:
    """(N,), logarithm of the expected error that three outputs (N, 3) carry in their common level."""
    return triple.float().mean(1).clamp(*_SCALE_LIMITS)


def light_coordinates(log_rg: Tensor, log_bg: Tensor) -> Tensor:
    """(N, 2), what the temperature and tint outputs learn of the two ratios (N,)."""
    kelvin, tint = kelvins_and_tints(log_rg, log_bg)
    return torch.stack([(1e6 / kelvin - 1e6 / NEUTRAL_KELVIN) / MIREDS, tint / TINT_UNIT], 1)


@ARCH_REGISTRY.register()
class DiagnosticCNN(nn.Module):
    """MobileNetV2 (Sandler et al., CVPR 2018) with three heads, and the picture's global statistics beside it.

    Input is (N, 3, H, W), sRGB in [0, 1], 224 x 224 in training; the normalisation of ImageNet is inside. Output is
    ``{'exposure': (N, 3), 'white_balance': (N, 5), 'saturation': (N, 3)}``; :func:`decode` reads it. 3.4 million
    weights. A backbone made to name things learns to overlook exposure and cast; the statistics do not. What the
    backbone adds passes a gain for each channel that starts at 0, so that the statistics come first.

    Args:
        pretrained: Weights of the backbone: ``mobilenet_v2``, ``mobilenet_v2_v2``, or a file in torchvision's layout
            of keys. Omitted: random.
        dropout: Share of the hidden units dropped in training.
        frozen_stages: How many of the backbone's 19 stages, from the first, keep their weights and statistics.
        frozen_norm: Whether the backbone's batch norm keeps the statistics it came with, in training too. Needed with
            weights whose batch norm was folded into the convolutions, good with small batches.
        backbone_drop: Share of the training samples that are diagnosed by the statistics alone, which then are not
            shown to the backbone at all. With few photos the backbone learns these photos by heart: a share above a
            half is then both better and faster.

    Raises:
        UserError: ``pretrained`` is not there or something else, or a number is outside its range.

    Attributes:
        input_size: Edge of the square that photos are squeezed to before they are diagnosed: the size of its training.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        pretrained: str | None = None,
        dropout: float = 0.3,
        frozen_stages: int = 0,
        frozen_norm: bool = False,
        backbone_drop: float = 0.0,
    ) -> None:
        super().__init__()
        backbone = import_torchvision().models.mobilenet_v2(weights=None)
        if not 0 <= dropout < 1:
            raise UserError(f"DiagnosticCNN: dropout must be from 0 to below 1, got {dropout}")
        if not 0 <= backbone_drop < 1:
            raise UserError(f"DiagnosticCNN: backbone_drop must be from 0 to below 1, got {backbone_drop}")
        if not 0 <= frozen_stages <= len(backbone.features):
            raise UserError(f"DiagnosticCNN: frozen_stages must be from 0 to {len(backbone.features)}")
        self.features: nn.Sequential = backbone.features
        self.standardized = nn.BatchNorm1d(COUNT, momentum=0.02, affine=False)
        self.statistics = nn.Sequential(nn.Dropout(0.1), nn.Linear(COUNT, 256), nn.ReLU(), nn.Linear(256, 1280))
        self.backbone_gain = nn.Parameter(torch.zeros(1280))
        self.backbone_drop = backbone_drop
        self.exposure = _head(256, dropout, HEADS["exposure"])
        self.white_balance = _head(256, dropout, HEADS["white_balance"])
        self.saturation = _head(128, dropout, HEADS["saturation"])
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("temperatures", torch.ones(2))
        if pretrained is not None:
            load_backbone(self.features, pretrained)
        self.frozen_stages, self.frozen_norm, self.input_size = frozen_stages, frozen_norm, INPUT_SIZE
        self.features[:frozen_stages].requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> DiagnosticCNN:
        """See ``nn.Module``; what is frozen stays as it is."""
        super().train(mode)
        self.features[: self.frozen_stages].eval()
        if self.frozen_norm:
            for layer in self.features.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        # single pictures of one colour have statistics that no other has
        found = self.standardized(tone_statistics(image)).clamp(-5, 5)
        pooled = self.statistics(found.to(self.backbone_gain.dtype)) + self._seen(image)
        return {name: getattr(self, name)(pooled) for name in HEADS}

    def _seen(self, image: Tensor) -> Tensor:
        """What the backbone adds, (N, 1280)."""
        if not self.training or self.backbone_drop == 0:
            return self._features(image) * self.backbone_gain
        shown = torch.rand(len(image), device=image.device) >= self.backbone_drop
        shown[0] = True  # so that every weight takes part in every step
        places = shown.nonzero()[:, 0]
        features = self._features(image[places])
        return features.new_zeros(len(image), 1280).index_copy(0, places, features) * self.backbone_gain

    def _features(self, image: Tensor) -> Tensor:
        return self.features((image - self.mean) / self.std).mean((2, 3))

    @torch.no_grad()
    def diagnose(self, image: Tensor) -> Decoded:
        """Decoded outputs of images, with the probabilities calibrated (``temperatures``)."""
        first, second = (float(value) for value in self.get_buffer("temperatures"))
        return decode(self(image), (first, second))


def load_backbone(features: nn.Module, source: str) -> None:
    """Load weights in torchvision's layout (``features.0.0.weight`` ...) into MobileNetV2's features.

    Raises:
        UserError: The file is nowhere, or holds something else.
    """
    state = load_weights_of(str(_find(source)), "weights of torchvision's MobileNetV2")
    wanted = features.state_dict()
    found = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    wrong = [key for key in wanted if key not in found or found[key].shape != wanted[key].shape]
    wrong = [key for key in wrong if not key.endswith("num_batches_tracked")]
    if wrong:
        raise UserError(
            f"{source}: these are not the weights of torchvision's MobileNetV2: features.{wrong[0]} is missing or has "
            f"another shape (so have {len(wrong) - 1} more)."
        )
    features.load_state_dict({**wanted, **{key: found[key] for key in wanted if key in found}})


def _find(source: str) -> Path:
    name = TAGS.get(source, source)
    folders = search_folders()
    for candidate in (Path(name).expanduser(), *(folder / name for folder in folders)):
        if candidate.is_file():
            return candidate
    looked = "\n  ".join(str(folder / name) for folder in folders)
    hint = f"download {_MODEL_ZOO}{name}" if source in TAGS else f"give a file, or a tag ({', '.join(TAGS)})"
    raise UserError(
        f"the weights '{source}' of MobileNetV2 are missing: {hint}, and put it in one of these places:\n  {looked}\n"
        f"or set ${ENVIRONMENT_VARIABLE} to the folder it is in; without pretrained the backbone starts at random."
    )


def _head(hidden: int, dropout: float, count: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(1280, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, count))
