"""One run a folder: a second one would archive it, or write its checkpoints between those of the first."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
from pathlib import Path
from typing import IO

from basicsr.engine.errors import UserError

LOCK_NAME = ".running"


class RunLock:
    """A lock on a run's folder that ends with its process, however that ends.

    It is a POSIX record lock: not inherited by loader processes, and it works between hosts where the file system
    shares locks. Where there are none (Windows, some network disks) nothing is locked.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / LOCK_NAME
        self._file: IO[str] | None = None

    def check(self) -> None:
        """Look whether another process holds the lock, without creating anything.

        Raises:
            UserError: It does; the message says which one.
        """
        if self.path.is_file():
            self.take()
            self.release(remove=False)

    def take(self) -> None:
        """Hold the lock until :meth:`release`, or the end of the process.

        Raises:
            UserError: Another process holds it.
        """
        if self._file is not None or importlib.util.find_spec("fcntl") is None:
            return
        import fcntl

        file = open(self.path, "a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown process"
            file.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return  # this disk has no locks
            raise UserError(
                f"{self.path.parent} is in use by a run that has not ended ({holder}). Give this run another name "
                "(--force_yml name=...), or end that one first."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        self._file = file

    def release(self, remove: bool = True) -> None:
        """Give the lock back.

        Args:
            remove: Whether to delete its file too.
        """
        if self._file is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        self._file.close()
        self._file = None
