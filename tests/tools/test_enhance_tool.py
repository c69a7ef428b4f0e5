"""tools/enhance.py as it is typed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from basicsr.archs.nafnet_arch import NAFNet
from basicsr.engine.checkpoint import save_weights
from basicsr.engine.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("enhance_tool", ROOT / "tools" / "enhance.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def enhance(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "enhance.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_folder_with_a_bad_photo_ends_with_status_1(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(tmp_path / "net_g_1.pth", {"params": NAFNet(3, 4, 1, [1], [1]).state_dict()})
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for index in range(2):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "in" / f"{index}.jpg")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"")
    options = ("--checkpoint", tmp_path / "net_g_1.pth", "-o", tmp_path / "out", "--device", "cpu", "--tile", "64")
    shown = enhance(tmp_path / "in", *options)
    assert shown.returncode == 1, shown.stderr
    assert "bad.jpg: the file is empty" in shown.stderr and "2 done, 1 failed" in shown.stdout
    assert "left 0:00:00" in shown.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".enhance.jsonl", "0.jpg", "1.jpg"]


def test_resume_and_another_checkpoint_in_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = load_tool()
    for name in ("a", "b"):
        save_weights(tmp_path / f"{name}.pth", {"params": NAFNet(3, 4, 1, [1], [1]).state_dict()})
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "x.png")
    options = ["-o", str(tmp_path / "out"), "--device", "cpu", "--summary", "json"]

    def run(name: str, *more: str) -> dict:
        assert tool.main([str(tmp_path / "x.png"), "--checkpoint", str(tmp_path / f"{name}.pth"), *options, *more]) == 0
        figures: dict = json.loads(capsys.readouterr().out)
        return figures

    first = run("a", "--max-side", "20")
    assert first["done"] == 1 and first["photos"] == 1
    assert first["peak_memory"] > 10**7 and first["failures"] == []
    assert Image.open(tmp_path / "out" / "x.png").size == (20, 15)
    assert run("a", "--max-side", "20")["skipped"] == 1
    with pytest.raises(UserError, match=r"max_side 20 instead of none; checkpoint a\.pth .* instead of b\.pth"):
        run("b")
    assert run("b", "--force")["done"] == 1 and run("b", "--force")["skipped"] == 1


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    shown = enhance(tmp_path / "a.png", "--checkpoint", tmp_path / "none.pth", "-o", tmp_path / "out")
    assert shown.returncode == 2
    assert (
        shown.stderr.startswith("error: ") and "no such checkpoint" in shown.stderr and "Traceback" not in shown.stderr
    )
