"""Pixel losses: values, weights, reductions, gradients, half precision."""

import math

import pytest
import torch

from basicsr.losses import build_loss
from basicsr.losses.basic_loss import CharbonnierLoss, L1Loss, MSELoss, PSNRLoss, WeightedTVLoss, charbonnier_loss
from basicsr.losses.loss_util import get_local_weights, get_refined_artifact_map, reduce_loss, weight_reduce_loss

PIXEL_LOSSES = [L1Loss, MSELoss, CharbonnierLoss]
FUNCTIONS = {
    L1Loss: lambda difference: difference.abs(),
    MSELoss: lambda difference: difference.square(),
    CharbonnierLoss: lambda difference: (difference.square() + 1e-12).sqrt(),
}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, 12, 14, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("loss", PIXEL_LOSSES)
def test_reductions_without_weight(loss, batch):
    pred, target, _ = batch
    expected = FUNCTIONS[loss](pred - target)
    torch.testing.assert_close(loss(0.5, "none")(pred, target), 0.5 * expected)
    torch.testing.assert_close(loss(0.5, "mean")(pred, target), 0.5 * expected.mean())
    torch.testing.assert_close(loss(0.5, "sum")(pred, target), 0.5 * expected.sum())


@pytest.mark.parametrize("loss", PIXEL_LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_weighted_mean_divides_by_the_sum_of_the_weights(loss, channels, batch):
    pred, target, weight = batch
    weight = weight[:, :channels]
    weighted = FUNCTIONS[loss](pred - target) * weight
    total = weight.expand_as(pred).sum()
    torch.testing.assert_close(loss()(pred, target, weight), weighted.sum() / total)
    torch.testing.assert_close(loss(reduction="sum")(pred, target, weight), weighted.sum())
    torch.testing.assert_close(loss(reduction="none")(pred, target, weight), weighted)


def test_values_are_those_recorded_from_upstream(batch):
    pred, target, weight = batch
    assert L1Loss(0.5)(pred, target, weight[:, :1]).item() == pytest.approx(0.1640426516532898, rel=1e-6)
    assert MSELoss(0.5)(pred, target, weight[:, :1]).item() == pytest.approx(0.0812147781252861, rel=1e-6)
    loss = CharbonnierLoss(0.5, "sum")(pred, target, weight)
    assert loss.item() == pytest.approx(83.9643325805664, rel=1e-6)
    assert WeightedTVLoss()(pred, weight=weight[:, :1]).item() == pytest.approx(0.6696469783782959, rel=1e-6)
    local = get_local_weights((pred - target).abs().sum(1, keepdim=True), 7)
    assert local.sum().item() == pytest.approx(58.14479746669531, rel=1e-6)
    assert get_refined_artifact_map(pred, target, weight, 7).sum().item() == pytest.approx(19.822987116873264, rel=1e-5)


@pytest.mark.parametrize("loss", PIXEL_LOSSES)
def test_unsupported_reduction(loss):
    with pytest.raises(ValueError, match=r"Unsupported reduction mode: unknown\. Supported ones are"):
        loss(reduction="unknown")


def test_unsupported_reductions_of_the_others():
    with pytest.raises(ValueError, match="Unsupported reduction mode: none"):
        WeightedTVLoss(reduction="none")
    with pytest.raises(ValueError, match="must be 'mean'"):
        PSNRLoss(reduction="sum")
    with pytest.raises(ValueError, match="Unsupported"):
        reduce_loss(torch.zeros(1), "max")


def test_weight_of_a_wrong_shape_is_refused(batch):
    pred, target, weight = batch
    for wrong in (weight[:, :2], weight[0]):
        with pytest.raises(ValueError, match="does not fit"):
            L1Loss()(pred, target, wrong)
    with pytest.raises(ValueError, match="does not fit"):
        weight_reduce_loss(pred, weight[:, :2])


@pytest.mark.parametrize("loss", [*PIXEL_LOSSES, PSNRLoss])
def test_gradients(loss):
    generator = torch.Generator().manual_seed(1)
    pred, target = (torch.rand(2, 3, 3, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: loss()(x, target), pred.requires_grad_())


def test_gradient_of_luma_psnr_and_total_variation():
    pred, target = torch.rand(2, 1, 3, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: PSNRLoss(toY=True)(x, target), pred.requires_grad_())
    assert torch.autograd.gradcheck(lambda x: WeightedTVLoss()(x), pred)


def test_charbonnier_gradient_is_finite_at_equality():
    pred = torch.zeros(1, 3, 2, 2, requires_grad=True)
    charbonnier_loss(pred, torch.zeros(1, 3, 2, 2)).backward()
    assert torch.equal(pred.grad, torch.zeros_like(pred))


@pytest.mark.parametrize("loss", [*PIXEL_LOSSES, PSNRLoss])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype, batch):
    pred, target = (x.to(dtype) for x in batch[:2])
    assert loss()(pred, target).dtype == torch.float32
    torch.testing.assert_close(loss()(pred, target), loss()(pred.float(), target.float()))


def test_psnr_loss_is_minus_the_mean_psnr():
    pred = torch.zeros(2, 3, 4, 4)
    target = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    expected = -(20.0 + 40.0) / 2
    assert PSNRLoss()(pred, target).item() == pytest.approx(expected, abs=1e-3)
    assert PSNRLoss(loss_weight=0.5)(pred, target).item() == pytest.approx(expected / 2, abs=1e-3)
    assert PSNRLoss()(pred, pred).item() == pytest.approx(-80)


def test_psnr_loss_on_luma():
    pred, target = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)
    scale = (65.481 + 128.553 + 24.966) / 255
    assert PSNRLoss(toY=True)(pred, target).item() == pytest.approx(20 * math.log10(0.1 * scale), abs=1e-4)


def test_total_variation_ignores_the_target():
    step = torch.zeros(1, 1, 4, 4)
    step[..., 2:] = 1
    assert WeightedTVLoss(2.0)(step, torch.rand(1, 1, 4, 4)).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["L1Loss", "MSELoss", "CharbonnierLoss", "PSNRLoss", "WeightedTVLoss"])
def test_built_from_options_which_stay_as_they_are_and_accept_context(name):
    opt = {"type": name, "loss_weight": 2.0}
    loss = build_loss(opt)
    assert opt == {"type": name, "loss_weight": 2.0}
    x = torch.rand(1, 3, 4, 4)
    assert loss(x, x + 0.5, lq=x, current_iter=3).dim() == 0


def test_local_weights_are_the_variance_of_the_window():
    x = torch.rand(1, 1, 9, 9)
    out = get_local_weights(x, 3)
    assert out.shape == x.shape
    torch.testing.assert_close(out[0, 0, 4, 4], x[0, 0, 3:6, 3:6].var())
