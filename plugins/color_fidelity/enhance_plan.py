"""What there is to enhance: photos and the files they become, before a pixel is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import is_image_file, read_file_header
from plugins.color_fidelity.enhance_files import OUTPUT_SUFFIXES

COMPARE_ENDING = "_compare"
_FORMATS = {ending: ending.replace("jpeg", "jpg").replace("tiff", "tif") for ending in OUTPUT_SUFFIXES}


@dataclass(frozen=True)
class Job:
    """One photo to enhance, and where to.

    Attributes:
        source: The photo.
        target: The file to write.
        label: Beginning of the name of its before/after sheet; None: the target's name without its ending.
        obstacle: Why it cannot be done, if that is known before its pixels are read.
    """

    source: Path
    target: Path
    label: str | None = None
    obstacle: str | None = None

    @property
    def sheet(self) -> Path:
        """Where the before/after sheet goes."""
        return self.target.with_name(f"{self.label or self.target.stem}{COMPARE_ENDING}.jpg")


def plan_jobs(
    source: Path, output: Path, recursive: bool = False, suffix: str | None = None, keep_ending: bool = False
) -> list[Job]:
    """List the photos and the files to write.

    Args:
        source: A photo, or a folder of photos.
        output: For a folder: a folder. For a photo: a folder, or a file if it ends like an image.
        recursive: Also take photos in sub-folders; the output has the same ones.
        suffix: Ending of the output files, such as ``.png``; None keeps jpg, png and tiff, and makes png of the rest.
        keep_ending: Put a new ending behind the old one (``a.bmp.png``), so that photos of one name stay apart.

    Returns:
        One job a photo. Two photos that would become one file have an ``obstacle``, the others go on.

    Raises:
        UserError: There is nothing to do, the output is of the wrong kind, or an output would overwrite its source.
    """
    if suffix is not None and suffix not in OUTPUT_SUFFIXES:
        raise UserError(f"format '{suffix}': use one of {', '.join(OUTPUT_SUFFIXES)}")
    _check_output(source, output, suffix)
    if source.is_dir():
        photos = _photos_in(source, output, recursive)
        jobs = [Job(path, _renamed(output / path.relative_to(source), suffix, keep_ending)) for path in photos]
    elif source.is_file():
        is_file = output.suffix.lower() in OUTPUT_SUFFIXES and not output.is_dir()
        jobs = [Job(source, output if is_file else _renamed(output / source.name, suffix, keep_ending))]
    else:
        raise UserError(f"{source}: no such photo or folder")
    if not jobs:
        raise UserError(f"{source}: no images in it{'' if recursive else ' (sub-folders are taken with --recursive)'}")
    return _with_sheet_names(_with_collisions(jobs))


def _photos_in(source: Path, output: Path, recursive: bool) -> list[Path]:
    """The photos of a folder, sorted; those of an output folder inside it are results, not sources."""
    inside = output.resolve() if output.resolve() != source.resolve() else None
    found = []
    for path in sorted(source.glob("**/*" if recursive else "*")):
        # A link that leads nowhere is taken too: it is then named as unreadable, and not lost silently.
        if is_image_file(path.name) and (path.is_file() or path.is_symlink()):
            if inside is None or inside not in path.absolute().parents and inside not in path.resolve().parents:
                found.append(path)
    return found


def megapixels(job: Job, max_side: int | None = None) -> float:
    """Size of a photo in the network, in millions of pixels, by its header; 0 where that cannot be read."""
    try:
        header = read_file_header(job.source)
    except UserError:
        return 0.0
    scale = 1.0 if max_side is None else min(1.0, max_side / max(header.height, header.width))
    return header.height * header.width * scale**2 / 1e6


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


def _with_collisions(jobs: Sequence[Job]) -> list[Job]:
    """Give every job whose file another one would write too an obstacle that names both."""
    owners: dict[Path, list[Path]] = {}
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise UserError(f"{job.source}: the output would overwrite it; choose another folder with -o")
        owners.setdefault(job.target, []).append(job.source)
    marked = []
    for job in jobs:
        names = " and ".join(str(source) for source in owners[job.target])
        text = f"{names} would both become {job.target}; use --keep-ending, or rename one"
        marked.append(replace(job, obstacle=text) if len(owners[job.target]) > 1 else job)
    return marked


def _with_sheet_names(jobs: Sequence[Job]) -> list[Job]:
    """Name the before/after sheets so that none is another's, nor the output of a photo."""
    stems = Counter(job.target.with_suffix("") for job in jobs)
    taken = {job.target for job in jobs}
    named = []
    for job in jobs:
        labelled = job if stems[job.target.with_suffix("")] == 1 else replace(job, label=job.target.name)
        while labelled.sheet in taken:
            labelled = replace(labelled, label=f"{labelled.label or job.target.stem}{COMPARE_ENDING}")
        taken.add(labelled.sheet)
        named.append(labelled)
    return named


def _renamed(target: Path, suffix: str | None, keep_ending: bool) -> Path:
    ending = target.suffix.lower()
    if ending in OUTPUT_SUFFIXES and (suffix is None or _FORMATS[suffix] == _FORMATS[ending] and keep_ending):
        return target
    return target.with_name(target.name + (suffix or ".png")) if keep_ending else target.with_suffix(suffix or ".png")
