"""Truth of every kind of set is read, and what is wrong in it is named with its line."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from plugins.illuminant.truth_files import match_truth, read_truth
from plugins.illuminant.truth_table import normalized, read_lights, read_table, read_wp

A, B = (0.2, 0.5, 0.3), (0.5, 0.25, 0.25)


def folder_with(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    for name in names:
        assert cv2.imwrite(str(folder / name), np.zeros((4, 4, 3), np.uint8))
    return folder


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gt.csv"
    path.write_text(text, encoding="utf-8")
    return path


def lights(folder: Path, csv: Path | None, columns: str | None = None) -> dict[str, tuple[float, ...]]:
    return {image.path.name: tuple(np.round(image.light, 9)) for image in read_truth(folder, csv, columns)}


@pytest.mark.parametrize(
    "text",
    [
        "image,r,g,b\na,2,5,3\nb,2,1,1\n",
        "\ufeffimage,r,g,b\r\na.png,2,5,3\r\nb.png,2,1,1\r\n",
        "a.PNG,2,5,3\nB,2,1,1",
        "File;R;G;B\na.tiff;0,2;0,5;0,3\nb.tiff;0,5;0,25;0,25",
        "a 2 5 3\nb 2e-3 1e-3 1e-3\n\n",
        "# lights\na\t2\t5\t3\nb\t2\t1\t1",
        'b,g,r,name\n3,5,2,"train/PNG/a.png"\n1,1,2,"train\\PNG\\b.png"',
        "red green blue id\n2 5 3 a\n2 1 1 b",
        "image,mean_r,mean_g,mean_b,left_r,left_g,left_b\na,2,5,3,9,9,9\nb,2,1,1,9,9,9",
        "2 5 3\n2 1 1\n",
    ],
)
def test_tables_of_every_kind(tmp_path: Path, text: str) -> None:
    folder = folder_with(tmp_path, "a.png", "b.png")
    assert lights(folder, table(tmp_path, text)) == {"a.png": A, "b.png": B}


def test_cube_columns_are_chosen_by_name(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.png")
    csv = table(tmp_path, "image,mean_r,mean_g,mean_b,left_r,left_g,left_b,right_r\na,2,5,3,2,1,1,7\n")
    assert lights(folder, csv, "left") == {"a.png": B}
    assert lights(folder, csv, "mean") == lights(folder, csv) == {"a.png": A}
    with pytest.raises(UserError, match="right_r.*there are: 'mean', 'left'"):
        read_truth(folder, csv, "right")


def test_sidecars_of_either_name(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.tiff", "b.png", "c.png")
    (folder / "a.wp").write_text("2 5 3\n")
    (folder / "b.png.wp").write_text("2,\n1,\n1")
    (folder / "z.wp").write_text("1 1 1")
    found = match_truth(folder, None)
    assert [(i.path.name, i.light) for i in found.images] == [("a.tiff", A), ("b.png", B)]
    assert (found.without_light, found.without_image) == (("c.png",), ("z.wp",))
    assert read_lights(folder) == pytest.approx(np.array([A, B, [1 / 3] * 3]))
    with pytest.raises(UserError, match="columns 'left' belong to a table"):
        match_truth(folder, None, "left")


def test_what_has_no_partner_is_logged_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    folder = folder_with(tmp_path, "a.png", "lonely.png")
    assert list(lights(folder, table(tmp_path, "a,2,5,3\nghost,1,1,1"))) == ["a.png"]
    assert "1 images without a light" in caplog.text and "lonely.png" in caplog.text
    assert "1 lights without an image" in caplog.text and "ghost" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,r,g,b\na,1,2,3\nb,1,0,3\na,1,x,3\nb,1",
            r"3 of 4 rows: line 3: .*positive.*line 4: .*'x'.*line 5: only 2",
        ),
        ("image,r,g,b\na,nan,1,1", "line 2: r, g, b must be positive"),
        ("image,r,g,b\n,1,1,1", "line 2: no name"),
        ("image,r,g,b\n", "no row"),
        ("", "no line"),
        ("hello world", "neither a header"),
        ("image,light\na,warm", "neither a header"),
        ("image,r,g\na,1,1", "no columns r, g, b"),
        ("a,1,2,3\na.png,3,2,1", "lines 1 and 2: two different lights for a.png"),
        ("1 2 3", "1 rows and .* has 2 images"),
        ("x,1,1,1", "none of its 2 images"),
        ("same,1,1,1", "line 1: 'same' fits several"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, message: str) -> None:
    names = ("same.png", "same.jpg") if text.startswith("same") else ("a.png", "b.png")
    with pytest.raises(UserError, match=message):
        read_truth(folder_with(tmp_path, *names), table(tmp_path, text))


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.png")
    with pytest.raises(UserError, match="a.png: not a text file"):
        read_truth(folder, folder / "a.png")
    with pytest.raises(UserError, match="missing.csv: cannot be read"):
        read_truth(folder, tmp_path / "missing.csv")
    (folder / "a.wp").write_text("1 2")
    with pytest.raises(UserError, match="a.wp: .*got 2"):
        read_wp(folder / "a.wp")
    with pytest.raises(UserError, match="no image in this folder"):
        read_truth(tmp_path / "images" / "..", None)


def test_degenerate_rows_can_be_left_out(tmp_path: Path) -> None:
    csv = table(tmp_path, "image,r,g,b\na,2,5,3\nb,1,0,1\nc,2,1,1")
    assert [row.name for row in read_table(csv, drop_degenerate=True)] == ["a", "c"]
    with pytest.raises(UserError, match="line 3"):
        read_table(csv)
    csv.write_text("image,r,g,b\na,2,5,text")
    with pytest.raises(UserError, match="line 2"):
        read_table(csv, drop_degenerate=True)


@given(st.lists(st.floats(1e-300, 1e300), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_any_positive_numbers_become_a_direction_of_sum_one(values: list[float]) -> None:
    light = normalized(values)
    assert sum(light) == pytest.approx(1)
    assert np.argmax(light) == np.argmax(values) or max(light) == pytest.approx(light[int(np.argmax(values))])
