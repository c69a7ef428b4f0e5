"""How long a picture takes on this machine, from the encoded file to the answer. Needs no torch.

    python -m plugins.lego.bench_inference lego.onnx lego.int8.onnx --threads 1 2

For every model and number of threads: milliseconds a picture (median and 95th percentile) of decoding and resizing, of
the network, and of the whole ``predict``. Without --images a JPEG of 640 x 480 is made.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from plugins.lego.inference import ClassifierLoader, ModelFileError
from plugins.lego.inference_image import ImageError

_CAMERA = (640, 480)
_WARM = 3
_HEADER = f"{'model':<28}{'type':<6}{'threads':>7}   {'prepare':>17}{'network':>17}{'whole':>17}"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", type=Path, nargs="+", help="files of tools/export_onnx.py")
    add("--threads", type=int, nargs="+", default=[1, 2], help="threads of the network (default: 1 2)")
    add("--images", type=Path, help="folder of JPEG, PNG or WebP pictures (default: a made one of 640 x 480)")
    add("--runs", type=int, default=100, help="pictures a row (default 100)")
    add("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(arguments)
    if args.runs < 1 or min(args.threads) < 1:
        parser.error("--runs and --threads are from 1 on")
    return args


def made_picture() -> bytes:
    """A JPEG like a camera's: soft shapes and some noise."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
        _CAMERA, Image.Resampling.BICUBIC
    )
    noisy = np.asarray(coarse, np.int16) + rng.integers(-6, 7, (_CAMERA[1], _CAMERA[0], 3))
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def pictures_of(folder: Path | None) -> list[bytes]:
    """The pictures to measure on.

    Raises:
        ImageError: The folder has none.
    """
    if folder is None:
        return [made_picture()]
    if not folder.is_dir():
        raise ImageError(f"{folder}: there is no such folder")
    endings = (".jpg", ".jpeg", ".png", ".webp")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not paths:
        raise ImageError(f"{folder}: no JPEG, PNG or WebP pictures in it")
    return [path.read_bytes() for path in paths]


def measure(model: Path, threads: int, pictures: Sequence[bytes], runs: int) -> dict[str, Any]:
    """Figures of one model and number of threads, times in milliseconds.

    Raises:
        ModelFileError: The model cannot be used.
        ImageError: A picture cannot be.
    """
    classifier = ClassifierLoader(model, threads)
    for content in list(pictures)[:_WARM] * _WARM:
        classifier.predict(content)
    times: list[tuple[float, float, float]] = []
    for number in range(runs):
        content = pictures[number % len(pictures)]
        start = time.perf_counter()
        inputs = classifier.prepare(content)[None]
        prepared = time.perf_counter()
        probabilities = classifier.probabilities(inputs)
        computed = time.perf_counter()
        classifier.decide(probabilities)
        times.append((prepared - start, computed - prepared, time.perf_counter() - start))
    middle, late = np.percentile(1000 * np.array(times), [50, 95], axis=0)
    row: dict[str, Any] = {
        "model": model.name, "precision": classifier.info.facts.get("precision", "?"), "threads": threads, "runs": runs
    }  # fmt: skip
    for place, name in enumerate(("prepare", "network", "total")):
        row[f"{name}_p50_ms"], row[f"{name}_p95_ms"] = float(middle[place]), float(late[place])
    return row


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    pairs = (f"{row[f'{name}_p50_ms']:.1f} / {row[f'{name}_p95_ms']:.1f}" for name in ("prepare", "network", "total"))
    return f"{row['model'][:27]:<28}{row['precision']:<6}{row['threads']:>7}   " + "".join(
        f"{one:>17}" for one in pairs
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status."""
    args = parse_arguments(arguments)
    machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    sys.stdout.write(f"{machine}; milliseconds a picture, p50 / p95\n{_HEADER}\n")
    rows = []
    try:
        pictures = pictures_of(args.images)
        for model in args.models:
            for threads in args.threads:
                rows.append(measure(model, threads, pictures, args.runs))
                sys.stdout.write(line_of(rows[-1]) + "\n")
                sys.stdout.flush()
        if args.json is not None:
            args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    except (ModelFileError, ImageError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
