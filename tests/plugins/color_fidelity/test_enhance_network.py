"""Which network a checkpoint is for."""

from pathlib import Path

import pytest
import torch

from basicsr.archs.nafnet_arch import NAFNet
from basicsr.engine.checkpoint import save_state, save_weights
from basicsr.engine.errors import UserError
from plugins.color_fidelity.enhance_network import load_network, nafnet_options

SIZES = [
    (3, 8, 2, (1, 1, 2), (1, 1, 1)),
    (3, 16, 12, (2, 2, 4, 8), (2, 2, 2, 2)),
    (1, 4, 1, (), ()),
    (3, 4, 0, (0, 2), (1, 0)),
]


@pytest.mark.parametrize("size", SIZES[:3])
def test_sizes_are_read_off_the_weights(size: tuple) -> None:
    state = NAFNet(*size).state_dict()
    options = nafnet_options(state, Path("net_g.pth"))
    assert options.pop("type") == "NAFNet"
    NAFNet(**options).load_state_dict(state, strict=True)


def test_levels_without_blocks_are_counted() -> None:
    state = {**NAFNet(3, 4, 1, (0, 2), (1, 0)).state_dict()}
    assert nafnet_options(state, Path("x"))["enc_blk_nums"] == [0, 2]
    assert nafnet_options(state, Path("x"))["dec_blk_nums"] == [1, 0]


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    plain, averaged = NAFNet(3, 4, 1, [1], [1]), NAFNet(3, 4, 1, [1], [1])
    path = tmp_path / "net_g_1.pth"
    save_weights(path, {"params": plain.state_dict(), "params_ema": averaged.state_dict()})
    assert torch.equal(load_network(path).intro.weight, averaged.intro.weight)  # type: ignore[union-attr,arg-type]
    assert torch.equal(load_network(path, param_key="params").intro.weight, plain.intro.weight)  # type: ignore[union-attr,arg-type]
    save_weights(tmp_path / "a.safetensors", {"params": plain.state_dict()})
    net = load_network(tmp_path / "a.safetensors")
    assert not net.training and not any(parameter.requires_grad for parameter in net.parameters())


def test_a_network_of_an_option_file(tmp_path: Path) -> None:
    net = NAFNet(3, 4, 1, [1], [1])
    save_weights(tmp_path / "net.pth", {"params": net.state_dict()})
    text = "network_g: {type: NAFNetLocal, width: 4, middle_blk_num: 1, enc_blk_nums: [1], dec_blk_nums: [1]}\n"
    (tmp_path / "base.yml").write_text(text + "plugins: []\n")
    (tmp_path / "o.yml").write_text("base: base.yml\nname: x\n")
    assert type(load_network(tmp_path / "net.pth", tmp_path / "o.yml")).__name__ == "NAFNetLocal"
    (tmp_path / "o.yml").write_text("name: x\n")
    with pytest.raises(UserError, match="no section network_g"):
        load_network(tmp_path / "net.pth", tmp_path / "o.yml")


def test_what_is_no_checkpoint_is_explained(tmp_path: Path) -> None:
    save_weights(tmp_path / "net_g_5.pth", {"params": {"body.0.weight": torch.zeros(1)}})
    with pytest.raises(UserError, match=r"no such checkpoint; in that folder there are net_g_5\.pth"):
        load_network(tmp_path / "net_g_6.pth")
    with pytest.raises(UserError, match="a folder"):
        load_network(tmp_path)
    with pytest.raises(UserError, match=r"not a NAFNet \(its keys begin with body\.0\.weight\).*--opt"):
        load_network(tmp_path / "net_g_5.pth")
    save_state(tmp_path / "training_states" / "5.state", {"iter": 5, "optimizers": [], "schedulers": []})
    with pytest.raises(UserError, match=r"a training state .*net_g_5\.pth"):
        load_network(tmp_path / "training_states" / "5.state")
    (tmp_path / "bad.pth").write_bytes(b"not a file of weights")
    with pytest.raises(UserError, match=r"bad\.pth"):
        load_network(tmp_path / "bad.pth")
    broken = NAFNet(3, 4, 1, [1], [1]).state_dict()
    broken.pop("ending.bias")
    save_weights(tmp_path / "broken.pth", {"params": broken})
    with pytest.raises(UserError, match=r"ending\.bias"):
        load_network(tmp_path / "broken.pth")


def test_weights_that_were_asked_for_by_name_are_not_replaced_by_others(tmp_path: Path) -> None:
    save_weights(tmp_path / "net.pth", {"params": NAFNet(3, 4, 1, [1], [1]).state_dict()})
    with pytest.raises(UserError, match="holds no 'params_ema', but params"):
        load_network(tmp_path / "net.pth", param_key="params_ema")
