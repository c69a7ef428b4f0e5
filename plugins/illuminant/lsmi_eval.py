"""How well a network's maps tell the lights of LSMI scenes apart: answers, figures, means."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.illuminant.cam import METHODS, class_maps, evaluating
from plugins.illuminant.light_images import from_linear
from plugins.illuminant.lsmi_eval_files import Networks, Scene
from plugins.illuminant.lsmi_scores import FIGURES, TRIVIAL_ROWS, ClassMaps, score, trivial_answers
from plugins.illuminant.refine import REFINEMENTS, maps_to_shares, refine

Array = np.ndarray[Any, Any]
Table = dict[str, dict[str, float]]

NETWORK_ROW = "network"
"""Row of the network that was trained on masks."""
_TRUST = 0.01


@dataclass(frozen=True)
class EvalOptions:
    """What is asked of the class network.

    Attributes:
        methods: Of :data:`plugins.illuminant.cam.METHODS`.
        refinements: Of :data:`plugins.illuminant.refine.REFINEMENTS`; each method gets a row with each.
        classes: ``top2``: the two classes that the network holds for the most likely; ``all``.
        top_k: Channels that Score-CAM masks the picture with; None takes all.
        seed: Of the row of noise.
    """

    methods: Sequence[str] = METHODS
    refinements: Sequence[str] = ("none", "guided")
    classes: str = "top2"
    top_k: int | None = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, chosen, known in (
            ("methods", self.methods, METHODS),
            ("refine", self.refinements, REFINEMENTS),
            ("classes", (self.classes,), ("top2", "all")),
        ):
            wrong = [each for each in chosen if each not in known]
            if wrong or not chosen:
                raise UserError(f"{name}: {', '.join(wrong) or 'none given'}: there are: {', '.join(known)}.")


@dataclass(frozen=True)
class SceneResult:
    """One scene: its answers, trivial ones first, and their figures by row."""

    scene: Scene
    answers: Mapping[str, ClassMaps]
    figures: Table


def evaluate(
    scenes: Iterator[Scene], total: int, networks: Networks, options: EvalOptions, progress: Callable[..., None]
) -> Iterator[SceneResult]:
    """Answer and score one scene after the other.

    Args:
        scenes: The scenes.
        total: Their number.
        networks: At least one.
        options: Methods and refinements.
        progress: Called as ``progress(done, total, name)`` after each scene.
    """
    for done, scene in enumerate(scenes, start=1):
        answers = scene_answers(scene, networks, options)
        figures = {name: score(answer, scene.truth, scene.valid) for name, answer in answers.items()}
        yield SceneResult(scene, answers, figures)
        progress(done, total, scene.name)


def scene_answers(scene: Scene, networks: Networks, options: EvalOptions) -> dict[str, ClassMaps]:
    """Every row's answer for one scene: the trivial ones, those of the class network, that of the mask network."""
    found: dict[str, ClassMaps] = {}
    dominant = 0
    if networks.mask_network is not None:
        shares = _network_shares(networks.mask_network, _input(scene, networks.mask_encoding))
        order = np.argsort(-shares.mean((0, 1)), kind="stable")
        dominant = int(order[0])
        found[NETWORK_ROW] = ClassMaps(np.moveaxis(shares, -1, 0), shares, (dominant, int(order[1])))
    if networks.class_network is not None:
        image = _input(scene, networks.class_encoding)
        probabilities = class_probabilities(networks.class_network, image)
        dominant = int(probabilities.argmax())
        found = {**_zero_shot(scene, networks.class_network, image, probabilities, options), **found}
    return {**trivial_answers(scene.truth, dominant, options.seed), **found}


@torch.no_grad()
def class_probabilities(net: nn.Module, image: torch.Tensor) -> Array:
    """What the network says of the whole picture: (K,) float64 of sum 1."""
    with evaluating(net):
        answer: Array = net(image)[0].double().softmax(0).cpu().numpy()
    return answer


def _zero_shot(
    scene: Scene, net: nn.Module, image: torch.Tensor, probabilities: Array, options: EvalOptions
) -> dict[str, ClassMaps]:
    order = [int(index) for index in np.argsort(-probabilities, kind="stable")]
    chosen = order[:2] if options.classes == "top2" else order
    guide = from_linear(scene.display, "srgb").astype(np.float32)
    found = {}
    for method in options.methods:
        maps = class_maps(net, image, chosen, method, top_k=options.top_k)
        for refinement in options.refinements:
            name = method if refinement == "none" else f"{method} + {refinement}"
            answer = _refined(maps, probabilities[chosen], guide, method, refinement)
            found[name] = _spread(*answer, chosen, len(probabilities), (order[0], order[1]))
    return found


def _refined(maps: Array, probabilities: Array, guide: Array, method: str, refinement: str) -> tuple[Array, Array]:
    """Maps (k, H, W) and shares (H, W, k) of the chosen classes.

    The guided filter works on the maps, the CRF, whose answer is a share, on the shares.
    """
    if refinement == "crf":
        shares = _shares(maps, probabilities, method)
        labels = refine(np.moveaxis(shares, -1, 0), guide, "crf")
        return labels, np.moveaxis(labels, 0, -1)
    refined = refine(maps, guide, refinement)
    return refined, _shares(refined, probabilities, method)


def _shares(maps: Array, probabilities: Array, method: str) -> Array:
    if method != "confidence":
        return maps_to_shares(maps, probabilities)
    # These maps are probabilities of their positions already; the picture's decide where the network looks at nothing.
    return maps_to_shares(maps + _TRUST * probabilities[:, None, None], np.ones(len(maps)))


def _spread(maps: Array, shares: Array, chosen: Sequence[int], classes: int, top: tuple[int, int]) -> ClassMaps:
    """Put the chosen classes at their places among all; the others get nothing."""
    all_maps = np.zeros((classes, *maps.shape[1:]), np.float32)
    all_shares = np.zeros((*shares.shape[:2], classes), np.float32)
    all_maps[list(chosen)], all_shares[..., list(chosen)] = maps, shares
    return ClassMaps(all_maps, all_shares, top)


@torch.no_grad()
def _network_shares(net: nn.Module, image: torch.Tensor) -> Array:
    with evaluating(net):
        shares: Array = net.predict_shares(image)[0].movedim(0, -1).float().cpu().numpy()  # type: ignore[operator]
    return shares


def _input(scene: Scene, encoding: str) -> torch.Tensor:
    picture = scene.image if encoding == "linear" else from_linear(scene.image, "srgb")
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32))[None]


def mean_figures(tables: Sequence[Table]) -> Table:
    """Means over the scenes in which a figure has a meaning; NaN where there is none."""
    means: Table = {}
    for row in tables[0]:
        means[row] = {}
        for figure in FIGURES:
            values = [table[row][figure] for table in tables if not math.isnan(table[row][figure])]
            means[row][figure] = sum(values) / len(values) if values else float("nan")
    return means


def markdown_table(means: Table) -> str:
    """One line a row, one column a figure."""
    width = max(map(len, means))
    lines = [
        f"| {'':{width}} | " + " | ".join(FIGURES.values()) + " |",
        f"|{'-' * (width + 2)}|" + "|".join("-" * (len(title) + 1) + ":" for title in FIGURES.values()) + "|",
    ]
    for row, figures in means.items():
        cells = (f"{_number(figures[key]):>{len(title)}}" for key, title in FIGURES.items())
        lines.append(f"| {row:{width}} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def region_answer(means: Table, tables: Sequence[Table]) -> str:
    """The plan's question, answered row by row: do different classes light up different regions?"""
    scenes = sum(not math.isnan(table["oracle"]["region_auc"]) for table in tables)
    lines = [
        f"Do different classes light up different regions? ({scenes} scenes of two regions; region AUC: identical maps "
        "0.5, the truth 1)"
    ]
    for row, figures in means.items():
        if row in TRIVIAL_ROWS or math.isnan(figures["region_auc"]):
            continue
        above = sum(table[row]["region_auc"] > 0.5 for table in tables)
        lines.append(
            f"  {row}: region AUC {figures['region_auc']:.3f}, above 0.5 in {above} of {scenes} scenes; the two maps "
            f"correlate by {figures['map_correlation']:+.2f}"
        )
    return "\n".join(lines)


def write_tables(folder: Path, results: Mapping[str, Table], settings: Mapping[str, Any]) -> list[Path]:
    """Write ``figures.csv`` (one line a scene and row) and ``figures.json`` (settings, means, every scene).

    Args:
        folder: Made where it is missing.
        results: Figures of each row, by the scene's name.
        settings: What to note beside them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scene", "row", *FIGURES])
    for scene, table in results.items():
        writer.writerows([scene, row, *(_cell(figures[key]) for key in FIGURES)] for row, figures in table.items())
    means = mean_figures(list(results.values()))
    content = {
        "settings": dict(settings),
        "figures": FIGURES,
        "scenes": len(results),
        "means": _plain(means),
        "by_scene": {scene: _plain(table) for scene, table in results.items()},
    }
    written = {"figures.csv": text.getvalue(), "figures.json": json.dumps(content, indent=1) + "\n"}
    for name, body in written.items():
        write_atomic(folder / name, partial(_write, body.encode()))
    return [folder / name for name in written]


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def settings_of(options: EvalOptions) -> dict[str, Any]:
    """The options as plain data."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()}


def _plain(table: Table) -> dict[str, dict[str, float | None]]:
    return {
        row: {key: None if math.isnan(value) else value for key, value in one.items()} for row, one in table.items()
    }


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
