"""The demo: photographs under drawn lights, a small IlluminantCNN, and a table beside the classical methods."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import encode_png, image_names, read_image
from basicsr.engine.options_merge import load_options
from basicsr.engine.training_process import train_once
from plugins.color_science.illuminants import sample_lights
from plugins.illuminant.centroid_fit import fit_centroids
from plugins.illuminant.centroid_plot import write_centroid_plot
from plugins.illuminant.eval_samples import samples_of
from plugins.illuminant.illuminant_dataset import IlluminantDataset
from plugins.illuminant.illuminant_eval import LitSample
from plugins.sample_photos import sample_photos

Array = np.ndarray[Any, Any]
Say = Callable[[str], None]

OPTIONS = "options/demo/illuminant_cnn.yml"
EXPERIMENT = "IlluminantCNN_Demo"
HELD_OUT = ("chelsea", "coffee", "flower", "grace_hopper", "rocket")
"""Packaged photographs that no training crop comes from."""
FEWEST = 8
"""So many photos of one's own are needed."""
FOLDS = 4
_LIGHTS = {"train": (1500, 1), "test": (500, 2)}
"""Lights of each split and the seed they are drawn with."""
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class DemoOptions:
    """How to run the demo.

    Attributes:
        root: The project's root.
        photos: Folder of white-balanced photos instead of the packaged ones.
        lights: Table of measured lights of ``sensor`` instead of drawn ones.
        fold: Which quarter of one's own photos is held out, 0 to 3.
        tag: Ending of the folders' names, so that several demos can stand side by side.
        size: Longer side of the stored photos, in pixels.
        fresh: Start again from nothing.
        force: More ``--force_yml`` settings.
    """

    root: Path
    photos: Path | None = None
    lights: Path | None = None
    fold: int = 0
    tag: str = ""
    size: int = 512
    fresh: bool = False
    force: tuple[str, ...] = ()

    @property
    def data(self) -> Path:
        """Folder of the photos, lights and centroids."""
        return self.root / "datasets" / f"illuminant_demo{self._suffix}"

    @property
    def experiment(self) -> Path:
        """Folder of the training."""
        return self.root / "experiments" / f"{EXPERIMENT}{self._suffix}"

    @property
    def results(self) -> Path:
        """Folder of tables and pictures."""
        return self.root / "results" / f"illuminant_demo{self._suffix}"

    @property
    def weights(self) -> Path:
        """The weights at the end: the best ones were chosen by looking at the photos that are measured on."""
        return self.experiment / "models" / "net_g_latest.pth"

    @property
    def _suffix(self) -> str:
        return f"_{self.tag}" if self.tag else ""


def make_data(options: DemoOptions, say: Say) -> None:
    """Write the photos of both splits, their lights and the centroids, unless they are there.

    Raises:
        UserError: There is no such folder, or it holds too few photos.
    """
    settings = {
        "photos": str(options.photos),
        "lights": str(options.lights),
        "size": options.size,
        "fold": options.fold,
    }
    done = options.data / _SETTINGS
    if done.is_file() and json.loads(done.read_text(encoding="utf-8")) == settings and not options.fresh:
        say(f"data: complete ({options.data})")
        return
    chosen = _packaged() if options.photos is None else _own(options.photos, options.fold)
    for folder in (options.data, options.experiment, options.results):
        if folder.exists():
            shutil.rmtree(folder)
    for split, path in chosen:
        _store(path, options.data / split, options.size)
    _write_lights(options)
    write_atomic(done, lambda file: file.write(json.dumps(settings, indent=2).encode()))
    counts = {split: sum(1 for name, _ in chosen if name == split) for split in ("train", "test")}
    say(f"data: {counts['train']} photos to train on, {counts['test']} held out, in {options.data}")


def _packaged() -> list[tuple[str, Path]]:
    return [("test" if photo.name in HELD_OUT else "train", photo.path) for photo in sample_photos()]


def _own(folder: Path, fold: int) -> list[tuple[str, Path]]:
    """Split by a hash of the name into quarters, one of which is held out."""
    if not folder.is_dir():
        raise UserError(f"--photos {folder}: there is no such folder. Give a folder of .jpg, .png or .tif photos.")
    names = image_names(folder)
    if len(names) < FEWEST:
        raise UserError(f"--photos {folder}: {len(names)} photos found; at least {FEWEST} are needed.")
    ranks = sorted(names, key=lambda name: hashlib.sha256(Path(name).stem.encode()).hexdigest())
    size = max(2, round(len(names) / FOLDS))
    held_out = set(ranks[fold * size : (fold + 1) * size])
    return [("test" if name in held_out else "train", folder / name) for name in names]


def _store(path: Path, folder: Path, size: int) -> None:
    try:
        pixels = read_image(path)
    except UserError as error:
        logging.getLogger("basicsr").warning("skipped: %s", error)
        return
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    factor = min(1.0, size / max(pixels.shape[:2]))
    shape = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    small = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{path.stem}.png", lambda file: file.write(encode_png(small)))


def _write_lights(options: DemoOptions) -> None:
    """Lights of training and test are different draws; the classes come from the first alone."""
    if options.lights is None:
        drawn = {split: sample_lights(count, np.random.default_rng(seed)) for split, (count, seed) in _LIGHTS.items()}
    else:
        from plugins.illuminant.truth_table import read_lights

        lights = read_lights(options.lights)
        # Seen through gains that make their median grey: the photos are sRGB, not this camera's raw.
        lights = lights / np.median(lights, axis=0)
        lights = lights / lights.sum(1, keepdims=True)
        test = np.arange(len(lights)) % 4 == 3
        drawn = {"train": lights[~test], "test": lights[test]}
    for split, lights in drawn.items():
        stream = io.StringIO()
        table = csv.writer(stream)
        table.writerow(["r", "g", "b"])
        table.writerows(lights.round(7).tolist())
        text = stream.getvalue().encode()
        write_atomic(options.data / f"lights_{split}.csv", lambda file, text=text: file.write(text))  # type: ignore[misc]
    fit = fit_centroids(drawn["train"], "sRGB", source=f"lights_train.csv ({len(drawn['train'])} lights)")
    content = json.dumps(fit.centroids.as_dict(), indent=2).encode()
    write_atomic(options.data / "centroids.json", lambda file: file.write(content))
    write_centroid_plot(fit, options.data / "centroids.png")


def train_command(options: DemoOptions, resume: bool) -> list[str]:
    """The command line that trains the demo's network."""
    data = options.data
    force = [f"name={options.experiment.name}"]
    for entry, split in (("train", "train"), ("val", "test")):
        force += [
            f"datasets:{entry}:dataroot={data / split}",
            f"datasets:{entry}:centroids={data / 'centroids.json'}",
            f"datasets:{entry}:relight_lights={data / f'lights_{split}.csv'}",
        ]
    script = options.root / "BasicSR" / "basicsr" / "train.py"
    command = [sys.executable, str(script), "-opt", str(options.root / OPTIONS)]
    return command + (["--auto_resume"] if resume else []) + ["--force_yml", *force, *options.force]


def train(options: DemoOptions, say: Say) -> None:
    """Train, or go on with an interrupted training.

    Raises:
        UserError: The training ended with an error; its last lines are in the message.
    """

    def heard(line: str) -> None:
        if "iter:" in line or "# balanced" in line or "# angle_mean" in line:
            say(f"  {line}")

    train_once(
        option_file=options.root / OPTIONS,
        settings=train_command(options, False)[5:],
        experiment=options.experiment,
        weights=options.weights,
        root=options.root,
        command_of=lambda resume: train_command(options, resume),
        say=say,
        heard=heard,
    )


def test_samples(options: DemoOptions) -> Iterator[LitSample]:
    """The held-out photos under their lights, as the validation of the training sees them."""
    entry = load_options(options.root / OPTIONS, train_command(options, False)[5:]).root.plain()["datasets"]["val"]
    return samples_of(IlluminantDataset({**entry, "phase": "val"}))
