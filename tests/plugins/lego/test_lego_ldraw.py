from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from basicsr.engine.errors import UserError
from plugins.lego.ldraw_colors import MILKY, PEARL, SOLID, TRANSPARENT, builtin_colors, library_colors, parse_config
from plugins.lego.ldraw_library import open_library
from plugins.lego.ldraw_mesh import build_mesh, load_mesh
from plugins.lego.ldraw_parse import PartReader, parse_text
from tests.plugins.lego.lego_render_kit import BOX, write_library


def reader(folder: Path, **more: str) -> PartReader:
    return PartReader(open_library(write_library(folder, **more)))


def volume(triangles: np.ndarray) -> float:
    """Signed volume: positive where triangles are counter-clockwise from outside (right-handed axes)."""
    return float(np.einsum("fi,fi->f", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum() / 6)


def test_sub_files_are_found_placed_and_colored(tmp_path: Path) -> None:
    part = reader(tmp_path).read("9001.DAT")
    assert part.description == "Test Brick"
    box = part.triangles[:12]
    np.testing.assert_allclose(box.min((0, 1)), [-20, 0, -10])
    np.testing.assert_allclose(box.max((0, 1)), [20, 24, 10])
    assert set(part.colors.tolist()) == {16} and part.certified.all()
    np.testing.assert_allclose(part.studs[0][:, 3], [-10, 0, 0])
    assert part.stud_faces.tolist() == [[12, 16]]


def test_the_colour_of_a_reference_is_inherited_only_where_it_is_16(tmp_path: Path) -> None:
    part = reader(
        tmp_path,
        parts__9003="1 4 0 0 0 1 0 0 0 1 0 0 0 1 box.dat\n1 0x2FF0000 0 0 0 1 0 0 0 1 0 0 0 1 mixed.dat\n",
        p__mixed="3 16 0 0 0 1 0 0 0 1 0\n3 14 0 0 0 1 0 0 0 1 0\n",
    ).read("9003")
    assert part.colors.tolist() == [4] * 12 + [0x2FF0000, 14]


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        ("1 16 0 0 0 1 0 0 0 1 0 0 0 1 box.dat", 1),
        ("1 16 0 0 0 -1 0 0 0 1 0 0 0 1 box.dat", 1),  # mirrored: turned back
        ("0 BFC INVERTNEXT\n1 16 0 0 0 1 0 0 0 1 0 0 0 1 box.dat", -1),
        ("0 BFC INVERTNEXT\n1 16 0 0 0 -1 0 0 0 1 0 0 0 1 box.dat", -1),
    ],
)
def test_winding_survives_mirrors_and_inversion(tmp_path: Path, line: str, sign: int) -> None:
    parts = reader(tmp_path, parts__9003=f"0 x\n0 BFC CERTIFY CCW\n{line}\n")
    outward = np.sign(volume(parts.read("9002").triangles))
    assert np.sign(volume(parts.read("9003").triangles)) == outward * sign
    assert abs(volume(parts.read("9003").triangles)) == pytest.approx(8)


def test_clockwise_files_are_turned(tmp_path: Path) -> None:
    one = parse_text("0 BFC CERTIFY CCW\n3 16 0 0 0 1 0 0 0 1 0\n", "a")
    two = parse_text("0 BFC CERTIFY CW\n3 16 0 0 0 0 1 0 1 0 0\n", "b")
    np.testing.assert_array_equal(one.triangles, two.triangles)
    assert not parse_text("3 16 0 0 0 1 0 0 0 1 0\n", "c").certified.any()


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("0 x\n3 16 0 0 0 1 0 0 0 1\n", 2, "needs"),
        ("0 x\n\n3 16 0 0 0 1 0 zero 0 1 0\n", 3, "numbers"),
        ("3 16 0 0 0 1 0 nan 0 1 0\n", 1, "finite"),
        ("0 x\nhello\n", 2, "type from 0 to 5"),
        ("1 16 0 0 0 1 0 0 0 1 0 0 0 1\n", 1, "file name"),
        ("0 x\n1 16 0 0 0 1 0 0 0 1 0 0 0 1 nowhere.dat\n", 2, "nowhere.dat"),
        ("0 x\n0\n1 16 0 0 0 1 0 0 0 1 0 0 0 1 9003.dat\n", 3, "circle"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    with pytest.raises(UserError, match=rf"9003\.dat, line {line}: .*{what}"):
        reader(tmp_path, parts__9003=text).read("9003")


def test_a_part_without_surface_and_an_unknown_part(tmp_path: Path) -> None:
    parts = reader(tmp_path, parts__9003="0 nothing\n")
    with pytest.raises(UserError, match=r"9003.*nothing can be rendered"):
        parts.read("9003")
    with pytest.raises(UserError, match="no part '12'"):
        parts.read("12")


def test_archives_give_what_the_folder_gives(tmp_path: Path) -> None:
    folder = write_library(tmp_path / "ldraw")
    expected = PartReader(open_library(folder)).read("9001").triangles
    with zipfile.ZipFile(tmp_path / "complete.zip", "w") as archive:
        for path in sorted(folder.rglob("*.dat")):
            archive.write(path, Path("ldraw") / path.relative_to(folder))
    with tarfile.open(tmp_path / "subset.tar.xz", "w:xz") as tar:
        tar.add(folder, ".")
    for name in ("complete.zip", "subset.tar.xz"):
        library = open_library(tmp_path / name)
        assert library.parts() == ["9001", "9002"]
        np.testing.assert_array_equal(PartReader(library).read("9001").triangles, expected)


def test_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    (tmp_path / "empty").mkdir()
    for name, what in (("bad.zip", "no readable"), ("empty", "no LDraw library"), ("missing", "does not exist")):
        with pytest.raises(UserError, match=what):
            open_library(tmp_path / name)


def test_sharp_edges_stay_sharp_and_get_a_bevel(tmp_path: Path) -> None:
    mesh = build_mesh(reader(tmp_path).read("9002"))
    np.testing.assert_allclose(mesh.normals, np.repeat(mesh.faces[:, None], 3, 1), atol=1e-6)
    beveled = np.linalg.norm(mesh.bevels, axis=2) > 0.5
    assert beveled.sum() == 24  # two of the three edges of twelve triangles; the third is a face's diagonal
    np.testing.assert_allclose((mesh.bevels[beveled] ** 2).sum(-1), 1, atol=1e-5)
    outward = (mesh.faces * mesh.corners.mean(1)).sum(1)
    assert (outward > 0).all()


def test_edges_without_a_line_are_smooth(tmp_path: Path) -> None:
    roof = "0 roof\n0 BFC CERTIFY CCW\n4 16 0 0 0 0 0 9 -9 2 9 -9 2 0\n4 16 0 0 9 0 0 0 9 2 0 9 2 9\n"
    parts = reader(tmp_path, parts__9003=roof, parts__9004=roof + "2 24 0 0 0 0 0 9\n")
    smooth, sharp = build_mesh(parts.read("9003")), build_mesh(parts.read("9004"))
    ridge = np.abs(smooth.corners[..., 0]) < 1e-3
    assert np.abs(smooth.normals[ridge][:, 0]).max() < 1e-5  # straight up on the ridge
    assert np.abs(sharp.normals[ridge][:, 0]).min() > 0.1


def test_stud_tops_and_resting_poses(tmp_path: Path) -> None:
    mesh = build_mesh(reader(tmp_path).read("9001"))
    tops = np.linalg.norm(mesh.stud_axes, axis=(1, 2)) > 0
    assert tops.sum() == 2
    np.testing.assert_allclose(np.abs(mesh.stud_uv[tops]), 1, atol=1e-5)
    np.testing.assert_allclose(np.abs(mesh.faces[tops][:, 1]), 1)
    down = mesh.poses[np.argmax(mesh.pose_weights)]
    np.testing.assert_allclose(np.abs(down), [0, 0, 1], atol=1e-4)  # on its largest side
    assert mesh.pose_weights.sum() == pytest.approx(1, abs=1e-5)


def test_the_cache_gives_the_same_mesh_and_heals(tmp_path: Path) -> None:
    parts, cache = reader(tmp_path / "l"), tmp_path / "cache"
    first = load_mesh(parts, "9001", cache)
    (stored,) = cache.iterdir()
    np.testing.assert_array_equal(load_mesh(parts, "9001", cache).normals, first.normals)
    stored.write_bytes(stored.read_bytes()[:200])
    np.testing.assert_array_equal(load_mesh(parts, "9001", cache).normals, first.normals)
    assert stored.stat().st_size > 200


CONFIG = """0 LDraw.org Configuration File
0 !COLOUR Main_Colour CODE 16 VALUE #FFFF80 EDGE #333333
0 !COLOUR Red         CODE 4 VALUE #B40000 EDGE #333333
0 !COLOUR Trans_Red   CODE 36 VALUE #C91A09 EDGE #660D05 ALPHA 128
0 !COLOUR Opal CODE 360 VALUE #FCFCFC EDGE #C9C9C9 ALPHA 240 LUMINANCE 5 MATERIAL GLITTER VALUE #112233 SIZE 1
0 !COLOUR Milk  CODE 79 VALUE #EEEEEE EDGE #BABABA ALPHA 240
0 !COLOUR Pearl CODE 135 VALUE #A0A0A0 EDGE #333333 PEARLESCENT
"""


def test_colors_are_read(tmp_path: Path) -> None:
    folder = write_library(tmp_path)
    assert library_colors(open_library(folder)) == builtin_colors()
    (folder / "LDConfig.ldr").write_text(CONFIG)
    colors = library_colors(open_library(folder))
    assert list(colors) == [4, 36, 360, 79, 135]
    assert (colors[4].name, colors[4].rgb, colors[4].finish) == ("Red", (180, 0, 0), SOLID)
    assert (colors[36].name, colors[36].alpha, colors[36].see_through) == ("Trans Red", 128, True)
    assert colors[360].rgb == (252, 252, 252)
    assert (colors[79].finish, colors[135].finish, colors[36].finish) == (MILKY, PEARL, TRANSPARENT)


@pytest.mark.parametrize("line", ["CODE x VALUE #B40000", "CODE 4 VALUE #B4", "CODE 4 VALUE #B40000 ALPHA 999", "CODE"])
def test_bad_colors_are_named_with_their_line(line: str) -> None:
    with pytest.raises(UserError, match="c, line 2"):
        parse_config(f"0\n0 !COLOUR Red {line}\n", "c")
    with pytest.raises(UserError, match="defines no colour"):
        parse_config(BOX, "c")


def test_the_built_in_table_has_known_values() -> None:
    colors = builtin_colors()
    assert sum(color.finish == SOLID for color in colors.values()) == 88
    assert colors[4].rgb == (0xB4, 0, 0) and colors[47].see_through and colors[326].name == "Yellowish Green"
