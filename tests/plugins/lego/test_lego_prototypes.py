"""Nearest prototypes: right and unknown answers, files, and the whole way from weights to a projector folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from basicsr.engine.errors import UserError
from plugins.lego import lego_prototypes as prototypes
from plugins.lego.lego_eval_run import EvalOptions
from tests.plugins.lego.lego_eval_kit import write_weights
from tests.plugins.lego.lego_kit import make_sources
from tools.prepare_lego import main as prepare_main


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    values = np.array(rows, np.float64)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_the_nearest_mean_names_and_what_is_far_is_unknown() -> None:
    found = prototypes.build(unit((1, 0.1, 0), (1, -0.1, 0), (0, 1, 0)), ["3001", "3001", "3024"], least=0.8)
    np.testing.assert_allclose(found.vectors, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert found.names(unit((2, 0.2, 0), (0.1, 1, 0.1), (0.1, 0.1, 5))) == ["3001", "3024", "unknown"]


def test_the_threshold_parts_known_from_strangers() -> None:
    found = prototypes.build(np.eye(3), ["a", "b", "c"])
    seen = unit((1, 0.2, 0.1), (0.1, 1, 0.3), (0, 0.1, 1))
    best, right, stranger = prototypes.known_and_unknown(found, seen, np.array([0, 1, 2]))
    assert right.all() and (stranger < 0.4).all() and (best > 0.9).all()
    level = prototypes.least_cosine(best, right, stranger)
    assert stranger.max() < level <= best.min()
    # a wrong answer is no reason to lower it
    assert prototypes.least_cosine(np.array([0.9, 0.2]), np.array([True, False]), np.array([0.3, 0.1])) == 0.9


def test_a_file_holds_them_all(tmp_path: Path) -> None:
    found = prototypes.build(unit((1, 2, 3), (3, 2, 1)), ["3001", "99"], least=0.25)
    prototypes.save_prototypes(tmp_path / "p.json", found)
    again = prototypes.load_prototypes(tmp_path / "p.json")
    assert again.ids == found.ids and again.least == 0.25
    np.testing.assert_allclose(again.vectors, found.vectors, atol=1e-6)
    (tmp_path / "bad.json").write_text('{"least_cosine": 1}')
    for name in ("bad.json", "none.json"):
        with pytest.raises(UserError, match=name):
            prototypes.load_prototypes(tmp_path / name)


def test_from_weights_to_prototypes_and_projector(tmp_path: Path) -> None:
    root = make_sources(tmp_path, pieces=24)
    arguments = ["--out", str(root / "set"), "--workers", "1", "--real", str(root / "real"), "--real-colors", "ldraw"]
    assert prepare_main(arguments) == 0
    manifest = root / "set" / "manifest.csv"
    options = EvalOptions(write_weights(root / "w.pth", manifest, steps=25), manifest)
    found, lines = prototypes.judge_prototypes(options)
    assert set(found.ids) == {"3001", "3003", "3024"}
    share = float(lines[0].split("top-1 ")[1].split("%")[0])
    assert share > 60  # three shapes; chance is 33
    assert 0 < found.least < 1 and "called unknown" in lines[1]
    assert prototypes.write_projector(options, root / "projector") > 5
    config = next((root / "projector").rglob("projector_config.pbtxt")).read_text()
    assert "metadata.tsv" in config and "sprite" in config
