"""Weights and states that other training codes wrote, read or refused with the way out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.engine import checkpoint
from basicsr.engine.errors import UserError
from basicsr.engine.network_io import fit, read_state_dict
from tests.basicsr.models.model_kit import logged
from tests.basicsr.upstream_files import (
    MSRRESNET,
    MSRRESNET_OPTIONS,
    NAFNET_OPTIONS,
    as_if_saved_on_cuda,
    experiment,
    nafnet_shapes,
    state_dict,
    training_state,
)


def load(path: Path, options: dict[str, Any], key: str | None = "params", strict: bool = True) -> dict[str, Any]:
    """Weights of a network of ours after the file was loaded into it."""
    net = build_network(options)
    fit(net, read_state_dict(path, key)[0], str(path), strict)
    return net.state_dict()


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(("key", "seed"), [("params", 0), ("params_ema", 1)])
def test_both_sections_of_an_upstream_checkpoint_load_strictly(tmp_path: Path, key: str, seed: int) -> None:
    weights = experiment(tmp_path, MSRRESNET)
    assert same(load(weights, MSRRESNET_OPTIONS, key), state_dict(MSRRESNET, seed))


def test_official_nafnet_checkpoint_loads_strictly(tmp_path: Path) -> None:
    torch.save({"params": state_dict(nafnet_shapes())}, tmp_path / "NAFNet-width2.pth")
    assert same(load(tmp_path / "NAFNet-width2.pth", NAFNET_OPTIONS, "params_ema"), state_dict(nafnet_shapes()))


def _cuda(path: Path, sections: dict[str, Any]) -> None:
    torch.save(sections, path)
    as_if_saved_on_cuda(path)


def _legacy(path: Path, sections: dict[str, Any]) -> None:
    torch.save(sections, path, _use_new_zipfile_serialization=False)


def _wrapped(path: Path, sections: dict[str, Any]) -> None:
    torch.save({name: {f"module.{key}": value for key, value in sd.items()} for name, sd in sections.items()}, path)


def _with_numbers(path: Path, sections: dict[str, Any]) -> None:
    extra = {"best_psnr": np.float64(31.5), "epoch": np.int64(4), "lr": np.float32(1e-4), "done": np.bool_(True)}
    torch.save({**sections, **extra}, path)


def _with_numbers_of_numpy_1(path: Path, sections: dict[str, Any]) -> None:
    torch.save({**sections, "best_psnr": np.float64(31.5)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


@pytest.mark.parametrize("form", [_cuda, _legacy, _wrapped, _with_numbers, _with_numbers_of_numpy_1])
def test_forms_in_which_upstreams_users_keep_weights(tmp_path: Path, form: Callable[[Path, Any], None]) -> None:
    form(tmp_path / "net.pth", {"params": state_dict(MSRRESNET)})
    assert same(load(tmp_path / "net.pth", MSRRESNET_OPTIONS), state_dict(MSRRESNET))


def test_the_crafted_cuda_file_really_is_one(tmp_path: Path) -> None:
    _cuda(tmp_path / "net.pth", {"params": state_dict(MSRRESNET)})
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(tmp_path / "net.pth", weights_only=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_become_the_networks_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    half = {key: value.to(dtype) for key, value in state_dict(MSRRESNET).items()}
    torch.save({"params": half}, tmp_path / "half.pth")
    loaded = load(tmp_path / "half.pth", MSRRESNET_OPTIONS)
    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert same(loaded, {key: value.float() for key, value in half.items()})


def test_not_strict_loads_what_fits_of_another_network(tmp_path: Path) -> None:
    weights = experiment(tmp_path, MSRRESNET)
    edsr = {**MSRRESNET_OPTIONS, "type": "EDSR"}
    with pytest.raises(UserError, match=r"does not fit EDSR: 4 missing in the file: conv_after_body\.weight"):
        load(weights, edsr)
    with logged() as messages:
        loaded = load(weights, edsr, strict=False)
    assert "8 of 12 tensors fit EDSR" in messages[-1]
    assert torch.equal(loaded["conv_first.weight"], state_dict(MSRRESNET)["conv_first.weight"])


def test_objects_that_could_run_code_stay_refused_beside_numbers(tmp_path: Path) -> None:
    objects = np.array([os.system], dtype=object)
    for name, foreign in {"a": os.system, "b": objects}.items():
        torch.save({"params": {}, "best": np.float64(1), "foreign": foreign}, tmp_path / f"{name}.pth")
        with pytest.raises(UserError, match="could run any code"):
            checkpoint.load_weights(tmp_path / f"{name}.pth")


def test_checkpoint_of_a_training_module_says_which_key_and_which_prefix(tmp_path: Path) -> None:
    wrapped = {f"net_g.{key}": value for key, value in state_dict(MSRRESNET).items()}
    content = {"epoch": 3, "global_step": 900, "state_dict": {**wrapped, "loss.window": torch.ones(2)}}
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"holds epoch, global_step, state_dict, not 'params'; set .*g: state_dict"):
        read_state_dict(tmp_path / "last.ckpt", "params")
    with pytest.raises(UserError, match=r"12 missing.*'net_g\.' in front.*save it again"):
        load(tmp_path / "last.ckpt", MSRRESNET_OPTIONS, "state_dict")


def test_a_state_in_the_place_of_weights_names_the_weights(tmp_path: Path) -> None:
    weights = experiment(tmp_path, MSRRESNET)
    with pytest.raises(UserError) as error:
        read_state_dict(tmp_path / "training_states" / "8.state", "params")
    assert "holds no weights" in str(error.value) and str(weights) in str(error.value)
    with pytest.raises(UserError, match=r"not a training state: it holds weights.*pretrain_network_g"):
        checkpoint.load_state(weights)


@pytest.mark.parametrize("legacy", [False, True])
def test_upstream_state_is_refused_with_the_options_that_go_on_from_it(tmp_path: Path, legacy: bool) -> None:
    weights = experiment(tmp_path, MSRRESNET)
    path = tmp_path / "training_states" / "8.state"
    torch.save(training_state(MSRRESNET), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(checkpoint.UpstreamStateError) as error:
        checkpoint.load_state(path)
    text = str(error.value)
    assert f"under path, pretrain_network_g: {weights}." in text
    assert "--auto_resume" in text and "at iteration 8 at a learning rate of 0.00025" in text


def test_upstream_state_names_the_weights_of_every_network(tmp_path: Path) -> None:
    weights = experiment(tmp_path, MSRRESNET)
    torch.save({"params": {}}, weights.with_name("net_d_8.pth"))
    with pytest.raises(UserError, match=r"pretrain_network_d: \S+net_d_8\.pth, pretrain_network_g: \S+net_g_8\.pth\."):
        checkpoint.load_state(tmp_path / "training_states" / "8.state")
    for file in weights.parent.iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"pretrain_network_g: \S+net_g_8\.pth \(that file is not there"):
        checkpoint.load_state(tmp_path / "training_states" / "8.state")


def test_state_with_foreign_objects_points_to_the_weights(tmp_path: Path) -> None:
    torch.save({**training_state(MSRRESNET), "logger": os.system}, tmp_path / "8.state")
    with pytest.raises(UserError, match=r"8\.state.*start from its weights instead: path\.pretrain_network_g"):
        checkpoint.load_state(tmp_path / "8.state")
