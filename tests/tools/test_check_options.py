"""tools/check_options.py: train.py's errors without training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from basicsr.utils.options import yaml_load
from tests.basicsr.engine.option_cases import GOOD

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "check_options.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_right_and_wrong_files(tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text(yaml.dump(GOOD), encoding="utf-8")
    (tmp_path / "bad.yml").write_text(yaml.dump({**GOOD, "sclae": 2}), encoding="utf-8")
    good = run("good.yml", "--no-paths", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert "good.yml: ok" in good.stdout and "pixel (L1Loss)" in good.stdout and good.stderr == ""
    both = run("bad.yml", "good.yml", "--no-paths", cwd=tmp_path)
    assert both.returncode == 2
    assert "bad.yml:" in both.stderr and "did you mean 'scale'?" in both.stderr and "good.yml: ok" in both.stdout


def test_show_and_force(tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text(yaml.dump(GOOD), encoding="utf-8")
    arguments = ["good.yml", "--no-paths", "--show", "--force_yml", "train:ema_decay=0.9", "--root", str(tmp_path)]
    done = run(*arguments, cwd=tmp_path)
    shown = yaml_load(done.stdout[done.stdout.index("\nname:") :])
    assert shown["train"]["ema_decay"] == 0.9 and shown["logger"]["keep_last"] is None
    assert shown["path"]["experiments_root"] == str(tmp_path / "experiments" / "good")


def test_a_missing_file_is_an_error_without_traceback(tmp_path: Path) -> None:
    done = run("nothing.yml", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: nothing.yml: no such option file")
    assert "Traceback" not in done.stderr
