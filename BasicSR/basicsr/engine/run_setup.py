"""What happens around a run before its first step and after its last: process, log, folders."""

from __future__ import annotations

import argparse
import contextlib
import logging
import logging.handlers
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basicsr.engine import device, distributed, rng
from basicsr.engine.checkpoint import remove_leftovers
from basicsr.engine.errors import UserError
from basicsr.engine.run_lock import RunLock
from basicsr.utils.logger import get_env_info, get_root_logger
from basicsr.utils.misc import get_time_str, make_sub_dirs, mkdir_and_rename
from basicsr.utils.options import copy_opt_file, dict2str

_HELD_RECORDS = 100_000


def start_process(opt: dict[str, Any], root_path: str | Path) -> None:
    """Choose device and threads of this process; ``parse_options`` has let it join the others.

    Args:
        opt: The run's options; ``root_path`` is noted in it, as upstream's users expect, and ``auto_resume`` becomes
            true where torchrun has started the processes again after a failure.
        root_path: The project's folder.
    """
    opt["root_path"] = str(root_path)
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0) > 0:
        opt["auto_resume"] = True
    device.configure(opt)


def seed_process(opt: dict[str, Any]) -> None:
    """Seed this process's generators with ``manual_seed`` + rank."""
    rng.seed_all(opt["manual_seed"] + opt["rank"])


class RunLog:
    """Keeps the log records until the run's folder is known to be wanted, then writes them to its file."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._held = logging.handlers.MemoryHandler(_HELD_RECORDS, flushLevel=logging.CRITICAL + 1)
        logger.addHandler(self._held)
        self._files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]

    def open(self, path: Path) -> None:
        """Begin the file, with the records so far."""
        get_root_logger(log_file=str(path))
        added = self._new_files()
        if added:
            self._held.setTarget(added[0])
        self._held.close()
        self._logger.removeHandler(self._held)

    def _new_files(self) -> list[logging.FileHandler]:
        files = [handler for handler in self._logger.handlers if isinstance(handler, logging.FileHandler)]
        return [handler for handler in files if handler not in self._files]

    def close(self) -> None:
        """Take this run's file off the logger."""
        self._logger.removeHandler(self._held)
        for handler in self._new_files():
            self._logger.removeHandler(handler)
            handler.close()


@contextlib.contextmanager
def run_log() -> Iterator[RunLog]:
    """Log of one run, from the reading of its options on; an exception goes to its file with the traceback."""
    logger = get_root_logger()
    log = RunLog(logger)
    try:
        yield log
    except Exception:
        logger.critical("The run ended with an error.", exc_info=True, extra={"file_only": True})
        raise
    finally:
        log.close()


def log_options(opt: dict[str, Any]) -> None:
    """Log what a bug report needs: versions, and all options with their defaults."""
    get_root_logger().info(get_env_info())
    get_root_logger().info(dict2str(opt))


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """What the disk refuses while a run's folder is made is for the user to put right."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot make the run's folder {folder}: {error}. Choose a place that can be written: "
            "--force_yml path:experiments_root=DIR (testing: path:results_root=DIR)."
        ) from error


def open_train_folder(opt: dict[str, Any], args: argparse.Namespace, log: RunLog) -> RunLock:
    """Make the run's folder on rank 0, put the option file into it, begin its log file.

    A run that neither resumes nor was asked to (``--auto_resume``) gets a new folder; what is in its place is renamed.
    With ``--auto_resume`` and no checkpoint yet, the folder of the interrupted start is used again.

    Returns:
        The lock on the folder, which rank 0 holds.

    Raises:
        UserError: The folder cannot be made, or another run is using it.
    """
    root, resuming = Path(opt["path"]["experiments_root"]), bool(opt["path"].get("resume_state"))
    events = Path(opt["root_path"]) / "tb_logger" / opt["name"]
    lock = RunLock(root)
    if distributed.is_main():
        with _writable(root):
            lock.check()
            if not resuming and not opt.get("auto_resume"):
                mkdir_and_rename(str(root))
                if opt["logger"].get("use_tb_logger") and events.exists() and "debug" not in opt["name"]:
                    mkdir_and_rename(str(events))
            make_sub_dirs(opt)
            lock.take()
        for path in remove_leftovers(opt["path"]["models"], opt["path"]["training_states"]):
            get_root_logger().info("Removed %s, left behind by an interrupted write.", path)
    # Nobody writes into the folder before it has its final name.
    distributed.barrier()
    with _writable(root):
        copy_opt_file(args.opt, str(root))
        _open_log(opt, root, "train", log)
    return lock


def _open_log(opt: dict[str, Any], root: Path, kind: str, log: RunLog) -> None:
    title = opt["name"].replace("/", "_")
    log.open(root / f"{kind}_{title}_{get_time_str()}.log")


def open_test_folder(opt: dict[str, Any], log: RunLog) -> None:
    """Make the results' folder on rank 0 and begin its log file."""
    root = Path(opt["path"]["results_root"])
    if distributed.is_main():
        with _writable(root):
            mkdir_and_rename(str(root))
            make_sub_dirs(opt)
    distributed.barrier()
    with _writable(root):
        _open_log(opt, root, "test", log)
