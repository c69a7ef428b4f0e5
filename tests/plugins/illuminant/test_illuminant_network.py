"""IlluminantCNN: shapes, pooling, and what it sees of a picture's statistics."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from plugins.illuminant.illuminant_cnn_arch import FIRST_CENTER, SMALLEST, STRIDE, IlluminantCNN, light_statistics

POOLS = ("max", "avg", "confidence")


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", [(65, 65), (70, 91)])
def test_any_size_from_the_smallest_gives_logits_with_gradients(pool: str, size: tuple[int, int]) -> None:
    network = IlluminantCNN(3, pool, statistics=True)  # type: ignore[arg-type]
    logits = network(torch.rand(2, 3, *size))
    assert logits.shape == (2, 3)
    torch.nn.init.normal_(network.classify.weight)
    network(torch.rand(2, 3, *size)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    network.eval()  # a batch of one with one position has no statistics
    assert torch.allclose(network.weights(network.features(torch.rand(1, 3, *size)).last).sum(), torch.tensor(1.0))


def test_smaller_pictures_and_other_pools_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 65 x 65, got 64 x 80"):
        IlluminantCNN()(torch.rand(1, 3, SMALLEST - 1, 80))
    with pytest.raises(ValueError, match="max, avg or confidence"):
        IlluminantCNN(pool="median")  # type: ignore[arg-type]


def test_a_position_sees_65_pixels_around_its_center() -> None:
    network = IlluminantCNN(2).eval()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, 0.01, 0.02)  # positive: no unit is off
    image = torch.rand(16, 3, 81, 81, requires_grad=True)
    network.features(image).last[:, :, 2, 1].sum().backward()
    assert image.grad is not None
    rows, columns = image.grad.abs().sum((0, 1)).nonzero(as_tuple=True)
    row, column = FIRST_CENTER + 2 * STRIDE, FIRST_CENTER + STRIDE
    assert (rows.min(), rows.max()) == (row - 32, row + 32)
    assert (columns.min(), columns.max()) == (column - 32, column + 32)


def test_the_plans_network_has_the_published_layers() -> None:
    shapes = [tuple(p.shape) for name, p in IlluminantCNN().named_parameters() if p.dim() > 1]
    assert shapes == [
        (32, 3, 10, 10), (64, 32, 7, 7), (96, 64, 5, 5), (128, 96, 5, 5), (256, 128, 3, 3), (1024, 256), (5, 1024),
    ]  # fmt: skip


def test_statistics_follow_the_light_and_not_the_exposure() -> None:
    grey = functional.interpolate(torch.rand(1, 1, 8, 8) * 0.5 + 0.1, size=(72, 72)).expand(-1, 3, -1, -1)
    light = torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1)
    found = light_statistics(grey * light)
    wanted = torch.tensor([1 / 0.7, 0.4 / 0.7]).log()
    # mean, p = 6 and maximum; edges are small, and the constant that keeps logarithms finite weighs in them
    assert torch.allclose(found[0, [0, 1, 2]], wanted[0].expand(3), atol=0.02)
    assert torch.allclose(found[0, [8, 9, 10]], wanted[1].expand(3), atol=0.02)
    assert torch.allclose(found[0, [3, 11]], wanted, atol=0.12)
    assert torch.allclose(found[0, [4, 5, 6]], 2.2 * wanted[0].expand(3), atol=0.05)
    assert torch.allclose(found[:, :3], light_statistics(0.7 * grey * light)[:, :3], atol=0.02)


def test_clipped_pixels_do_not_count() -> None:
    image = torch.rand(1, 3, 70, 70) * 0.8
    clipped = image.clone()
    clipped[..., 20:30, 20:30] = 1.0
    gone = image.clone()
    gone[..., 20:30, 20:30] = 0.0
    means = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14]  # all but the edges, where the black square has a border
    valid = (gone > 0).all(1).float().mean()
    assert torch.isfinite(light_statistics(clipped)).all()
    assert torch.allclose(light_statistics(clipped)[:, means], light_statistics(gone)[:, means], atol=0.02)
    assert valid < 1
    assert torch.isfinite(light_statistics(torch.ones(1, 3, 70, 70))).all()
