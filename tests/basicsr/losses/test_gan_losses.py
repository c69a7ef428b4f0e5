"""Adversarial losses and penalties."""

import pytest
import torch
from torch import nn

from basicsr.losses import g_path_regularize, gradient_penalty_loss, r1_penalty
from basicsr.losses.gan_loss import GAN_TYPES, GANLoss, MultiScaleGANLoss

# Upstream's values for the input below: discriminator on real, on fake; generator on real.
RECORDED = {
    "vanilla": (0.4907383322715759, 0.9733938574790955, 0.14722150564193726),
    "lsgan": (0.3537959158420563, 0.31910696625709534, 0.10613878071308136),
    "wgan": (-0.48265552520751953, 0.48265552520751953, -0.14479666948318481),
    "wgan_softplus": (0.4907383322715759, 0.9733938574790955, 0.14722150564193726),
    "hinge": (0.5173444151878357, 1.4826555252075195, -0.14479666948318481),
}


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, 12, 14, generator=generator) for _ in range(3)]


@pytest.fixture
def discriminator():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3))


@pytest.mark.parametrize("gan_type", GAN_TYPES)
def test_values_are_those_recorded_from_upstream(gan_type, images):
    loss, prediction = GANLoss(gan_type, loss_weight=0.3), images[0][:, :1]
    values = (loss(prediction, True, is_disc=True), loss(prediction, False, is_disc=True), loss(prediction, True))
    assert [value.item() for value in values] == pytest.approx(RECORDED[gan_type], rel=1e-6)


@pytest.mark.parametrize("gan_type", GAN_TYPES)
def test_gradients(gan_type):
    prediction = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    for real, disc in ((True, True), (False, True), (True, False)):
        assert torch.autograd.gradcheck(lambda x, r=real, d=disc: GANLoss(gan_type)(x, r, is_disc=d), prediction)


def test_multi_scale_averages_and_takes_the_last_feature(images):
    first, second = images[0][:, :1], images[1][:, :1]
    single, multi = GANLoss("lsgan"), MultiScaleGANLoss("lsgan")
    expected = (single(first, True) + single(second, True)) / 2
    torch.testing.assert_close(multi([[images[2], first], second], True), expected)
    torch.testing.assert_close(multi(first, True), single(first, True))


def test_unknown_type_lists_the_known_ones():
    with pytest.raises(NotImplementedError, match="GAN type nogan is not implemented.*hinge"):
        GANLoss("nogan")


def test_r1_penalty(images, discriminator):
    real = images[0].clone().requires_grad_()
    assert r1_penalty(discriminator(real), real).item() == pytest.approx(19.195640563964844, rel=1e-5)


def test_r1_penalty_of_a_linear_discriminator():
    real = torch.rand(2, 3, 4, 4, requires_grad=True)
    assert r1_penalty((real * 2).sum((1, 2, 3)), real).item() == pytest.approx(4 * 48)


def test_gradient_penalty(images, discriminator):
    torch.manual_seed(3)
    assert gradient_penalty_loss(discriminator, *images[:2]).item() == pytest.approx(0.5378584861755371, rel=1e-5)
    torch.manual_seed(3)
    weighted = gradient_penalty_loss(discriminator, *images)
    assert weighted.item() == pytest.approx(1.4778646230697632, rel=1e-5)
    weighted.backward()
    assert discriminator[0].weight.grad is not None


def test_path_regularisation_moves_the_mean(images):
    latents = torch.rand(2, 3, 4, requires_grad=True)
    fake = latents.square().sum((1, 2)).view(2, 1, 1, 1) * images[0]
    penalty, lengths, mean = g_path_regularize(fake, latents, 0.0, decay=0.5)
    assert mean.item() == pytest.approx(lengths.item() / 2)
    assert penalty.requires_grad and not mean.requires_grad
