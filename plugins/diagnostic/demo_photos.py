"""A folder of photos for the demonstration, cut from those that installed packages carry."""

from __future__ import annotations

from pathlib import Path

import cv2

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.image_io import encode_png, read_image
from plugins.diagnostic.photo_list import part_of, reduce_photo
from plugins.sample_photos import sample_photos

_NO_SCENES = ("hubble_deep_field", "ihc", "retina")
_WANTED = {"china": 0, "flower": 0, "astronaut": 0, "coffee": 0, "chelsea": 8, "rocket": 8, "grace_hopper": 7}
"""Whose parts go where: 0 to 6 is training, 7 validation, 8 and 9 the test; photos are never divided between them."""
_SHORT_SIDE = 360


def write_demo_photos(folder: Path) -> list[Path]:
    """Write the photos, each four times: whole, and three overlapping parts, under names that fix their split.

    Args:
        folder: Where to; made if need be.

    Returns:
        The files.

    Raises:
        UserError: A package or its photo is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for photo in sample_photos():
        if photo.gray or photo.name in _NO_SCENES:
            continue
        pixels = reduce_photo(read_image(photo.path), _SHORT_SIDE)
        height, width = pixels.shape[:2]
        parts = [
            pixels,
            pixels[: height * 3 // 4, : width * 3 // 4],
            pixels[height // 4 :, width // 4 :],
            cv2.resize(pixels[height // 8 : -height // 8, width // 8 : -width // 8], None, fx=1.25, fy=1.25),
        ]
        for number, part in enumerate(parts):
            file = folder / f"{_name(f'{photo.name}_{number}', _WANTED.get(photo.name, 0))}.png"
            write_atomic(file, lambda stream, part=part: stream.write(encode_png(part)))  # type: ignore[misc]
            written.append(file)
    return written


def _name(stem: str, tenth: int) -> str:
    """A name that falls into the tenth of the split that is wanted, or the next to it in the same part."""
    wanted = range(0, 7) if tenth < 7 else range(7, 8) if tenth == 7 else range(8, 10)
    return next(name for number in range(1000) if part_of(name := f"{stem}_{number}") in wanted)
