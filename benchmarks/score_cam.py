"""Score-CAM of five classes: shared passes and the most active channels, against one pass a class and channel.

    python benchmarks/score_cam.py                                     # a random network, 224 x 224
    python benchmarks/score_cam.py --weights best_illuminant_cnn.pth --independent
    python benchmarks/score_cam.py --size 96 --skip-naive              # to try it

Rows: the plain loop (every class and channel by itself, one masked image at a time), all channels with the passes
shared between the classes, and the k most varied channels (the others' weights are predicted). Seconds on the clock and
CPU seconds, as ratios to the plain loop, and the correlation of the maps with those of all channels (mean and smallest
over the classes). --independent compares the raw maps of Grad-CAM, Grad-CAM++ and Score-CAM with those of torchcam and
grad-cam, where they are installed. Prints markdown.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "BasicSR")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from basicsr.engine.image_io import read_image, to_float  # noqa: E402
from basicsr.engine.torchvision_compat import import_torchvision  # noqa: E402
from plugins.illuminant.cam import raw_maps  # noqa: E402
from plugins.illuminant.cam_score import active_channels, align, stretch, stretch_range  # noqa: E402
from plugins.illuminant.checkpoint import load_network  # noqa: E402
from plugins.illuminant.illuminant_cnn_arch import IlluminantCNN  # noqa: E402
from plugins.illuminant.light_images import to_linear  # noqa: E402
from plugins.sample_photos import sample_photos  # noqa: E402

Measured = tuple[Tensor, float, float]


def make_network(weights: Path | None, pool: str) -> tuple[IlluminantCNN, str]:
    """A trained network, or one with random weights whose batch norms have seen the picture's kind of values."""
    if weights is not None:
        net, record = load_network(weights)
        if not isinstance(net, IlluminantCNN):
            raise SystemExit(f"{weights}: not an IlluminantCNN")
        return net, record.encoding
    torch.manual_seed(0)
    net = IlluminantCNN(5, pool)  # type: ignore[arg-type]
    with torch.no_grad():
        for _ in range(30):
            net(torch.rand(2, 3, 96, 96) * torch.rand(2, 3, 1, 1))
        net.hidden.weight.mul_(4)  # logits of a trained network's size
        net.classify.weight.mul_(4)
    return net.eval(), "srgb"


def make_image(size: int, encoding: str, photo: int) -> Tensor:
    """The middle of a packaged colour photograph, under two lights, (1, 3, size, size)."""
    photos = [each for each in sample_photos() if not each.gray]
    pixels = to_float(read_image(photos[photo % len(photos)].path))
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = cv2.resize(pixels[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    warm = np.linspace(0, 1, size)[None, :, None]
    linear = to_linear(square, "srgb") * (warm * (1.0, 0.6, 0.25) + (1 - warm) * (0.5, 0.7, 0.9))
    shown = (
        linear
        if encoding == "linear"
        else np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    )
    return torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1)).astype(np.float32))[None]


@torch.no_grad()
def naive_maps(net: IlluminantCNN, image: Tensor, classes: list[int], channels: int | None = None) -> Tensor:
    """One class after the other, one channel at a time, nothing shared."""
    maps = []
    for index in classes:
        last = net.features(image).last
        chosen = active_channels(last[0])[:channels]
        masks = stretch_range(last[0, chosen])
        logits = [net(image * align(mask[None], (image.shape[-2], image.shape[-1])))[0, index] for mask in masks]
        maps.append(torch.einsum("c,chw->hw", torch.stack(logits).softmax(0), last[0, chosen]).relu())
    return torch.stack(maps)


def timed(action: Callable[[], Tensor], repeats: int = 1) -> Measured:
    """The maps, seconds on the clock and CPU seconds: the least of some repeats."""
    clock, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        maps = action()
        clock.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return maps, min(clock), min(cpu)


def correlations(maps: Tensor, reference: Tensor) -> np.ndarray:
    return np.array(
        [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps.numpy(), reference.numpy(), strict=True)]
    )


def compare_speed(net: IlluminantCNN, image: Tensor, args: argparse.Namespace) -> None:
    classes = list(range(net.num_classes))
    active = len(active_channels(net.features(image).last[0].detach()))
    print(f"\n{len(classes)} classes, {args.size} x {args.size}, pool {net.pool}, {active} channels that vary\n")
    print("| way | passes | seconds | CPU seconds | of the plain loop's CPU | correlation, mean | smallest |")
    print("|---|---|---|---|---|---|---|")
    rows: dict[str, tuple[int, Measured]] = {}
    full = timed(lambda: raw_maps(net, image, classes, "scorecam"), args.repeats)
    if not args.skip_naive:
        rows["plain loop"] = active * len(classes), timed(lambda: naive_maps(net, image, classes))
    rows["all channels, shared"] = active, full
    for k in args.top_k:
        rows[f"top {k}"] = (
            min(k, active),
            timed(lambda k=k: raw_maps(net, image, classes, "scorecam", top_k=k), args.repeats),
        )
    whole_cpu = None if args.skip_naive else rows["plain loop"][1][2]
    for name, (passes, (maps, clock, cpu)) in rows.items():
        related = correlations(maps, full[0])
        share = "-" if whole_cpu is None else f"1/{whole_cpu / cpu:.1f}"
        print(f"| {name} | {passes} | {clock:.1f} | {cpu:.1f} | {share} | {related.mean():.4f} | {related.min():.4f} |")


def torchcam_maps(net: IlluminantCNN, image: Tensor, index: int) -> dict[str, Tensor]:
    """Maps of torchcam (0.4 or newer), not scaled."""
    from torchcam import methods  # type: ignore[import-not-found]

    found = {}
    for name, kind in (("gradcam", methods.GradCAM), ("gradcam++", methods.GradCAMpp), ("scorecam", methods.ScoreCAM)):
        with kind(net, target_layer=net.stage3) as extractor:
            scores = net(image)
            found[name] = extractor(index, scores, normalized=False)[0][0].detach()
    return found


def grad_cam_maps(net: IlluminantCNN, image: Tensor, index: int) -> dict[str, Tensor]:
    """Maps of grad-cam, not scaled."""
    import_torchvision()  # which it needs, and which cannot load everywhere

    import pytorch_grad_cam as library  # type: ignore[import-not-found]  # isort: skip
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # type: ignore[import-not-found]

    kinds = {"gradcam": library.GradCAM, "gradcam++": library.GradCAMPlusPlus, "scorecam": library.ScoreCAM}
    found = {}
    for name, kind in kinds.items():
        with kind(net, [net.stage3]) as extractor:
            targets = [ClassifierOutputTarget(index)]
            extractor.forward(image, targets)
            activations = extractor.activations_and_grads.activations[0].numpy()
            gradients = extractor.activations_and_grads.gradients
            gradient = gradients[0].numpy() if gradients else None
            weights = extractor.get_cam_weights(image, net.stage3, targets, activations, gradient)
            found[name] = torch.from_numpy((weights[0][:, None, None] * activations[0]).sum(0)).float().clamp_min(0)
    return found


def compare_maps(net: IlluminantCNN, image: Tensor) -> None:
    """Raw maps, each scaled by its largest value: the methods leave the factor open."""
    print(
        "\n| library | method | class | correlation | largest difference, of the map's maximum |\n|---|---|---|---|---|"
    )
    for library, maker in (("torchcam", torchcam_maps), ("grad-cam", grad_cam_maps)):
        for index in (0, net.num_classes - 1):
            try:
                theirs = maker(net, image, index)
            except ImportError as error:
                print(f"| {library} | - | - | not installed ({error}) | |")
                break
            for method, their in theirs.items():
                # Both spread a mask over the whole picture, so ours does here too.
                ours = raw_maps(net, image, [index], method, resize=stretch)[0]
                difference = (ours / ours.max() - their / their.max()).abs().max()
                related = correlations(ours[None], their[None])[0]
                print(f"| {library} | {method} | {index} | {related:.6f} | {difference:.1e} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of an IlluminantCNN (default: random weights)")
    parser.add_argument("--pool", default="confidence", help="of the random network")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--photo", type=int, default=0, help="which of the packaged photographs")
    parser.add_argument("--top-k", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--skip-naive", action="store_true", help="leave the plain loop out")
    parser.add_argument("--independent", action="store_true", help="compare with torchcam and grad-cam (96 x 96)")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    net, encoding = make_network(args.weights, args.pool)
    origin = "random weights" if args.weights is None else args.weights.name
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {origin}, {time.strftime('%Y-%m-%d')}")
    compare_speed(net, make_image(args.size, encoding, args.photo), args)
    if args.independent:
        compare_maps(net, make_image(96, encoding, args.photo))


if __name__ == "__main__":
    main()
