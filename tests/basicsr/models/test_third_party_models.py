"""Models written for upstream: their own step, losses, validation and adversarial training, unchanged."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basicsr.engine.checkpoint import load_state, load_weights
from basicsr.models.sr_model import SRModel
from tests.basicsr.models.model_kit import KitSet, batch, loader, logged, options


class OwnStep(SRModel):
    """Everything a subclass of upstream's SRModel may override."""

    def init_training_settings(self):  # type: ignore[no-untyped-def]
        self.net_g.train()
        self.ema_decay = self.opt["train"].get("ema_decay", 0)
        self.net_g_ema = type(self.net_g)()
        self.model_ema(0)
        self.cri_mine = nn.MSELoss()
        self.setup_optimizers()
        self.setup_schedulers()

    def setup_optimizers(self):  # type: ignore[no-untyped-def]
        train_opt = self.opt["train"]
        optim_type = train_opt["optim_g"].pop("type")
        self.optimizer_g = self.get_optimizer(optim_type, self.net_g.parameters(), **train_opt["optim_g"])
        self.optimizers.append(self.optimizer_g)

    def feed_data(self, data):  # type: ignore[no-untyped-def]
        self.lq = data["lq"].to(self.device)
        self.gt = data["gt"].to(self.device)

    def optimize_parameters(self, current_iter):  # type: ignore[no-untyped-def]
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        loss_dict = OrderedDict()
        l_total = self.cri_mine(self.output, self.gt)
        loss_dict["l_mine"] = l_total
        l_total.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(loss_dict)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):  # type: ignore[no-untyped-def]
        dataset_name = dataloader.dataset.opt["name"]
        if not hasattr(self, "metric_results"):
            self.metric_results = {metric: 0 for metric in self.opt["val"]["metrics"].keys()}
        self._initialize_best_metric_results(dataset_name)
        self.metric_results = {metric: 0 for metric in self.metric_results}
        for _idx, val_data in enumerate(dataloader):
            self.feed_data(val_data)
            self.test()
            result = self.get_current_visuals()["result"]
            self.metric_results["psnr"] += float(result.mean())
        for metric in self.metric_results:
            self.metric_results[metric] /= len(dataloader)
            self._update_best_metric_result(dataset_name, metric, self.metric_results[metric], current_iter)
        self._log_validation_metric_values(current_iter, dataset_name, tb_logger)


class Adversarial(SRModel):
    """A generator and a discriminator, in upstream's pattern."""

    def init_training_settings(self):  # type: ignore[no-untyped-def]
        self.net_d = self.model_to_device(nn.Sequential(nn.Conv2d(3, 1, 3)))
        self.print_network(self.net_d)
        self.cri_gan = nn.BCEWithLogitsLoss()
        self.setup_optimizers()
        self.setup_schedulers()

    def setup_optimizers(self):  # type: ignore[no-untyped-def]
        for label, net in (("g", self.net_g), ("d", self.net_d)):
            optimizer = self.get_optimizer("Adam", net.parameters(), lr=1e-3)
            setattr(self, f"optimizer_{label}", optimizer)
            self.optimizers.append(optimizer)

    def optimize_parameters(self, current_iter):  # type: ignore[no-untyped-def]
        for p in self.net_d.parameters():
            p.requires_grad = False
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        verdict = self.net_d(self.output)
        l_g = self.cri_gan(verdict, torch.ones_like(verdict))
        l_g.backward()
        self.optimizer_g.step()
        for p in self.net_d.parameters():
            p.requires_grad = True
        self.optimizer_d.zero_grad()
        real, fake = self.net_d(self.gt), self.net_d(self.output.detach())
        l_d = self.cri_gan(real, torch.ones_like(real)) + self.cri_gan(fake, torch.zeros_like(fake))
        l_d.backward()
        self.optimizer_d.step()
        self.log_dict = self.reduce_loss_dict(OrderedDict(l_g_gan=l_g, l_d=l_d, out_d_real=real.detach().mean()))

    def save(self, epoch, current_iter):  # type: ignore[no-untyped-def]
        self.save_network(self.net_g, "net_g", current_iter)
        self.save_network(self.net_d, "net_d", current_iter)
        self.save_training_state(epoch, current_iter)


def steps(model: Any, count: int = 3) -> None:
    for current_iter in range(1, count + 1):
        model.update_learning_rate(current_iter, warmup_iter=-1)
        model.feed_data(batch(seed=current_iter))
        model.optimize_parameters(current_iter)


def test_a_subclass_with_its_own_everything(tmp_path: Path) -> None:
    model: Any = OwnStep(options(tmp_path, train__ema_decay=0.5))
    steps(model)
    assert list(model.get_current_log()) == ["l_mine"] and model.tb_scalars() == {}
    with logged() as messages:
        model.validation(loader(KitSet()), 3, None, save_img=False)
    assert "Validation Kit\n\t # psnr: " in messages[-1] and "@ 3 iter" in messages[-1]
    assert model.best_checkpoint_due
    model.save(0, 3)
    assert list(load_weights(tmp_path / "models" / "net_g_3.pth")) == ["params", "params_ema"]


def test_two_networks_and_two_optimizers_train_save_and_resume(tmp_path: Path) -> None:
    model: Any = Adversarial(options(tmp_path))
    steps(model)
    assert list(model.get_current_log()) == ["l_g_gan", "l_d", "out_d_real"]
    model.save(0, 3)
    assert (tmp_path / "models" / "net_d_3.pth").is_file()
    state = load_state(tmp_path / "training_states" / "3.state")
    assert len(state["optimizers"]) == len(state["schedulers"]) == 2
    other: Any = Adversarial(options(tmp_path))
    other.load_network(other.net_d, tmp_path / "models" / "net_d_3.pth")
    other.resume_training(state)
    assert torch.equal(other.net_d[0].weight, model.net_d[0].weight)


def test_settings_that_an_own_step_does_not_apply_are_named() -> None:
    with logged() as messages:
        OwnStep(options(precision="bf16", train__grad_clip=0.1, train__accum_iter=2, train__non_finite="skip"))
    text = next(message for message in messages if "optimize_parameters" in message)
    for word in ("train.accum_iter", "train.grad_clip", "precision: bf16", "non_finite"):
        assert word in text


@pytest.mark.parametrize("changes", [{}, {"train__accum_iter": 1, "train__grad_clip": 0}])
def test_nothing_is_said_where_nothing_is_lost(changes: dict[str, Any]) -> None:
    with logged() as messages:
        OwnStep(options(**changes))
    assert not any("optimize_parameters" in message for message in messages)


def test_a_test_without_the_synthetic_process_sees_is_train_false(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Synthetic(SRModel):
        def feed_data(self, data):  # type: ignore[no-untyped-def]
            seen.append(self.is_train)
            super().feed_data(data)

        def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):  # type: ignore[no-untyped-def]
            self.is_train = False
            super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
            self.is_train = True

    model = Synthetic(options(tmp_path))
    model.validation(loader(KitSet()), 5, None, save_img=True)
    assert seen == [False] * 3 and (tmp_path / "visualization" / "0" / "0_5.png").is_file()
