"""Log file, console, TensorBoard and Weights & Biases."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import logging
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.engine import distributed
from basicsr.engine.errors import UserError
from basicsr.engine.progress import TerminalHandler
from basicsr.utils.dist_util import master_only

LOG_FORMAT = "%(asctime)s %(levelname)s: %(message)s"


class AvgTimer:
    """Mean duration of the last iterations.

    Args:
        window: After this many records the mean starts anew, so that it follows the present speed.
    """

    def __init__(self, window: int = 200) -> None:
        self.window = window
        self.current_time = 0.0
        self.total_time = 0.0
        self.count = 0
        self.avg_time = 0.0
        self.start()

    def start(self) -> None:
        """Begin a measurement."""
        self.start_time = self.tic = time.perf_counter()

    def record(self) -> None:
        """End it; the next one begins with :meth:`start`."""
        self.toc = time.perf_counter()
        self.current_time = self.toc - self.tic
        if self.count >= self.window:
            # the old mean stays as one record: the displayed value does not jump
            self.count, self.total_time = 1, self.avg_time
        self.count += 1
        self.total_time += self.current_time
        self.avg_time = self.total_time / self.count

    def get_current_time(self) -> float:
        """Returns: The last duration in seconds."""
        return self.current_time

    def get_avg_time(self) -> float:
        """Returns: The mean duration in seconds."""
        return self.avg_time


class MessageLogger:
    """Writes one line, and TensorBoard's scalars, from a dict of values.

    Args:
        opt: Reads ``name``, ``train.total_iter`` and ``logger.use_tb_logger``.
        start_iter: The first iteration of this process; the remaining time is judged from there.
        tb_logger: A SummaryWriter or None.
    """

    def __init__(self, opt: Mapping[str, Any], start_iter: int = 1, tb_logger: Any = None) -> None:
        self.exp_name = opt["name"]
        self.start_iter = start_iter
        self.max_iters = int(opt["train"]["total_iter"])
        self.use_tb_logger = bool(opt["logger"].get("use_tb_logger", False))
        self.tb_logger = tb_logger
        self.logger = get_root_logger()
        self.reset_start_time()

    def reset_start_time(self) -> None:
        """Forget the time until now, for example when a resumed run begins its loop."""
        self.start_time = time.perf_counter()

    def eta(self, current_iter: int) -> datetime.timedelta:
        """Returns: The expected remaining time, never negative, in whole seconds."""
        done = max(1, current_iter - self.start_iter + 1)
        per_iter = (time.perf_counter() - self.start_time) / done
        return datetime.timedelta(seconds=int(max(0, self.max_iters - current_iter) * per_iter))

    @master_only
    def __call__(self, log_vars: Mapping[str, Any]) -> None:
        """Write the line.

        Args:
            log_vars: ``epoch``, ``iter``, ``lrs`` (list of floats), optionally ``time`` and ``data_time`` (seconds),
                and the values to log. Not changed.
        """
        values = dict(log_vars)
        epoch, current_iter, lrs = values.pop("epoch"), values.pop("iter"), values.pop("lrs")
        rates = "".join(f"{rate:.3e}," for rate in lrs)
        message = f"[{self.exp_name[:5]}..][epoch:{epoch:3d}, iter:{current_iter:8,d}, lr:({rates})] "
        if "time" in values:
            iter_time, data_time = values.pop("time"), values.pop("data_time")
            message += f"[eta: {self.eta(current_iter)}, time (data): {iter_time:.3f} ({data_time:.3f})] "
            if iter_time > 0:
                self._scalar("it_per_s", 1 / iter_time, current_iter)
        for index, rate in enumerate(lrs):
            if index == 0 or rate != lrs[0]:
                self._scalar("lr" if index == 0 else f"lr_{index}", rate, current_iter)
        for name, value in values.items():
            message += f"{name}: {value:.4e} "
            self._scalar(f"losses/{name}" if is_loss(name) else name, value, current_iter)
        self.logger.info(message, extra={"progress": True})

    def _scalar(self, tag: str, value: float, step: int) -> None:
        if self.use_tb_logger and self.tb_logger is not None and "debug" not in self.exp_name:
            self.tb_logger.add_scalar(tag, value, step)


def is_loss(name: str) -> bool:
    """Whether a value is a loss: upstream's ``l_...``, a loss's option name, or a part of one (``x_opt/part``)."""
    return name.startswith("l_") or name.endswith("_opt") or "/" in name


@master_only
def init_tb_logger(log_dir: str, purge_step: int | None = None) -> Any:
    """Open TensorBoard's event file.

    Args:
        log_dir: Its folder.
        purge_step: Events from this step on, which an interrupted run wrote, are dropped from display.

    Returns:
        A ``torch.utils.tensorboard.SummaryWriter`` (None on the other ranks).

    Raises:
        UserError: The package tensorboard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("logger.use_tb_logger: pip install tensorboard, or set it to false")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(log_dir=str(log_dir), purge_step=purge_step)


@master_only
def init_wandb_logger(opt: Mapping[str, Any]) -> None:
    """Let Weights & Biases follow the TensorBoard log.

    Args:
        opt: Reads ``name``, ``path.experiments_root`` and ``logger.wandb.project`` and ``.resume_id``.

    Raises:
        UserError: The package wandb is not installed.
    """
    if importlib.util.find_spec("wandb") is None:
        raise UserError("logger.wandb: pip install wandb, or remove logger.wandb.project")
    import wandb

    settings = opt["logger"]["wandb"]
    resume_id = settings.get("resume_id")
    wandb_id = resume_id or wandb.util.generate_id()
    wandb.init(
        id=wandb_id,
        resume="allow" if resume_id else "never",
        name=opt["name"],
        config=dict(opt),
        project=settings["project"],
        dir=opt["path"].get("experiments_root"),
        sync_tensorboard=True,
    )
    get_root_logger().info("Weights & Biases: project %s, id %s", settings["project"], wandb_id)


def get_root_logger(
    logger_name: str = "basicsr", log_level: int = logging.INFO, log_file: str | None = None
) -> logging.Logger:
    """The engine's logger, set up on first use.

    Rank 0 writes to the terminal and, once a file is given, to that file; other ranks report errors only.

    Args:
        logger_name: Name of the logger.
        log_level: Level on rank 0.
        log_file: A file to append to; asking twice for the same file adds it once.

    Returns:
        The logger.
    """
    logger = logging.getLogger(logger_name)
    if not any(isinstance(handler, TerminalHandler) for handler in logger.handlers):
        handler = TerminalHandler()
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(log_level)
    if not distributed.is_main():
        logger.setLevel(logging.ERROR)
    elif log_file is not None and str(Path(log_file).resolve()) not in _files_of(logger):
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        file_handler = logging.FileHandler(log_file, mode="a", encoding="utf-8")
        file_handler.setFormatter(logging.Formatter(LOG_FORMAT))
        file_handler.setLevel(log_level)
        logger.addHandler(file_handler)
    return logger


def _files_of(logger: logging.Logger) -> list[str]:
    return [handler.baseFilename for handler in logger.handlers if isinstance(handler, logging.FileHandler)]


def get_env_info() -> str:
    """Returns: The versions that a bug report needs, a line each."""
    from basicsr.version import __version__

    lines = [f"BasicSR-compatible engine {__version__}", f"Python {platform.python_version()} on {platform.platform()}"]
    for package in ("torch", "torchvision", "numpy", "opencv-python"):
        try:
            lines.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{package} is not installed")
    return "Version information:\n  " + "\n  ".join(lines)
