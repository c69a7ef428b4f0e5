"""Errors and exit statuses of command lines."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from basicsr.engine.cli import positive, run_main, writing
from basicsr.engine.errors import NonFiniteError, UserError
from tests.basicsr.tiny_run import ROOT, environment

# Tools that read their arguments before they import torch, if they import it at all.
ELSEWHERE = ("enhance.py", "export_onnx.py", "photo_app.py", "serve_lego.py")
TOOLS = sorted(f"tools/{path.name}" for path in (ROOT / "tools").glob("*.py") if path.name not in ELSEWHERE)
SCRIPTS = ["BasicSR/basicsr/train.py", "BasicSR/basicsr/test.py", *TOOLS]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("a.png: empty"), 2, "error: a.png: empty\n"),
        (NonFiniteError("loss is nan"), 3, "error: loss is nan\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_an_expected_end_is_one_line_without_a_traceback(
    error: BaseException, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        raise error

    assert run_main(main) == status
    assert capsys.readouterr().err == text


def test_a_status_passes_through_and_a_defect_keeps_its_traceback() -> None:
    assert (run_main(lambda: None), run_main(lambda: 1)) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 // 0)


def test_arguments_that_count_begin_at_one() -> None:
    assert positive("3") == 3
    for text in ("0", "-2", "x", "1.5", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="from 1 on"):
            positive(text)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing/a\.csv: cannot be written: No such file"), writing("the table"):
        (tmp_path / "missing" / "a.csv").write_text("x")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("script", SCRIPTS)
def test_ctrl_c_while_a_script_imports_torch_is_one_line_and_status_130(tmp_path: Path, script: str) -> None:
    (tmp_path / "torch.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"
    command = [sys.executable, str(ROOT / script), "-opt", "x.yml"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[1] == "interrupted\n"
    assert process.returncode == 130


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_once_the_command_runs_ctrl_c_lets_it_clean_up() -> None:
    code = (
        "import os, signal\nfrom basicsr.engine.cli import quiet_start, run_main\nquiet_start()\n"
        "def main():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n    finally:\n        print('clean')\n"
        "raise SystemExit(run_main(main))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "clean\n", "interrupted\n")
