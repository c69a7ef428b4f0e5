"""tools/export_onnx.py on a LEGO classifier: from the weights file to answers about pictures, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from basicsr.archs import build_network
from basicsr.engine.checkpoint import save_weights
from basicsr.engine.cli import run_main
from plugins.classification import class_onnx, class_onnx_int8
from plugins.lego import bench_inference, lego_classifier_arch  # noqa: F401 - the second registers the network
from plugins.lego.inference import ClassifierLoader
from plugins.lego.lego_export import load_lego
from plugins.lego.lego_manifest import Record, write_manifest
from plugins.lego.lego_resize import input_recipe
from tests.plugins.lego.lego_kit import COLORS, PARTS, brick, save

ROOT = Path(__file__).resolve().parents[2]
SIZE = 32


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
    """``net.pth``, a manifest of pictures, and ``out.onnx`` with ``out.int8.onnx`` made by the tool."""
    root = tmp_path_factory.mktemp("lego")
    torch.manual_seed(0)
    options = {
        "type": "LegoClassifier", "num_parts": 3, "num_colors": 3, "backbone": "mobilenet_v3_small", "hidden": 8,
        "color_input": "both",
    }  # fmt: skip
    network = build_network(options)
    network.part_head.weight.data *= 1e4  # random features differ little
    record = {
        "lego": 1,
        "parts": [{"index": n, "id": one, "name": f"Brick {one}"} for n, one in enumerate(PARTS)],
        "colors": [{"index": n, "id": one, "name": one, "rgb": "#112233"} for n, one in enumerate(COLORS)],
        "color_scheme": "ldraw", "input": input_recipe(SIZE), "mean": list(network.backbone.mean),
        "std": list(network.backbone.std), "network": options,
    }  # fmt: skip
    save_weights(root / "net.pth", {"params": network.state_dict()}, record)
    records = []
    for number in range(24):
        color = list(COLORS)[number % 3]
        save(root / "images" / f"{number}.png", brick(COLORS[color], number % 2, number))
        split = "train" if number % 2 else "val"
        records.append(Record(f"images/{number}.png", "real", PARTS[number % 2], int(color), str(number), split, ""))
    write_manifest(root / "manifest.csv", records)
    status = run(
        root / "net.pth", "-o", root / "out.onnx", "--int8", "--calibration", root / "manifest.csv",
        "--max-loss", 100, "--temperature", "part=2", "--unknown-below", "color=0.2", "--photos", root / "images",
    )  # fmt: skip
    assert status == 0
    return root


def test_the_file_answers_as_torch_does_on_the_same_picture(folder: Path) -> None:
    network, record = load_lego(folder / "net.pth")
    loader = ClassifierLoader(folder / "out.onnx", threads=1)
    content = (folder / "images" / "4.png").read_bytes()
    with torch.no_grad():
        logits = network(torch.from_numpy(loader.prepare(content)[None]))
    answer = loader.predict(content)
    expected = {head: torch.softmax(logits[head].double() / t, 1)[0] for head, t in (("part", 2), ("color", 1))}
    assert answer.part_confidence == pytest.approx(float(expected["part"].max()), abs=1e-4)
    assert answer.parts[0].id == PARTS[int(expected["part"].argmax())]
    assert answer.color_confidence == pytest.approx(float(expected["color"].max()), abs=1e-5)
    assert loader.info.recipe == record["input"] and loader.thresholds == {"color": 0.2}


def test_the_int8_file_carries_names_and_its_accuracy(folder: Path) -> None:
    loader = ClassifierLoader(folder / "out.int8.onnx")
    assert loader.info.facts["precision"] == "int8" and loader.info.classes["part"][0]["name"] == "Brick 3001"
    judged = {one["head"]: one for one in loader.info.facts["int8_accuracy"]}
    assert judged["part"]["images"] == 12 and judged["part"]["labelled"] and loader.info.temperature["part"] == 2
    assert (folder / "out.int8.onnx").stat().st_size < 0.5 * (folder / "out.onnx").stat().st_size
    assert not list(folder.glob(".*"))


def test_a_gate_that_is_not_passed_leaves_what_was_there(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "out.onnx").read_bytes()
    monkeypatch.setattr(class_onnx, "export_classifier", lambda net, size, path, facts: path.write_bytes(before))
    common = (folder / "net.pth", "-o", folder / "out.onnx")
    assert run(*common, "--tolerance", 0) == 2
    assert "above the tolerance" in capsys.readouterr().err
    # twelve judged pictures cannot show 2 points
    assert run(*common, "--int8", "--calibration", folder / "manifest.csv") == 2
    assert "cannot show a loss of 2 points" in capsys.readouterr().err
    monkeypatch.setattr(class_onnx_int8.HeadLoss, "loss", property(lambda self: 30.0))
    assert run(*common, "--int8", "--calibration", folder / "manifest.csv", "--max-loss", 20) == 2
    assert "int8 loses too much" in capsys.readouterr().err
    assert (folder / "out.onnx").read_bytes() == before and not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8"], "needs --calibration"),
        (["--calibration", "x"], "for --int8"),
        (["--temperature", "shape=2"], "HEAD=NUMBER with a head of part, color"),
        (["--temperature", "part=0"], "above 0"),
        (["--unknown-below", "part=1.5"], "below 1"),
        (["-o", "a.pt"], "ends in .onnx"),
        (["--int8", "--calibration", "x", "--max-loss", "nan"], "--max-loss"),
    ],
)
def test_wrong_calls_are_refused_before_the_work(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder / "net.pth", *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_network_of_pictures_takes_no_options_of_classifiers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(tmp_path / "net.pth", {"params": {"a": torch.zeros(1)}})
    assert run(tmp_path / "net.pth", "--temperature", "part=2") == 2
    assert "--temperature: it is for classifiers" in capsys.readouterr().err


def test_the_measured_command_prints_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = bench_inference.main(
        [str(folder / "out.onnx"), str(folder / "out.int8.onnx"), "--threads", "1", "--runs", "4", "--json",
         str(folder / "bench.json"), "--images", str(folder / "images")]
    )  # fmt: skip
    assert status == 0
    shown = capsys.readouterr().out
    assert "int8" in shown and "fp32" in shown and "p95" in shown
    rows = json.loads((folder / "bench.json").read_text())["rows"]
    assert [(one["precision"], one["threads"]) for one in rows] == [("fp32", 1), ("int8", 1)]
    for row in rows:
        assert 0 < row["network_p50_ms"] <= row["total_p50_ms"] * 1.5 and row["total_p50_ms"] <= row["total_p95_ms"]
        assert np.isfinite(row["prepare_p50_ms"])
    assert bench_inference.main([str(folder / "none.onnx")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert bench_inference.main([str(folder / "out.onnx"), "--images", str(folder / "nowhere")]) == 2
