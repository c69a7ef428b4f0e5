"""Masks of the classes of light for a whole LSMI data set: resumable, in parallel, every fault counted and named."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.cli import check_writable
from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import OUTLIER_DEGREES, Centroids, read_centroids
from plugins.illuminant.lsmi_arrays import read_json
from plugins.illuminant.lsmi_layout import AUTO, Levels, Problem, SceneImage, list_images
from plugins.illuminant.lsmi_mask_files import MANIFEST, ManifestRow, manifest_bytes, read_manifest, write_mask_file
from plugins.illuminant.lsmi_masks import make_masks, manifest_row
from plugins.illuminant.lsmi_preview import write_preview
from plugins.illuminant.lsmi_read import LIGHT_SOURCES, META_LIGHTS, read_scene
from plugins.illuminant.lsmi_synthetic_files import write_json

CENTROIDS, SETTINGS, PREVIEW = "centroids.json", "settings.json", "preview.png"
_EVERY = 100
"""The manifest is written after so many pictures: a run that is killed loses at most that many."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PrepareOptions:
    """What to prepare.

    Attributes:
        root: The data set's folder, or one camera's.
        centroids: ``centroids.json`` of the same camera's lights.
        out: Folder of the masks; None for ``masks`` in the data set's folder.
        layout: ``raw``, ``preprocessed`` or ``auto``.
        levels: Levels of the raw files of a camera that LSMI does not have.
        cameras: Only these; none for all.
        splits: Only these; none for all.
        single: Pictures with one light, too.
        lights_from: ``meta`` or ``chart``, see :func:`read_scene`.
        keep_charts: Let the colour charts count as scene.
        outlier_degrees: A light further from its centroid belongs to no class.
        longest: Longer side of the masks; None keeps the pictures' size.
        limit: At most so many pictures.
        jobs: Processes.
    """

    root: Path
    centroids: Path
    out: Path | None = None
    layout: str = AUTO
    levels: Levels | None = None
    cameras: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    single: bool = False
    lights_from: str = META_LIGHTS
    keep_charts: bool = False
    outlier_degrees: float = OUTLIER_DEGREES
    longest: int | None = 512
    limit: int | None = None
    jobs: int = 1

    @property
    def folder(self) -> Path:
        """Folder of the masks."""
        return self.out or self.root / "masks"


@dataclass
class Prepared:
    """What came of it: the manifest's rows, what was wrong, how many were there before, pictures in the preview."""

    rows: list[ManifestRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    broken: int = 0
    kept: int = 0
    shown: int = 0

    def class_shares(self) -> np.ndarray:
        """Mean share of each class over the valid area, (K,)."""
        return np.average([row.class_shares for row in self.rows], axis=0, weights=self._areas())

    def other_share(self) -> float:
        """Mean share of lights that belong to no class over the valid area."""
        return float(np.average([row.other_share for row in self.rows], weights=self._areas()))

    def invalid_share(self) -> float:
        """Share of all pixels that are not valid."""
        sizes = [row.height * row.width for row in self.rows]
        return 1 - float(np.average([row.valid_share for row in self.rows], weights=sizes))

    def flags(self) -> Counter[str]:
        """How many pictures have each flag."""
        return Counter(flag for row in self.rows for flag in row.flags)

    def _areas(self) -> list[float]:
        areas = [row.height * row.width * row.valid_share for row in self.rows]
        return areas if sum(areas) > 0 else [1.0] * len(areas)


def prepare_masks(options: PrepareOptions, progress: Progress | None = None) -> Prepared:
    """Make the masks that are not there yet, the manifest of all, and the preview sheet.

    Raises:
        UserError: There is no data set, no picture of it can be used, the folder holds masks made with other
            centroids or settings, or the disk refused.
    """
    _check(options)
    centroids = read_centroids(options.centroids)
    listing = list_images(options.root, options.layout, options.levels, options.single)
    images = [image for image in listing.images if _wanted(options, image)][: options.limit]
    if not images:
        raise UserError(
            f"{options.root}: holds no picture that was asked for ({len(listing.images)} without a choice)."
        )
    _claim(options, centroids)
    prepared = Prepared(problems=listing.problems)
    before = _earlier(options.folder)
    names = {id(image): npz_name(image) for image in images}
    todo = [image for image in images if names[id(image)] not in before]
    prepared.kept = len(images) - len(todo)
    rows = dict(before)
    try:
        for count, result in enumerate(_results(options, centroids, todo), start=1):
            if isinstance(result, Problem):
                prepared.problems.append(result)
                prepared.broken += 1
            else:
                rows[result.npz] = result
            if progress:
                progress(prepared.kept + count, len(images), todo[count - 1].image_id)
            if count % _EVERY == 0:
                _write_manifest(options.folder, rows)
    finally:
        if rows:
            _write_manifest(options.folder, rows)
    prepared.rows = [rows[names[id(image)]] for image in images if names[id(image)] in rows]
    if not prepared.rows:
        first = prepared.problems[-1]
        raise UserError(
            f"{options.root}: none of {len(images)} pictures can be used; the last: {first.path}: {first.what}"
        )
    prepared.shown = write_preview(options.folder / PREVIEW, options.root, options.folder, prepared.rows)
    return prepared


def npz_name(image: SceneImage) -> str:
    """Where a picture's masks lie in the folder of the masks."""
    return f"{image.split}/{image.camera}_{image.image_id}.npz"


def _check(options: PrepareOptions) -> None:
    if options.lights_from not in LIGHT_SOURCES:
        raise UserError(f"lights from {options.lights_from!r}: none of {', '.join(LIGHT_SOURCES)}.")
    if not 0 < options.outlier_degrees <= 180:
        raise UserError(f"--outlier-degrees {options.outlier_degrees:g}: an angle above 0 is needed.")
    if options.levels and not 0 <= options.levels.black < options.levels.white < float("inf"):
        raise UserError("--black, --white: 0 <= black < white is needed.")
    check_writable(options.folder / MANIFEST)


def _wanted(options: PrepareOptions, image: SceneImage) -> bool:
    return (not options.cameras or image.camera in options.cameras) and (
        not options.splits or image.split in options.splits
    )


def _claim(options: PrepareOptions, centroids: Centroids) -> None:
    """Note what the masks are made with, and refuse a folder of others."""
    settings = {
        "centroids": centroids.as_dict(),
        "root": str(options.root.resolve()),
        "layout": options.layout,
        "levels": None if options.levels is None else [options.levels.black, options.levels.white],
        "lights_from": options.lights_from,
        "keep_charts": options.keep_charts,
        "outlier_degrees": options.outlier_degrees,
        "longest": options.longest,
    }
    path = options.folder / SETTINGS
    if path.exists():
        before = read_json(path)
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            raise UserError(
                f"{options.folder}: holds masks made with other {', '.join(changed)}; give --out another folder, or "
                "remove this one."
            )
        return
    if (options.folder / MANIFEST).exists() or (options.folder / CENTROIDS).exists():
        raise UserError(
            f"{options.folder}: holds masks of unknown origin ({SETTINGS} is missing); choose another folder."
        )
    write_json(options.folder / CENTROIDS, centroids.as_dict())
    write_json(path, settings)


def _earlier(folder: Path) -> dict[str, ManifestRow]:
    if not (folder / MANIFEST).exists():
        return {}
    return {row.npz: row for row in read_manifest(folder) if (folder / row.npz).is_file()}


def _write_manifest(folder: Path, rows: dict[str, ManifestRow]) -> None:
    content = manifest_bytes([rows[name] for name in sorted(rows)])
    write_atomic(folder / MANIFEST, lambda file: file.write(content))


def prepare_one(image: SceneImage, options: PrepareOptions, centroids: Centroids) -> ManifestRow | Problem:
    """Make the masks of one picture; what is wrong with its files is the answer, not an exception."""
    try:
        scene = read_scene(image, options.lights_from, options.keep_charts)
    except UserError as error:
        return Problem(str(image.image), str(error))
    path = image.image.relative_to(options.root).as_posix()
    masks = make_masks(scene, centroids, path, options.outlier_degrees, options.longest)
    name = npz_name(image)
    write_mask_file(options.folder / name, masks)
    return manifest_row(masks, name, scene.flags)


def _results(
    options: PrepareOptions, centroids: Centroids, todo: Sequence[SceneImage]
) -> Iterator[ManifestRow | Problem]:
    work = partial(prepare_one, options=options, centroids=centroids)
    if options.jobs == 1 or len(todo) < 2:
        yield from map(work, todo)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(options.jobs, len(todo)), mp_context=context)
    try:
        yield from pool.map(work, todo, chunksize=2)
    except BrokenProcessPool as error:
        raise UserError("a process ended by itself, perhaps for want of memory: give fewer --jobs.") from error
    finally:
        pool.shutdown(cancel_futures=True)
