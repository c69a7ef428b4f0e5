"""IlluminantUNet: any size, features where they belong, trained features, options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.engine.errors import UserError
from plugins.illuminant import illuminant_unet_arch as unet
from plugins.illuminant.centroids import make_centroids
from plugins.illuminant.checkpoint import IlluminantRecord, save_network
from plugins.illuminant.illuminant_cnn_arch import IlluminantCNN
from plugins.illuminant.illuminant_unet_arch import IlluminantUNet, light_of_output, pad_by_reflection

CENTROIDS = make_centroids(np.array([[0.2, 0.4, 0.4], [0.3, 0.4, 0.3], [0.45, 0.4, 0.15]]), [1, 2, 3], "x", "abc")


def network(**options: object) -> IlluminantUNet:
    torch.manual_seed(0)
    built = build_network({"type": "IlluminantUNet", "num_classes": 3, **options})
    assert isinstance(built, IlluminantUNet)
    return built.eval()


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (64, 66)])
@pytest.mark.parametrize("options", [{}, {"residual_light": True, "encoder_scale": 2}])
def test_any_size(size: tuple[int, int], options: dict[str, object]) -> None:
    net = network(**options)
    image = torch.rand(2, 3, *size)
    with torch.no_grad():
        output = net(image)
    assert output.shape == (2, 5 if options else 3, *size)
    assert torch.isfinite(output).all()
    shares = net.predict_shares(image)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, *size))
    light = net.predict_light(image, torch.tensor(CENTROIDS.rgb))
    assert light.shape == (2, 3, *size) and bool((light > 0).all())
    torch.testing.assert_close(light[:, 1], torch.ones(2, *size))


def test_size_of_the_network() -> None:
    assert sum(p.numel() for p in IlluminantUNet(residual_light=True).parameters()) < 3e6


def test_features_are_centred_on_every_fourth_pixel() -> None:
    """The last map's position (i, j) sees the 65 x 65 pixels around pixel 4 i, 4 j of the picture, and no others."""
    net = network()
    image = torch.rand(1, 3, 150, 141, requires_grad=True)
    last = net._encode(image)[2]
    assert last.shape[-2:] == (39, 36)  # up to pixels 152 and 140
    last[0, :, 20, 17].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1))
    rows, columns = seen.sum(1).nonzero()[:, 0], seen.sum(0).nonzero()[:, 0]
    assert abs(int(rows.min()) + int(rows.max()) - 2 * 80) <= 4 and int(rows.max()) <= 80 + 32
    assert abs(int(columns.min()) + int(columns.max()) - 2 * 68) <= 4 and int(columns.min()) >= 68 - 32


def test_feature_maps_are_read_where_they_lie() -> None:
    pixels = [torch.arange(0.0, 30.0), torch.arange(3.0, 20.0)]
    for start, step in (unet._HALF, unet._QUARTER, unet._LAST):
        place = start - unet.FIRST_CENTER + step * torch.arange(80.0)  # the pixel of each position
        ramp = place[:, None].expand(80, 80)
        torch.testing.assert_close(unet._at(ramp[None, None], (start, step), pixels)[0, 0, :, 0], pixels[0])
        torch.testing.assert_close(unet._at(ramp.T[None, None], (start, step), pixels)[0, 0, 0], pixels[1])


def test_moving_the_picture_moves_the_answer() -> None:
    net = network()
    image = torch.rand(1, 3, 200, 200)
    # The decoder's statistics are of the whole picture: leave them out, positions are what counts here.
    for name, module in net.named_modules():
        if name.endswith("_mix"):
            module[1] = torch.nn.Identity()  # type: ignore[index]
    torch.nn.init.zeros_(net.whole.weight)
    torch.nn.init.zeros_(net.middle_mix[0].weight[:, -16:])
    torch.nn.init.zeros_(net.direct[1].weight[:, -16:])
    torch.nn.init.normal_(net.direct[-1].weight)
    with torch.no_grad():
        there, moved = net(image[..., :192, :192]), net(image[..., 8:, 4:196])
    inner = slice(60, 130)
    torch.testing.assert_close(there[..., 68:138, 64:134], moved[..., inner, inner], rtol=1e-3, atol=1e-5)


def test_reflection_of_small_pictures() -> None:
    row = torch.arange(3.0).expand(1, 3, 2, 3)
    padded = pad_by_reflection(row)
    assert padded.shape == (1, 3, 69, 69)
    assert padded[0, 0, 0, 29:38].tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1]


def test_statistics_say_what_the_classical_methods_say() -> None:
    torch.manual_seed(0)
    light = torch.tensor([0.9, 0.6, 0.3])
    scene = (0.3 + 0.6 * torch.rand(1, 1, 40, 36)) * light[:, None, None]  # grey surfaces under one light
    found = unet.local_statistics(scene)
    assert found.shape == (1, 48, 10, 9)
    logs = (light[[0, 2]] / light[1]).log()
    for level in range(3):
        for power, start in ((1.0, 0), (2.2, 4)):
            for value, offset in ((logs[0], 0), (logs[1], 8)):
                part = found[:, 16 * level + offset + start :][:, :4]
                torch.testing.assert_close(part, (power * value).expand_as(part), atol=0.1, rtol=0)
    # a picture darker than white in one corner only: windows there say so, the whole says the mean of both
    scene[..., :20, :] = scene[..., :20, :].flip(1)
    top, bottom, whole = (unet.local_statistics(scene)[0, place, row, 4] for place, row in ((0, 1), (0, 8), (32, 1)))
    assert top < -0.3 and bottom > 0.3 and top < whole < bottom
    # clipped pixels do not count
    scene[..., 30:, :] = 1.0
    scene[..., :20, :] = scene[..., 20:21, :]
    torch.testing.assert_close(unet.local_statistics(scene)[0, 32, 0, 0], logs[0], atol=0.05, rtol=0)


def test_offsets_are_bounded_and_move_the_light() -> None:
    output = torch.zeros(1, 5, 2, 2)
    output[:, :1] = 50
    output[:, 3] = float(np.log(2))
    light = light_of_output(output, torch.tensor(CENTROIDS.rgb))
    torch.testing.assert_close(light[0, :, 0, 0], torch.tensor([1.0, 1.0, 1.0]))
    net = network(residual_light=True)
    torch.nn.init.constant_(net.answer.bias, 100.0)  # type: ignore[arg-type]
    assert net(torch.rand(1, 3, 8, 8))[:, 3:].max() <= unet.MAX_OFFSET
    with pytest.raises(ValueError):
        light_of_output(output[:, :4], torch.tensor(CENTROIDS.rgb))


def test_trained_features_are_taken_and_frozen(tmp_path: Path) -> None:
    torch.manual_seed(5)
    cnn, file = IlluminantCNN(3), tmp_path / "cnn.pth"
    options = {"type": "IlluminantCNN", "num_classes": 3}
    save_network(file, cnn, IlluminantRecord("linear", CENTROIDS, options, 64))
    net = network(features=str(file), freeze_features=True)
    torch.testing.assert_close(net.stage3[2][0].weight, cnn.stage3[2][0].weight)  # type: ignore[index]
    assert not any(p.requires_grad for p in net.stage1.parameters())
    net.train()
    before = net.stage1[1].running_mean.clone()  # type: ignore[operator, union-attr]
    net(torch.rand(2, 3, 16, 16)).sum().backward()
    torch.testing.assert_close(net.stage1[1].running_mean, before)
    assert net.answer.weight.grad is not None and net.stage1[0].weight.grad is None


def test_features_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such weights"):
        IlluminantUNet(features=str(tmp_path / "none.pth"))
    file = tmp_path / "unet.pth"
    record = IlluminantRecord("linear", CENTROIDS, {"type": "IlluminantUNet", "num_classes": 3}, 64)
    save_network(file, network(), record)
    with pytest.raises(UserError, match="IlluminantCNN"):
        IlluminantUNet(num_classes=3, features=str(file))
    for wrong in ({"width": 12}, {"num_classes": 0}, {"encoder_scale": 0}):
        with pytest.raises(ValueError):
            IlluminantUNet(**wrong)
