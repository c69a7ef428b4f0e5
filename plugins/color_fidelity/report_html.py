"""The HTML report: one file with its style, script and pictures inside, which needs no network."""

from __future__ import annotations

from html import escape
from pathlib import Path

from plugins.color_fidelity import report_sections as sections
from plugins.color_fidelity.evaluation import INPUT_ROW, Evaluation
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import heading

SIZE_LIMIT = 28_000_000
"""Bytes. A larger report is built again with smaller and fewer pictures."""

_ASSETS = Path(__file__).with_name("report_assets")
_SIDES = (520, 360, 240, 160)


def write_html(
    result: Evaluation,
    path: Path,
    *,
    title: str = "Colour fidelity",
    intro: str = "",
    row: str | None = None,
    worst: int = 6,
    worst_by: str = "de00_mean",
) -> None:
    """Write the report of an evaluation.

    Args:
        result: The evaluation; its image files are read again for the pictures.
        path: Where to write; folders are made.
        title: Heading of the page.
        intro: A paragraph of plain text below it.
        row: The run in the centre of the report; the last one by default.
        worst: Number of worst images of each set in the contact sheet.
        worst_by: Figure by which they are worst.

    Raises:
        UserError: If an image cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for side in _SIDES:
        text = build_html(result, title, intro, row or (result.runs or result.rows)[-1], worst, worst_by, side)
        if len(text.encode("utf-8")) <= SIZE_LIMIT:
            break
        worst = max(1, worst * 2 // 3)
    path.write_text(text, encoding="utf-8")


def build_html(result: Evaluation, title: str, intro: str, row: str, worst: int, worst_by: str, side: int) -> str:
    """The page as text; ``side`` is the longer side of its pictures in pixels. See :func:`write_html`."""
    style = (_ASSETS / "report.css").read_text(encoding="utf-8")
    script = (_ASSETS / "report.js").read_text(encoding="utf-8")
    body = [
        f'<header><div><h1>{escape(title)}</h1><p class="soft">{_subtitle(result, row)}</p></div>'
        '<button id="theme" type="button" title="switch between light and dark">◐</button></header>',
        f"<p>{escape(intro)}</p>" if intro else "",
        "".join(f'<p class="warn small">{escape(text)}</p>' for text in result.warnings),
        sections.legend(result),
        *[_set_part(result, row, name) for name in result.sets],
        _worst_part(result, row, worst, worst_by, side),
        "<h2>Every image</h2><p class='soft small'>At the last iteration. Click a heading to sort.</p>",
        sections.image_table(result, [key for key in FIGURES if key not in ("sat_share",)]),
        "<h2>What the figures mean</h2>",
        f'<p class="small soft">{_METHOD}</p>',
        sections.glossary(list(FIGURES)),
        '<dialog id="box"><img alt=""><p></p></dialog>',
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(body)}</main>"
        f"<script>{script}</script></body></html>\n"
    )


_METHOD = (
    "Each image is measured whole and at full size; the tables show means over images. Saturated pixels are those of "
    "the target with HSV S ≥ 0.25 and 0.10 ≤ V ≤ 0.95. An image without any does not count (n/a). Changes are against "
    "the reference on the same images, with a 95 % interval from a paired bootstrap over images; they are coloured "
    "only where the interval does not hold 0. ↑ higher is better, ↓ lower is better, →1 nearer to 1 is better."
)


def _subtitle(result: Evaluation, row: str) -> str:
    images = len({(record.pair.set, record.pair.image) for record in result.records})
    sets = f"{len(result.sets)} set{'s' if len(result.sets) > 1 else ''}"
    text = f"{escape(row)} on {images} image{'s' if images > 1 else ''} in {sets}"
    return text if result.reference in (None, row) else f"{text}, compared with {escape(str(result.reference))}"


def _set_part(result: Evaluation, row: str, set_name: str) -> str:
    images = result.image_count(set_name)
    parts = [
        f'<h2>{escape(set_name)} <span class="soft small">{images} image{"s" if images != 1 else ""}</span></h2>',
        sections.tiles(result, row, set_name),
        "<h3>Means over the images</h3>",
        sections.summary_table(result, set_name),
    ]
    for heading_text, part in (
        ("Over the iterations", sections.curves(result, set_name)),
        ("Image by image", sections.shifts(result, row, set_name)),
    ):
        if part:
            parts += [f"<h3>{heading_text}</h3>", part]
    return "".join(parts)


def _worst_part(result: Evaluation, row: str, count: int, key: str, side: int) -> str:
    if count < 1:
        return ""
    parts = [
        f"<h2>Where {escape(row)} is worst</h2>",
        f'<p class="soft small">By {escape(heading(key))}. Below each picture, its difference from the target: the '
        "scale is the same for all. Click a picture to enlarge it; hold the button down to see the target in its place."
        "</p>",
        sections.color_scale(),
    ]
    for set_name in result.sets:
        if len(result.sets) > 1:
            parts.append(f"<h3>{escape(set_name)}</h3>")
        shown_row = row if result.select(row, set_name) else INPUT_ROW
        parts.append(sections.contact_sheet(result, shown_row, set_name, count, key, side))
    return "".join(parts)
