import logging
import subprocess
import sys
import time

import pytest

from basicsr.engine.errors import UserError
from basicsr.utils import logger as module
from basicsr.utils.logger import AvgTimer, MessageLogger, get_env_info, get_root_logger

OPT = {"name": "experiment", "train": {"total_iter": 100}, "logger": {"use_tb_logger": True}}


class Recorder:
    def __init__(self):
        self.scalars = {}

    def add_scalar(self, tag, value, step):
        self.scalars[tag] = (value, step)


@pytest.fixture
def lines(caplog):
    logger = get_root_logger()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger="basicsr")
    yield caplog
    logger.removeHandler(caplog.handler)


def test_message_has_upstreams_form(lines):
    messages = MessageLogger(OPT, start_iter=1)
    values = {"epoch": 3, "iter": 50, "lrs": [2e-4], "time": 0.5, "data_time": 0.01, "l_pix": 0.125}
    messages(values)
    text = lines.messages[-1]
    assert text.startswith("[exper..][epoch:  3, iter:      50, lr:(2.000e-04,)] [eta: 0:00:0")
    assert text.endswith("time (data): 0.500 (0.010)] l_pix: 1.2500e-01 ")
    assert len(values) == 6, "the caller's dict is not changed"


def test_eta_is_never_negative_on_the_last_line():
    messages = MessageLogger(OPT, start_iter=1)
    messages.start_time = time.perf_counter() - 1000
    assert messages.eta(100).total_seconds() == 0
    assert messages.eta(101).total_seconds() == 0
    assert messages.eta(50).total_seconds() == pytest.approx(1000, abs=2)


def test_tensorboard_tags():
    tb = Recorder()
    messages = MessageLogger(OPT, tb_logger=tb)
    losses = {"l_pix": 1.0, "color_opt": 2.0, "color_opt/hue": 3.0, "out_d_real": 4.0}
    messages({"epoch": 0, "iter": 7, "lrs": [1e-3, 1e-3, 1e-4], "time": 0.25, "data_time": 0.0, **losses})
    assert tb.scalars == {
        "lr": (1e-3, 7),
        "lr_2": (1e-4, 7),
        "it_per_s": (4.0, 7),
        "losses/l_pix": (1.0, 7),
        "losses/color_opt": (2.0, 7),
        "losses/color_opt/hue": (3.0, 7),
        "out_d_real": (4.0, 7),
    }


def test_average_follows_the_present_speed(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    timer = AvgTimer(window=2)
    for duration in (1.0, 1.0, 3.0):
        timer.start()
        now[0] += duration
        timer.record()
    assert timer.get_current_time() == 3.0
    assert timer.get_avg_time() == 2.0


def test_log_file_is_added_once_and_has_the_format(tmp_path):
    logger = get_root_logger(log_file=str(tmp_path / "train.log"))
    get_root_logger(log_file=str(tmp_path / "train.log"))
    try:
        logger.info("hello")
        text = (tmp_path / "train.log").read_text()
        assert text.endswith(" INFO: hello\n") and text.count("hello") == 1
    finally:
        for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
            logger.removeHandler(handler)
            handler.close()


def test_env_info_names_the_versions():
    import torch

    assert f"torch {torch.__version__.split('+')[0]}" in get_env_info()


def test_missing_wandb_is_a_user_error(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install wandb"):
        module.init_wandb_logger({"logger": {"wandb": {"project": "x"}}})


def test_tensorboard_is_imported_only_when_used():
    code = "import sys, basicsr.utils.logger\nassert not any('tensorboard' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=_env())


def _env():
    import os
    from pathlib import Path

    root = Path(__file__).resolve().parents[3]
    return {**os.environ, "PYTHONPATH": f"{root / 'BasicSR'}{os.pathsep}{root}"}
