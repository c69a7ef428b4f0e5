"""Which estimate turns one version of a photo into another: labels of pairs that a person edited."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.color_science import delta_e2000, rgb_to_lab, rgb_to_oklab, srgb_to_linear
from plugins.diagnostic.degradation import correct
from plugins.diagnostic.estimate import HIGHEST, LOWEST, LUMINANCE, limited

FIT_SIZE = 32
"""Pixels a side at which pairs are fitted; an edit of tones and colours of the whole photo needs no more."""
UNEXPLAINED = 6.0
"""Mean ΔE00 after the best correction from which a pair is taken as edited in other ways, and has no label."""
_STEPS = 100
_RATE = 0.06
_TOE = 1e-3


@dataclass(frozen=True)
class FittedLabels:
    """Labels of pairs.

    Attributes:
        estimates: (N, 4), what the input has that the expert's version has not.
        residuals: (N,), mean ΔE00 between the corrected input and the expert's version.
    """

    estimates: Tensor
    residuals: Tensor


def fit_labels(inputs: Tensor, experts: Tensor, steps: int = _STEPS) -> FittedLabels:
    """Find the estimates with which ``correct`` brings each input closest to the expert's version, in OKLab.

    Adam from a first guess by the mean luminance, the mean ratios and the mean chroma. The distance is the absolute
    one, so that parts which were edited separately count little.

    Args:
        inputs: (N, 3, h, w), sRGB in [0, 1]; small.
        experts: The same of the edited versions.
        steps: Steps of Adam.

    Raises:
        ValueError: The shapes differ.
    """
    if inputs.shape != experts.shape:
        raise ValueError(f"a pair needs one shape, got {tuple(inputs.shape)} and {tuple(experts.shape)}")
    wanted = rgb_to_oklab(experts, _TOE)
    estimate = _first_guess(inputs, experts).requires_grad_()
    optimizer = torch.optim.Adam([estimate], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=_RATE / 100)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            corrected = correct(inputs, limited(estimate), clip=False, check=False).clamp(-0.1, 1.1)
            gaps = ((rgb_to_oklab(corrected, _TOE) - wanted).square().sum(1) + 1e-8).sqrt().mean((1, 2))
            gaps.sum().backward()
            optimizer.step()
            schedule.step()
    found = limited(estimate.detach())
    corrected = correct(inputs, found)
    return FittedLabels(found, delta_e2000(rgb_to_lab(corrected), rgb_to_lab(experts)).mean((1, 2)))


def _first_guess(inputs: Tensor, experts: Tensor) -> Tensor:
    def levels(image: Tensor) -> Tensor:
        means = srgb_to_linear(image).mean((2, 3)).clamp(min=1e-4)
        chroma = rgb_to_oklab(image, _TOE)[:, 1:].square().sum(1).sqrt().mean((1, 2)).clamp(min=1e-3)
        light = (means * means.new_tensor(LUMINANCE)).sum(1).log2()
        return torch.stack([light, *(means[:, k].log() - means[:, 1].log() for k in (0, 2)), chroma.log()], 1)

    guess = levels(inputs) - levels(experts)
    # darkening lowers chroma by itself: half of what is seen is taken for a change of saturation
    guess[:, 3] *= 0.5
    room = 0.9
    return torch.maximum(torch.minimum(guess, guess.new_tensor(HIGHEST) * room), guess.new_tensor(LOWEST) * room)


class LabelFile:
    """Fitted labels kept in a JSON file, by the names, sizes and times of both files.

    Args:
        path: The file; None keeps nothing.

    Raises:
        UserError: The file cannot be read, or holds something else.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self._known: dict[str, list[float]] = {}
        if self.path is not None and self.path.is_file():
            self._known = _read(self.path)

    def labels(
        self,
        pairs: Sequence[tuple[Path, Path]],
        read: Callable[[Path], Tensor],
        batch: int = 32,
        progress: Callable[[int], None] | None = None,
    ) -> FittedLabels:
        """Labels of pairs; those that the file does not have are fitted and added to it.

        Args:
            pairs: Input and expert's version.
            read: Gives (3, ``FIT_SIZE``, ``FIT_SIZE``) of a file.
            batch: Pairs fitted at a time.
            progress: Told how many were fitted.
        """
        keys = [_key(*pair) for pair in pairs]
        open_ones = [index for index, key in enumerate(keys) if key not in self._known]
        for start in range(0, len(open_ones), batch):
            part = open_ones[start : start + batch]
            inputs, experts = (torch.stack([read(pairs[index][side]) for index in part]) for side in (0, 1))
            fitted = fit_labels(inputs, experts)
            for row, index in enumerate(part):
                self._known[keys[index]] = [*fitted.estimates[row].tolist(), float(fitted.residuals[row])]
            if progress is not None:
                progress(len(part))
        if open_ones and self.path is not None:
            text = json.dumps({"version": 1, "labels": self._known}, indent=0)
            write_atomic(self.path, lambda stream: stream.write(text.encode()))
        rows = torch.tensor([self._known[key] for key in keys], dtype=torch.float32).reshape(-1, 5)
        return FittedLabels(rows[:, :4], rows[:, 4])


def _key(first: Path, second: Path) -> str:
    try:
        facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in (first, second)]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror or error}.") from error
    return "|".join(f"{name}:{size}:{time}" for name, size, time in facts)


def _read(path: Path) -> dict[str, list[float]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{os.fspath(path)}: cannot be read as fitted labels ({error}); delete it to fit anew."
        ) from error
    labels = content.get("labels") if isinstance(content, Mapping) else None
    if not isinstance(labels, dict) or not all(
        isinstance(row, list) and len(row) == 5 and all(isinstance(value, (int, float)) for value in row)
        for row in labels.values()
    ):
        raise UserError(f"{os.fspath(path)}: these are no fitted labels; delete it to fit anew.")
    return labels
