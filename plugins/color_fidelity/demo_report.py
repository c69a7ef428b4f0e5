"""What the demo shows at its end: enhanced photos, tables, the three criteria, an HTML report and a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image, to_float
from plugins.color_fidelity.demo import BASELINE, CONTINUED, FINE_TUNED, RUNS, DemoOptions
from plugins.color_fidelity.demo_data import MANIFEST, write_png
from plugins.color_fidelity.enhance_network import load_network
from plugins.color_fidelity.enhance_run import Runner
from plugins.color_fidelity.evaluation import INPUT_ROW, Evaluation, Pair, Record, evaluate
from plugins.color_fidelity.report import figure_table, write_csv, write_json
from plugins.color_fidelity.report_html import write_html

HELD_OUT, STRESS = "held-out", "stress"
SETS = {"test": HELD_OUT, "stress": STRESS}
"""Split of the data to name of the set."""

FIGURES = (
    "psnr",
    "ssim",
    "de00_mean",
    "de00_p95",
    "sat_ratio",
    "sat_ratio_60",
    "sat_ratio_100",
    "hue_abs_deg",
    "sat_ratio_whole",
)
GAP_SHARE, PSNR_COST, WHOLE_COST = 0.5, 0.1, 0.03
"""The criteria: share of the saturation gap to close, dB that may be lost, how much further from 1 the whole image's
ratio may be."""

_CELL = (176, 264)
_PICTURE_ROWS = 6


@dataclass(frozen=True)
class Criterion:
    """One question and its measured answer."""

    text: str
    met: bool


def enhance_sets(options: DemoOptions) -> list[Pair]:
    """Run the three networks over the held-out and the stress photos and write their outputs as PNG.

    Returns:
        The pairs to measure.
    """
    torch.set_num_threads(1 if options.cores is None else options.cores)
    pairs: list[Pair] = []
    for run in RUNS:
        network = Runner(load_network(options.weights(run)))
        for split, set_name in SETS.items():
            for target in sorted((options.data / split / "gt").glob("*.png")):
                lq = options.data / split / "lq" / target.name
                out = options.results / "images" / run.row.replace(" ", "_") / split / target.name
                pixels = torch.from_numpy(to_float(read_image(lq))).permute(2, 0, 1)[None]
                enhanced = network(pixels)[0].clamp(0, 1).permute(1, 2, 0).numpy()
                write_png(out, np.round(enhanced * 255).astype(np.uint8))
                pairs.append(Pair(run.row, set_name, target.stem, out, target, lq))
    if not pairs:
        raise UserError(f"{options.data}: there are no photos in the splits test and stress.")
    return pairs


def criteria(result: Evaluation) -> list[Criterion]:
    """The three criteria against the continued baseline, from the measured means."""
    means = {
        (row, name): result.summary(row, name).mean for row in (CONTINUED, FINE_TUNED) for name in (HELD_OUT, STRESS)
    }
    gap_before, gap_after = (abs(1 - means[row, STRESS]["sat_ratio"]) for row in (CONTINUED, FINE_TUNED))
    closed = 1 - gap_after / gap_before if gap_before > 0 else float("nan")
    found = [
        Criterion(
            f"closes {closed:.0%} of the saturation gap on stress ({gap_before:.3f} -> {gap_after:.3f}; "
            f"asked: at least {GAP_SHARE:.0%})",
            closed >= GAP_SHARE,
        )
    ]
    for name in (HELD_OUT, STRESS):
        change = means[FINE_TUNED, name]["psnr"] - means[CONTINUED, name]["psnr"]
        text = f"PSNR on {name} changes by {change:+.2f} dB (asked: at most {PSNR_COST} dB lost)"
        found.append(Criterion(text, change >= -PSNR_COST))
    for name in (HELD_OUT, STRESS):
        before, after = (means[row, name]["sat_ratio_whole"] for row in (CONTINUED, FINE_TUNED))
        farther = abs(1 - after) - abs(1 - before)
        text = f"whole-image saturation on {name}: {before:.3f} -> {after:.3f}, {farther:+.3f} further from 1"
        found.append(Criterion(f"{text} (asked: at most {WHOLE_COST:+.2f})", farther <= WHOLE_COST))
    return found


def write_report(options: DemoOptions, result: Evaluation) -> str:
    """Write report.html, table.md, figures.csv, figures.json and before_after.png; return the tables and criteria."""
    tables = "\n\n".join(figure_table(result, name, FIGURES) for name in SETS.values())
    verdict = "\n".join(f"{'met    ' if item.met else 'NOT met'}  {item.text}" for item in criteria(result))
    text = f"{tables}\n\nAgainst the continued baseline the fine-tune\n{verdict}\n"
    folder = options.results
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text, encoding="utf-8")
    write_csv(result, folder / "figures.csv")
    write_json(result, folder / "figures.json")
    intro = (
        "Real photographs as a flat camera profile would have recorded them, brought back by one small NAFNet: trained "
        "with L1 (baseline), trained on in the same way (baseline continued), and fine-tuned with ColorAwareLoss and "
        "crops where the target is colourful. Held-out and stress photographs were never trained on. "
    )
    write_html(result, folder / "report.html", title="Colour-faithful photo enhancement: the demo", intro=intro)
    write_png(folder / "before_after.png", picture(options, result))
    return text


def measure_demo(pairs: Sequence[Pair], options: DemoOptions) -> Evaluation:
    """Measure all outputs against their targets; changes are counted against the continued baseline."""
    return evaluate(pairs, reference=CONTINUED, jobs=options.cores)


def picture(options: DemoOptions, result: Evaluation) -> np.ndarray:
    """A strip of examples: input, continued baseline, fine-tuned, target.

    Chosen by rule: of every photograph the version whose saturation ratio gained the median amount; of many
    photographs those evenly spread from the largest gain to the smallest. Stress photos first.

    Returns:
        (H, W, 3) RGB, uint8.
    """
    columns = (INPUT_ROW, CONTINUED, FINE_TUNED, "target")
    strips = [np.hstack([_label(name) for name in columns])]
    sources = _sources(options.data / MANIFEST)
    share = {STRESS: _PICTURE_ROWS * 2 // 3, HELD_OUT: _PICTURE_ROWS - _PICTURE_ROWS * 2 // 3}
    for name in (STRESS, HELD_OUT):
        records = {row: {r.pair.image: r for r in result.select(row, name)} for row in columns[:3]}
        for image in _examples(records[CONTINUED], records[FINE_TUNED], sources, share[name]):
            cells = [_cell(records[row][image].pair.pred, _ratio_text(records[row][image])) for row in columns[:3]]
            cells.append(_cell(records[FINE_TUNED][image].pair.target, name))
            strips.append(np.hstack(cells))
    return np.vstack(strips)


def _examples(before: dict[str, Record], after: dict[str, Record], sources: dict[str, str], count: int) -> list[str]:
    gains = {}
    for image in before:
        gain = after[image].figures["sat_ratio"] - before[image].figures["sat_ratio"]
        if np.isfinite(gain):
            gains[image] = gain
    by_source: dict[str, list[str]] = {}
    for image in sorted(gains, key=lambda key: gains[key]):
        by_source.setdefault(sources.get(image, image), []).append(image)
    medians = sorted((images[len(images) // 2] for images in by_source.values()), key=lambda key: -gains[key])
    picked = np.linspace(0, len(medians) - 1, min(count, len(medians))).round().astype(int)
    return [medians[i] for i in picked]


def _sources(manifest: Path) -> dict[str, str]:
    with open(manifest, newline="", encoding="utf-8") as handle:
        return {row["name"]: row["source"] for row in csv.DictReader(handle)}


def _ratio_text(record: Record) -> str:
    return f"saturation {record.figures['sat_ratio']:.2f}  PSNR {record.figures['psnr']:.1f}"


def _label(text: str) -> np.ndarray:
    label = np.full((28, _CELL[1], 3), 255, np.uint8)
    cv2.putText(label, text, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA)
    return label


def _cell(path: Path, caption: str) -> np.ndarray:
    image = read_image(path)
    height, width = image.shape[:2]
    factor = min((_CELL[0] - 6) / height, (_CELL[1] - 6) / width)
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    cell = np.full((*_CELL, 3), 255, np.uint8)
    top, left = (_CELL[0] - size[1]) // 2, (_CELL[1] - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = small
    note = np.full((22, _CELL[1], 3), 255, np.uint8)
    cv2.putText(note, caption, (left, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (90, 90, 90), 1, cv2.LINE_AA)
    return np.vstack([cell, note])


__all__ = ["BASELINE", "Criterion", "criteria", "enhance_sets", "measure_demo", "picture", "write_report"]
