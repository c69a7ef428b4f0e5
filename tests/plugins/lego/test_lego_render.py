from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plugins.lego.ldraw_colors import builtin_colors
from plugins.lego.ldraw_library import open_library
from plugins.lego.ldraw_mesh import PartMesh, build_mesh
from plugins.lego.ldraw_parse import PartReader
from plugins.lego.render_camera import ANY_POSE, Pose, make_view, sample_pose
from plugins.lego.render_ground import KINDS, Ground, ground_texture, sample_ground, to_linear, to_srgb
from plugins.lego.render_lights import Lamp, Lighting, make_light_field, sample_lighting
from plugins.lego.render_sensor import expose, sample_sensor
from tests.plugins.lego.lego_render_kit import write_library

pytest.importorskip("numba")

from plugins.lego.render_raster import draw_layers, to_camera
from plugins.lego.render_scene import (
    Palette,
    SceneOptions,
    render,
    render_light,
    sample_scene,
    scene_seed,
)

COLORS = builtin_colors()
SMALL = SceneOptions(size=48, lights=16, shadow_size=48)
ABOVE = Pose(0, (1.0, 0.0, 0.0, 0.0), 20.0, 60.0, 0.0, 10.0, 0.6, (0.0, 0.0), 0.0)


@pytest.fixture(scope="module")
def brick(tmp_path_factory: pytest.TempPathFactory) -> PartMesh:
    return build_mesh(PartReader(open_library(write_library(tmp_path_factory.mktemp("ldraw")))).read("9001"))


def test_pictures_depend_on_all_four_numbers_and_nothing_else(brick: PartMesh) -> None:
    palette = Palette(COLORS)

    def picture(*words: object) -> bytes:
        seed = scene_seed(*words)  # type: ignore[arg-type]
        return render(brick, COLORS[4], sample_scene(brick, palette, SMALL, seed), palette, SMALL).tobytes()

    base = picture(0, "9001", 4, 0)
    assert picture(0, "9001", 4, 0) == base
    for other in ((1, "9001", 4, 0), (0, "9002", 4, 0), (0, "9001", 1, 0), (0, "9001", 4, 1)):
        assert picture(*other) != base


@pytest.mark.parametrize("number", range(6))
def test_the_outline_fills_the_frame_as_drawn(brick: PartMesh, number: int) -> None:
    rng = np.random.default_rng(number)
    pose = sample_pose(brick, rng, any_pose=0.5)
    pose = Pose(**{**pose.__dict__, "fill": 0.7})
    view = make_view(brick, pose)
    layer = draw_layers(to_camera(brick, view), view.lens(200), 200)[0]
    rows, columns = np.nonzero(layer.index >= 0)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(140, abs=3)
    points = brick.corners.reshape(-1, 3) @ view.turn.T
    assert view.ground <= points[:, 1].min() + 1e-4
    np.testing.assert_allclose(view.turn @ view.turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(view.turn) == pytest.approx(1) and np.linalg.det(view.camera) == pytest.approx(1)
    if pose.rest != ANY_POSE:
        assert (points[:, 1] < view.ground + 0.1).sum() >= 3  # rests on a face


def test_the_nearest_surface_wins_and_layers_follow(brick: PartMesh) -> None:
    view = make_view(brick, ABOVE)
    layers = draw_layers(to_camera(brick, view), view.lens(100), 100, 4)
    assert len(layers) >= 2
    both = (layers[0].index >= 0) & (layers[1].index >= 0)
    assert both.any() and (layers[0].depth[both] > layers[1].depth[both]).all()


def test_light_is_exposed_on_a_white_sheet() -> None:
    for seed in range(20):
        field = make_light_field(sample_lighting(np.random.default_rng(seed)), np.full(3, 0.5))
        up = np.maximum(field.directions[:, 1:2], 0)
        np.testing.assert_allclose((field.weights * up).sum(0), 1, rtol=1e-4)
        down = np.maximum(-field.directions[:, 1:2], 0)
        np.testing.assert_allclose((field.weights * down).sum(0), 0.35, rtol=1e-3)
        assert len(field.directions) == 48
        np.testing.assert_allclose(np.linalg.norm(field.directions, axis=1), 1, atol=1e-5)


def test_a_lamp_throws_a_shadow_away_from_itself(brick: PartMesh) -> None:
    lamp = Lighting((Lamp(90.0, 35.0, 2.0, 1.0, 6000.0),), 0.2, 1.0, 6000.0, 0.0)  # from +x
    straight_down = Pose(0, (1.0, 0.0, 0.0, 0.0), 0.0, 88.0, 0.0, 5.0, 0.4, (0.0, 0.0), 0.0)
    scene = sample_scene(brick, Palette(COLORS), SMALL, 3)
    plain = Ground("paper", "", 1, 8.0, 0.0)
    scene = type(scene)(straight_down, lamp, plain, scene.surface, scene.sensor, 3)
    light = render_light(brick, COLORS[15], scene, Palette(COLORS), SMALL).mean(-1)
    left, right = light[18:30, 2:12].min(), light[18:30, 36:46].min()
    assert left < 0.6 * right
    assert light[:4].mean() == pytest.approx(0.82, abs=0.12)  # free paper


@pytest.mark.parametrize("code", [0, 1, 4, 14, 15, 27, 71])
def test_the_colour_stays_recognisable(brick: PartMesh, code: int) -> None:
    """The hue of what is seen stays near the named one, and of these colours the named one is the nearest in ratio."""
    palette, hits = Palette(COLORS), 0
    for number in range(6):
        scene = sample_scene(brick, palette, SMALL, scene_seed(5, "9001", code, number))
        scene = type(scene)(
            ABOVE, *[getattr(scene, name) for name in ("lighting", "ground", "surface", "sensor", "seed")]
        )
        light = render_light(brick, COLORS[code], scene, palette, SMALL)
        seen = np.median(light[20:28, 20:28].reshape(-1, 3), axis=0)
        table = {other: to_linear(np.array(COLORS[other].rgb) / 255) for other in (0, 1, 4, 14, 15, 27, 71)}
        distance = {
            other: np.linalg.norm(to_srgb(np.clip(seen, 0, 1)) - to_srgb(value)) for other, value in table.items()
        }
        hits += min(distance, key=lambda other: distance[other]) == code
    assert hits >= 4


def test_see_through_parts_show_what_is_behind(brick: PartMesh) -> None:
    palette = Palette(COLORS)
    scene = sample_scene(brick, palette, SMALL, 11)
    dark, bright = (Ground(kind, "", 2, 6.0, 0.0) for kind in ("dark", "paper"))
    middles = {}
    for code in (15, 47):
        for name, ground in (("dark", dark), ("bright", bright)):
            one = type(scene)(ABOVE, scene.lighting, ground, scene.surface, scene.sensor, 11)
            middles[code, name] = render_light(brick, COLORS[code], one, palette, SMALL)[20:28, 20:28].mean()
    assert middles[47, "bright"] > 1.7 * middles[47, "dark"]
    assert middles[15, "bright"] < 1.5 * middles[15, "dark"]  # light from the ground, no sight of it


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "photo"])
def test_grounds_are_reflectances(kind: str) -> None:
    texture = ground_texture(Ground(kind, "", 7, 6.0, 0.0), None)
    assert texture.shape == (256, 256, 3) and texture.dtype == np.float32
    assert 0 < texture.min() and texture.max() < 1
    np.testing.assert_array_equal(texture, ground_texture(Ground(kind, "", 7, 6.0, 0.0), None))


def test_photos_are_used_where_there_are_any(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "table.png"), np.full((40, 60, 3), (10, 20, 200), np.uint8))
    grounds = [sample_ground(np.random.default_rng(seed), ["table.png"], 0.5) for seed in range(40)]
    used = [ground for ground in grounds if ground.kind == "photo"]
    assert 10 < len(used) < 30
    expected = to_linear(np.array([200, 20, 10]) / 255)
    np.testing.assert_allclose(ground_texture(used[0], tmp_path).mean((0, 1)), expected, atol=0.01)
    assert all(sample_ground(np.random.default_rng(seed), [], 1.0).kind != "photo" for seed in range(10))


def test_the_camera_stays_within_its_limits() -> None:
    grey = np.full((64, 64, 3), 0.4, np.float32)
    for seed in range(30):
        sensor = sample_sensor(np.random.default_rng(seed), 0.05, 0.15)
        plain = type(sensor)(
            **{**sensor.__dict__, "noise": 0.0, "contrast": 0.0, "padding": (0.0,) * 4, "vignette": 0.0, "frost": 0.0}
        )
        seen = to_linear(expose(grey, plain)[20:44, 20:44].mean((0, 1)) / 255)
        assert np.abs(seen / seen[1] - 1).max() < 0.06
        assert abs(np.log2(seen[1] / (0.4 * 0.78))) < 0.17
    values = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, atol=1e-5)


def test_frosted_glass_takes_contrast_and_leaves_the_tint() -> None:
    light = np.full((64, 64, 3), 0.02, np.float32)
    light[:, 32:] = 0.8
    sensors = [sample_sensor(np.random.default_rng(seed), 0.05, 0.15) for seed in range(200)]
    frosted = [sensor for sensor in sensors if sensor.frost]
    assert 30 < len(frosted) < 70
    quiet = {"noise": 0.0, "contrast": 0.0, "padding": (0.0,) * 4, "vignette": 0.0, "sharpen": 0.0, "veil": 0.0}
    for sensor in frosted[:10]:
        clear, pale = (
            to_linear(expose(light, type(sensor)(**{**sensor.__dict__, **quiet, "frost": frost})) / 255)
            for frost in (0.0, sensor.frost)
        )
        assert pale[32, 4].mean() > clear[32, 4].mean() + 0.02  # what was black is no longer
        ratio = (pale[32, 60] - pale[32, 4]) / (clear[32, 60] - clear[32, 4])
        np.testing.assert_allclose(ratio, 1 - sensor.frost, atol=0.03)
