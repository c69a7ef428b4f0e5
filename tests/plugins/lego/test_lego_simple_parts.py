"""The computed parts: closed where they have to be, of the right measures, and read by the renderer's own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from basicsr.engine.errors import UserError
from plugins.lego.ldraw_library import open_library
from plugins.lego.ldraw_mesh import load_mesh
from plugins.lego.ldraw_parse import PartReader
from plugins.lego.simple_parts import PARTS, part_text, write_simple_parts

STANDING = {
    "brick-1x1": (1, 0), "brick-1x2": (2, 0), "brick-2x2": (4, 1), "brick-2x4": (8, 3), "plate-1x2": (2, 0),
    "plate-2x2": (4, 1), "tile-2x2": (0, 1), "slope-1x2": (1, 0), "slope-2x2": (2, 0), "round-1x1": (1, 0),
    "round-2x2": (4, 0), "cone-1x1": (1, 0),
}  # fmt: skip
"""Studs and tubes of each part."""


def triangles(part: str) -> np.ndarray:
    """(T, 3, 3) corners of a part's triangles."""
    rows = [line.split()[2:] for line in part_text(part).splitlines() if line.startswith("3 ")]
    return np.array(rows, np.float64).reshape(-1, 3, 3)


def volume(corners: np.ndarray) -> float:
    """Signed volume inside a closed surface; positive where counter-clockwise means outside."""
    return float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


@pytest.mark.parametrize("part", PARTS)
def test_plastic_is_a_closed_thin_shell(part: str) -> None:
    corners = triangles(part)
    low, high = corners.reshape(-1, 3).min(0), corners.reshape(-1, 3).max(0)
    shell = volume(corners)
    assert 0.05 < shell / np.prod(high - low) < 0.75  # inside out it would be negative, solid it would be more
    # area vectors of a closed surface cancel out: no face is missing or turned the wrong way. Studs and tubes stand on
    # a surface without a hole below them.
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    stud, tube = (12 * np.sin(np.pi / 12) * square for square in (6**2, 8**2 - 6**2))
    studs, tubes = STANDING[part]
    np.testing.assert_allclose(areas.sum(0), (0, tubes * tube - studs * stud, 0), atol=0.1)


@pytest.mark.parametrize(
    ("part", "size"),
    [("brick-2x4", (80, 28, 40)), ("plate-1x2", (40, 12, 20)), ("tile-2x2", (40, 8, 40)), ("round-1x1", (20, 28, 20))],
)
def test_measures_are_those_of_real_parts(part: str, size: tuple[float, float, float]) -> None:
    corners = triangles(part).reshape(-1, 3)
    np.testing.assert_allclose(np.ptp(corners, axis=0), size, atol=0.5)
    assert corners[:, 1].max() == pytest.approx(24 if "plate" not in part and "tile" not in part else 8)


def test_the_library_is_read_as_any_other(tmp_path: Path) -> None:
    ids = write_simple_parts(tmp_path / "ldraw")
    library = open_library(tmp_path / "ldraw")
    assert library.parts() == sorted(ids)
    mesh = load_mesh(PartReader(library), "slope-2x2", tmp_path / "meshes")
    assert len(mesh.corners) > 100
    assert len(mesh.poses) >= 3
    with pytest.raises(UserError, match="no part '3001'"):
        library.part_key("3001")
