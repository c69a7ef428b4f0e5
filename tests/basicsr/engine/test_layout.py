"""Memory layout: setting, conversion, timed choice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from basicsr.engine import layout
from basicsr.engine.errors import UserError
from basicsr.engine.precision import Precision
from tests.basicsr.models.model_kit import logged


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Conv2d(8, 3, 3, padding=1)
    )


def test_conversion_keeps_the_parameters_and_their_values() -> None:
    one = net()
    ids, before = [id(p) for p in one.parameters()], {k: v.clone() for k, v in one.state_dict().items()}
    layout.convert(one, True)
    assert [id(p) for p in one.parameters()] == ids
    assert one[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index,union-attr]
    assert all(torch.equal(value, before[key]) for key, value in one.state_dict().items())
    layout.convert(one, False)
    assert one[0].weight.is_contiguous()  # type: ignore[index,union-attr]


def test_images_are_laid_out_and_other_tensors_left() -> None:
    nested = layout.image_format({"lq": torch.rand(2, 3, 4, 5), "label": torch.rand(2)}, True)
    assert nested["lq"].is_contiguous(memory_format=torch.channels_last) and nested["label"].shape == (2,)


def test_probe_logs_both_times_and_its_choice_and_disturbs_nothing() -> None:
    one, image = net(), torch.rand(2, 3, 16, 16)
    before, state = {k: v.clone() for k, v in one.state_dict().items()}, torch.get_rng_state()
    with logged() as messages:
        choice = layout.probe(one, image, Precision())
    text = messages[-1]
    assert "NCHW" in text and "channels-last" in text and "ms" in text and "2x3x16x16" in text
    assert text.endswith("using channels-last" if choice else "using NCHW")
    assert all(torch.equal(value, before[key]) for key, value in one.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and all(p.grad is None for p in one.parameters())


def test_probe_takes_the_faster_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (False, True):
        monkeypatch.setattr(layout, "_time_in_turn", lambda runs, device, f=fast: {f: 0.1, not f: 0.2})
        assert layout.probe(net(), torch.rand(1, 3, 8, 8), Precision()) is fast


def test_settings() -> None:
    assert [layout.check_setting(value) for value in (True, False, "auto")] == [True, False, "auto"]
    with pytest.raises(UserError, match="channels_last"):
        layout.check_setting("maybe")
