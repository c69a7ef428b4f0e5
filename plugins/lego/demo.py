"""The demo: renders of a dozen parts, a small network, its figures on pictures made otherwise, ONNX, one answer.

The held-out pictures are renders too, unless one's own captures are given: other poses, photographs as backgrounds, a
camera whose white balance and exposure err by more than in training. They say whether everything works together, not
how well real bricks are recognised; benchmarks/results/lego.md is about that.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.training_process import train_once
from plugins.color_science.fast import available_cores
from plugins.lego.color_ids import LDRAW
from plugins.lego.ldraw_library import open_library
from plugins.lego.lego_eval_run import EvalOptions, Evaluation, evaluate
from plugins.lego.lego_export_run import ExportPlan, export_lego_classifier
from plugins.lego.lego_manifest import MANIFEST, TEST, VAL, Record
from plugins.lego.lego_prepare import Prepared, PrepareOptions, prepare
from plugins.lego.lego_prepare_files import write_prepared
from plugins.lego.lego_prepare_scan import Place
from plugins.lego.render_job import RenderJob, check_job, choose_parts, render_all
from plugins.lego.render_scene import QUALITIES, SceneOptions
from plugins.lego.simple_parts import write_simple_parts
from plugins.sample_photos import sample_photos

Say = Callable[[str], None]

OPTIONS = "options/demo/lego_classifier.yml"
EXPERIMENT = "Lego_Demo"
COLORS = (0, 1, 2, 4, 14, 15, 25, 71)
"""Black, blue, green, red, yellow, white, orange, grey."""
COMMON_PARTS = (
    "3001", "3003", "3004", "3020", "3022", "3023", "3039", "3040b", "3062b", "3068b", "4070", "6141", "3005", "2420",
)  # fmt: skip
"""What is rendered of a real library where no parts are named, as far as it has them."""
MOST_PARTS = 12
SIZE = 64
TRAIN_COUNT, HELD_OUT_COUNT = 40, 3
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class DemoOptions:
    """How to run the demo.

    Attributes:
        root: The project's root.
        ldraw: LDraw folder or archive; None for the dozen computed parts.
        parts: Ids with commas, or a file of ids; empty for all computed ones, or common ones of the library.
        real: Own captures, ``part/colour/<piece>_<view>.jpg`` with LDraw's colour codes; None for held-out renders.
        tag: Ending of the folders' names, so that several demos can stand side by side.
        fresh: Start again from nothing.
        force: More ``--force_yml`` settings.
    """

    root: Path
    ldraw: Path | None = None
    parts: str = ""
    real: Path | None = None
    tag: str = ""
    fresh: bool = False
    force: tuple[str, ...] = ()

    @property
    def data(self) -> Path:
        """Folder of the parts, renders and manifest."""
        return self.root / "datasets" / f"lego_demo{self._suffix}"

    @property
    def experiment(self) -> Path:
        """Folder of the training."""
        return self.root / "experiments" / f"{EXPERIMENT}{self._suffix}"

    @property
    def results(self) -> Path:
        """Folder of the page, tables, pictures and the ONNX file."""
        return self.root / "results" / f"lego_demo{self._suffix}"

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.data / MANIFEST

    @property
    def weights(self) -> Path:
        """The weights at the end."""
        return self.experiment / "models" / "net_g_latest.pth"

    @property
    def model(self) -> Path:
        """The exported network."""
        return self.results / "lego.onnx"

    @property
    def _suffix(self) -> str:
        return f"_{self.tag}" if self.tag else ""


def make_data(options: DemoOptions, say: Say) -> None:
    """Render, and write the manifest with splits, unless it is there.

    Raises:
        UserError: numba is missing; a file, folder or part given is wrong.
    """
    done = options.data / _SETTINGS
    settings = {key: str(getattr(options, key)) for key in ("ldraw", "parts", "real")}
    if done.is_file() and json.loads(done.read_text(encoding="utf-8")) == settings and not options.fresh:
        say(f"data: complete ({options.data})")
        return
    ldraw = options.ldraw or options.data / "ldraw"
    if options.ldraw is not None:
        _parts_of(options, ldraw)  # refuse before anything is removed
    for folder in (options.data, options.experiment, options.results):
        if folder.exists():
            shutil.rmtree(folder)
    if options.ldraw is None:
        write_simple_parts(ldraw)
    parts = _parts_of(options, ldraw)
    _render(options, RenderJob(ldraw, parts, COLORS, TRAIN_COUNT, options.data / "train", 0, options=_usual()), say)
    if options.real is None:
        _render(options, _held_out_job(options, ldraw, parts), say)
    prepared = _prepared(options)
    write_prepared(prepared, options.data)
    write_atomic(done, lambda file: file.write(json.dumps(settings, indent=1).encode()))
    counts = {split: sum(one.split == split for one in prepared.records) for split in ("train", VAL, TEST)}
    say(
        f"data: {len(prepared.parts)} parts, {len(prepared.colors)} colours; {counts['train']} pictures to train on, "
        f"{counts[VAL]} to validate, {counts[TEST]} to test, in {options.data}"
    )


def _parts_of(options: DemoOptions, ldraw: Path) -> tuple[str, ...]:
    library = open_library(ldraw)
    if options.parts:
        parts = choose_parts(library, options.parts)
    else:
        known = library.parts()
        parts = tuple(one for one in COMMON_PARTS if one in known)[:MOST_PARTS] if options.ldraw else tuple(known)
    if len(parts) < 2:
        raise UserError(f"{ldraw}: two parts at least are needed to tell apart; name some with --parts 3001,3003")
    return parts


def _usual() -> SceneOptions:
    return SceneOptions(size=SIZE, **QUALITIES["plain"])


def _held_out_job(options: DemoOptions, ldraw: Path, parts: tuple[str, ...]) -> RenderJob:
    """Pictures of another world: full shadows, photographs as grounds, odd poses, a camera that errs more."""
    photos = options.data / "backgrounds"
    photos.mkdir(parents=True, exist_ok=True)
    for photo in sample_photos():
        try:
            shutil.copyfile(photo.path, photos / f"{photo.name}{Path(photo.file).suffix}")
        except UserError:
            continue  # its package is not installed
    scene = SceneOptions(size=SIZE, any_pose=0.25, gain_error=0.08, exposure=0.25, photo_share=0.5)
    grounds = photos if any(photos.iterdir()) else None
    return RenderJob(
        ldraw, parts, COLORS, HELD_OUT_COUNT, options.data / "held_out", 1, backgrounds=grounds, options=scene
    )


def _render(options: DemoOptions, job: RenderJob, say: Say) -> None:
    check_job(job)
    total = len(job.parts) * len(job.colors) * job.count
    say(f"rendering {total} pictures into {job.out.relative_to(options.root)}")
    render_all(job, available_cores())


def _prepared(options: DemoOptions) -> Prepared:
    places = [Place("render", options.data / "train")]
    if options.real is not None:
        return prepare(PrepareOptions((*places, Place("real", options.real, LDRAW)), options.data))
    places.append(Place("render", options.data / "held_out"))
    found = prepare(PrepareOptions(tuple(places), options.data))
    return replace(found, records=[_with_split(record) for record in found.records])


def _with_split(record: Record) -> Record:
    """Of the held-out renders the first of each part and colour validates, the others test."""
    if not record.path.startswith("held_out/"):
        return record
    return replace(record, split=VAL if Path(record.path).stem == f"{0:06d}" else TEST)


def train_command(options: DemoOptions, resume: bool) -> list[str]:
    """The command line that trains the demo's network."""
    folder, force = options.data, [f"name={options.experiment.name}"]
    for head in ("part", "color"):
        count = len(json.loads((folder / f"{head}_names.json").read_text(encoding="utf-8")))
        force.append(f"network_g:num_{head}s={count}")
    force += [f"datasets:{split}:manifest={options.manifest}" for split in ("train", "val")]
    script = options.root / "BasicSR" / "basicsr" / "train.py"
    command = [sys.executable, str(script), "-opt", str(options.root / OPTIONS)]
    return command + (["--auto_resume"] if resume else []) + ["--force_yml", *force, *options.force]


def train(options: DemoOptions, say: Say) -> None:
    """Train, or go on with an interrupted training.

    Raises:
        UserError: The training ended with an error; its last lines are in the message.
    """

    def heard(line: str) -> None:
        if "# part_accuracy" in line or "# color_accuracy" in line:
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


def judge(options: DemoOptions) -> Evaluation:
    """The figures on the held-out pictures, or on the real ones where there are some."""
    sources = ("render",) if options.real is None else None
    return evaluate(EvalOptions(options.weights, options.manifest, TEST, sources))


def export(options: DemoOptions, result: Evaluation, say: Say) -> None:
    """Write the ONNX file with the fitted temperatures, unless it does not agree with torch."""
    options.results.mkdir(parents=True, exist_ok=True)
    temperatures = [f"{head}={value:.4f}" for head, value in result.fitted.items()]
    for line in export_lego_classifier(ExportPlan(options.weights, options.model, temperature=temperatures)):
        say(f"  {line}")


def example(result: Evaluation) -> Path:
    """A picture of the test to show an answer to: the first of its files."""
    return result.answers.files[0]
