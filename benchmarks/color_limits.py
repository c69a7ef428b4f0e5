#!/usr/bin/env python
"""What limits colour fidelity on synthetic before/after pairs: how much does the answer depend on what nobody can see?

    python benchmarks/color_limits.py datasets/study --out benchmarks/results/color_limits

The same small per-pixel colour map is trained three times with L1 on thumbnails of the training photos, and judged on
thumbnails of the held-out ones. What chooses its parameters differs: nothing (one map for all photos), the photo itself
(what any network can know at best), and the camera's true settings from the manifest (exposure, white balance,
saturation, contrast, flare: what the photo only hints at). Between the first two lies what context can win, between the
last two what is not in the photo, or could not be learnt from so few photos: so the second is repeated with a quarter
and half of the training photos. No network is large, none sees neighbourhoods: read the differences, not the values.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from basicsr.engine.cli import positive, run_main, writing  # noqa: E402
from basicsr.engine.errors import UserError  # noqa: E402
from plugins.color_fidelity.demo_data import MANIFEST  # noqa: E402
from plugins.color_fidelity.fidelity import measure  # noqa: E402
from plugins.color_fidelity.nafnet_context_arch import ColorMap, ContextEncoder  # noqa: E402

EDGE, FEATURES, WIDTH = 64, 32, 32
SETTINGS = ("exposure_ev", "red_gain", "blue_gain", "saturation", "compression", "contrast", "flare")
FIGURES = ("psnr", "de00_mean", "de00_p95", "sat_ratio", "hue_abs_deg")


@dataclass(frozen=True)
class Thumbnails:
    """Pairs of thumbnails (N, 3, EDGE, EDGE) in [0, 1], the cameras' settings (N, 7), and whose photos they are."""

    lq: Tensor
    gt: Tensor
    settings: Tensor
    sources: list[str]

    def of(self, sources: set[str]) -> Thumbnails:
        """Only the pairs of these photos."""
        keep = torch.tensor([index for index, source in enumerate(self.sources) if source in sources])
        return Thumbnails(self.lq[keep], self.gt[keep], self.settings[keep], [self.sources[int(i)] for i in keep])


class ChosenMap(nn.Module):
    """A colour map whose parameters are chosen by nothing, by the photo, or by the camera's settings."""

    def __init__(self, chosen_by: str, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.chosen_by, self.mean, self.spread = chosen_by, mean, spread
        self.encoder = {
            "nothing": lambda: nn.Identity(),
            "photo": lambda: ContextEncoder(EDGE, FEATURES),
            "settings": lambda: nn.Sequential(nn.Linear(len(SETTINGS), FEATURES), nn.GELU()),
        }[chosen_by]()
        self.color_map = ColorMap(FEATURES, WIDTH)

    def forward(self, photos: Tensor, settings: Tensor) -> Tensor:
        """(N, 3, EDGE, EDGE) and (N, 7) to (N, 3, EDGE, EDGE)."""
        if self.chosen_by == "photo":
            vector = self.encoder(photos)
        elif self.chosen_by == "settings":
            vector = self.encoder((settings - self.mean) / self.spread)[..., None, None]
        else:
            vector = photos.new_zeros((len(photos), FEATURES, 1, 1))
        return self.color_map(photos, vector)


def load(root: Path, splits: tuple[str, ...]) -> Thumbnails:
    """Read and shrink the pairs of some splits."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise UserError(f"{manifest}: missing; the data must come from tools/make_demo_data.py, which writes it.")
    with open(manifest, newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] in splits]
    halves: dict[str, list[np.ndarray]] = {"lq": [], "gt": []}
    for row in rows:
        for half, images in halves.items():
            path = root / row["split"] / half / f"{row['name']}.png"
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise UserError(f"{path}: cannot be read.")
            small = cv2.resize(image.astype(np.float32) / 255, (EDGE, EDGE), interpolation=cv2.INTER_AREA)
            images.append(np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1)))
    settings = torch.tensor([[float(row[name]) for name in SETTINGS] for row in rows])
    lq, gt = (torch.from_numpy(np.stack(images)) for images in halves.values())
    return Thumbnails(lq, gt, settings, [row["source"] for row in rows])


def train(data: Thumbnails, chosen_by: str, iterations: int, seed: int) -> ChosenMap:
    """Train one map with L1, batches of 16, AdamW, a cosine of the learning rate from 2e-3."""
    torch.manual_seed(seed)
    net = ChosenMap(chosen_by, data.settings.mean(dim=0), data.settings.std(dim=0))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        pick = torch.randint(0, len(data.lq), (16,))
        loss = (net(data.lq[pick], data.settings[pick]) - data.gt[pick]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


@torch.inference_mode()
def judge(net: ChosenMap, data: Thumbnails) -> dict[str, float]:
    """Mean figures over the photos; ``gap`` is the mean distance of a photo's saturation ratio from 1."""
    values = []
    for index in range(len(data.lq)):
        pred = net(data.lq[index : index + 1], data.settings[index : index + 1]).clamp(0, 1)[0]
        pair = [(image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8) for image in (pred, data.gt[index])]
        values.append(measure(*pair))
    result = {name: float(np.nanmean([value[name] for value in values])) for name in FIGURES}
    result["gap"] = float(np.nanmean([abs(1 - value["sat_ratio"]) for value in values]))
    return result


def draw(path: Path, labels: list[str], results: list[dict[str, float]]) -> None:
    """One bar a network, one panel a figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    titles = {"psnr": "PSNR (dB), higher is better", "de00_p95": "ΔE00 p95, lower is better"}
    titles["gap"] = "|1 − saturation ratio| of a photo, lower is better"
    figure, panels = pyplot.subplots(1, len(titles), figsize=(13, 3.6), sharey=True)
    colors = ["#9aa5b1", *["#4c8bbf"] * (len(labels) - 2), "#d98032"]
    for panel, (name, title) in zip(panels, titles.items(), strict=True):
        bars = panel.barh(labels, [result[name] for result in results], color=colors)
        panel.bar_label(bars, fmt="%.1f" if name != "gap" else "%.3f", padding=3)
        panel.set_title(title, fontsize=10)
        panel.margins(x=0.15)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that tools/make_demo_data.py has written")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.md and OUT.png")
    parser.add_argument("--iterations", type=positive, default=800)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    learn, held_out = load(args.data, ("train",)), load(args.data, ("test", "stress"))
    photos = sorted(set(learn.sources))
    order = [photos[i] for i in np.random.default_rng(args.seed).permutation(len(photos))]
    trials = [("one map for all photos", "nothing", len(photos))]
    trials += [(f"chosen by the photo, {n} photos learnt", "photo", n) for n in (len(photos) // 4, len(photos) // 2)]
    trials += [(f"chosen by the photo, {len(photos)} photos learnt", "photo", len(photos))]
    trials += [("chosen by the camera's true settings", "settings", len(photos))]
    results = []
    for label, chosen_by, count in trials:
        start = time.perf_counter()
        net = train(learn.of(set(order[:count])), chosen_by, args.iterations, args.seed)
        results.append(judge(net, held_out))
        print(f"{label}: {time.perf_counter() - start:.0f} s, PSNR {results[-1]['psnr']:.2f} dB", flush=True)
    head = f"| colour map, {len(held_out.lq)} held-out photos | PSNR | ΔE00 | p95 | sat. ratio | off by | hue error |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|"]
    for (label, _, _), r in zip(trials, results, strict=True):
        colour = f"{r['sat_ratio']:.3f} | {r['gap']:.3f} | {r['hue_abs_deg']:.2f}°"
        lines.append(f"| {label} | {r['psnr']:.2f} | {r['de00_mean']:.2f} | {r['de00_p95']:.2f} | {colour} |")
    with writing(args.out):
        args.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        draw(args.out.with_suffix(".png"), [trial[0] for trial in trials], results)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
