"""Photo enhancement: a trained network over a photo or a folder of photos."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import is_image_file
from plugins.color_fidelity.enhance_files import OUTPUT_SUFFIXES, Photo, read_photo, write_photo
from plugins.color_fidelity.enhance_run import Runner

SHEET_WIDTH = 1600
COMPARE_ENDING = "_compare"
_FORMATS = {ending: ending.replace("jpeg", "jpg").replace("tiff", "tif") for ending in OUTPUT_SUFFIXES}


@dataclass(frozen=True)
class Job:
    """One photo to enhance, and where to.

    Attributes:
        source: The photo.
        target: The file to write.
        label: Beginning of the name of its before/after sheet; None: the target's name without its ending.
    """

    source: Path
    target: Path
    label: str | None = None

    @property
    def sheet(self) -> Path:
        """Where the before/after sheet goes."""
        return self.target.with_name(f"{self.label or self.target.stem}{COMPARE_ENDING}.jpg")


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the photo's size and the time it took, or why it was not done."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    message: str
    seconds: float = 0.0


def plan_jobs(source: Path, output: Path, recursive: bool = False, suffix: str | None = None) -> list[Job]:
    """List the photos and the files to write.

    Args:
        source: A photo, or a folder of photos.
        output: For a folder: a folder. For a photo: a folder, or a file if it ends like an image.
        recursive: Also take photos in sub-folders; the output has the same ones.
        suffix: Ending of the output files, such as ``.png``; None keeps jpg, png and tiff, and makes png of the rest.

    Raises:
        UserError: There is nothing to do, the output is of the wrong kind, an output would overwrite its source, or
            two would be the same file.
    """
    if suffix is not None and suffix not in OUTPUT_SUFFIXES:
        raise UserError(f"format '{suffix}': use one of {', '.join(OUTPUT_SUFFIXES)}")
    _check_output(source, output, suffix)
    if source.is_dir():
        found = sorted(path for path in source.glob("**/*" if recursive else "*") if is_image_file(path.name))
        jobs = [Job(path, _renamed(output / path.relative_to(source), suffix)) for path in found if path.is_file()]
    elif source.is_file():
        is_file = output.suffix.lower() in OUTPUT_SUFFIXES and not output.is_dir()
        jobs = [Job(source, output if is_file else _renamed(output / source.name, suffix))]
    else:
        raise UserError(f"{source}: no such photo or folder")
    if not jobs:
        raise UserError(f"{source}: no images in it{'' if recursive else ' (sub-folders are taken with --recursive)'}")
    _refuse_collisions(jobs)
    stems = Counter(job.target.with_suffix("") for job in jobs)
    return [job if stems[job.target.with_suffix("")] == 1 else replace(job, label=job.target.name) for job in jobs]


def _check_output(source: Path, output: Path, suffix: str | None) -> None:
    """Raise ``UserError`` where the output can be neither the folder nor the file that it has to be."""
    ending = output.suffix.lower()
    if output.is_dir():
        return
    if source.is_dir():
        if output.exists():
            raise UserError(f"{output}: a file; the photos of a folder need a folder to go to")
    elif ending in OUTPUT_SUFFIXES:
        if suffix is not None and _FORMATS[suffix] != _FORMATS[ending]:
            raise UserError(f"{output}: its ending says another format than {suffix}; give one of them, or a folder")
    elif ending in Image.registered_extensions():
        raise UserError(f"{output}: cannot write '{ending}' files; use {', '.join(OUTPUT_SUFFIXES)} or a folder")


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    owners: dict[Path, Path] = {}
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise UserError(f"{job.source}: the output would overwrite it; choose another folder with -o")
        other = owners.setdefault(job.target, job.source)
        if other != job.source:
            raise UserError(f"{other} and {job.source} would both become {job.target}; rename one")


def _renamed(target: Path, suffix: str | None) -> Path:
    if suffix is None and target.suffix.lower() in OUTPUT_SUFFIXES:
        return target
    return target.with_suffix(suffix or ".png")


def enhance_photo(photo: Photo, run: Runner) -> Photo:
    """Enhance the colours of a photo; its alpha channel and everything beside the pixels stay.

    Args:
        photo: The photo.
        run: The network for images of any size.

    Raises:
        UserError: The network's result is not finite.
    """
    pixels = torch.from_numpy(photo.as_float()).permute(2, 0, 1).unsqueeze(0).contiguous()
    output = run(pixels)
    if not torch.isfinite(output).all():
        hint = "use --precision fp32" if run.precision != "fp32" else "the checkpoint is of a run that diverged"
        raise UserError(f"the network's output holds NaN or infinite values; {hint}")
    return photo.with_pixels(output[0].permute(1, 2, 0).numpy())


def enhance_all(
    jobs: Sequence[Job],
    run: Runner,
    overwrite: bool = False,
    compare: bool = False,
    clock: Callable[[], float] | None = None,
) -> Iterator[Outcome]:
    """Enhance photo after photo; one that cannot be read or written is reported and the rest go on.

    Args:
        jobs: What to do.
        run: The network for images of any size.
        overwrite: Whether to do photos again whose output exists.
        compare: Also write a sheet with the photo before and after, side by side.
        clock: Seconds; for tests.

    Yields:
        One outcome a job, in order.
    """
    clock = clock or time.monotonic
    for job in jobs:
        if not overwrite and job.target.exists() and (not compare or job.sheet.exists()):
            yield Outcome(job, "skipped", f"{job.target} exists (--overwrite does it again)")
            continue
        start = clock()
        try:
            before = read_photo(job.source)
            after = enhance_photo(before, run)
            write_photo(job.target, after)
            if compare:
                write_sheet(job.sheet, before, after)
        except UserError as error:
            text = str(error)
            yield Outcome(job, "failed", text if str(job.source) in text else f"{job.source}: {text}", clock() - start)
            continue
        height, width = after.rgb.shape[:2]
        yield Outcome(job, "done", f"{width}x{height}", clock() - start)


def write_sheet(path: Path, before: Photo, after: Photo) -> None:
    """Write a JPEG with two versions of a photo side by side, each at most 1,600 pixels wide, with a white gap."""
    images = [_small(photo.rgb) for photo in (before, after)]
    gap = np.full((images[0].shape[0], max(4, images[0].shape[1] // 100), 3), 255, dtype=np.uint8)
    sheet = Photo(np.concatenate([images[0], gap, images[1]], axis=1), icc_profile=before.icc_profile)
    write_photo(path, sheet)


def _small(rgb: np.ndarray) -> np.ndarray:
    eight = rgb if rgb.dtype == np.uint8 else np.rint(rgb / 257.0).astype(np.uint8)
    image = Image.fromarray(eight)
    if image.width > SHEET_WIDTH:
        height = max(1, round(image.height * SHEET_WIDTH / image.width))
        image = image.resize((SHEET_WIDTH, height), Image.Resampling.LANCZOS)
    return np.asarray(image)
