"""NAFNet: shapes, keys, agreement with an independent implementation, export and mixed precision."""

import importlib
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from basicsr.archs import build_network
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.nafnet_arch import NAFBlock, NAFNet, NAFNetLocal
from basicsr.archs.norm import LayerNorm2d
from basicsr.engine.torchvision_compat import import_torchvision

TINY = {"width": 8, "middle_blk_num": 2, "enc_blk_nums": [1, 2], "dec_blk_nums": [2, 1]}
BLOCK_KEYS = {
    *("beta", "gamma", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"),
    *(
        f"{name}.{kind}"
        for name in ("conv1", "conv2", "conv3", "sca.1", "conv4", "conv5")
        for kind in ("weight", "bias")
    ),
}


@pytest.fixture(scope="module")
def spandrel():
    import_torchvision()  # spandrel imports it, and cannot where its compiled part does not load
    return importlib.import_module("spandrel")


def randomised(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random values everywhere: a new NAFBlock is the identity and would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.8 - 0.4)
    return net.eval()


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (1, 1), (5, 64)])
def test_output_has_the_size_of_the_input(size):
    net = NAFNet(**TINY)
    x = torch.rand(2, 3, *size)
    assert net(x).shape == x.shape


def test_channels_and_no_levels():
    assert NAFNet(img_channel=6, width=4)(torch.rand(1, 6, 9, 9)).shape == (1, 6, 9, 9)


def test_levels_must_match():
    with pytest.raises(ValueError, match="same number of levels"):
        NAFNet(enc_blk_nums=[1, 1], dec_blk_nums=[1])


def test_keys_are_the_official_ones():
    keys = set(NAFNet(**TINY).state_dict())
    blocks = ["encoders.0.0", "encoders.1.0", "encoders.1.1", "middle_blks.0", "middle_blks.1", "decoders.0.0"]
    blocks += ["decoders.0.1", "decoders.1.0"]
    expected = {f"{block}.{key}" for block, key in itertools.product(blocks, BLOCK_KEYS)}
    expected |= {f"{conv}.{kind}" for conv in ("intro", "ending", "downs.0", "downs.1") for kind in ("weight", "bias")}
    expected |= {"ups.0.0.weight", "ups.1.0.weight"}
    assert keys == expected


def test_new_block_is_the_identity():
    x = torch.rand(1, 8, 6, 6)
    assert torch.equal(NAFBlock(8)(x), x)


def test_spandrel_loads_our_weights_and_agrees(spandrel):
    net = randomised(NAFNet(**TINY))
    loaded = spandrel.ModelLoader().load_from_state_dict(dict(net.state_dict()))
    assert loaded.architecture.id == "NAFNet"
    x = torch.rand(2, 3, 21, 34)
    with torch.no_grad():
        torch.testing.assert_close(net(x), loaded.model.eval()(x), atol=1e-5, rtol=1e-5)


def test_weights_of_the_independent_implementation_load_strictly(spandrel):
    donor = spandrel.ModelLoader().load_from_state_dict(dict(randomised(NAFNet(**TINY)).state_dict())).model
    NAFNet(**TINY).load_state_dict(donor.state_dict(), strict=True)


def test_layer_norm_matches_its_definition():
    norm = randomised(LayerNorm2d(5))
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    norm.double()
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    expected = (x - mean) / (variance + 1e-6).sqrt() * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(norm(x), expected, atol=1e-12, rtol=1e-12)


def test_layer_norm_gradient():
    norm = LayerNorm2d(3).double()
    assert torch.autograd.gradcheck(norm, torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_norm_of_half_precision_is_computed_in_float32(dtype):
    x = (torch.randn(1, 8, 4, 4) + 1000).to(dtype)
    norm = LayerNorm2d(8)
    expected = norm(x.float()).to(dtype)
    assert torch.equal(norm(x), expected)
    assert torch.equal(norm.to(dtype)(x), expected)


def test_layer_norm_keeps_the_memory_format():
    x = torch.rand(1, 4, 5, 6).to(memory_format=torch.channels_last)
    assert LayerNorm2d(4)(x).is_contiguous(memory_format=torch.channels_last)


def test_autocast_trains_to_finite_gradients():
    net = randomised(NAFNet(**TINY)).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(torch.rand(1, 3, 16, 16))
    out.float().square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_compiles_as_one_graph():
    net = randomised(NAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1]))
    # "eager" runs the captured graph as it is: what is tested is that capturing needs no break, not the code generator.
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    x = torch.rand(1, 3, 9, 10)
    torch.testing.assert_close(compiled(x), net(x))


def test_exports_with_a_dynamic_size():
    net = randomised(NAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1])).unpadded()
    height, width = torch.export.Dim("h", min=2, max=64), torch.export.Dim("w", min=2, max=64)
    shapes = ({2: 2 * height, 3: 2 * width},)
    program = torch.export.export(net, (torch.rand(1, 3, 16, 24),), dynamic_shapes=shapes).module()
    x = torch.rand(1, 3, 38, 10)
    torch.testing.assert_close(program(x), net(x), atol=1e-6, rtol=1e-6)


def test_local_pool_is_the_mean_of_the_window():
    x = torch.rand(2, 3, 11, 14) + 100
    out = LocalAvgPool2d((4, 5))(x)
    inner = F.avg_pool2d(x, (4, 5), stride=1)
    expected = F.pad(inner, (2, 2, 1, 2), mode="replicate")
    torch.testing.assert_close(out, expected, atol=4e-5, rtol=0)


def test_local_pool_of_a_small_image_is_global():
    x = torch.rand(1, 2, 6, 6)
    assert LocalAvgPool2d((8, 8))(x).shape == (1, 2, 1, 1)


def test_local_pool_window_wider_than_one_edge():
    x = torch.rand(1, 2, 6, 20)
    out = LocalAvgPool2d((8, 5))(x)
    torch.testing.assert_close(out[0, :, 0, 2], x[0, :, :, :5].mean((-2, -1)))


def test_fast_local_pool_keeps_the_shape_and_nearly_the_value():
    # every fifth pixel stands for its neighbours, so the value is near where neighbours are alike
    x = torch.linspace(0, 1, 40)[:, None] * torch.linspace(1, 0, 60) + torch.zeros(1, 2, 1, 1)
    exact, fast = LocalAvgPool2d((20, 20)), LocalAvgPool2d((20, 20), max_step=(5, 5), fast=True)
    assert fast(x).shape == x.shape
    assert (exact(x) - fast(x)).abs().max() < 0.1


def test_local_variant_equals_nafnet_on_the_training_size():
    net = randomised(NAFNet(**TINY))
    local = NAFNetLocal(**TINY, train_size=(1, 3, 32, 32)).eval()
    local.load_state_dict(net.state_dict(), strict=True)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(local(x), net(x))
    larger = torch.rand(1, 3, 96, 80) * torch.linspace(0, 4, 80)
    assert local(larger).shape == larger.shape
    assert (local(larger) - net(larger)).abs().max() > 1e-4


def test_local_windows_cover_one_and_a_half_crops_at_every_level():
    local = NAFNetLocal(**TINY, train_size=(1, 3, 64, 32))
    windows = [blocks[0].sca[0].kernel_size for blocks in (*local.encoders, local.middle_blks, *local.decoders)]
    assert windows == [(96, 48), (48, 24), (24, 12), (48, 24), (96, 48)]


def test_local_refuses_a_bad_train_size():
    with pytest.raises(ValueError, match="train_size"):
        NAFNetLocal(train_size=(256, 256))


def test_module_name_of_the_official_repository():
    from basicsr.archs.NAFNet_arch import NAFNet as Alias

    assert Alias is NAFNet


def test_build_network_leaves_its_options_alone():
    opt = {"type": "NAFNet", **TINY}
    before = dict(opt)
    net = build_network(opt)
    assert isinstance(net, NAFNet) and opt == before
    assert math.prod(net.intro.weight.shape[:2]) == 24
