"""SRModel: what upstream's users and tests rely on, and what the engine adds."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr.engine.checkpoint import load_state, load_weights
from basicsr.engine.errors import NonFiniteError, UserError
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from tests.basicsr.models.model_kit import KitNet, KitSet, batch, loader, logged, options, train, weights


def test_attributes_that_upstreams_tests_expect(tmp_path: Path) -> None:
    opt = options(tmp_path, scale=4, network_g={"type": "KitNet", "scale": 4}, train__ema_decay=0.999)
    opt["train"]["perceptual_opt"] = {"type": "KitPairLoss"}
    opt["num_gpu"] = 1
    model = SRModel(opt)
    assert isinstance(model.net_g, KitNet) and isinstance(model.optimizers[0], torch.optim.Adam)
    assert type(model.cri_pix).__name__ == "L1Loss" and type(model.cri_perceptual).__name__ == "KitPairLoss"
    assert model.ema_decay == 0.999 and model.is_train is True and len(model.schedulers) == 1
    model.feed_data({key: value for key, value in batch(1, scale=4).items() if key in ("lq", "gt")})
    assert model.lq.shape == (1, 3, 8, 8) and model.gt.shape == (1, 3, 32, 32)
    model.optimize_parameters(1)
    assert model.output.shape == (1, 3, 32, 32) and isinstance(model.log_dict, dict)
    assert list(model.log_dict) == ["l_pix", "l_percep", "l_style"]
    model.save(0, 1)
    model.test()
    assert model.output.shape == (1, 3, 32, 32)
    model.__delattr__("net_g_ema")
    model.test()
    assert model.output.shape == (1, 3, 32, 32) and model.net_g.training is True
    assert list(model.get_current_visuals()) == ["lq", "result", "gt"]


def test_validation_as_upstreams_tests_run_it(tmp_path: Path) -> None:
    model = SRModel(options(tmp_path))
    data = loader(KitSet())
    model.nondist_validation(data, 1, None, save_img=True)
    assert model.is_train is True and isinstance(model.metric_results["psnr"], float)
    model.opt["is_train"] = False
    model.opt["val"].update(suffix="test", pbar=True)
    model.nondist_validation(data, 1, None, save_img=True)
    model.opt["val"]["suffix"] = None
    model.opt["name"] = "demo"
    model.nondist_validation(data, 1, None, save_img=True)
    written = {path.relative_to(tmp_path / "visualization").as_posix() for path in tmp_path.rglob("*.png")}
    assert {"0/0_1.png", "Kit/0_test.png", "Kit/0_demo.png"} <= written and len(written) == 9


def test_a_step_is_upstreams_step() -> None:
    """Adam on the L1 loss, written out."""
    model = build_model(options(train__optim_g={"type": "Adam", "lr": 1e-2, "fused": False}))
    net = copy.deepcopy(model.net_g)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for current_iter in (1, 2, 3):
        data = batch(seed=current_iter)
        optimizer.zero_grad()
        torch.nn.functional.l1_loss(net(data["lq"]), data["gt"]).backward()
        optimizer.step()
    train(model, 3)
    for key, value in net.state_dict().items():
        torch.testing.assert_close(weights(model)[key], value, rtol=1e-6, atol=1e-7)


def test_the_options_given_are_not_changed() -> None:
    opt = options(train__ema_decay=0.9)
    before = copy.deepcopy(opt)
    train(SRModel(opt), 1)
    build_model(opt)
    assert opt == before


def test_losses_stay_on_the_device_until_they_are_logged() -> None:
    model = build_model(options())
    train(model, 1)
    assert isinstance(model.log_dict["l_pix"], torch.Tensor) and not model.log_dict["l_pix"].requires_grad
    log = model.get_current_log()
    assert isinstance(log["l_pix"], float) and log["l_pix"] == pytest.approx(float(model.log_dict["l_pix"]))
    assert model.tb_scalars()["grad_norm"] > 0


def test_any_opt_with_a_type_is_a_loss_here_too() -> None:
    opt = options()
    opt["train"]["color_opt"] = {"type": "KitPartsLoss", "start_iter": 2}
    model = build_model(opt)
    train(model, 1)
    assert list(model.log_dict) == ["l_pix"]
    train(model, 1, start=2)
    assert list(model.log_dict) == ["l_pix", "color_opt", "color_opt/red", "color_opt/blue"]


def test_no_loss_at_all_is_upstreams_value_error() -> None:
    with pytest.raises(ValueError, match="Both pixel and perceptual losses are None"):
        build_model(options(train__pixel_opt=None))


def test_a_replaced_criterion_is_used() -> None:
    model: Any = build_model(options())
    model.cri_pix = torch.nn.MSELoss()
    train(model, 1)
    data = batch(seed=1)
    assert model.get_current_log()["l_pix"] == pytest.approx(
        float((model.output - data["gt"]).square().mean()), rel=1e-4
    )


def test_accumulation_equals_the_large_batch() -> None:
    whole, parts = (build_model(options(train__accum_iter=n, manual_seed=0)) for n in (1, 4))
    parts.net_g.load_state_dict(whole.net_g.state_dict())
    train(whole, 3, count=8)
    train(parts, 3, count=8)
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[key], value, rtol=1e-4, atol=1e-6)
    assert parts.output.shape == whole.output.shape


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.0),
        ({"grad_clip": 0.5}, 0.5),
        ({"grad_clip": False}, 0.0),
        ({"grad_clip": 0.5, "use_grad_clip": False}, 0.0),
    ],
)
def test_grad_clip(changes: dict[str, Any], expected: float) -> None:
    opt = options()
    opt["train"].update(changes)
    assert build_model(opt).grad_clip() == expected


def test_ema_averages_batch_norm_statistics_too() -> None:
    model = build_model(options(train__ema_decay=0.5, network_g={"type": "KitNet", "norm": True}))
    train(model, 4)
    ema, own = model.net_g_ema.state_dict(), model.net_g.state_dict()
    assert not torch.equal(ema["norm.running_mean"], torch.zeros(3))
    assert not torch.equal(ema["norm.running_mean"], own["norm.running_mean"])
    assert ema["norm.num_batches_tracked"] == 4 and not model.net_g_ema.training


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_validates_in_fp32(precision: str, tmp_path: Path) -> None:
    model = build_model(options(tmp_path, precision=precision))
    train(model, 3)
    assert model.output.dtype == torch.float32 and model.get_current_log()["l_pix"] > 0
    model.feed_data(batch())
    model.test()
    torch.testing.assert_close(model.output, model.net_g(model.lq).detach(), rtol=0, atol=0)
    model.save(0, 3)
    state = load_state(tmp_path / "training_states" / "3.state")
    assert (state["scaler"] is not None) is (precision == "fp16")
    if precision == "fp16":
        assert model.tb_scalars()["loss_scale"] > 0
        other = build_model(options(tmp_path, precision=precision))
        state["scaler"]["scale"] = 32.0
        other.resume_training(state)
        assert other.scaler is not None and other.scaler.get_scale() == 32.0


def test_nan_in_a_batch_stops_and_names_its_files() -> None:
    model = build_model(options())
    train(model, 1)
    before = weights(model)
    data = batch(seed=5)
    data["lq"][0, 0, 0, 0] = float("nan")
    model.feed_data(data)
    with pytest.raises(NonFiniteError, match=r"teration 2.*l_pix: nan.*/data/5_0.png"):
        model.optimize_parameters(2)
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items())


def test_nan_is_skipped_when_asked_and_neither_weights_nor_ema_move() -> None:
    model = build_model(options(train__non_finite="skip", train__ema_decay=0.5))
    train(model, 1)
    before, ema = weights(model), copy.deepcopy(model.net_g_ema.state_dict())
    data = batch()
    data["gt"][0] = float("inf")
    model.feed_data(data)
    with logged() as messages:
        model.optimize_parameters(2)
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items())
    assert all(torch.equal(value, ema[key]) for key, value in model.net_g_ema.state_dict().items())
    assert model.tb_scalars()["skipped_steps"] == 1 and "Step skipped (1 so far)" in messages[-1]


def test_channels_last_gives_the_same_training_and_files(tmp_path: Path) -> None:
    plain, last = (build_model(options(tmp_path, channels_last=value, train__ema_decay=0.5)) for value in (False, True))
    last.net_g.load_state_dict(plain.net_g.state_dict())
    train(plain, 3)
    train(last, 3)
    assert last.lq.is_contiguous(memory_format=torch.channels_last)
    for key, value in weights(plain).items():
        torch.testing.assert_close(weights(last)[key], value, rtol=1e-4, atol=1e-6)


def test_probed_layout_is_kept_in_the_state_and_not_probed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basicsr.engine import layout

    monkeypatch.setattr(layout, "probe", lambda net, image, precision: True)
    model = build_model(options(tmp_path, channels_last="auto", train__ema_decay=0.5))
    train(model, 1)
    assert model.channels_last is True and model.lq.is_contiguous(memory_format=torch.channels_last)
    model.save(0, 1)
    monkeypatch.setattr(layout, "probe", lambda *args: pytest.fail("probed again"))
    other = build_model(options(tmp_path, channels_last="auto", train__ema_decay=0.5))
    other.resume_training(load_state(tmp_path / "training_states" / "1.state"))
    train(other, 1, start=2)
    assert other.channels_last is True


def test_compile_leaves_the_keys_alone() -> None:
    model = build_model(options(compile=True))
    assert list(model.net_g.state_dict()) == list(KitNet().state_dict())


def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "train__ema_decay": 0.9,
        "train__scheduler": {"type": "MultiStepLR", "milestones": [3, 5]},
    }
    whole = build_model(options(tmp_path, **changes))
    train(whole, 3)
    whole.validation(loader(KitSet()), 3, None)
    whole.save(0, 3)
    train(whole, 4, start=4)
    resumed = build_model(
        options(tmp_path, path__pretrain_network_g=str(tmp_path / "models" / "net_g_3.pth"), **changes)
    )
    resumed.resume_training(load_state(tmp_path / "training_states" / "3.state"))
    assert resumed.best_metric_results == whole.best_metric_results
    train(resumed, 4, start=4)
    assert all(torch.equal(value, weights(whole)[key]) for key, value in weights(resumed).items())
    for key, value in whole.net_g_ema.state_dict().items():
        assert torch.equal(resumed.net_g_ema.state_dict()[key], value)
    assert resumed.get_current_learning_rate() == whole.get_current_learning_rate()


def test_weights_files_hold_both_sections_and_the_state_what_resuming_needs(tmp_path: Path) -> None:
    model = build_model(options(tmp_path, train__ema_decay=0.9))
    model.run_state = lambda: {"position": 12}
    train(model, 1)
    model.save(2, 1)
    model.save(-1, -1)
    model.save_best(2, 1)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "net_g_1.pth",
        "net_g_best.pth",
        "net_g_latest.pth",
    ]
    assert list(load_weights(tmp_path / "models" / "net_g_1.pth")) == ["params", "params_ema"]
    assert [path.name for path in (tmp_path / "training_states").iterdir()] == ["1.state"]
    state = load_state(tmp_path / "training_states" / "1.state")
    expected = {
        "version",
        "epoch",
        "iter",
        "optimizers",
        "schedulers",
        "scaler",
        "best",
        "channels_last",
        "world_size",
        "run",
    }
    assert set(state) == expected and state["run"] == {"position": 12} and (state["epoch"], state["iter"]) == (2, 1)


def test_ema_starts_from_the_files_ema_and_nafnets_param_key_is_read(tmp_path: Path) -> None:
    first = build_model(options(tmp_path, train__ema_decay=0.9))
    train(first, 3)
    first.save(0, 3)
    source = str(tmp_path / "models" / "net_g_3.pth")
    second = build_model(options(path__pretrain_network_g=source, train__ema_decay=0.9))
    assert torch.equal(second.net_g.body.weight, first.net_g.body.weight)
    assert torch.equal(second.net_g_ema.body.weight, first.net_g_ema.body.weight)
    third = build_model(options(path__pretrain_network_g=source, path__param_key="params_ema"))
    assert torch.equal(third.net_g.body.weight, first.net_g_ema.body.weight)


def test_a_state_of_another_setting_is_refused(tmp_path: Path) -> None:
    model = build_model(options(tmp_path))
    train(model, 1)
    model.save(0, 1)
    state = load_state(tmp_path / "training_states" / "1.state")
    with pytest.raises(UserError, match="iteration 1 holds 0 optimizers, this model has 1"):
        model.resume_training({**state, "optimizers": []})
    other = build_model(options(network_g={"type": "KitNet", "norm": True}))
    with pytest.raises(UserError, match="do not fit"):
        other.resume_training(state)


def test_several_gpus_without_a_launcher_point_to_torchrun() -> None:
    with logged() as messages:
        build_model(options(num_gpu=4, device="cpu"))
    assert any("torchrun --nproc_per_node=4" in message for message in messages)
