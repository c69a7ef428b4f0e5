"""The pictures of a report's images: made where the measurement did not, and fitted into the size of the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from basicsr.engine.image_io import read_image
from plugins.color_fidelity.evaluation import Evaluation, Record, pictured
from plugins.color_fidelity.report_images import SIDES, Shot, make_shot, shrunk, side_for
from plugins.color_science import fast_delta_e00
from plugins.color_science.fast import available_cores

PICTURE_LIMIT = 26_000_000
"""Bytes that all pictures of a page may take in base64."""

ImageKey = tuple[str, str]
"""Set and name of an image."""


def picture_side(pictures: int) -> int:
    """Longer side of the pictures of a report with so many of them; for ``evaluate(..., picture_side=...)``."""
    return side_for(pictures, PICTURE_LIMIT)


def with_shots(records: list[Record], side: int | None = None) -> list[Record]:
    """The records that are to be shown with their pictures, which are made from the files where there are none.

    Args:
        records: Of an evaluation.
        side: Longer side of the pictures that are made; by their number if None.

    Raises:
        UserError: If a file cannot be read.
    """
    wanted = pictured([record.pair for record in records])
    missing: dict[Path, list[int]] = {}
    for place in sorted(wanted):
        if records[place].shot is None:
            missing.setdefault(records[place].pair.target, []).append(place)
    side = side or picture_side(len(wanted))

    def make(places: list[int]) -> Iterator[tuple[int, Shot]]:
        target = read_image(records[places[0]].pair.target)
        for place in places:
            pair = records[place].pair
            if pair.pred == pair.target:
                yield place, make_shot(target, None, side)
            else:
                pred = read_image(pair.pred)
                yield place, make_shot(pred, fast_delta_e00(pred, target, threads=1), side)

    complete = list(records)
    with ThreadPoolExecutor(available_cores()) as pool:
        for made in pool.map(lambda places: list(make(places)), missing.values()):
            for place, shot in made:
                complete[place] = replace(records[place], shot=shot)
    return complete


def fitted(result: Evaluation, row: str, limit: int = PICTURE_LIMIT) -> tuple[dict[int, Shot], int]:
    """Pictures of an evaluation's records that together take at most ``limit`` bytes in base64.

    They are made smaller until they fit. Where the smallest do not, the images on which ``row`` is best go without.

    Returns:
        Shots by place in ``result.records``, and the number of images left without pictures.
    """
    records = with_shots(result.records)
    shots = {place: record.shot for place, record in enumerate(records) if record.shot is not None}
    for side in SIDES:
        if _size(shots) <= limit:
            return shots, 0
        shots = {place: _shrunk(shot, side) for place, shot in shots.items()}
    groups: dict[ImageKey, list[int]] = {}
    for place in shots:
        pair = records[place].pair
        groups.setdefault((pair.set, pair.image), []).append(place)
    badness = {
        (record.pair.set, record.pair.image): record.figures["de00_mean"]
        for record in records
        if record.pair.row == row and math.isfinite(record.figures["de00_mean"])
    }
    kept: dict[int, Shot] = {}
    room, left_out = limit, 0
    for key in sorted(groups, key=lambda key: -badness.get(key, 0.0)):
        part = {place: shots[place] for place in groups[key]}
        room -= _size(part)
        if room < 0:
            left_out += 1
        else:
            kept.update(part)
    return kept, left_out


def _shrunk(shot: Shot, side: int) -> Shot:
    return Shot(shrunk(shot.picture, side), shot.difference and shrunk(shot.difference, side))


def _size(shots: dict[int, Shot]) -> int:
    return sum(len(shot.picture) + len(shot.difference) for shot in shots.values()) * 4 // 3
