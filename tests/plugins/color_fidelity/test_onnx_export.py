"""ONNX files of NAFNets: any size, the same values as torch, and what they say about themselves."""

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import NAFNet
from basicsr.engine.checkpoint import save_weights
from basicsr.engine.errors import UserError
from plugins.color_fidelity import onnx_export
from plugins.color_fidelity.enhance_network import OnnxNetwork, load_network
from plugins.color_fidelity.enhance_run import Runner
from plugins.color_fidelity.onnx_export import check_parity, export, model_of, parity_images

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
ROOT = Path(__file__).resolve().parents[3]


class Recoloring(NAFNet):
    """Gains by the photo's mean colour, then a NAFNet."""

    def make_context(self, image: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(image, 4)

    def recolor(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        context = self.make_context(image) if context is None else context
        return image * (1.5 - context.mean(dim=(2, 3), keepdim=True))

    def forward(self, inp: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(self.recolor(inp, context))


def enliven(net: NAFNet) -> NAFNet:
    torch.manual_seed(0)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net.eval().requires_grad_(False)


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_onnx_tool", ROOT / "tools" / "export_onnx.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NAFNet]:
    """A checkpoint's folder with ``net_g.onnx`` made by the tool, and the network."""
    folder = tmp_path_factory.mktemp("onnx")
    net = enliven(NAFNet(3, 4, 1, [1], [1]))
    save_weights(
        folder / "net_g.pth", {"params": NAFNet(3, 4, 1, [1], [1]).state_dict(), "params_ema": net.state_dict()}
    )
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for index, size in enumerate(((60, 41), (33, 50))):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / "photos" / f"{index}.png")
    assert load_tool().main([str(folder / "net_g.pth"), "--photos", str(folder / "photos")]) == 0
    return folder, net


def test_an_exported_network_gives_torchs_values_at_any_size(exported: tuple[Path, NAFNet]) -> None:
    folder, net = exported
    in_onnx = load_network(folder / "net_g.onnx", device=torch.device("cpu"))
    for size in ((1, 3, 2, 2), (3, 3, 16, 40), (1, 3, 90, 14)):
        image = torch.rand(size)
        assert (in_onnx(image) - net(image)).abs().max() < 1e-5
    odd = torch.rand(1, 3, 31, 57)
    assert (Runner(in_onnx)(odd) - Runner(net, tile=0)(odd)).abs().max() < 1e-5
    with pytest.raises(UserError, match="holds its network"):
        load_network(folder / "net_g.onnx", param_key="params")


def test_an_exported_file_says_what_it_is(exported: tuple[Path, NAFNet]) -> None:
    folder, _ = exported
    model = model_of(folder / "net_g.onnx")
    facts = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert facts["checkpoint_sha256"] == hashlib.sha256((folder / "net_g.pth").read_bytes()).hexdigest()
    assert (facts["network"], facts["padder_size"], facts["width"]) == ("NAFNet", 2, 4)
    assert facts["value_range"] == [0.0, 1.0] and facts["basicsr_version"] and "context_size" not in facts
    assert [each.name for each in model.graph.input] == ["image"]
    assert [each.name for each in model.graph.output] == ["output"] and model.opset_import[0].version >= 17
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [bool(each.dim_param) for each in shape] == [True, False, True, True]


def test_a_difference_above_the_tolerance_leaves_no_file(
    exported: tuple[Path, NAFNet], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = exported
    content = (folder / "net_g.onnx").read_bytes()
    monkeypatch.setattr(onnx_export, "export", lambda net, path, facts: path.write_bytes(content))
    save_weights(tmp_path / "other.pth", {"params": NAFNet(3, 4, 1, [1], [1]).state_dict()})
    assert load_tool().main([str(tmp_path / "other.pth")]) == 1
    assert "above the tolerance of 0.05; no file is left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]


def test_a_network_that_recolors_gets_its_context_as_a_second_input(tmp_path: Path) -> None:
    net = enliven(Recoloring(3, 4, 1, [], []))
    export(net, tmp_path / "net.onnx", {})
    session = OnnxNetwork(tmp_path / "net.onnx")
    assert session.context_size == [4, 4]
    images = {"odd": np.random.default_rng(0).random((35, 51, 3), dtype=np.float32)}
    (parity,) = check_parity(net, tmp_path / "net.onnx", images)
    assert parity.size == (51, 35) and parity.largest < 0.01 and parity.mean <= parity.largest


def test_images_to_compare_on_have_several_sizes(tmp_path: Path) -> None:
    sizes = {pixels.shape[:2] for pixels in parity_images(None).values()}
    assert len(sizes) >= 4 and (1, 1) in sizes and any(height % 2 and width % 2 for height, width in sizes)
    with pytest.raises(UserError, match="no images"):
        parity_images(tmp_path)


def test_what_cannot_be_exported_or_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="only NAFNets"):
        export(nn.Conv2d(3, 3, 3), tmp_path / "a.onnx", {})
    with pytest.raises(UserError, match=r"ends in \.onnx"):
        export(NAFNet(3, 4, 1, [1], [1]), tmp_path / "a.pth", {})
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"bad\.onnx: not an ONNX file"):
        load_network(tmp_path / "bad.onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"basicsr\[onnx\]"):
        export(NAFNet(3, 4, 1, [1], [1]), tmp_path / "a.onnx", {})
