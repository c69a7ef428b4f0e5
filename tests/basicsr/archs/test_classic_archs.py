"""The classic architectures: sizes, keys, agreement with independent implementations, initial weights."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from basicsr.archs import arch_util, build_network
from basicsr.engine.torchvision_compat import import_torchvision
from basicsr.utils.registry import ARCH_REGISTRY

CASES = [
    ({"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "upscale": scale}, scale)
    for scale in (2, 3, 4)
]
CASES += [({"type": "EDSR", "num_in_ch": 1, "num_out_ch": 1, "num_feat": 8, "num_block": 1, "upscale": 2}, 2)]
CASES += [({"type": "MSRResNet", "num_feat": 8, "num_block": 2, "upscale": scale}, scale) for scale in (1, 2, 3, 4)]
RRDB = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "num_grow_ch": 4}
CASES += [({**RRDB, "scale": scale}, scale) for scale in (1, 2, 4)]
SRVGG = {"type": "SRVGGNetCompact", "num_feat": 8, "num_conv": 3}
CASES += [({**SRVGG, "upscale": s, "act_type": a}, s) for s, a in ((4, "prelu"), (2, "relu"), (3, "leakyrelu"))]


def numbered(net: nn.Module) -> nn.Module:
    """Weights that depend on nothing but their sorted names, so that values can be compared with recorded ones."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in sorted(net.named_parameters()):
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.4 - 0.2)
    return net.eval()


@pytest.fixture(scope="module")
def spandrel():
    import_torchvision()
    return importlib.import_module("spandrel")


@pytest.mark.parametrize(("opt", "scale"), CASES)
def test_output_is_enlarged(opt, scale):
    net = build_network(opt)
    channels = opt.get("num_in_ch", 3)
    assert net(torch.rand(2, channels, 8, 12)).shape == (2, channels, 8 * scale, 12 * scale)


# Sum and sum of magnitudes of upstream's output for the same weights and input.
RECORDED = {
    "EDSR": (3916.3182425647974, 4136.790393188596),
    "MSRResNet": (4149.498003344983, 4154.474513631314),
    "RRDBNet": (88.19101790897548, 2065.3350038137287),
    "SRVGGNetCompact": (3882.4867675215937, 4125.131191315595),
}


@pytest.mark.parametrize("name", RECORDED)
def test_values_are_those_recorded_from_upstream(name):
    opt = next(o for o, scale in CASES if o["type"] == name and scale == 4 and o.get("num_in_ch", 3) == 3)
    x = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        out = numbered(build_network(opt))(x).double()
    assert (out.sum().item(), out.abs().sum().item()) == pytest.approx(RECORDED[name], rel=1e-5)


@pytest.mark.parametrize(
    ("opt", "architecture"),
    [({**RRDB, "num_grow_ch": 32, "scale": scale}, "ESRGAN") for scale in (1, 2, 4)]
    + [({**SRVGG, "upscale": 4}, "Compact")],
)
def test_spandrel_loads_our_weights_and_agrees(opt, architecture, spandrel):
    net = numbered(build_network(opt))
    loaded = spandrel.ModelLoader().load_from_state_dict(dict(net.state_dict()))
    assert loaded.architecture.id == architecture
    x = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(net(x), loaded.model.eval()(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("opt", "keys"),
    [
        (CASES[0][0], "conv_first body.0.conv1 body.1.conv2 conv_after_body upsample.0 conv_last"),
        (CASES[7][0], "conv_first body.0.conv1 upconv1 upconv2 conv_hr conv_last"),
        (CASES[8][0], "conv_first body.0.rdb1.conv1 body.1.rdb3.conv5 conv_body conv_up1 conv_up2 conv_hr conv_last"),
        (CASES[11][0], "body.0 body.1 body.8"),
    ],
)
def test_official_keys(opt, keys):
    state = build_network(opt).state_dict()
    assert {f"{key}.weight" for key in keys.split()} <= set(state)
    assert not any(key.startswith("mean") for key in state)


def test_compact_network_is_registered_under_the_suffix_name():
    assert "SRVGGNetCompact_basicsr" in ARCH_REGISTRY
    assert ARCH_REGISTRY.get("SRVGGNetCompact").__name__ == "SRVGGNetCompact"


@pytest.mark.parametrize(
    ("opt", "message"),
    [
        ({"type": "MSRResNet", "upscale": 5}, "upscale must be 1, 2, 3 or 4"),
        ({**CASES[0][0], "upscale": 6}, "scale 6 is not supported"),
        ({"type": "SRVGGNetCompact", "act_type": "gelu"}, "act_type must be"),
    ],
)
def test_bad_options_are_refused(opt, message):
    with pytest.raises(ValueError, match=message):
        build_network(opt)


def test_default_init_weights():
    net = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Linear(4, 4, bias=False))
    torch.manual_seed(0)
    arch_util.default_init_weights(net, scale=0.0, bias_fill=0.5)
    assert not net[0].weight.any() and not net[2].weight.any()
    assert (net[0].bias == 0.5).all() and (net[1].weight == 1).all() and (net[1].bias == 0.5).all()


def test_make_layer_makes_separate_blocks():
    blocks = arch_util.make_layer(arch_util.ResidualBlockNoBN, 3, num_feat=4)
    assert len(blocks) == 3 and blocks[0] is not blocks[1]


def test_flow_warp_moves_by_whole_pixels():
    x = torch.rand(1, 2, 6, 7)
    flow = torch.zeros(1, 6, 7, 2)
    flow[..., 0] = 2
    torch.testing.assert_close(arch_util.flow_warp(x, flow)[..., :-2], x[..., 2:])
    with pytest.raises(ValueError, match="does not fit"):
        arch_util.flow_warp(x, flow[:, 1:])


def test_resize_flow_scales_the_offsets():
    flow = torch.ones(1, 2, 4, 6)
    out = arch_util.resize_flow(flow, "shape", (8, 3))
    assert out.shape == (1, 2, 8, 3)
    assert (out[:, 0] == 0.5).all() and (out[:, 1] == 2).all()
    assert arch_util.resize_flow(flow, "ratio", (0.5, 1)).shape == (1, 2, 2, 6)
    with pytest.raises(ValueError, match="ratio or shape"):
        arch_util.resize_flow(flow, "size", (1, 1))


def test_pixel_unshuffle_inverts_pixel_shuffle():
    x = torch.rand(1, 8, 3, 4)
    assert torch.equal(arch_util.pixel_unshuffle(F.pixel_shuffle(x, 2), 2), x)


def test_tuples_and_truncated_normal():
    assert arch_util.to_2tuple(3) == (3, 3) and arch_util.to_2tuple([1, 2]) == [1, 2]
    values = arch_util.trunc_normal_(torch.empty(1000), std=5.0, a=-1.0, b=1.0)
    assert values.abs().max() <= 1
