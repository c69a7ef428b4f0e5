"""Two runs never share a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from basicsr.engine.errors import UserError
from basicsr.engine.run_lock import LOCK_NAME, RunLock
from tests.basicsr.tiny_run import environment, make_project, run_here, write_options

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no record locks")
HOLD = (
    "import sys; from basicsr.engine.run_lock import RunLock; lock = RunLock(sys.argv[1]); lock.take(); "
    "print('held', flush=True); sys.stdin.read()"
)


def holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_run_of_the_name_is_refused_and_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Upstream renames the folder of a run that is still writing, whose checkpoints then land in the new one."""
    make_project(tmp_path)
    folder = tmp_path / "experiments" / "tiny"
    folder.mkdir(parents=True)
    (folder / "mine").touch()
    first = holder(folder)
    try:
        options = write_options(tmp_path / "t.yml", train__total_iter=1)
        for flags in ([], ["--auto_resume"]):
            with pytest.raises(UserError, match=rf"tiny is in use by a run .*process {first.pid} on"):
                run_here(monkeypatch, tmp_path, options, *flags)
        assert [path.name for path in (tmp_path / "experiments").iterdir()] == ["tiny"]
        assert (folder / "mine").exists()
    finally:
        first.kill()
        first.wait()
    run_here(monkeypatch, tmp_path, options)
    assert not (folder / LOCK_NAME).exists(), "a run that ended leaves no lock"
    assert len(list((tmp_path / "experiments").iterdir())) == 2


def test_a_killed_runs_lock_is_free_at_once(tmp_path: Path) -> None:
    first = holder(tmp_path)
    with pytest.raises(UserError, match="in use"):
        RunLock(tmp_path).take()
    first.kill()
    first.wait()
    lock = RunLock(tmp_path)
    lock.check()
    lock.take()
    lock.take()
    lock.release()
    lock.release()


def test_looking_creates_nothing(tmp_path: Path) -> None:
    RunLock(tmp_path / "absent").check()
    RunLock(tmp_path).check()
    assert not list(tmp_path.iterdir())
