"""Whole, banded and tiled runs of a network give one image."""

import pytest
import torch
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import NAFNet, NAFNetLocal
from basicsr.engine.errors import UserError
from plugins.color_fidelity import enhance_run
from plugins.color_fidelity.enhance_bands import BandedNAFNet, can_be_banded
from plugins.color_fidelity.enhance_run import Runner, blended_tiles, free_memory, pad_to_multiple


def lively_nafnet(width: int = 8, seed: int = 0) -> NAFNet:
    """A NAFNet whose blocks are no identities."""
    torch.manual_seed(seed)
    net = NAFNet(3, width, 2, [1, 1, 2], [1, 1, 1]).eval().requires_grad_(False)
    for name, parameter in net.named_parameters():
        parameter += torch.randn_like(parameter) * (0.3 if name.endswith(("beta", "gamma")) else 0.05)
    return net


@pytest.mark.parametrize("size", [(40, 56), (100, 133), (65, 300), (9, 7), (1, 1)])
def test_bands_equal_the_whole_image(size: tuple[int, int]) -> None:
    """Tiles of a NAFNet differ from the whole image, because its attention averages over what it sees; bands do not."""
    net = lively_nafnet()
    image = torch.rand(1, 3, *size, generator=torch.manual_seed(1))
    whole, banded = Runner(net, tile=0)(image), Runner(net, tile=64)(image)
    assert whole.shape == image.shape
    assert (whole - banded).abs().max() < 1e-5  # far below 1/255


def test_narrow_bands_of_two_rows_equal_the_whole_image() -> None:
    net = lively_nafnet()
    image = torch.rand(1, 3, 64, 80, generator=torch.manual_seed(1))
    assert (BandedNAFNet(net, band_pixels=1)(image) - net(image)).abs().max() < 1e-5


def test_plain_tiles_of_a_nafnet_would_show() -> None:
    """What the bands are for: the same network on overlapping tiles is off by several 8-bit steps."""
    net = lively_nafnet()
    image = torch.rand(1, 3, 128, 128, generator=torch.manual_seed(1)) * torch.linspace(0, 1, 128)
    tiled = blended_tiles(lambda tile: net(tile), image, 64, 32)
    assert (tiled - net(image)).abs().max() > 4 / 255


def test_bands_under_bf16_stay_near_the_whole_image() -> None:
    net = lively_nafnet()
    image = torch.rand(1, 3, 64, 64, generator=torch.manual_seed(1))
    exact = Runner(net, tile=0)(image)
    whole, banded = (Runner(net, tile=tile, precision="bf16")(image) for tile in (0, 64))
    assert (banded - exact).abs().mean() < 2 * (whole - exact).abs().mean() + 1e-3


def test_only_a_plain_nafnet_runs_in_bands() -> None:
    assert can_be_banded(lively_nafnet())
    assert not can_be_banded(NAFNetLocal(3, 8, 1, [1], [1])) and not can_be_banded(nn.Conv2d(3, 3, 3))
    with pytest.raises(ValueError, match="NAFNetLocal"):
        BandedNAFNet(NAFNetLocal(3, 8, 1, [1], [1]))


@pytest.mark.parametrize("size", [(64, 64), (100, 150), (200, 70), (30, 300)])
def test_tiles_of_a_local_network_equal_the_whole_image(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)).eval()
    image = torch.rand(1, 3, *size)
    whole, tiled = Runner(net, tile=0)(image), Runner(net, tile=64, overlap=16)(image)
    inner = (..., slice(1, -1), slice(1, -1))
    assert (whole - tiled)[inner].abs().max() < 0.05  # zero padding at a tile's edge, faded to a 17th
    exact = blended_tiles(lambda tile: tile * 2, image, 64, 16)
    assert torch.allclose(exact, image * 2, atol=1e-6)


def test_padding_mirrors_and_repeats_the_edge_of_tiny_images() -> None:
    image = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 1, 5, 5)
    assert pad_to_multiple(image, 8)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert pad_to_multiple(image[..., :2], 8)[0, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    assert pad_to_multiple(image, 5) is image


def test_auto_runs_in_bands_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = lively_nafnet(), torch.rand(1, 3, 64, 64)
    calls: list[str] = []

    class Spy(BandedNAFNet):
        def __call__(self, image: Tensor) -> Tensor:
            calls.append("bands")
            return super().__call__(image)

    monkeypatch.setattr(enhance_run, "BandedNAFNet", Spy)
    plenty = Runner(net)(image)
    assert calls == []
    monkeypatch.setattr(enhance_run, "free_memory", lambda device: 1000)
    assert torch.allclose(Runner(net)(image), plenty, atol=1e-5) and calls == ["bands"]


def test_auto_falls_back_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = lively_nafnet(), torch.rand(1, 3, 32, 32)
    expected = Runner(net, tile=0)(image)

    def full(self: Runner, image: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Runner, "_whole", full)
    assert torch.allclose(Runner(net)(image), expected, atol=1e-5)
    with pytest.raises(UserError, match="32x32 does not fit .* --tile auto"):
        Runner(net, tile=0)(image)


def test_settings_are_checked() -> None:
    with pytest.raises(UserError, match="tile: 8"):
        Runner(lively_nafnet(), tile=8)
    with pytest.raises(UserError, match="overlap: -1"):
        Runner(lively_nafnet(), overlap=-1)


def test_free_memory_is_a_sane_number() -> None:
    assert 10**6 < free_memory(torch.device("cpu")) < 10**14
