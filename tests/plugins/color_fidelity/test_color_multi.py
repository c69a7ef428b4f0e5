"""The composite and the multi-loss form of the colour fine-tune are one objective."""

from pathlib import Path
from typing import Any

import torch

from basicsr.engine.loss_set import LossSet
from basicsr.engine.options_merge import load_options

ROOT = Path(__file__).resolve().parents[3]


def plain(name: str) -> dict[str, Any]:
    return dict(load_options(ROOT / "options" / name).root.plain())


def losses(name: str) -> LossSet:
    """The file's losses, without the perceptual one, which both share."""
    import plugins.color_fidelity.color_aware_loss  # noqa: F401

    train = {key: value for key, value in plain(name)["train"].items() if key != "perceptual_opt"}
    return LossSet.from_options(train)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Bold, pale, grey, black, white and out-of-gamut pixels."""
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(3, 3, 24, 24, generator=generator)
    target[0] = target[0].mean(dim=0, keepdim=True) + 0.05 * (target[0] - 0.5)
    target[1, :, :8], target[1, :, 8:16] = 0.0, 1.0
    pred = target + 0.2 * torch.randn(target.shape, generator=generator)
    pred[2, :, :6] = target[2, :, :6].mean(dim=0, keepdim=True)
    return pred, target


def test_both_forms_give_the_same_loss_and_the_same_gradient() -> None:
    pred, target = batch()
    results = []
    for name in ("nafnet_color_ft.yml", "nafnet_color_multi.yml"):
        guess = pred.clone().requires_grad_()
        total = losses(name)(guess, target, 1)[0]
        total.backward()
        assert guess.grad is not None
        results.append((total.detach(), guess.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-5, atol=1e-9)


def test_everything_but_the_losses_and_the_name_is_inherited() -> None:
    composite, multi = plain("nafnet_color_ft.yml"), plain("nafnet_color_multi.yml")
    for options in (composite, multi):
        options.pop("name")
        options["train"] = {
            key: value for key, value in options["train"].items() if not key.endswith("_opt") or key == "perceptual_opt"
        }
    assert composite == multi
