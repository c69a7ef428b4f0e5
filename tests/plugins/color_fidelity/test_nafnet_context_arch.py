"""NAFNetContext: a NAFNet until it is trained; colours are chosen by the whole photo, pixel by pixel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.nafnet_arch import NAFNet
from plugins.color_fidelity.nafnet_context_arch import NAFNetContext, QuickConv2d

SMALL: dict[str, Any] = {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}


def stirred(net: nn.Module, seed: int = 0) -> nn.Module:
    """Weights away from their start, where whole branches are zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return net


def test_it_starts_as_the_nafnet_whose_weights_it_takes() -> None:
    plain = stirred(NAFNet(**SMALL)).eval()
    net = build_network({"type": "NAFNetContext", "context_size": 16, **SMALL}).eval()
    missing = net.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(key.startswith(("context_encoder.", "color_map.")) for key in missing.missing_keys)
    image = torch.rand(2, 3, 21, 35)
    assert torch.equal(net(image), plain(image))


def test_the_whole_photo_decides_and_only_by_the_thumbnail() -> None:
    net = stirred(NAFNetContext(context_size=16, **SMALL)).eval()
    photo = torch.rand(1, 3, 48, 64)
    context = net.make_context(photo)
    assert context.shape == (1, 3, 16, 16)
    assert torch.allclose(context[..., 0, 0], photo[..., :3, :4].mean(dim=(2, 3)), atol=1e-6)
    assert torch.equal(net(photo), net(photo, context))
    other = net.recolor(photo, net.make_context(photo.flip(1)))
    assert (other - net.recolor(photo)).abs().max() > 1e-3


def test_parts_of_a_photo_are_recoloured_as_the_whole_is() -> None:
    net = stirred(NAFNetContext(context_size=16, **SMALL)).eval()
    photo = torch.rand(1, 3, 40, 30)
    context = net.make_context(photo)
    rows = [net.recolor(part, context) for part in photo.split(7, dim=2)]
    assert torch.allclose(torch.cat(rows, dim=2), net.recolor(photo), atol=1e-6)


def test_it_learns_what_no_crop_can_tell() -> None:
    """The right brightness of a grey field is that of the photo it is cut from; a NAFNet could only guess."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 4, "middle_blk_num": 0, "enc_blk_nums": [1], "dec_blk_nums": [1]}
    net = NAFNetContext(context_size=8, context_drop_out=0.0, **sizes)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    crop = torch.full((8, 3, 8, 8), 0.5)
    for _ in range(150):
        level = torch.rand(8, 1, 1, 1)
        loss = F.l1_loss(net(crop, level.expand(8, 3, 8, 8)), level.expand_as(crop))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.08  # the best single answer is off by 0.25 on average


def test_every_parameter_gets_a_gradient_once_it_has_left_its_start() -> None:
    net = stirred(NAFNetContext(context_size=16, **SMALL))
    net(torch.rand(2, 3, 16, 16)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.parametrize("wrong", [{"img_channel": 1}, {"context_size": 4}, {"color_width": 0}])
def test_impossible_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NAFNetContext(**{**SMALL, **wrong})


def test_a_quick_layer_learns_faster_and_is_the_same_function() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, 3, padding=1)
    quick = QuickConv2d(3, 4, 3, factor=5.0)
    quick.load_state_dict({name: value / 5 for name, value in plain.state_dict().items()})
    image = torch.rand(1, 3, 8, 8)
    start = plain(image)
    assert torch.allclose(quick(image), start, atol=1e-6)
    moved = []
    for layer in (plain, quick):
        optimizer = torch.optim.Adam(layer.parameters(), 1e-3)
        layer(image).sum().backward()
        optimizer.step()
        moved.append((layer(image) - start).abs().mean().item())
    assert moved[1] == pytest.approx(5 * moved[0], rel=0.01)
