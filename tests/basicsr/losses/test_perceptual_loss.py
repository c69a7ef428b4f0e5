"""Perceptual and style loss; with untrained VGG weights, so that nothing is downloaded."""

import pytest
import torch

from basicsr.losses import build_loss
from basicsr.losses.basic_loss import PerceptualLoss

OPT = {"type": "PerceptualLoss", "layer_weights": {"conv1_1": 0.5, "relu2_1": 1.0}, "vgg_type": "vgg11"}


def make(**changes):
    torch.manual_seed(0)
    return build_loss({**OPT, "vgg_weights": "random", **changes})


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 3, 16, 16, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("criterion", ["l1", "l2", "fro"])
def test_returns_perceptual_and_style(criterion, images):
    loss = make(style_weight=2.0, criterion=criterion)
    percep, style = loss(*images, weight=None, lq=images[0])
    assert percep > 0 and style > 0
    assert all(value == 0 for value in loss(images[0], images[0]))


def test_terms_of_weight_zero_are_left_out(images):
    assert make()(*images)[1] is None
    assert make(perceptual_weight=0, style_weight=1.0)(*images)[0] is None


def test_value_is_the_weighted_sum_over_the_layers(images):
    loss = make(perceptual_weight=3.0)
    first, second = (loss.vgg(image) for image in images)
    expected = 3 * sum(w * (first[name] - second[name]).abs().mean() for name, w in OPT["layer_weights"].items())
    torch.testing.assert_close(loss(*images)[0], expected)


def test_gradient_flows_into_the_output_only(images):
    output, target = (image.requires_grad_() for image in images)
    loss = make(style_weight=1.0)
    sum(loss(output, target)).backward()
    assert output.grad.abs().sum() > 0 and target.grad is None
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_gram_matrix():
    x = torch.rand(2, 3, 4, 5)
    expected = torch.einsum("nchw,ndhw->ncd", x, x) / (3 * 4 * 5)
    torch.testing.assert_close(PerceptualLoss._gram_mat(x), expected)


def test_unknown_criterion_is_refused():
    with pytest.raises(NotImplementedError, match="huber criterion has not been supported"):
        make(criterion="huber")
