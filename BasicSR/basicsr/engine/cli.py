"""The one place where a command line turns an error into a message and an exit status."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from basicsr.engine.errors import NonFiniteError, UserError

USER_ERROR_STATUS = 2
NON_FINITE_STATUS = 3
INTERRUPTED_STATUS = 130
_INTERRUPTED = "interrupted\n"


def quiet_start() -> None:
    """Let Ctrl-C end a script at once, with status 130, until :func:`run_main` takes over.

    For the seconds in which a script imports torch: there is nothing to save yet, and Python would print a traceback
    through half of torch.
    """
    signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, _INTERRUPTED.encode())
    os._exit(INTERRUPTED_STATUS)


def run_main(main: Callable[[], int | None]) -> int:
    """Run a command's ``main`` and return its exit status.

    Args:
        main: The command. ``None`` counts as status 0.

    Returns:
        ``main``'s own status, 2 after a ``UserError`` and 3 after a ``NonFiniteError``, whose messages go to standard
        error, 130 after Ctrl-C. Any other exception is a defect and passes through with its traceback.
    """
    try:
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return main() or 0
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return USER_ERROR_STATUS
    except NonFiniteError as error:
        sys.stderr.write(f"error: {error}\n")
        return NON_FINITE_STATUS
    except KeyboardInterrupt:
        sys.stderr.write(_INTERRUPTED)
        return INTERRUPTED_STATUS


def positive(text: str) -> int:
    """Type of an argument that is a number from 1 on, for ``argparse``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 on")
    return int(text)


def not_negative(text: str) -> int:
    """Type of an argument that is a number from 0 on, for ``argparse``."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 on")
    return int(text)


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written to before the work for it begins. Nothing is made.

    Args:
        path: The file; its folders may be missing.

    Raises:
        UserError: It is a folder, lies below a file, or in a folder that may not be changed.
    """
    if path.is_dir():
        raise UserError(f"{path}: cannot be written: it is a folder; name a file.")
    nearest = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if nearest is None or not nearest.is_dir():
        raise UserError(f"{path}: cannot be written: {nearest} is not a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written: the folder {nearest} may not be changed (permission denied).")


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn a refusal of the disk into a ``UserError`` that names the file, or ``what`` is written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or what}: cannot be written: {error.strerror or error}.") from error
