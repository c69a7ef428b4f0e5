"""Whole, banded and tiled runs of a network give one image."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import NAFNet, NAFNetLocal
from basicsr.engine.errors import UserError
from plugins.color_fidelity import enhance_run
from plugins.color_fidelity.enhance_bands import BandedNAFNet, can_be_banded
from plugins.color_fidelity.enhance_run import Runner, blended_tiles, free_memory, pad_to_multiple


def lively_nafnet(width: int = 8, seed: int = 0) -> NAFNet:
    """A NAFNet whose blocks are no identities."""
    return enliven(NAFNet(3, width, 2, [1, 1, 2], [1, 1, 1]), seed)


def enliven(net: NAFNet, seed: int = 0) -> NAFNet:
    """Random weights everywhere, for evaluation."""
    torch.manual_seed(seed)
    net = net.eval().requires_grad_(False)
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


class Recoloring(NAFNet):
    """Gains from the statistics of the whole photo, then a NAFNet: the kind of network with ``recolor``."""

    def make_context(self, image: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(image, 4)

    def recolor(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        context = self.make_context(image) if context is None else context
        return image * (1.5 - context.mean(dim=(2, 3), keepdim=True)) + 0.1 * context.amax(dim=(2, 3), keepdim=True)

    def forward(self, inp: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(self.recolor(inp, context))


@pytest.mark.parametrize("size", [(64, 80), (100, 133), (9, 7)])
def test_bands_of_a_network_that_recolors_use_the_whole_photos_context(size: tuple[int, int]) -> None:
    net = enliven(Recoloring(3, 8, 2, [1, 1, 2], [1, 1, 1]))
    image = torch.rand(1, 3, *size, generator=torch.manual_seed(1)) * torch.linspace(0.2, 1, size[1])
    whole, banded = Runner(net, tile=0)(image), Runner(net, tile=64)(image)
    assert can_be_banded(net) and (whole - banded).abs().max() < 1e-5
    if size[0] % net.padder_size == 0 == size[1] % net.padder_size:
        # no padding: the context is made from the same pixels, though perhaps by other kernels
        assert (whole - net(image)).abs().max() < 2e-6
        assert (BandedNAFNet(net, band_pixels=1)(image) - whole).abs().max() < 1e-5


def test_tiles_of_a_network_that_recolors_share_one_context() -> None:
    class Own(Recoloring):
        def forward_unpadded(self, inp: Tensor) -> Tensor:
            return inp

    net = Own(3, 8, 1, [1], [1]).eval()
    image = torch.rand(1, 3, 100, 200, generator=torch.manual_seed(1)) * torch.linspace(0.2, 1, 200)
    assert not can_be_banded(net)
    assert torch.allclose(Runner(net, tile=64, overlap=16)(image), net(image), atol=1e-6)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", [(64, 80), (40, 200), (136, 48), (33, 41)])
def test_bands_of_a_local_nafnet_equal_the_whole_image(size: tuple[int, int], fast: bool) -> None:
    """Its attention averages a window: larger than some of these images, higher or wider than others."""
    net = enliven(NAFNetLocal(3, 8, 2, [1, 1], [1, 1], train_size=(1, 3, 32, 32), fast_imp=fast))
    image = torch.rand(1, 3, *size, generator=torch.manual_seed(1))
    whole, banded = Runner(net, tile=0)(image), Runner(net, tile=64)(image)
    assert (whole - banded).abs().max() < 1e-5


def test_only_networks_whose_layers_are_known_run_in_bands() -> None:
    class Other(NAFNet):
        def forward(self, inp: Tensor) -> Tensor:
            return super().forward(inp) * 2

    assert can_be_banded(lively_nafnet()) and can_be_banded(NAFNetLocal(3, 8, 1, [1], [1]))
    assert not can_be_banded(Other(3, 8, 1, [1], [1])) and not can_be_banded(nn.Conv2d(3, 3, 3))
    with pytest.raises(ValueError, match="Other"):
        BandedNAFNet(Other(3, 8, 1, [1], [1]))


def test_a_nafnet_without_levels_runs_in_bands() -> None:
    net = enliven(NAFNet(1, 4, 2, [], []))
    image = torch.rand(1, 1, 11, 13)
    assert (BandedNAFNet(net, band_pixels=8)(image) - net(image)).abs().max() < 1e-5


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


def test_auto_runs_in_bands_on_the_cpu_and_elsewhere_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = lively_nafnet(), torch.rand(1, 3, 64, 64)
    calls: list[str] = []

    class Spy(BandedNAFNet):
        def __call__(self, image: Tensor, context: Tensor | None = None) -> Tensor:
            calls.append(str(self.storage))
            return super().__call__(image, context)

    monkeypatch.setattr(enhance_run, "BandedNAFNet", Spy)
    on_cpu = Runner(net)(image)
    assert calls == ["cpu"]
    monkeypatch.setattr(Runner, "exact", False)
    whole = Runner(net)(image)
    assert calls == ["cpu"] and torch.allclose(on_cpu, whole, atol=1e-5)
    monkeypatch.undo()


def test_auto_falls_back_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = lively_nafnet(), torch.rand(1, 3, 32, 32)
    expected = Runner(net, tile=0)(image)

    def full(self: Runner, image: Tensor, context: Tensor | None) -> Tensor:
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
