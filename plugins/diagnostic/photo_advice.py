"""From a photo's file to advice, and from many files to a folder of advice, corrected photos and sheets."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import image_names, is_image_file, read_bytes
from plugins.diagnostic.advice import CorrectionAdvice
from plugins.diagnostic.analysis import Diagnostics, analyze_image_with_ai, undiagnosed
from plugins.diagnostic.corrections import check_weight, combine, read_scene
from plugins.diagnostic.filters_sheet import before_after, filters_sheet
from plugins.diagnostic.photo_files import OUTPUT_FORMATS, PhotoFile, read_photo, read_small_srgb, write_photo
from plugins.diagnostic.preview import generate_preview
from plugins.diagnostic.scenes import classify_image

SMALLEST_SIDE = 224
"""Pixels that the shorter side keeps in a reduced decode: what both networks look at."""


@dataclass(frozen=True)
class Findings:
    """What was seen in a photo; advice for any ``fusion_weight`` follows without another look.

    Attributes:
        diagnostics: Exposure, white balance, saturation.
        scene: Of ``classify_image``.
    """

    diagnostics: Diagnostics
    scene: dict[str, Any]

    def advice(self, fusion_weight: float) -> CorrectionAdvice:
        """The advice at this weight; ``ValueError`` if it is not from 0 to 1."""
        return combine(self.diagnostics, *read_scene(self.scene), check_weight(fusion_weight))


@dataclass(frozen=True)
class Adviser:
    """The networks that look at photos.

    Attributes:
        model: The diagnostic network; None gives the scene's preset only.
        scene_weights: Weights of the scene classifier; None looks where ``classify_image`` does.
        device: Where to compute; where the model is if not given.
    """

    model: nn.Module | None
    scene_weights: str | os.PathLike[str] | None = None
    device: torch.device | None = None

    def look(self, image: np.ndarray) -> Findings:
        """Diagnose an array, (H, W, 3) RGB 0 to 255."""
        seen = undiagnosed() if self.model is None else analyze_image_with_ai(image, self.model, self.device)
        return Findings(seen, classify_image(image, self.scene_weights))

    def look_at_file(self, content: bytes, name: str) -> Findings:
        """Diagnose an encoded photo, of which a JPEG is decoded at reduced size.

        Raises:
            UserError: It is empty, no image or damaged; the message names it.
        """
        return self.look(read_small_srgb(content, name, SMALLEST_SIDE))


@dataclass(frozen=True)
class Job:
    """A photo and what is written of it.

    Attributes:
        source: The photo.
        corrected: The corrected photo.
        compared: Before and after beside each other.
        filters: The sheet of recommended filters.
        record: The advice as JSON.
    """

    source: Path
    corrected: Path
    compared: Path
    filters: Path
    record: Path

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All that is written."""
        return (self.corrected, self.compared, self.filters, self.record)


def plan_jobs(source: Path, output: Path, form: str | None, sheet_form: str) -> list[Job]:
    """What to write of which photo.

    Args:
        source: A photo or a folder of photos.
        output: The folder to write to.
        form: ``jpg`` or ``png`` for the corrected photo; None keeps the source's where it is one of them, else PNG.
        sheet_form: ``jpg`` or ``png`` for the sheets.

    Raises:
        UserError: There is no photo.
    """
    if source.is_dir():
        photos = [source / name for name in image_names(source)]
        if not photos:
            raise UserError(f"{source}: there is no photo in this folder (sub-folders are not searched)")
    elif source.is_file() or is_image_file(source.name):
        photos = [source]
    else:
        raise UserError(f"{source}: there is no such photo or folder")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: not a folder; name a folder to write to")
    stems = Counter(photo.stem.lower() for photo in photos)
    jobs = []
    for photo in photos:
        stem = photo.stem if stems[photo.stem.lower()] == 1 else photo.name.replace(".", "_")
        kept = photo.suffix if photo.suffix.lower() in OUTPUT_FORMATS else ".png"
        jobs.append(
            Job(
                photo,
                output / f"{stem}_corrected{f'.{form}' if form else kept}",
                output / f"{stem}_before_after.{sheet_form}",
                output / f"{stem}_filters.{sheet_form}",
                output / f"{stem}_advice.json",
            )
        )
    return jobs


def refuse_overwriting(jobs: Sequence[Job]) -> None:
    """Raise a ``UserError`` if anything that would be written is there already."""
    there = [path for job in jobs for path in job.outputs if path.exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UserError(f"{there[0]}{more}: exists already; choose another folder with -o, or --overwrite")


@dataclass(frozen=True)
class Outcome:
    """What became of a photo: advice, or why there is none.

    Attributes:
        job: The photo.
        advice: The advice, if all was written.
        notes: What had to be changed while reading.
        problem: What is wrong with the photo.
    """

    job: Job
    advice: CorrectionAdvice | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""


def advise_all(jobs: Sequence[Job], adviser: Adviser, fusion_weight: float) -> Iterator[Outcome]:
    """Do the jobs one after the other; a photo that cannot be read or written is an outcome, not an error."""
    for job in jobs:
        try:
            yield advise_one(job, adviser, fusion_weight)
        except UserError as error:
            yield Outcome(job, problem=str(error))


def advise_one(job: Job, adviser: Adviser, fusion_weight: float) -> Outcome:
    """Advise on one photo and write what there is to write; the record comes last.

    Raises:
        UserError: The photo cannot be read, or the disk refuses.
    """
    content = read_bytes(job.source)
    photo = read_photo(content, str(job.source))
    findings = adviser.look_at_file(content, str(job.source))
    advice = findings.advice(fusion_weight)
    after = photo.with_pixels(generate_preview(photo.rgb, advice))
    if advice.recommended_filters or job.corrected.suffix != job.source.suffix:
        write_photo(job.corrected, after)
    else:  # a good photo stays what it is to the byte, and is not compressed once more
        write_atomic(job.corrected, lambda file: file.write(content))
    before_rgb, after_rgb = photo.srgb(), after.srgb()
    write_photo(job.compared, PhotoFile(before_after(before_rgb, after_rgb)))
    write_photo(job.filters, PhotoFile(filters_sheet(before_rgb, advice)))
    record = {"photo": job.source.name, "fusion_weight": fusion_weight, "model_used": adviser.model is not None}
    text = json.dumps({**record, **advice_record(advice), "notes": list(photo.notes)}, indent=2, ensure_ascii=False)
    write_atomic(job.record, lambda file: file.write(text.encode("utf-8", "replace") + b"\n"))
    return Outcome(job, advice, photo.notes)


def advice_record(advice: CorrectionAdvice) -> dict[str, Any]:
    """Advice as plain lists, dictionaries and numbers."""
    return dataclasses.asdict(advice)
