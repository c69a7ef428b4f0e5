"""The HTML report: one file with its style, script and pictures inside, which needs no server and no network.

The page's head forbids every connection and every script but its own (a content security policy with the script's
hash), so that not even a hostile file name could do anything.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from string import Template

from plugins.color_fidelity import report_sections as sections
from plugins.color_fidelity.evaluation import Evaluation
from plugins.color_fidelity.fidelity import FIGURES
from plugins.color_fidelity.report import write_text
from plugins.color_fidelity.report_data import as_script_json, page_data, picture_blocks
from plugins.color_fidelity.report_pictures import fitted

_ASSETS = Path(__file__).with_name("report_assets")
_SCRIPTS = ("base", "stats", "summary", "filters", "pictures", "list", "chart", "viewer", "main")


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
        result: The evaluation. Pictures that its records lack are made from their files.
        path: Where to write; folders are made.
        title: Heading of the page.
        intro: A paragraph of plain text below it.
        row: The run in the centre of the report at first; the last one by default.
        worst: Number of images shown at first, the worst of all; 0 for every image.
        worst_by: Figure by which they are worst.

    Raises:
        UserError: If an image cannot be read.
    """
    text = build_html(result, title, intro, row or (result.runs or result.rows)[-1], worst, worst_by)
    write_text(path, text)


def build_html(result: Evaluation, title: str, intro: str, row: str, worst: int, worst_by: str) -> str:
    """The page as text. See :func:`write_html`."""
    shots, left_out = fitted(result, row)
    warnings = list(result.warnings)
    if left_out:
        warnings.append(f"{left_out} images on which {row} is best have no pictures here, to keep the page small.")
    parts = "\n".join((_ASSETS / f"report_{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    script = f'(function () {{\n"use strict";\n{parts}\n}})();'
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    blocks = (
        f'<script type="application/json" id="pictures-{number}">{as_script_json(block)}</script>\n'
        for number, block in enumerate(picture_blocks(result, shots))
    )
    return Template((_ASSETS / "report.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        hash=digest,
        style=(_ASSETS / "report.css").read_text(encoding="utf-8"),
        intro=f"<p>{escape(intro)}</p>" if intro else "",
        warnings="".join(f'<p class="warn small">{escape(text)}</p>' for text in warnings),
        curves="".join(sections.curves(result, name) for name in result.sets),
        glossary=sections.glossary(list(FIGURES)),
        data=as_script_json(page_data(result, row, worst, worst_by, shots)),
        script=script,
        pictures="".join(blocks),
    )
