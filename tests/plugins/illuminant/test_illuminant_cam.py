"""Class activation maps: the papers' formulas, the place on the picture, and nothing left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from plugins.illuminant.cam import METHODS, class_maps, raw_maps
from plugins.illuminant.cam_score import active_channels, align, predict_logits, stretch, stretch_range
from plugins.illuminant.illuminant_cnn_arch import IlluminantCNN

POOLS = ("max", "avg", "confidence")


def network(pool: str = "confidence", seed: int = 0) -> IlluminantCNN:
    torch.manual_seed(seed)
    net = IlluminantCNN(5, pool)  # type: ignore[arg-type]
    for parameter in net.hidden.parameters():  # a fresh network hardly tells one picture from another
        parameter.data.mul_(8)
    return net.eval()


def picture(height: int = 81, width: int = 97, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def spot_network() -> IlluminantCNN:
    """Channel 0 sums what is bright in the receptive field; class 1 likes it, the others do not care."""
    net = IlluminantCNN(3, "avg").eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for stage in (net.stage1, net.stage2, *net.stage3):
            stage[0].weight[0, 0] = 1 / stage[0].weight[0, 0].numel()
            stage[1].weight[0] = 1
        net.hidden.weight[0, 0] = net.classify.weight[1, 0] = 1.0
    return net


@settings(max_examples=8, deadline=None)
@given(st.integers(66, 90), st.integers(70, 130), st.sampled_from(["gradcam", "gradcam++", "scorecam"]))
def test_the_map_lies_on_the_spot_that_made_it(row: int, column: int, method: str) -> None:
    image = torch.zeros(1, 3, 160, 200)
    image[0, :, row - 1 : row + 2, column - 1 : column + 2] = 1
    found = class_maps(spot_network(), image, [1], method)[0]
    weight = found / found.sum()
    center = (weight.sum(1) @ np.arange(160), weight.sum(0) @ np.arange(200))
    assert center == pytest.approx((row, column), abs=2.1)  # positions are 4 pixels apart
    outside = [abs(np.arange(160) - row) > 38, abs(np.arange(200) - column) > 38]
    assert found[outside[0]].max() == 0 and found[:, outside[1]].max() == 0


def test_values_lie_on_their_pixels_and_continue_in_the_border() -> None:
    grid = torch.rand(2, 3, 5)
    full = align(grid, (75, 83))
    assert torch.equal(full[:, 32:44:4, 32:52:4], grid)
    assert torch.allclose(full[:, 34, 32], (grid[:, 0, 0] + grid[:, 1, 0]) / 2)
    assert torch.equal(full[:, :33, :33], grid[:, :1, :1].expand(2, 33, 33))
    assert torch.equal(full[:, 40:, 48:], grid[:, 2:, 4:].expand(2, 35, 35))
    assert not torch.allclose(stretch(grid, (75, 83)), full)


def gradients(net: IlluminantCNN, last: torch.Tensor, index: int) -> np.ndarray[Any, Any]:
    leaf = last.clone().requires_grad_()
    net.head(net.pooled(leaf))[0, index].backward()
    assert leaf.grad is not None
    net.zero_grad(set_to_none=True)
    return leaf.grad[0].numpy()


@pytest.mark.parametrize("pool", POOLS)
def test_gradient_maps_are_those_of_the_papers(pool: str) -> None:
    net, image = network(pool).double(), picture().double()
    last = net.features(image).last.detach()
    values = last[0].numpy()
    for index in (0, 3):
        gradient = gradients(net, last, index)
        plain = np.maximum(sum(gradient[k].mean() * values[k] for k in range(256)), 0)
        weights = []
        for k in range(256):
            total = 0.0
            for g in gradient[k].ravel():
                if g > 0:
                    total += g**2 / (2 * g**2 + values[k].sum() * g**3) * g
            weights.append(total)
        better = np.maximum(sum(weight * values[k] for k, weight in enumerate(weights)), 0)
        assert better.max() > 0
        np.testing.assert_allclose(raw_maps(net, image, [index], "gradcam")[0], plain, atol=1e-12)
        np.testing.assert_allclose(raw_maps(net, image, [index], "gradcam++")[0], better, rtol=1e-9, atol=1e-12)


def naive_score_map(net: IlluminantCNN, image: torch.Tensor, index: int) -> np.ndarray[Any, Any]:
    """One class, one channel at a time."""
    with torch.no_grad():
        last = net.features(image).last[0]
        scores, maps = [], []
        for channel in last:
            if channel.max() == channel.min():
                continue
            mask = (channel - channel.min()) / (channel.max() - channel.min())
            scores.append(net(image * align(mask[None], tuple(image.shape[-2:])))[0, index])
            maps.append(channel)
        weights = torch.exp(torch.stack(scores) - max(scores))
        return sum(w / weights.sum() * m for w, m in zip(weights, maps, strict=True)).numpy()


def test_score_cam_shares_its_passes_and_stays_exact() -> None:
    net, image, seen = network("avg"), picture(70, 69), []
    maps = raw_maps(
        net, image, [4, 0], "scorecam", batch_size=33, progress=lambda done, total: seen.append((done, total))
    )
    for index, found in zip([4, 0], maps, strict=True):
        np.testing.assert_allclose(found, naive_score_map(net, image, index), rtol=2e-4)
    active = len(active_channels(net.features(image).last[0]))
    assert seen[-1] == (active, active) and len(seen) == -(-active // 33)
    np.testing.assert_allclose(raw_maps(net, image, [4, 0], "scorecam", top_k=256), maps, rtol=2e-4)
    seen.clear()
    some = raw_maps(net, image, [4, 0], "scorecam", top_k=5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 5)] and not torch.equal(some, maps)


def test_the_most_varied_channels_come_first_and_flat_ones_never() -> None:
    last = torch.zeros(4, 3, 3)
    last[0, 0, 0], last[1, :2], last[2] = 1.0, 2.0, 7.0
    assert active_channels(last).tolist() == [1, 0]


def test_logits_of_unseen_masks_are_predicted_from_alike_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(60, 8, 8, generator=generator) * torch.rand(60, 1, 1, generator=generator)
    logits = torch.stack([masks[:, :, :4].mean((1, 2)), -masks[:, 4:].mean((1, 2))], 1)
    found = predict_logits(masks, logits[:40])
    assert torch.equal(found[:40], logits[:40])
    assert torch.equal(predict_logits(masks, logits), logits)
    error, spread = (found[40:] - logits[40:]).abs().mean(), logits[40:].std(0).mean()
    assert error < 0.2 * spread
    assert torch.equal(predict_logits(masks, logits[:1]), logits[:1].expand(60, 2))


def test_statistics_are_not_predicted_but_computed_for_every_channel() -> None:
    """A new network with statistics: its convolutions say nothing yet, so few channels give the whole map exactly."""
    torch.manual_seed(3)
    net, image = IlluminantCNN(5, "confidence", statistics=True).eval(), picture(69, 73)
    assert not torch.equal(net(image), net(image.flip(1)))
    torch.testing.assert_close(net.convolution_logits(image), torch.zeros(1, 5))
    whole, some = (raw_maps(net, image, [0, 3], "scorecam", top_k=top_k) for top_k in (None, 4))
    assert float(whole.max()) > 0
    torch.testing.assert_close(some, whole)


@pytest.mark.parametrize("pool", POOLS)
def test_the_networks_own_map(pool: str) -> None:
    net, image = network(pool), picture()
    with torch.no_grad():
        last = net.features(image).last
        weights = net.weights(last)[0]
        expected = torch.softmax(net.position_logits(last)[0], 0) * weights / weights.max()
    found = class_maps(net, image, range(5), "confidence")
    np.testing.assert_allclose(found[:, 32:52:4, 32:68:4], expected, atol=1e-5)
    if pool != "confidence":
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


@settings(max_examples=12, deadline=None)
@given(st.integers(65, 110), st.integers(65, 110), st.sampled_from(POOLS), st.sampled_from(METHODS))
def test_any_size_pool_and_method(height: int, width: int, pool: str, method: str) -> None:
    found = class_maps(network(pool), picture(height, width), [1, 1, 0], method, top_k=4)
    assert found.shape == (3, height, width) and found.dtype == np.float32
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(found[0], found[1], atol=0.02)  # a faint range may be a few hundred roundings wide


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_behind(method: str) -> None:
    net, image = network(), picture()
    net.train()
    net.dropout.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    in_training = class_maps(net, image, [0, 1], method, top_k=3)
    assert [module.training for module in net.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())
    net.eval()
    with torch.inference_mode():
        np.testing.assert_array_equal(class_maps(net, image.clone(), [0, 1], method, top_k=3), in_training)


def test_a_map_without_a_range() -> None:
    almost = torch.full((2, 2), 3.0)
    almost[0, 0] += 1e-6
    maps = torch.stack([torch.zeros(2, 2), almost, torch.tensor([[1.0, 3], [2, 1]])])
    scaled = stretch_range(maps, flat=1.0)
    assert scaled[0].eq(0).all() and scaled[1].eq(1).all()
    assert scaled[2].tolist() == [[0, 1], [0.5, 0]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "lime"}, "there is no such map"),
        ({"image": torch.zeros(1, 3, 64, 80)}, "at least 65 x 65"),
        ({"image": torch.zeros(3, 80, 80)}, r"\(1, 3, H, W\)"),
        ({"image": torch.full((1, 3, 80, 80), float("nan"))}, "NaN"),
        ({"classes": [0, 5]}, "0 to 4"),
        ({"classes": [-1]}, "0 to 4"),
        ({"net": torch.nn.Identity()}, "IlluminantCNN"),
        ({"top_k": 0}, "from 1 on"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"net": network(), "image": picture(), "classes": [0], "method": "scorecam"}
    with pytest.raises(UserError, match=words):
        class_maps(**{**arguments, **change})
