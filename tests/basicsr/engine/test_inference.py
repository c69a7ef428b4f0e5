"""Tiles and the self-ensemble."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.engine.errors import UserError
from basicsr.engine.inference import self_ensemble, tile_size, tile_starts, tiled


@pytest.mark.parametrize(("length", "tile"), [(10, 10), (10, 4), (11, 4), (100, 32), (7, 6), (5, 1)])
def test_tiles_cover_all_and_stay_inside(length: int, tile: int) -> None:
    starts = tile_starts(length, tile)
    covered = {position for start in starts for position in range(start, start + tile)}
    assert covered == set(range(length)) and starts == sorted(set(starts))


@pytest.mark.parametrize("most", [None, 1, 4])
@pytest.mark.parametrize("scale", [1, 2])
def test_grids_of_a_pointwise_network_equal_the_whole_image(scale: int, most: int | None) -> None:
    image = torch.rand(2, 3, 13, 17)
    calls = []

    def run(part: Tensor) -> Tensor:
        calls.append(len(part))
        return F.interpolate(part * 2 + 1, scale_factor=scale) if scale > 1 else part * 2 + 1

    torch.testing.assert_close(tiled(run, image, 5, 8, most), run(image))
    assert max(calls[:-1]) <= (most or 18)


def test_overlaps_are_averaged() -> None:
    counter = iter(range(10))
    result = tiled(
        lambda part: torch.stack([torch.full_like(p, float(next(counter))) for p in part]),
        torch.zeros(1, 1, 1, 3),
        1,
        2,
    )
    assert result.flatten().tolist() == [0.0, 0.5, 1.0]


def test_tile_size_from_pixels_of_the_target_or_a_share() -> None:
    assert tile_size({"crop_size_h": 64, "crop_size_w": 32}, 100, 100, 2) == (32, 16)
    assert tile_size({"crop_size_h_ratio": 0.5, "crop_size_w_ratio": 0.57}, 100, 100) == (50, 56)
    assert tile_size({"crop_size_h": 640, "crop_size_w": 640}, 100, 90) == (100, 90)


@pytest.mark.parametrize("val_opt", [{}, {"crop_size_h": 8}, {"crop_size_h_ratio": 0.001, "crop_size_w": 8}])
def test_tile_size_mistakes_are_named(val_opt: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="crop_size_"):
        tile_size(val_opt, 100, 100)


def test_self_ensemble_of_an_equivariant_network_is_the_network() -> None:
    image = torch.rand(1, 3, 6, 9)
    torch.testing.assert_close(self_ensemble(lambda x: x * 2, image), image * 2)


def test_self_ensemble_averages_eight_different_views() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    views = []

    def run(x: Tensor) -> Tensor:
        views.append(tuple(x.flatten().tolist()) + tuple(x.shape))
        return x + x[..., :1, :1]

    result = self_ensemble(run, image)
    assert len(set(views)) == 8
    torch.testing.assert_close(result, image + (0 + 2 + 3 + 5) / 4)
