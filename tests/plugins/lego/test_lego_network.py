"""The network, its loss and the colours that its colour head sees."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from basicsr.engine.errors import UserError
from plugins.color_science.spaces import linear_to_srgb, rgb_to_lab, srgb_to_linear
from plugins.lego.efficientnet_lite import EfficientNetLite0Blocks
from plugins.lego.lego_backbones import build_backbone
from plugins.lego.lego_classifier_arch import LegoClassifier
from plugins.lego.lego_lab import LAB_FEATURES, lab_statistics
from plugins.lego.lego_loss import LegoLoss

BRICK = [0.3, 0.5, 0.7]


def network(**options: object) -> LegoClassifier:
    torch.manual_seed(0)
    return LegoClassifier(
        **{"num_parts": 5, "num_colors": 4, "backbone": "mobilenet_v3_small", "hidden": 16, **options}
    )


def test_heads() -> None:
    net = network(color_input="both").eval()
    output = net(torch.rand(2, 3, 64, 64))
    assert {head: tuple(value.shape) for head, value in output.items()} == {"part": (2, 5), "color": (2, 4)}
    assert set(network(num_colors=0)(torch.rand(2, 3, 64, 64))) == {"part"}
    assert set(network(num_parts=0, color_input="lab")(torch.rand(2, 3, 64, 64))) == {"color"}
    assert net.embed(torch.rand(3, 3, 64, 64)).norm(dim=1).detach() == pytest.approx(torch.ones(3))


def test_a_batch_of_one_can_be_trained() -> None:
    net = network(color_input="both").train()
    sum(value.sum() for value in net(torch.rand(1, 3, 64, 64)).values()).backward()
    assert net.shared[0].weight.grad is not None and torch.isfinite(net.shared[0].weight.grad).all()


@pytest.mark.parametrize("paused", [False, True])
def test_frozen_blocks_do_not_drift(paused: bool) -> None:
    net = network().train()
    net.pause_backbone(paused)
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    optimizer = torch.optim.SGD([one for one in net.parameters() if one.requires_grad], 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(value.square().sum() for value in net(torch.rand(4, 3, 64, 64)).values()).backward()
        optimizer.step()
        net.train()
    changed = {name.split(".")[1] for name, value in net.backbone.state_dict().items() if not value.equal(before[name])}
    count = len(net.backbone.blocks)
    assert changed == (set() if paused else {str(number) for number in range(round(count / 2), count)})


def test_groups_by_depth_hold_every_trained_weight_once() -> None:
    net = network()
    groups = dict(net.depth_groups())
    weights = [id(one) for group in groups.values() for one in group]
    assert len(weights) == len(set(weights)) == sum(one.requires_grad for one in net.parameters())
    last = net.backbone.blocks[-1]
    assert {id(one) for one in groups[1]} == {id(one) for one in last.parameters()}


def test_cosine_logits_do_not_depend_on_length() -> None:
    net = network(embedding="cosine", embedding_scale=10.0).eval()
    shared = torch.rand(3, 16)
    head = net.part_head
    assert head is not None and torch.allclose(head(shared), head(7 * shared), atol=1e-5)
    assert head(shared).abs().max() <= 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnet81"}, "'resnet81' is not known: near it are resnet18"),
        ({"backbone": "densenet121"}, "not known"),
        ({"num_parts": 0, "num_colors": 0}, "at least one head"),
        ({"freeze_backbone_ratio": 2}, "share from 0 to 1"),
        ({"embedding": "sine"}, "use cosine, arcface"),
        ({"pretrained": "nothing.pth"}, "nothing.pth' not found"),
    ],
)
def test_mistakes_are_explained(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        network(**options)


def test_lite0_takes_weights_under_other_names(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = EfficientNetLite0Blocks()
    for tensor in source.buffers():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    renamed = {
        f"_blocks.{number}.{key.rsplit('.', 1)[1]}": value
        for number, (key, value) in enumerate(source.state_dict().items())
    }
    torch.save({**renamed, "_fc.weight": torch.zeros(1000, 1280)}, tmp_path / "lite.pth")
    loaded = build_backbone("efficientnet_lite0", str(tmp_path / "lite.pth")).eval()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded.maps(image), source.eval()((image * 255 - 127) / 128)) or torch.allclose(
        loaded.maps(image), source((image * 255 - 127) / 128), atol=1e-4
    )
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not weights of EfficientNet-Lite0: 1 tensors, not 245"):
        build_backbone("efficientnet_lite0", str(tmp_path / "other.pth"))


def test_lite0_pads_as_the_original_does() -> None:
    # An even edge: one pixel of zeros at the end only, so a picture's first pixel is under the filter's first tap.
    stem = EfficientNetLite0Blocks()[0].eval()
    torch.nn.init.zeros_(stem[1].weight)
    stem[1].weight.data[:, :, 0, 0] = 1
    image = torch.zeros(1, 3, 8, 8)
    image[..., 0, 0] = 1
    assert stem(image)[0, 0, 0, 0] > 1 and stem(image)[0, 0].count_nonzero() == 1


def test_weights_of_the_library_are_taken_but_not_its_classes(tmp_path: Path) -> None:
    from basicsr.engine.torchvision_compat import import_torchvision

    original = import_torchvision().models.mobilenet_v3_small().eval()
    torch.save(original.state_dict(), tmp_path / "m.pth")
    loaded = build_backbone("mobilenet_v3_small", str(tmp_path / "m.pth")).eval()
    image = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor(loaded.mean).view(3, 1, 1), torch.tensor(loaded.std).view(3, 1, 1)
    assert torch.allclose(loaded(image), original.features((image - mean) / std).mean((2, 3)), atol=1e-5)
    with pytest.raises(UserError, match="not weights of resnet18: conv1.weight is missing"):
        build_backbone("resnet18", str(tmp_path / "m.pth"))


# What the colour head sees


@pytest.mark.parametrize("size", [64, 224])
def test_colours_of_brick_and_background(size: int) -> None:
    image = torch.full((1, 3, size, size), 0.9)
    image[..., size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = torch.tensor(BRICK)[None, :, None, None]
    figures = lab_statistics(image)[0] * 100
    assert figures.shape == (LAB_FEATURES,)
    assert figures[15] > 10 and (figures[12:15] < 12).all()
    paper = srgb_to_linear(torch.tensor(0.9)).item()
    white_balanced = linear_to_srgb(srgb_to_linear(torch.tensor(BRICK).view(3, 1, 1)) / paper * 0.9)
    assert figures[:3] == pytest.approx(rgb_to_lab(white_balanced).flatten(), abs=1.5)
    warm = linear_to_srgb(srgb_to_linear(image) * torch.tensor([1.0, 0.85, 0.6])[None, :, None, None])
    under_warm, as_shot = lab_statistics(warm)[0] * 100, rgb_to_lab(warm)[0, :, size // 2, size // 2]
    # With the background made white the brick is where it was; as shot it is not.
    assert (
        (under_warm[:3] - figures[:3]).norm() < 2 < (as_shot - rgb_to_lab(image)[0, :, size // 2, size // 2]).norm() / 5
    )


def test_white_on_white_is_finite_and_can_be_trained() -> None:
    image = torch.full((2, 3, 64, 64), 1.0, requires_grad=True)
    figures = lab_statistics(image)
    figures.sum().backward()
    assert torch.isfinite(figures).all() and image.grad is not None and torch.isfinite(image.grad).all()


# The loss


def sample(seed: int = 0) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(seed)
    pred = {"part": torch.randn(6, 5, generator=generator), "color": torch.randn(6, 4, generator=generator)}
    return pred, {"part": torch.tensor([0, 4, -1, 2, 1, 3]), "color": torch.tensor([-1, 3, 0, -1, 9999 - 9998, 2])}


def test_loss_is_that_of_the_known_samples() -> None:
    pred, labels = sample()
    known = {head: label >= 0 for head, label in labels.items()}
    each = {
        head: functional.cross_entropy(pred[head][known[head]], labels[head][known[head]], label_smoothing=0.1)
        for head in pred
    }
    result = LegoLoss()(pred, labels)
    assert result["total"].item() == pytest.approx((each["part"] + 0.5 * each["color"]).item(), rel=1e-6)
    assert 0 <= result["part_accuracy"] <= 1


def test_batches_without_known_labels_cost_nothing() -> None:
    pred, labels = sample()
    pred["color"].requires_grad_()
    labels["color"][:] = -1
    result = LegoLoss()(pred, labels)
    assert result["color"] == 0 and "color_accuracy" not in result
    result["total"].backward()
    assert pred["color"].grad is not None and (pred["color"].grad == 0).all()
    labels["part"][:] = -1
    assert LegoLoss()(pred, labels)["total"].item() == 0


def test_a_head_without_weight_need_not_be_there() -> None:
    pred, labels = sample()
    part_only = LegoLoss(color_weight=0)({"part": pred["part"]}, labels)["total"]
    assert part_only.item() == pytest.approx(LegoLoss()(pred, labels)["part"].item())
    with pytest.raises(UserError, match="head 'color': the network has no such head; it has part"):
        LegoLoss()({"part": pred["part"]}, labels)


def test_arcface_margin_is_an_angle() -> None:
    angle, margin, scale = 0.8, 0.3, 30.0
    logits = torch.tensor([[scale * math.cos(angle), 0.0, scale * math.cos(2.0)]])
    wanted = logits.clone()
    wanted[0, 0] = scale * math.cos(angle + margin)
    loss = LegoLoss(color_weight=0, arc_margin=margin, label_smoothing=0.0)
    got = loss({"part": logits}, {"part": torch.tensor([0])})["total"]
    assert got.item() == pytest.approx(functional.cross_entropy(wanted, torch.tensor([0])).item(), rel=1e-4)


def test_arcface_loss_falls_as_the_angle_falls() -> None:
    angles = np.linspace(0, math.pi, 60)
    loss = LegoLoss(color_weight=0, arc_margin=0.5, label_smoothing=0)
    values = [
        loss({"part": torch.tensor([[30 * math.cos(a), 0.0]])}, {"part": torch.tensor([0])})["total"] for a in angles
    ]
    assert (np.diff([value.item() for value in values]) > -1e-4).all()


def test_wrong_factors_are_refused() -> None:
    for options in (
        {"part_weight": 0, "color_weight": 0},
        {"label_smoothing": 1},
        {"arc_margin": 2},
        {"part_weight": -1},
    ):
        with pytest.raises(UserError, match="LegoLoss"):
            LegoLoss(**options)


def test_the_small_network_is_its_own() -> None:
    backbone = build_backbone("small_resnet")
    assert backbone.out_features == 128 and backbone.maps(torch.zeros(2, 3, 64, 64)).shape == (2, 128, 4, 4)
    assert sum(one.numel() for one in backbone.parameters()) < 0.4e6
    with pytest.raises(UserError, match="no pretrained weights"):
        build_backbone("small_resnet", "imagenet")
