"""What a division into colour sets writes: the lists, a manifest and a contact sheet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from basicsr.data.paired_image_dataset import PairedImageOptions
from basicsr.engine.cli import check_writable
from basicsr.engine.errors import UserError
from plugins.color_fidelity import color_sets_split as split
from plugins.color_fidelity.color_sets import THUMBNAIL, ColorSets, Entry, data_roots
from plugins.color_fidelity.color_sets_photos import list_line

MANIFEST = "manifest.csv"
SHEET = "contact_sheet.jpg"
STRESS_LIST, TEST_LIST, TRAIN_LIST, COLORFUL_LIST = "stress.txt", "test.txt", "train.txt", "train_colorful.txt"
FILES = (STRESS_LIST, TEST_LIST, TRAIN_LIST, COLORFUL_LIST, SHEET, MANIFEST)
"""In the order in which they appear; the manifest, which the others are told by, is the last."""

_COLUMNS = 6
_MARGIN, _CAPTION, _HEADING = 8, 34, 40
_MOST_SHOWN = {split.STRESS: 120, split.TEST: 120, split.TRAIN: 24, split.DROPPED: 24}
_HEADINGS = {
    split.STRESS: "colour-stress validation",
    split.TEST: "test",
    split.TRAIN: "training",
    split.DROPPED: "dropped: near-duplicates of the kept validation",
}
_PAPER, _INK, _PALE = (255, 255, 255), (30, 30, 30), (110, 110, 110)


def check_folder(out: Path, data: PairedImageOptions, force: bool) -> None:
    """Check that the files may be written.

    Raises:
        UserError: A file is in the way, the folder is one of the data set's own, or holds an earlier result and
            ``force`` is not given.
    """
    if out.resolve() in (Path(root).resolve() for root in data_roots(data)):
        raise UserError(f"--out {out}: the data set's own folder; the contact sheet would count as one of its photos")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: a file; a folder is needed")
    check_writable(out / MANIFEST)
    there = [name for name in FILES if (out / name).exists()]
    if not there or force:
        return
    raise UserError(
        f"{out} holds {', '.join(there)} already. Give --force to replace them, or --out another folder. Mind that a "
        "new division may train on what the old one held out."
    )


def write_color_sets(sets: ColorSets, out: Path) -> list[Path]:
    """Write the lists, the manifest and the contact sheet.

    All are prepared beside their places and then moved there at once, so that an interruption leaves no mixture of two
    divisions; files of an empty set are not written, and removed where an earlier call wrote them.

    Args:
        sets: The division.
        out: The folder; it is made.

    Returns:
        The files.

    Raises:
        UserError: The disk refused.
    """
    contents = {
        STRESS_LIST: _lines(sets.members(split.STRESS)),
        TEST_LIST: _lines(sets.members(split.TEST)),
        TRAIN_LIST: _lines(_training(sets)),
        COLORFUL_LIST: _lines([entry for entry in _training(sets) for _ in range(entry.repeats)]),
        SHEET: contact_sheet(sets),
        MANIFEST: manifest(sets),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        _replace_all(out, {name: contents[name] for name in FILES})
    except OSError as error:
        raise UserError(f"{error.filename or out}: cannot be written: {error.strerror or error}.") from error
    return [out / name for name in FILES if contents[name]]


def _replace_all(out: Path, contents: dict[str, bytes]) -> None:
    temporary = {name: out / f".{name}.{os.getpid()}.tmp" for name in contents}
    try:
        for name, content in contents.items():
            with open(temporary[name], "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
        for name, content in contents.items():
            if content:
                os.replace(temporary[name], out / name)
            else:
                (out / name).unlink(missing_ok=True)
    finally:
        for path in temporary.values():
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _training(sets: ColorSets) -> list[Entry]:
    """In the data set's order, so that the list can be compared with the folder."""
    return [entry for entry in sets.entries if entry.split == split.TRAIN]


def _lines(entries: Sequence[Entry]) -> bytes:
    lines = [list_line(entry.name, entry.look.height, entry.look.width) for entry in entries]
    return "".join(f"{line}\n" for line in lines).encode()


def manifest(sets: ColorSets) -> bytes:
    """Every figure of every pair as CSV, highest score first."""
    rows = [_row(entry) for entry in sorted(sets.entries, key=lambda entry: entry.rank)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _row(entry: Entry) -> dict[str, str | int]:
    look = entry.look
    row: dict[str, object] = {
        "name": entry.name,
        "split": entry.split,
        "reason": entry.reason,
        "rank": entry.rank,
        "score": entry.score,
        "repeats": entry.repeats,
        "width": look.width,
        "height": look.height,
        **asdict(look.amount),
        **(asdict(look.loss) if look.loss is not None else {}),
        "group": entry.group,
        "group_size": entry.group_size,
        "twin": entry.twin,
        "similarity": entry.similarity,
        "lq": look.pair.lq,
    }
    return {key: _text(value) for key, value in row.items()}


def _text(value: object) -> str | int:
    if isinstance(value, float):
        return "" if value != value else f"{value:.5f}"
    return value if isinstance(value, int) else str(value)


def contact_sheet(sets: ColorSets) -> bytes:
    """A JPEG of the sets, highest score first; a network's output stands below its target."""
    sections = []
    for name, heading in _HEADINGS.items():
        members = sets.members(name)
        if members:
            shown = members[: _MOST_SHOWN[name]]
            extent = f"{len(members)} pairs" if len(shown) == len(members) else f"first {len(shown)} of {len(members)}"
            sections.append(_section(f"{heading}: {extent}, by {sets.rank_by}", shown, _caption))
    twins = sorted((e for e in sets.entries if e.group_size > 1), key=lambda e: (e.group, e.rank))
    if twins:
        shown = twins[: _MOST_SHOWN[split.TRAIN]]
        heading = f"near-duplicates, kept together: first {len(shown)} of {len(twins)}"
        sections.append(_section(heading, shown, _twin_caption))
    width = _COLUMNS * (THUMBNAIL + _MARGIN) + _MARGIN
    sheet = np.vstack(sections) if sections else np.full((_HEADING, width, 3), 255, np.uint8)
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise UserError(f"{SHEET}: OpenCV could not encode it.")
    return data.tobytes()


def _caption(entry: Entry) -> tuple[str, str]:
    amount, loss = entry.look.amount, entry.look.loss
    first = f"{entry.score:.4f}  #{entry.rank}  {amount.hue} {amount.coverage:.0%}"
    if loss is not None:
        first += f"  kept {loss.kept:.0%}" if loss.kept == loss.kept else ""
    if entry.split == split.DROPPED:
        return f"like {os.path.basename(entry.twin)}", entry.name
    return first + (f"  x{entry.repeats}" if entry.repeats else ""), entry.name


def _twin_caption(entry: Entry) -> tuple[str, str]:
    return f"group {entry.group}: {entry.split}, {entry.similarity:.2f}", entry.name


def _section(heading: str, entries: Sequence[Entry], caption: Callable[[Entry], tuple[str, str]]) -> np.ndarray:
    """(h, w, 3) uint8: a heading above rows of pictures; a row is as high as its highest picture."""
    pictures = [_decoded(entry.look.thumbnail) for entry in entries]
    rows = [range(start, min(start + _COLUMNS, len(entries))) for start in range(0, len(entries), _COLUMNS)]
    heights = [max(pictures[i].shape[0] for i in row) + _CAPTION + _MARGIN for row in rows]
    page = Image.new("RGB", (_COLUMNS * (THUMBNAIL + _MARGIN) + _MARGIN, _HEADING + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, 10), heading, _INK, ImageFont.load_default(18))
    small, top = ImageFont.load_default(12), _HEADING
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left = _MARGIN + column * (THUMBNAIL + _MARGIN)
            page.paste(Image.fromarray(pictures[i]), (left, top))
            below = top + pictures[i].shape[0] + 2
            for line, (text, ink) in enumerate(zip(caption(entries[i]), (_INK, _PALE), strict=True)):
                draw.text((left, below + 14 * line), _fitted(text, small), ink, small)
        top += height
    return np.asarray(page)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, its middle left out where it is wider than a picture."""
    cut = text
    keep = len(text)
    while font.getlength(cut) > THUMBNAIL and keep > 2:
        keep -= 1
        cut = f"{text[: keep // 2]}…{text[len(text) - (keep - keep // 2) :]}"
    return cut


def _decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
