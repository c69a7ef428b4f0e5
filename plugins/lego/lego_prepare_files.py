"""Write what was prepared: the manifest, the class files, the issues, a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.cli import writing
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import encode_png
from plugins.lego.lego_manifest import (
    COLOR_NAMES,
    MANIFEST,
    PART_NAMES,
    SOURCES,
    read_classes,
    write_classes,
    write_csv,
    write_manifest,
)
from plugins.lego.lego_prepare import Prepared, images_per_part

ISSUES, PICTURE = "issues.csv", "images_per_part.png"
_COLORS = {"legacy": (214, 143, 40), "b200c": (88, 123, 191), "real": (46, 139, 87), "render": (150, 98, 178)}
_ROW, _LEFT, _BAR = 18, 150, 620


def old_classes(out: Path, keep: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class ids of an earlier call, whose numbers stay."""
    if not keep:
        return (), ()
    parts, colors = (out / name for name in (PART_NAMES, COLOR_NAMES))
    return (
        read_classes(parts).ids if parts.is_file() else (),
        read_classes(colors).ids if colors.is_file() else (),
    )


def check_out(out: Path, force: bool) -> None:
    """Refuse a folder with a manifest in it, unless it is to be replaced.

    Raises:
        UserError: There is one, or the path is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: this is a file; name a folder")
    if (out / MANIFEST).exists() and not force:
        raise UserError(f"{out / MANIFEST}: it is there already; --force replaces it and keeps the classes' numbers")


def write_prepared(prepared: Prepared, out: Path) -> None:
    """Write all files; the manifest comes last, so that it never goes with another call's classes.

    Raises:
        UserError: The disk refuses.
    """
    with writing(str(out)):
        out.mkdir(parents=True, exist_ok=True)
        write_classes(out / PART_NAMES, prepared.parts)
        write_classes(out / COLOR_NAMES, prepared.colors)
        rows = (asdict(issue) for issue in prepared.issues)
        write_csv(out / ISSUES, ("kind", "path", "other", "action", "reason"), rows)
        picture = encode_png(parts_picture(prepared))
        write_atomic(out / PICTURE, lambda stream: stream.write(picture))
        write_manifest(out / MANIFEST, prepared.records)


def parts_picture(prepared: Prepared) -> np.ndarray[Any, Any]:
    """Bars of the images of each part by source, (H, W, 3) RGB uint8; their length goes by the cube root."""
    sources = [source for source in SOURCES if any(record.source == source for record in prepared.records)]
    counts = images_per_part(prepared, sources)
    columns = max(1, -(-len(counts) // 100))
    rows = -(-len(counts) // columns)
    width = _LEFT + _BAR + 70
    canvas = np.full((rows * _ROW + 60, width * columns, 3), 255, np.uint8)
    left = 12
    for source in sources:
        cv2.rectangle(canvas, (left, 14), (left + 14, 28), _COLORS[source], -1)
        text = f"{source} {counts[:, sources.index(source)].sum()}"
        _text(canvas, text, (left + 20, 26))
        left += 140
    scale = _BAR / max(1.0, float(np.cbrt(counts.sum(1).max(initial=1))))
    for place, (name, row) in enumerate(zip(prepared.parts.names, counts, strict=True)):
        x, y = place // rows * width, 44 + place % rows * _ROW
        _text(canvas, name[:16], (x + 12, y + 13))
        end = x + _LEFT
        ends = x + _LEFT + np.cbrt(row.cumsum()) * scale
        for source, stop in zip(sources, ends, strict=True):
            if stop > end:
                cv2.rectangle(canvas, (round(end), y + 2), (round(stop), y + _ROW - 4), _COLORS[source], -1)
            end = max(end, stop)
        _text(canvas, str(row.sum()), (round(end) + 6, y + 13))
    return canvas


def _text(canvas: np.ndarray[Any, Any], text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
