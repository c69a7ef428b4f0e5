"""docs/plugins.md is true: its plug-in is installed with pip and trained by the command line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"), re.S)
    if match is None:
        raise LookupError(f"docs/plugins.md has no {language} block")
    return match.group(1)


@pytest.fixture()
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder, gain in (("gt", 1.0), ("lq", 0.8)):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for index in range(3):
            image = (rng.integers(0, 256, (48, 40, 3)) * gain).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / folder / f"{index}.png"), image)
    return tmp_path / "photos"


def train(option_file: Path, photos: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "BasicSR" / "basicsr" / "train.py"), "-opt", str(option_file)]
    command += ["--force_yml", f"path:experiments_root={photos.parent / 'experiments'}", "logger:use_tb_logger=false"]
    environment = dict(os.environ, PHOTOS=str(photos), PYTHONPATH=str(site), OMP_NUM_THREADS="1")
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=photos.parent)


def test_the_documented_plugin_installs_and_trains(tmp_path: Path, photos: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "warm_plugin.py").write_text(block("python"), encoding="utf-8")
    (source / "pyproject.toml").write_text(block("toml"), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, capture_output=True)

    option_file = tmp_path / "warm.yml"
    option_file.write_text(block("yaml"), encoding="utf-8")
    done = train(option_file, photos, site)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "warm_opt/red" in done.stdout + done.stderr
    assert "warmth" in done.stdout + done.stderr
    assert (tmp_path / "experiments" / "warm" / "models" / "net_g_latest.pth").is_file()

    option_file.write_text(block("yaml").replace("loss_weight: 0.5", "loss_wieght: 0.5"), encoding="utf-8")
    refused = train(option_file, photos, site)
    assert refused.returncode == 2
    assert "loss_wieght" in refused.stderr and "loss_weight" in refused.stderr and "warm.yml:" in refused.stderr
