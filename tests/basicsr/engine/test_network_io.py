"""Weights files meeting networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from basicsr.engine.checkpoint import save_weights
from basicsr.engine.errors import UserError
from basicsr.engine.network_io import fit, read_state_dict, strip_prefixes
from tests.basicsr.models.model_kit import logged


def test_prefixes_of_wrappers_are_taken_off() -> None:
    tensor = torch.zeros(1)
    for key in ("module.a.weight", "_orig_mod.a.weight", "module._orig_mod.a.weight", "_orig_mod.module.a.weight"):
        assert list(strip_prefixes({key: tensor})) == ["a.weight"]
    assert list(strip_prefixes({"module.a": tensor, "b": tensor})) == ["module.a", "b"]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_sections_fall_back_to_params(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    save_weights(path, {"params": {"a": torch.zeros(1)}})
    assert read_state_dict(path, "params_ema")[1] == "params"
    save_weights(path, {"params": {"a": torch.zeros(1)}, "params_ema": {"a": torch.ones(1)}})
    state, section = read_state_dict(path, "params_ema")
    assert section == "params_ema" and state["a"].item() == 1


@pytest.mark.parametrize("key", [None, "params"])
def test_a_bare_state_dict_loads(tmp_path: Path, key: str | None) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "bare.pth")
    assert set(read_state_dict(tmp_path / "bare.pth", key)[0]) == {"weight", "bias"}


def test_a_file_without_the_section_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"generator": {}, "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="w.pth: it holds generator, epoch, not 'params'"):
        read_state_dict(tmp_path / "w.pth", "params")


def test_strict_mismatch_lists_missing_unknown_and_wrong_shapes_in_short() -> None:
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(5)])
    state = {"0.weight": torch.zeros(3, 2), "foreign": torch.zeros(1)}
    with pytest.raises(UserError) as error:
        fit(net, state, "w.pth", strict=True)
    text = str(error.value)
    assert "9 missing in the file" in text and "... 4 more" in text and "1 unknown to the network: foreign" in text
    assert "0.weight (file (3, 2), network (2, 2))" in text and "strict_load" in text


def test_loose_load_takes_what_fits_and_warns() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    state = {"0.weight": torch.ones(2, 2), "1.weight": torch.ones(9, 9), "x": torch.ones(1)}
    with logged() as messages:
        fit(net, state, "w.pth", strict=False)
    assert torch.equal(net[0].weight, torch.ones(2, 2)) and "1 of 4 tensors fit" in messages[-1] and "x" in state
