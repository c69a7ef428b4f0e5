"""Judging the runs of a sheet: every network over every photo of every set, measured as it would be saved."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.data import build_dataset
from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.inference import full_precision
from basicsr.engine.network_io import fit, read_state_dict
from plugins.color_fidelity import fidelity
from plugins.color_fidelity.ablation import BASELINE_ROW, INPUT_ROW, Run, Sheet
from plugins.color_fidelity.ablation_options import sha256
from plugins.color_fidelity.ablation_train import Say
from plugins.color_fidelity.demo_data import write_png
from plugins.color_fidelity.fidelity import FIGURES, measure

Images = dict[str, dict[str, float]]
"""Image name to figures."""

_CACHE_VERSION = 1


@dataclass(frozen=True)
class Entrant:
    """Something that is judged: a trained run, weights without a training, or the untouched input.

    Attributes:
        row: Row of the table.
        seed: Seed of the training; None where there was none.
        name: Name for messages and folders.
        weights: The weights file; None for the input.
        network: Options of the network.
        param_key: Preferred section of the weights file.
        strict: Whether the weights must fit the network in every tensor.
    """

    row: str
    seed: int | None
    name: str
    weights: Path | None = None
    network: Mapping[str, Any] | None = None
    param_key: str = "params_ema"
    strict: bool = True


@dataclass(frozen=True)
class Judged:
    """The figures of one entrant on one set.

    Attributes:
        row: Row of the table.
        seed: Seed, or None.
        set: Name of the set.
        images: Image name to figures, in the order of the set.
        checksum: sha256 of the weights, empty for the input.
        section: Section of the weights file that was used.
    """

    row: str
    seed: int | None
    set: str
    images: Images
    checksum: str = ""
    section: str = ""


def entrants(sheet: Sheet, options: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> list[Entrant]:
    """What is judged: the input, the baseline's weights, and the complete runs.

    Args:
        sheet: The sheet.
        options: Row to its checked options.
        runs: Runs whose weights are there.
    """
    settings = sheet.settings
    found = [Entrant(INPUT_ROW, None, INPUT_ROW)]
    first = next(iter(options.values()))
    paths = first.get("path") or {}
    baseline, key = sheet.start, str(paths.get("param_key_g") or "params")
    if isinstance(settings.baseline, str):
        path = Path(settings.baseline).expanduser()
        baseline, key = path if path.is_absolute() else sheet.root / path, "params_ema"
    if baseline is not None and settings.baseline is not False:
        key = settings.param_key or key
        # A row may put something in front of the baseline's network, which the weights do not hold.
        strict = paths.get("strict_load_g") is not False
        found.append(Entrant(BASELINE_ROW, None, BASELINE_ROW, baseline, first["network_g"], key, strict))
    key = settings.param_key or "params_ema"
    return found + [Entrant(r.row, r.seed, r.name, r.weights, options[r.row]["network_g"], key) for r in runs]


class WeightsError(UserError):
    """The weights of one entrant cannot be used."""


class Judge:
    """Runs networks over the sets and measures; what was measured before is read from the cache.

    Args:
        sheet: The sheet.
        device: Where networks run.
        say: Gets lines for the terminal.
        jobs: Images measured at the same time, beside the network.
        save: Folder to write every output to as PNG; None for none.
    """

    def __init__(self, sheet: Sheet, device: torch.device, say: Say, jobs: int = 1, save: Path | None = None) -> None:
        self.sheet, self.device, self.say, self.jobs, self.save = sheet, device, say, max(1, jobs), save
        self.problems: list[str] = []
        self.datasets = {name: build_dataset(options) for name, options in sheet.sets.items()}
        self.counted = {name: _fingerprint(dataset) for name, dataset in self.datasets.items()}

    def judge(self, everyone: Iterable[Entrant]) -> list[Judged]:
        """Measure every entrant on every set; one whose weights cannot be used is noted in ``problems`` and left out.

        Raises:
            UserError: An image cannot be read.
        """
        found: list[Judged] = []
        for entrant in everyone:
            try:
                found += self._judge(entrant)
            except WeightsError as error:
                self.problems.append(f"{entrant.name} is left out: {error}")
                self.say(self.problems[-1])
        return found

    def _judge(self, entrant: Entrant) -> Iterator[Judged]:
        checksum, section, network = "", "", None
        code = ""
        if entrant.weights is not None:
            if not entrant.weights.is_file():
                raise WeightsError(f"{entrant.weights}: no such weights file")
            checksum = sha256(entrant.weights)
            code = _source(entrant.network or {})
        for name in self.datasets:
            key = (checksum, entrant.param_key, repr(entrant.network), code, self.counted[name], _measure_source())
            cache = self.sheet.out / "cache" / f"{_hash(*key)}.json"
            found = _read_cache(cache)
            if found is None or self.save is not None:
                if entrant.weights is not None and network is None:
                    network, section = self._load(entrant)
                self.say(f"judging {entrant.name} on {name} ({len(self.datasets[name])} images)")  # type: ignore[arg-type]
                found = (self._measure(entrant, name, network), section)
                _write_cache(cache, *found)
            yield Judged(entrant.row, entrant.seed, name, found[0], checksum, found[1])

    def _load(self, entrant: Entrant) -> tuple[nn.Module, str]:
        if entrant.weights is None or entrant.network is None:
            raise ValueError("the input has no network")
        try:
            state, section = read_state_dict(entrant.weights, entrant.param_key)
            network = build_network(dict(entrant.network))
            fit(network, state, str(entrant.weights), strict=entrant.strict)
        except UserError as error:
            raise WeightsError(str(error)) from error
        return network.eval().requires_grad_(False).to(self.device), section

    def _measure(self, entrant: Entrant, name: str, network: nn.Module | None) -> Images:
        """Measuring keeps up with the network in other threads; few images are held at a time."""
        found: Images = {}
        waiting: list[tuple[str, Any]] = []
        dataset: Any = self.datasets[name]
        names = image_names([str(pair["gt_path"]) for pair in dataset.paths])

        def collect(limit: int) -> None:
            while len(waiting) > limit:
                image, future = waiting.pop(0)
                found[image] = future.result()

        with ThreadPoolExecutor(self.jobs) as pool:
            for index in range(len(dataset)):
                sample = dataset[index]
                image = names[index]
                pred = self._output(sample["lq"], network)
                if self.save is not None and network is not None:
                    write_png(self.save / entrant.name / name / f"{image}.png", pred)
                waiting.append((image, pool.submit(_figures, pred, _pixels(sample["gt"]))))
                collect(self.jobs)
            collect(0)
        return found

    def _output(self, lq: torch.Tensor, network: nn.Module | None) -> np.ndarray:
        """The network's answer to the whole photo, as it would be saved: 8 bit."""
        if network is None:
            return _pixels(lq)
        with torch.inference_mode(), full_precision(self.device.type):
            output = network(lq[None].to(self.device, torch.float32))[0]
        return _eight_bit(output.float().clamp(0, 1).cpu())


def image_names(paths: Sequence[str]) -> list[str]:
    """Names of a set's images: without folder and ending, or with both where two would have the same name."""
    names = [Path(path).stem for path in paths]
    if len(set(names)) == len(set(paths)):
        return names
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [Path(os.path.relpath(path, common or ".")).as_posix() for path in paths]


def _figures(pred: np.ndarray, target: np.ndarray) -> dict[str, float]:
    return measure(pred, target, threads=1)


def _pixels(image: torch.Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1] as (H, W, 3); 8 bit where that loses nothing."""
    exact = (image * 255).round() / 255
    if torch.allclose(exact, image, atol=1e-6, rtol=0):
        return _eight_bit(image)
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _eight_bit(image: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def _fingerprint(dataset: Any) -> str:
    """Of the names, sizes and times of a set's files."""
    parts = []
    for pair in dataset.paths:
        for key in ("lq_path", "gt_path"):
            path = Path(pair[key])
            status = path.stat() if path.is_file() else None
            parts.append(f"{path} {status.st_size} {status.st_mtime_ns}" if status else str(path))
    return _hash(*parts)


def _measure_source() -> str:
    return _hash(str(_CACHE_VERSION), Path(fidelity.__file__).read_text(encoding="utf-8"))


def _source(network: Mapping[str, Any]) -> str:
    """Of the code of a network, so that a changed network is judged again."""
    from basicsr.utils.registry import ARCH_REGISTRY

    file = inspect.getsourcefile(ARCH_REGISTRY.get(str(network["type"])))
    return _hash(Path(file).read_text(encoding="utf-8")) if file else ""


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _read_cache(path: Path) -> tuple[Images, str] | None:
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}). Remove it; it is made again.") from error
    images = {name: {key: _number(value) for key, value in item.items()} for name, item in held["images"].items()}
    return images, str(held["section"])


def _write_cache(path: Path, images: Images, section: str) -> None:
    plain = {name: {key: number(figures[key]) for key in FIGURES} for name, figures in images.items()}
    text = json.dumps({"section": section, "images": plain})
    write_atomic(path, lambda file: file.write(text.encode()))


def number(value: float) -> float | str | None:
    """A number for JSON: NaN is None, infinity a text."""
    if math.isnan(value):
        return None
    return str(value) if math.isinf(value) else float(value)


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
