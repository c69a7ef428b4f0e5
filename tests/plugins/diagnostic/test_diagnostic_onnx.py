"""DiagnosticCNN as an ONNX file: the diagnosis that torch gives, what the file says of itself, a gate that refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from basicsr.engine.checkpoint import save_weights
from basicsr.engine.cli import run_main
from plugins.classification import class_onnx
from plugins.diagnostic import diagnostic_onnx
from plugins.diagnostic.analysis import diagnostics_of, network_input
from plugins.diagnostic.diagnostic_cnn_arch import HEADS, DiagnosticCNN
from plugins.diagnostic.diagnostic_onnx import TASK
from plugins.diagnostic.estimate import Estimate
from plugins.diagnostic.model_files import read_network
from tests.plugins.diagnostic.diagnostic_api_kit import good_photo, spoilt

ROOT = Path(__file__).resolve().parents[3]
SIZE = 48


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_onnx_tool", ROOT / "tools" / "export_onnx.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: object) -> int:
    return run_main(lambda: load_tool().main([str(one) for one in arguments]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``net.pth`` with other temperatures than 1, photos, and ``out.onnx`` made by the tool."""
    root = tmp_path_factory.mktemp("diagnostic")
    torch.manual_seed(0)
    net = DiagnosticCNN()
    for head in HEADS:  # random heads hardly differ between photos
        torch.nn.init.normal_(net.get_parameter(f"{head}.3.weight"), std=0.5)
    net.get_buffer("temperatures").copy_(torch.tensor([2.0, 0.5]))
    save_weights(root / "net.pth", {"params": net.state_dict()}, {"task": TASK, "size": SIZE})
    photos = root / "photos"
    photos.mkdir()
    for number, ev in enumerate((-1.5, 0.0, 1.0)):
        cv2.imwrite(str(photos / f"{number}.png"), spoilt(good_photo(), Estimate(ev=ev))[..., ::-1])
    assert run(root / "net.pth", "-o", root / "out.onnx", "--photos", photos) == 0
    return root


def test_the_file_gives_the_diagnosis_of_torch(folder: Path) -> None:
    net, _ = read_network(folder / "net.pth")
    session = class_onnx.open_session(folder / "out.onnx")
    image = network_input(good_photo(), SIZE)
    got, seen = class_onnx.run_session(session, image.numpy()), net.diagnose(image)
    assert np.abs(got["estimate"] - seen.estimate.numpy()).max() < 1e-4
    assert np.abs(got["exposure_probabilities"] - seen.exposure_probabilities.numpy()).max() < 1e-4
    assert np.abs(got["saturation_probabilities"] - seen.saturation_probabilities.numpy()).max() < 1e-4
    assert diagnostics_of(seen)[0].underexposed_probability == pytest.approx(
        got["exposure_probabilities"][0, 0], abs=1e-4
    )
    answers = {
        round(float(class_onnx.run_session(session, network_input(spoilt(good_photo(), Estimate(ev=ev)), SIZE).numpy())
                    ["estimate"][0, 0]), 4)
        for ev in (-1.5, 0.0, 1.0)
    }  # fmt: skip
    assert len(answers) == 3, "the statistics inside the graph see no difference between three exposures"


def test_the_file_says_what_it_is(folder: Path) -> None:
    session = class_onnx.open_session(folder / "out.onnx")
    said = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert said["format"] == diagnostic_onnx.FORMAT and said["input"]["size"] == SIZE
    assert [column["name"] for column in said["estimate"]] == ["ev", "log_rg", "log_bg", "log_saturation"]
    assert said["exposure_classes"] == ["under", "well", "over"]
    assert [output.name for output in session.get_outputs()] == list(diagnostic_onnx.OUTPUTS)
    widths = [output.shape[1] for output in session.get_outputs()]
    assert widths == [4, 3, 3, 3, 5, 3] and session.get_inputs()[0].shape[1:] == [3, SIZE, SIZE]


def test_a_wrong_file_does_not_pass_the_gate(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "out.onnx").read_bytes()
    monkeypatch.setattr(diagnostic_onnx, "_write", lambda net, size, path, facts: path.write_bytes(before))
    torch.manual_seed(1)
    save_weights(folder / "other.pth", {"params": DiagnosticCNN().state_dict()}, {"task": TASK, "size": SIZE})
    assert run(folder / "other.pth", "-o", folder / "out.onnx") == 2
    assert "differs from torch by" in capsys.readouterr().err
    assert (folder / "out.onnx").read_bytes() == before and not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8"], "--int8: it is for classifiers"),
        (["-o", "a.pt"], "ends in .onnx"),
        (["--count", "0"], "--count 0"),
        (["--photos", "nowhere"], "nowhere"),
    ],
)
def test_wrong_calls_are_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert run("net.pth", "-o", "new.onnx", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "new.onnx").exists()
