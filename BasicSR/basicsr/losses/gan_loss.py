"""Adversarial losses and the penalties that go with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn

from basicsr.losses.loss_util import as_float
from basicsr.utils.registry import LOSS_REGISTRY

GAN_TYPES = ("vanilla", "lsgan", "wgan", "wgan_softplus", "hinge")


@LOSS_REGISTRY.register()
class GANLoss(nn.Module):
    """Loss of a discriminator's output.

    Args:
        gan_type: ``vanilla`` (cross entropy), ``lsgan`` (squared error), ``wgan``, ``wgan_softplus`` (StyleGAN2's) or
            ``hinge``.
        real_label_val: Label of real images, for vanilla and lsgan.
        fake_label_val: Label of generated images, for vanilla and lsgan.
        loss_weight: Factor of the generator's loss; the discriminator's is not weighted.
    """

    def __init__(
        self,
        gan_type: str,
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if gan_type not in GAN_TYPES:
            raise NotImplementedError(f"GAN type {gan_type} is not implemented: use one of {', '.join(GAN_TYPES)}")
        self.gan_type = gan_type
        self.real_label_val = real_label_val
        self.fake_label_val = fake_label_val
        self.loss_weight = loss_weight

    def get_target_label(self, input: Tensor, target_is_real: bool) -> bool | Tensor:
        """The label: a flag for the wgan types, else a tensor of the shape of ``input``."""
        if self.gan_type in ("wgan", "wgan_softplus"):
            return target_is_real
        return torch.full_like(input, self.real_label_val if target_is_real else self.fake_label_val)

    def forward(self, input: Any, target_is_real: bool, is_disc: bool = False, **kwargs: Any) -> Tensor:
        """Loss of a discriminator's output.

        Args:
            input: The discriminator's output, any shape.
            target_is_real: Whether the output should say "real".
            is_disc: Whether the discriminator is being trained, not the generator.
            **kwargs: Ignored.

        Returns:
            A scalar.
        """
        loss = self._loss(as_float(input), target_is_real, is_disc)
        return loss if is_disc else loss * self.loss_weight

    def _loss(self, prediction: Tensor, target_is_real: bool, is_disc: bool) -> Tensor:
        if self.gan_type == "hinge":
            if not is_disc:
                return -prediction.mean()
            return F.relu(1 - prediction if target_is_real else 1 + prediction).mean()
        label = self.get_target_label(prediction, target_is_real)
        if isinstance(label, Tensor):
            compare = F.binary_cross_entropy_with_logits if self.gan_type == "vanilla" else F.mse_loss
            return compare(prediction, label)
        signed = -prediction if target_is_real else prediction
        return (signed if self.gan_type == "wgan" else F.softplus(signed)).mean()


@LOSS_REGISTRY.register()
class MultiScaleGANLoss(GANLoss):
    """``GANLoss`` averaged over the outputs of a discriminator at several scales.

    Args:
        gan_type: ``vanilla`` (cross entropy), ``lsgan`` (squared error), ``wgan``, ``wgan_softplus`` (StyleGAN2's) or
            ``hinge``.
        real_label_val: Label of real images, for vanilla and lsgan.
        fake_label_val: Label of generated images, for vanilla and lsgan.
        loss_weight: Factor of the generator's loss; the discriminator's is not weighted.
    """

    def forward(self, input: Any, target_is_real: bool, is_disc: bool = False, **kwargs: Any) -> Tensor:
        """``input`` is an output, or a list of outputs or of lists of features of which the last is the output."""
        if not isinstance(input, Sequence):
            return super().forward(input, target_is_real, is_disc)
        outputs = [scale[-1] if isinstance(scale, Sequence) else scale for scale in input]
        return torch.stack([super(MultiScaleGANLoss, self).forward(o, target_is_real, is_disc) for o in outputs]).mean()


def r1_penalty(real_pred: Tensor, real_img: Tensor) -> Tensor:
    """Squared gradient of the discriminator at real images (Mescheder, Geiger, Nowozin, ICML 2018, equation 9).

    Args:
        real_pred: The discriminator's output for ``real_img``.
        real_img: ``(N, C, H, W)``, requires grad.

    Returns:
        A scalar: summed over the pixels, averaged over the batch.
    """
    (gradient,) = autograd.grad(outputs=real_pred.sum(), inputs=real_img, create_graph=True)
    return gradient.square().reshape(gradient.shape[0], -1).sum(1).mean()


def g_path_regularize(
    fake_img: Tensor, latents: Tensor, mean_path_length: float | Tensor, decay: float = 0.01
) -> tuple[Tensor, Tensor, Tensor]:
    """Path length regularisation of StyleGAN2 (Karras et al., CVPR 2020).

    Args:
        fake_img: Generated images ``(N, C, H, W)``.
        latents: The latents ``(N, L, D)`` they were generated from; require grad.
        mean_path_length: Running mean so far.
        decay: Weight of this batch in the running mean.

    Returns:
        The penalty, the mean path length of this batch, and the new running mean; the last two are detached.
    """
    noise = torch.randn_like(fake_img) / math.sqrt(fake_img.shape[2] * fake_img.shape[3])
    (gradient,) = autograd.grad(outputs=(fake_img * noise).sum(), inputs=latents, create_graph=True)
    path_lengths = torch.sqrt(gradient.square().sum(2).mean(1))
    path_mean = mean_path_length + decay * (path_lengths.mean() - mean_path_length)
    path_penalty = (path_lengths - path_mean).square().mean()
    return path_penalty, path_lengths.detach().mean(), path_mean.detach()


def gradient_penalty_loss(
    discriminator: nn.Module, real_data: Tensor, fake_data: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Gradient penalty of WGAN-GP (Gulrajani et al., NeurIPS 2017).

    Args:
        discriminator: Network from ``(N, C, H, W)`` to any output.
        real_data: Real images ``(N, C, H, W)``.
        fake_data: Generated images, same shape.
        weight: Weight of the gradient, same shape.

    Returns:
        A scalar.
    """
    alpha = torch.rand(real_data.shape[0], 1, 1, 1, dtype=real_data.dtype, device=real_data.device)
    between = (alpha * real_data + (1.0 - alpha) * fake_data).detach().requires_grad_(True)
    output = discriminator(between)
    (gradient,) = autograd.grad(output, between, grad_outputs=torch.ones_like(output), create_graph=True)
    if weight is not None:
        gradient = gradient * weight
    penalty = ((gradient.norm(2, dim=1) - 1) ** 2).mean()
    return penalty if weight is None else penalty / weight.mean()
