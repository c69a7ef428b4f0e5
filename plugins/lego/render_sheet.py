"""A sheet of rendered pictures to look at: a row for each part."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.image_io import encode_png, read_image

_CAPTION, _MOST_ROWS = 16, 24


def write_sheet(folder: Path, rows: list[list[str]], path: Path, columns: int = 10, side: int = 112) -> None:
    """Write a contact sheet.

    Args:
        folder: Where the pictures are.
        rows: Rows of ``renders.csv``; of many parts, 24 evenly chosen ones are shown.
        path: PNG to write.
        columns: Pictures of a part, evenly chosen.
        side: Pixels of a picture.

    Raises:
        UserError: A picture cannot be read, or the sheet cannot be written.
    """
    parts: dict[str, list[str]] = {}
    for row in rows:
        parts.setdefault(row[2], []).append(row[0])
    shown = _spread(sorted(parts), _MOST_ROWS)
    columns = min(columns, max((len(parts[part]) for part in shown), default=1))
    sheet = np.full((len(shown) * (side + _CAPTION), columns * side, 3), 255, np.uint8)
    for line, part in enumerate(shown):
        top = line * (side + _CAPTION)
        cv2.putText(sheet, part, (3, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        for column, name in enumerate(_spread(parts[part], columns)):
            picture = cv2.resize(read_image(folder / name), (side, side), interpolation=cv2.INTER_AREA)
            sheet[top + _CAPTION : top + _CAPTION + side, column * side : (column + 1) * side] = picture
    content = encode_png(sheet, compress_level=6)
    write_atomic(path, lambda file: file.write(content))


def _spread(names: list[str], most: int) -> list[str]:
    if len(names) <= most:
        return names
    return [names[index * len(names) // most] for index in range(most)]
