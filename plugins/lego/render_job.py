"""Renders many pictures on all cores into ``<out>/<part>/<colour>/<number>.jpg``, and goes on where it was stopped.

A picture depends on (seed, part, colour, number) and the settings alone, so the number of processes changes nothing.
``settings.json`` says with what a folder was begun; going on with other settings is refused. A picture counts as there
once its file is whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import encode_png, image_names
from plugins.lego.ldraw_colors import LDrawColor, library_colors
from plugins.lego.ldraw_library import LDrawLibrary, open_library, text_hash
from plugins.lego.ldraw_mesh import PartMesh, load_mesh
from plugins.lego.ldraw_parse import PartReader
from plugins.lego.render_raster import kernels
from plugins.lego.render_scene import Palette, Scene, SceneOptions, render, sample_scene, scene_seed
from plugins.lego.render_sensor import encode_jpeg

SETTINGS, LISTING, MESHES = "settings.json", "renders.csv", ".meshes"
VERSION = 2
_ENDINGS = {"jpg": b"\xff\xd9", "png": b"IEND\xaeB`\x82"}
_CHUNK = 8
COLUMNS = (
    "path", "source", "part", "color", "piece", "split", "sha1", "seed", "rest", "azimuth", "elevation", "roll",
    "field", "fill", "lamps", "dome", "ground", "photo", "ground_seed", "exposure", "gain_red", "gain_blue", "blur",
    "noise", "quality",
)  # fmt: skip

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RenderJob:
    """What to render.

    Attributes:
        ldraw: LDraw folder or archive.
        parts: Part ids.
        colors: LDraw codes.
        count: Pictures of each part in each colour.
        out: Folder to write to.
        seed: Any whole number from 0 on.
        image_format: ``jpg`` or ``png``; a PNG holds the same pixels as the JPEG would.
        backgrounds: Folder of photos to put behind parts, or None.
        options: What may vary.
    """

    ldraw: Path
    parts: tuple[str, ...]
    colors: tuple[int, ...]
    count: int
    out: Path
    seed: int = 0
    image_format: str = "jpg"
    backgrounds: Path | None = None
    options: SceneOptions = field(default_factory=SceneOptions)

    def tasks(self) -> Iterator[Task]:
        """All pictures in the order of the listing."""
        for part in self.parts:
            for color in self.colors:
                yield from (Task(part, color, number) for number in range(self.count))


@dataclass(frozen=True)
class Task:
    """One picture."""

    part: str
    color: int
    number: int

    def path(self, image_format: str) -> str:
        """Its file, relative to the job's folder."""
        return f"{self.part}/{self.color}/{self.number:06d}.{image_format}"


def choose_parts(library: LDrawLibrary, wanted: str) -> tuple[str, ...]:
    """Part ids.

    Args:
        library: Which parts there are.
        wanted: ``all``, a text file with one id a line ('#' starts a comment), or ids with commas between them.

    Raises:
        UserError: A part is not in the library, or none is named.
    """
    if wanted == "all":
        return tuple(library.parts())
    path = Path(wanted)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as a list of parts: {error}.") from error
        names = [line.split("#")[0].strip() for line in lines]
    else:
        names = [name.strip() for name in wanted.split(",")]
    ids = list(dict.fromkeys(name.lower().removesuffix(".dat") for name in names if name))
    if not ids:
        raise UserError(f"parts '{wanted}': names no part; give all, a file, or ids such as 3001,3003.")
    known = set(library.parts())
    missing = [part for part in ids if part not in known]
    if missing:
        raise UserError(f"{library.path}: has no part {', '.join(missing[:10])}{' ...' if len(missing) > 10 else ''}.")
    return tuple(ids)


def choose_colors(table: dict[int, LDrawColor], wanted: str) -> tuple[int, ...]:
    """LDraw codes.

    Args:
        table: Which colours there are.
        wanted: ``all``, a finish (``solid``, ``transparent``, ...), or codes with commas between them.

    Raises:
        UserError: A code is not in the table, or none is named.
    """
    if wanted == "all":
        return tuple(table)
    finish = tuple(code for code, color in table.items() if color.finish == wanted)
    if finish:
        return finish
    codes = [word.strip() for word in wanted.split(",") if word.strip()]
    bad = [word for word in codes if not word.isdecimal() or int(word) not in table]
    if bad or not codes:
        finishes = ", ".join(dict.fromkeys(color.finish for color in table.values()))
        raise UserError(
            f"colours '{wanted}': {', '.join(bad) or 'nothing'} is no LDraw code here; or say {finishes}, all."
        )
    return tuple(dict.fromkeys(int(word) for word in codes))


def check_job(job: RenderJob) -> None:
    """Refuse what cannot be rendered, before anything is written.

    Raises:
        UserError: numba is missing; the size or the count is out of range; the backgrounds hold no photo; the output
            folder was begun with other settings.
    """
    kernels()
    if not 16 <= job.options.size <= 2048:
        raise UserError(f"size {job.options.size}: pictures have from 16 to 2048 pixels a side.")
    if job.count < 1:
        raise UserError(f"count {job.count}: at least one picture of each part and colour is needed.")
    if job.image_format not in _ENDINGS:
        raise UserError(f"format '{job.image_format}': jpg or png.")
    _photos(job)
    path, settings = job.out / SETTINGS, _settings(job)
    if job.out.exists() and not job.out.is_dir():
        raise UserError(f"{job.out}: is a file; name a folder.")
    if not path.exists():
        if job.out.is_dir() and any(job.out.iterdir()):
            raise UserError(f"{job.out}: is not empty and was not begun by this tool (no {SETTINGS}); name another.")
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}. Remove the folder or name another.") from error
    old = old if isinstance(old, dict) else {}
    for key, value in settings.items():
        if old.get(key) != value:
            raise UserError(
                f"{path}: this folder was begun with {key}: {old.get(key)}, not {value}. Pictures of one folder share "
                "their settings (parts, colours and count may grow); name another folder."
            )


def _settings(job: RenderJob) -> dict[str, Any]:
    photos = (
        "\n".join(f"{name} {(job.backgrounds / name).stat().st_size}" for name in _photos(job))
        if job.backgrounds
        else ""
    )
    return {
        "version": VERSION,
        "ldraw": str(job.ldraw.resolve()),
        "seed": job.seed,
        "format": job.image_format,
        "backgrounds": text_hash(photos) if photos else "",
        **asdict(job.options),
    }


def _photos(job: RenderJob) -> list[str]:
    if job.backgrounds is None:
        return []
    if not job.backgrounds.is_dir():
        raise UserError(f"{job.backgrounds}: is no folder of background photos.")
    names = image_names(job.backgrounds)
    if not names:
        raise UserError(f"{job.backgrounds}: holds no image file.")
    return names


@dataclass(frozen=True)
class _Worker:
    """What a process keeps between pictures."""

    job: RenderJob
    reader: PartReader
    palette: Palette


_worker: list[_Worker] = []  # one in each process; empty in the main one


def _begin(job: RenderJob, reader: PartReader, table: dict[int, LDrawColor]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends the work
    cv2.setNumThreads(1)
    _worker[:] = [_Worker(job, reader, Palette(table, job.backgrounds, _photos(job)))]


def _compile(mesh: PartMesh, color: LDrawColor, table: dict[int, LDrawColor]) -> None:
    """Compile once here, not in every process: a tiny picture."""
    options, palette = SceneOptions(size=16, lights=16, shadow_size=16), Palette(table)
    render(mesh, color, sample_scene(mesh, palette, options, 0), palette, options)


def _mesh_task(part: str) -> None:
    worker = _worker[0]
    load_mesh(worker.reader, part, worker.job.out / MESHES)


def _render_tasks(tasks: list[Task]) -> list[list[str]]:
    """Render what is not there yet; rows of the listing."""
    worker = _worker[0]
    job, rows = worker.job, []
    for part in dict.fromkeys(task.part for task in tasks):
        mesh = load_mesh(worker.reader, part, job.out / MESHES)
        for task in (task for task in tasks if task.part == part):
            seed = scene_seed(job.seed, task.part, task.color, task.number)
            scene = sample_scene(mesh, worker.palette, job.options, seed)
            name = task.path(job.image_format)
            content = whole_file(job.out / name, job.image_format)
            if content is None:
                color = worker.palette.colors[task.color]
                content = _encode(render(mesh, color, scene, worker.palette, job.options), scene, job.image_format)
                _write(job.out / name, content)
            rows.append(_row(name, task, scene, hashlib.sha1(content, usedforsecurity=False).hexdigest()))
    return rows


def _encode(pixels: np.ndarray[Any, Any], scene: Scene, image_format: str) -> bytes:
    content = encode_jpeg(pixels, scene.sensor.quality)
    if image_format == "jpg":
        return content
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return encode_png(np.asarray(decoded)[..., ::-1])


def _write(path: Path, content: bytes) -> None:
    """As ``write_atomic``, but without waiting for the disk: a lost picture is rendered again."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror or error}.") from error


def whole_file(path: Path, image_format: str) -> bytes | None:
    """The bytes of a picture, or None where it is missing or cut off."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if content.endswith(_ENDINGS[image_format]) else None


def _row(name: str, task: Task, scene: Scene, sha1: str) -> list[str]:
    pose, sensor, ground = scene.pose, scene.sensor, scene.ground
    lamps = " ".join(f"{lamp.azimuth:.0f}/{lamp.elevation:.0f}/{lamp.radius:.0f}" for lamp in scene.lighting.lamps)
    numbers = (pose.azimuth, pose.elevation, pose.roll, pose.field, pose.fill)
    camera = (sensor.exposure, sensor.gains[0], sensor.gains[2], sensor.blur, sensor.noise)
    return [
        name, "render", task.part, str(task.color), "", "train", sha1, str(scene.seed), str(pose.rest),
        *(f"{value:.4g}" for value in numbers), lamps, f"{scene.lighting.dome:.3f}", ground.kind, ground.photo,
        str(ground.seed), *(f"{value:.4g}" for value in camera), str(sensor.quality),
    ]  # fmt: skip


def render_all(job: RenderJob, processes: int, progress: Progress | None = None) -> list[list[str]]:
    """Render a job.

    Args:
        job: What; ``check_job`` has passed.
        processes: How many processes.
        progress: Called as ``progress(done, total, name)``.

    Returns:
        Rows of ``renders.csv``, which is written too, in the order of the tasks.

    Raises:
        UserError: A part is malformed, a file cannot be read or written, or a process was killed.
    """
    library = open_library(job.ldraw)
    table = library_colors(library)
    write_atomic(job.out / SETTINGS, lambda file: file.write(json.dumps(_settings(job), indent=1).encode()))
    tasks = list(job.tasks())
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    # Never forked: a lock that one of OpenCV's or torch's threads holds at that moment would stay locked for good.
    context = multiprocessing.get_context("spawn")
    reader = PartReader(library)
    _compile(load_mesh(reader, job.parts[0], job.out / MESHES), table[job.colors[0]], table)
    pool = ProcessPoolExecutor(processes, context, _begin, (job, reader, table))
    try:
        for _ in pool.map(_mesh_task, job.parts):
            pass
        rows = _collect(pool, chunks, len(tasks), progress)
    except BrokenProcessPool as error:
        raise UserError(
            f"{job.out}: a process was killed (memory?). Run it again with fewer --jobs; it goes on."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    write_listing(job.out / LISTING, rows)
    return rows


def _collect(
    pool: ProcessPoolExecutor, chunks: list[list[Task]], total: int, progress: Progress | None
) -> list[list[str]]:
    results: dict[int, list[list[str]]] = {}
    waiting: dict[Future[list[list[str]]], int] = {}
    numbers = iter(range(len(chunks)))
    done = 0
    while True:
        # few at a time: a million futures would fill the memory
        while len(waiting) < 64 and (number := next(numbers, None)) is not None:
            waiting[pool.submit(_render_tasks, chunks[number])] = number
        if not waiting:
            return [row for number in sorted(results) for row in results[number]]
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            rows = future.result()
            results[waiting.pop(future)] = rows
            done += len(rows)
            if progress is not None:
                progress(done, total, rows[-1][0])


def write_listing(path: Path, rows: list[list[str]]) -> None:
    """Write ``renders.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_atomic(path, lambda file: file.write(text.getvalue().encode()))
