"""Plots of angular errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.errors import UserError
from plugins.illuminant.centroids import angle_degrees
from plugins.illuminant.illuminant_eval import GREY, MIXTURE, NETWORK, ORACLE, Answers

_STRONG = {NETWORK: "#c0392b", MIXTURE: "#e08e0b"}
_QUIET = {GREY: ("#999999", ":"), ORACLE: ("#2d7d46", "--")}
_SHOWN_DEGREES = 25.0


def plt_module() -> Any:
    """matplotlib's pyplot without a window.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'basicsr[illuminant]'.") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def write_error_plot(answers: Answers, title: str, path: Path) -> None:
    """Draw, for every method, the share of the pictures whose error is below an angle.

    Args:
        answers: What the methods said.
        title: Above the plot.
        path: The PNG file.

    Raises:
        UserError: matplotlib is not installed.
    """
    plt = plt_module()
    figure, axes = plt.subplots(figsize=(8, 5), dpi=110)
    shares = np.arange(1, len(answers.names) + 1) / len(answers.names)
    for method, lights in answers.lights.items():
        errors = np.sort(angle_degrees(lights, answers.truth))
        if method in _QUIET:
            color, dash = _QUIET[method]
            axes.step(errors, shares, where="post", label=method, color=color, linestyle=dash, linewidth=1.2)
        else:
            wide = 2.4 if method in _STRONG else 1.3
            axes.step(errors, shares, where="post", label=method, color=_STRONG.get(method), linewidth=wide)
    axes.set(xlabel="angular error (degrees)", ylabel="share of the pictures below", title=title)
    axes.set_xlim(0, _SHOWN_DEGREES)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    figure.tight_layout()
    write_atomic(path, lambda file: figure.savefig(file, format="png"))
    plt.close(figure)
