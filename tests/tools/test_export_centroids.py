"""tools/export_centroids.py and what is behind it: k-means of lights that are made of known classes."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from basicsr.engine.cli import run_main
from basicsr.engine.errors import UserError
from plugins.illuminant.centroid_fit import fit_centroids
from plugins.illuminant.centroids import CLASS_NAMES, angle_degrees, read_centroids

ROOT = Path(__file__).resolve().parents[2]
CENTRES = np.array([[0.16, 0.45, 0.39], [0.2, 0.47, 0.33], [0.27, 0.49, 0.24], [0.36, 0.47, 0.17], [0.46, 0.43, 0.11]])
COUNTS = (30, 80, 25, 20, 15)


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_centroids", ROOT / "tools" / "export_centroids.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(spread: float = 0.003) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.concatenate([c + rng.normal(0, spread, (n, 3)) for c, n in zip(CENTRES, COUNTS, strict=True)])


def write_lights(path: Path, lights: np.ndarray) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["image", "r", "g", "b"], *[[f"p{i}", *row] for i, row in enumerate(lights)]])
    return path


def test_known_classes_are_found_in_order_whatever_order_and_scale(tmp_path: Path) -> None:
    lights = measured()
    fit = fit_centroids(lights, "camera")
    assert fit.centroids.names == CLASS_NAMES and fit.centroids.counts == COUNTS
    assert angle_degrees(fit.centroids.array, CENTRES).max() < 0.3
    assert fit.classes.tolist() == np.repeat(np.arange(5), COUNTS).tolist()
    assert sum(part.count for part in fit.within) == fit.overall.count == 170
    assert fit.overall.mean == pytest.approx(float(fit.degrees.mean()))
    assert min(fit.agreement) == 1.0
    shuffle = np.random.default_rng(0).permutation(170)
    again = fit_centroids((lights * np.linspace(1, 900, 170)[:, None])[shuffle], "camera")
    assert again.centroids.counts == COUNTS
    assert again.centroids.array == pytest.approx(fit.centroids.array, abs=1e-9)
    assert np.array_equal(again.classes, fit.classes[shuffle])


def test_other_numbers_of_classes_are_numbered_from_the_coolest() -> None:
    fit = fit_centroids(measured(), "camera", 3)
    assert fit.centroids.names == ("Class_0", "Class_1", "Class_2")
    assert (np.diff(fit.centroids.array[:, 0] / fit.centroids.array[:, 2]) > 0).all()


@pytest.mark.parametrize(
    ("lights", "count", "message"),
    [
        (np.tile(CENTRES[:2], (9, 1)), 5, "2 different lights cannot make 5 classes"),
        (CENTRES, 1, "at least 2"),
        (CENTRES - 0.2, 5, "positive"),
        (CENTRES[0], 5, "table of r, g, b"),
    ],
)
def test_lights_that_make_no_classes_are_refused(lights: np.ndarray, count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_centroids(lights, "camera", count)


def test_files_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lights = write_lights(tmp_path / "gt.csv", measured())
    assert tool().main([str(lights), "--sensor", "Canon", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "| Very_Warm |" in shown and "47.1 % | 80 |" in shown and "same class to 100.0 %" in shown
    classes = read_centroids(tmp_path / "out" / "centroids.json")
    assert (classes.sensor, classes.source, classes.counts) == ("Canon", "gt.csv", COUNTS)
    array = np.load(tmp_path / "out" / "centroids.npy", allow_pickle=False)
    assert array.dtype == np.float64 and np.array_equal(array, classes.array)
    with Image.open(tmp_path / "out" / "centroids.png") as picture:
        assert picture.size[0] > 800 and len(set(picture.convert("RGB").resize((90, 70)).tobytes())) > 20
    before = (tmp_path / "out" / "centroids.json").read_bytes()
    tool().main([str(lights), "--sensor", "Canon", "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "centroids.json").read_bytes() == before


def test_sampled_lights_are_written_beside_their_classes(tmp_path: Path) -> None:
    assert tool().main(["--sampled", "60", "--sensor", "sRGB", "-k", "2", "--out", str(tmp_path)]) == 0
    assert len((tmp_path / "lights.csv").read_text().splitlines()) == 61
    content = json.loads((tmp_path / "centroids.json").read_text())
    assert content["names"] == ["Class_0", "Class_1"] and sum(content["counts"]) == 60


@pytest.mark.parametrize(
    "arguments",
    [["--sensor", "x"], ["lights.csv"], ["lights.csv", "--sampled", "9", "--sensor", "x"], ["--sensor", " "]],
)
def test_wrong_arguments_end_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        tool().main(arguments)
    assert ended.value.code == 2


def test_errors_leave_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("image,r,g,b\na,1,2,0\n")
    out = tmp_path / "out"
    assert run_main(lambda: tool().main([str(bad), "--sensor", "x", "--out", str(out)])) == 2
    assert "bad.csv: 1 of 1 rows: line 2" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize("module", ["sklearn.cluster", "matplotlib.figure"])
def test_missing_packages_are_named_with_their_extra(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lights = write_lights(tmp_path / "gt.csv", measured())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match="illuminant"):
        tool().main([str(lights), "--sensor", "x", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
