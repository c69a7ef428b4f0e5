"""VGG features: names, layers, weights by tag and file, and that missing weights are explained."""

import pytest
import torch

from basicsr.archs.vgg_arch import NAMES, VGGFeatureExtractor, insert_bn
from basicsr.engine import pretrained
from basicsr.engine.errors import UserError
from basicsr.engine.torchvision_compat import import_torchvision


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No weights on this machine and no network."""

    def offline(*_args, **_kwargs):
        raise OSError("Name or service not known")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BASICSR_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    (tmp_path / "mine").mkdir()
    return tmp_path


def test_layer_names():
    assert NAMES["vgg19"][-2:] == ["relu5_4", "pool5"] and len(NAMES["vgg19"]) == 37
    assert insert_bn(["conv1_1", "relu1_1", "pool1"]) == ["conv1_1", "bn1_1", "relu1_1", "pool1"]


@pytest.mark.parametrize(
    "vgg_type", ["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]
)
def test_values_and_layout_agree_with_torchvision(vgg_type, tmp_path):
    torchvision = import_torchvision()
    full = "vgg11" in vgg_type or vgg_type == "vgg16"
    layers = ["conv1_1", "relu2_1", "pool3"] if full else ["conv1_1", "pool1"]
    with torch.device("meta"):
        features = getattr(torchvision.models, vgg_type)(weights=None).features
    wanted = VGGFeatureExtractor(layers, vgg_type, weights="random", use_input_norm=False)
    reference = features[: len(wanted.vgg_net)].to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for value in reference.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) * 0.1 + 0.01)
    path = tmp_path / "weights.pth"
    torch.save({f"features.{key}": value for key, value in reference.state_dict().items()}, path)
    net = VGGFeatureExtractor(layers, vgg_type, weights=str(path), use_input_norm=False)
    x = torch.rand(1, 3, 32, 32)
    out = net(x)
    assert set(out) == set(layers)
    torch.testing.assert_close(out[layers[-1]], reference(x))
    torch.testing.assert_close(out["conv1_1"], reference[0](x))


def test_captured_layers_are_not_overwritten_in_place():
    out = VGGFeatureExtractor(["conv1_1", "relu1_1"], "vgg11", weights="random")(torch.rand(1, 3, 8, 8))
    assert out["conv1_1"].min() < 0
    assert torch.equal(out["conv1_1"].relu(), out["relu1_1"])


def test_input_ranges():
    x = torch.rand(1, 3, 8, 8)
    plain = VGGFeatureExtractor(["conv1_1"], "vgg11", weights="random", use_input_norm=False)
    normed = VGGFeatureExtractor(["conv1_1"], "vgg11", weights="random", range_norm=True)
    normed.vgg_net.load_state_dict(plain.vgg_net.state_dict())
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = plain((x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))["conv1_1"]
    torch.testing.assert_close(normed(x * 2 - 1)["conv1_1"], expected, atol=1e-5, rtol=1e-5)


def test_pooling_options():
    x = torch.rand(1, 3, 16, 16)
    kept = VGGFeatureExtractor(["conv3_1"], "vgg11", weights="random", remove_pooling=True)(x)
    assert kept["conv3_1"].shape[-2:] == (16, 16)
    strided = VGGFeatureExtractor(["pool1"], "vgg11", weights="random", pooling_stride=1)(x)
    assert strided["pool1"].shape[-2:] == (15, 15)


def test_fixed_network_stays_in_evaluation_mode():
    net = VGGFeatureExtractor(["bn1_1"], "vgg11_bn", weights="random")
    net.train()
    before = net.vgg_net.bn1_1.running_mean.clone()
    net(torch.rand(2, 3, 8, 8))
    assert torch.equal(net.vgg_net.bn1_1.running_mean, before)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert VGGFeatureExtractor(["conv1_1"], "vgg11", requires_grad=True, weights="random").training


@pytest.mark.parametrize(
    ("layers", "vgg_type", "message"),
    [(["conv9_1"], "vgg19", "no layer conv9_1"), ([], "vgg19", "at least one"), (["conv1_1"], "vgg12", "vgg_type")],
)
def test_bad_options_are_refused(layers, vgg_type, message):
    with pytest.raises(ValueError, match=message):
        VGGFeatureExtractor(layers, vgg_type, weights="random")


def test_missing_weights_are_explained_with_file_and_places(nowhere):
    with pytest.raises(UserError) as error:
        VGGFeatureExtractor(["conv1_1"])
    text = str(error.value)
    assert "vgg19-dcbb9e9d.pth" in text and "BASICSR_WEIGHTS" in text and str(nowhere / "mine") in text
    assert str(nowhere / "experiments" / "pretrained_models") in text and "Name or service not known" in text


@pytest.mark.parametrize("folder", ["experiments/pretrained_models", "mine", "torch/hub/checkpoints"])
def test_weights_are_found_by_tag_in_each_place(nowhere, folder):
    donor = VGGFeatureExtractor(["conv1_1"], "vgg11", weights="random", requires_grad=True)
    target = nowhere / folder / "vgg11-8a719046.pth"
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({f"features.0.{key}": value for key, value in donor.vgg_net.conv1_1.state_dict().items()}, target)
    assert pretrained.find_weights("vgg11") == target
    net = VGGFeatureExtractor(["conv1_1"], "vgg11")
    assert torch.equal(net.vgg_net.conv1_1.weight, donor.vgg_net.conv1_1.weight)


def test_unknown_tag_lists_the_known_ones(nowhere):
    with pytest.raises(UserError, match="vgg99.*vgg19_bn"):
        pretrained.find_weights("vgg99")


def test_damaged_or_wrong_files_are_named(tmp_path):
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"not weights")
    with pytest.raises(UserError, match="damaged.pth"):
        pretrained.load_weights_of(str(damaged), expected="weights")
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(2, 2)}, other)
    with pytest.raises(ValueError, match="not those of vgg11"):
        VGGFeatureExtractor(["conv1_1"], "vgg11", weights=str(other))
    torch.save([1, 2], other)
    with pytest.raises(UserError, match="not a state dict"):
        pretrained.load_weights_of(str(other), expected="weights")
