"""The multi-loss model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr.engine.errors import UserError
from basicsr.models import build_model
from plugins.color_fidelity import nafnet_context_arch  # noqa: F401  (registers NAFNetContext)
from plugins.color_fidelity.image_restoration_model import ImageRestorationModel
from tests.basicsr.models.model_kit import KitSet, batch, loader, options, train, weights


def make(folder: Path | None = None, **changes: Any) -> Any:
    losses = changes.pop("losses", {})
    opt = options(folder, model_type="ImageRestorationModel", **changes)
    opt["train"].update(losses)
    return build_model(opt)


def test_every_opt_with_a_type_is_a_loss_and_every_part_is_logged() -> None:
    model = make(
        losses={
            "color_opt": {"type": "KitPartsLoss", "loss_weight": 0.5},
            "percep_opt": {"type": "KitPairLoss"},
            "later_opt": {"type": "MSELoss", "start_iter": 3},
        }
    )
    assert isinstance(model, ImageRestorationModel)
    train(model, 1)
    names = [
        "pixel_opt",
        "color_opt",
        "color_opt/red",
        "color_opt/blue",
        "percep_opt",
        "percep_opt/percep",
        "percep_opt/style",
    ]
    assert list(model.log_dict) == [*names, "l_total"]
    log = model.get_current_log()
    assert log["l_total"] == pytest.approx(log["pixel_opt"] + log["color_opt"] + log["percep_opt"], rel=1e-5)
    train(model, 2, start=2)
    assert "later_opt" in model.log_dict


def test_a_single_loss_is_logged_once() -> None:
    model = make()
    train(model, 1)
    assert list(model.log_dict) == ["pixel_opt"]


def test_pixel_loss_is_summed_over_the_stages_and_the_last_is_the_output() -> None:
    model = make(network_g={"type": "KitNet", "stages": 2}, losses={"mse_opt": {"type": "MSELoss"}})
    data = batch(seed=1)
    with torch.no_grad():
        stages = model.net_g(data["lq"])
    train(model, 1)
    expected = sum(float((stage - data["gt"]).abs().mean()) for stage in stages)
    log = model.get_current_log()
    assert log["pixel_opt"] == pytest.approx(expected, rel=1e-5)
    assert log["mse_opt"] == pytest.approx(float((stages[-1] - data["gt"]).square().mean()), rel=1e-5)
    assert torch.equal(model.output, stages[-1])
    model.validation(loader(KitSet()), 1, None, False)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0.01),
        ({"use_grad_clip": True}, 0.01),
        ({"use_grad_clip": False}, 0.0),
        ({"grad_clip": 0.5}, 0.5),
        ({"grad_clip": 0}, 0.0),
    ],
)
def test_clip_is_nafnets_unless_set(settings: dict[str, Any], expected: float) -> None:
    assert make(losses=settings).grad_clip() == expected


def test_clip_is_applied() -> None:
    model = make(train__optim_g={"type": "SGD", "lr": 1.0})
    before = weights(model)
    train(model, 1)
    moved = sum(float((value - before[key]).square().sum()) for key, value in weights(model).items()) ** 0.5
    assert moved == pytest.approx(0.01, rel=1e-3) and model.tb_scalars()["grad_norm"] > 0.01


def test_targets_are_written_beside_the_outputs(tmp_path: Path) -> None:
    model = make(tmp_path)
    model.validation(loader(KitSet(1)), 4, None, True)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["0_4.png", "0_4_gt.png"]
    model.opt["val"]["save_gt"] = False
    model.validation(loader(KitSet(1)), 5, None, True)
    assert not (tmp_path / "visualization" / "0" / "0_5_gt.png").exists()


def test_accumulation_equals_the_large_batch_with_many_losses() -> None:
    losses = {"color_opt": {"type": "KitPartsLoss"}, "mse_opt": {"type": "MSELoss", "ramp_iter": 3}}
    whole, parts = make(losses=losses), make(losses={**losses, "accum_iter": 2})
    parts.net_g.load_state_dict(whole.net_g.state_dict())
    train(whole, 3, count=6)
    train(parts, 3, count=6)
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[key], value, rtol=1e-4, atol=1e-6)
    assert parts.get_current_log() == pytest.approx(whole.get_current_log(), rel=1e-4)


def test_grids_validate_instead_of_crashing() -> None:
    model = make()
    model.opt["val"].update(grids=True, crop_size_h_ratio=0.57, crop_size_w_ratio=0.57, max_minibatch=1)
    model.validation(loader(KitSet()), 1, None, False)
    assert model.metric_results["psnr"] > 0


@pytest.mark.parametrize(
    ("losses", "word"),
    [
        ({"pixel_opt": None}, "no loss"),
        ({"mixup": True}, "mixup"),
        ({"gan_opt": {"type": "GANLoss", "gan_type": "lsgan"}}, "discriminator"),
    ],
)
def test_mistakes_are_named(losses: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        make(losses=losses)


CONTEXT_NET: dict[str, Any] = {
    "type": "NAFNetContext",
    "width": 4,
    "middle_blk_num": 1,
    "enc_blk_nums": [1],
    "dec_blk_nums": [1],
    "context_size": 8,
}


def shaken(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.net_g.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def test_the_context_of_the_data_reaches_the_network() -> None:
    outputs = []
    for level in (0.2, 0.8):
        model = shaken(make(network_g={**CONTEXT_NET, "context_drop_out": 0.0}))
        data = batch(seed=1)
        model.feed_data({**data, "context": torch.full((len(data["lq"]), 3, 8, 8), level)})
        model.optimize_parameters(1)
        outputs.append(model.output)
    assert not torch.allclose(*outputs)


def test_a_network_without_context_ignores_that_of_the_data() -> None:
    outputs = []
    for with_context in (False, True):
        torch.manual_seed(0)
        model, data = make(), batch(seed=1)
        context = {"context": torch.zeros(len(data["lq"]), 3, 8, 8)} if with_context else {}
        model.feed_data({**data, **context})
        model.optimize_parameters(1)
        outputs.append(model.output)
    assert torch.equal(*outputs)


def test_tiles_are_coloured_by_the_whole_image() -> None:
    model = shaken(make(network_g=CONTEXT_NET, val={"grids": True, "crop_size_h": 8, "crop_size_w": 8}))
    image = torch.rand(1, 3, 16, 16)
    seen: list[torch.Tensor] = []
    net = model.net_g
    hook = net.context_encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.feed_data({"lq": image})
    model.test()
    hook.remove()
    assert model.output.shape == image.shape
    whole = net.make_context(image)
    assert seen and all(torch.equal(row, whole[0]) for context in seen for row in context)
