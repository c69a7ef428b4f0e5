"""The one place where a command line turns an error into a message and an exit status."""

import sys
from collections.abc import Callable

from basicsr.engine.errors import NonFiniteError, UserError

USER_ERROR_STATUS = 2
NON_FINITE_STATUS = 3
INTERRUPTED_STATUS = 130


def run_main(main: Callable[[], int | None]) -> int:
    """Run a command's ``main`` and return its exit status.

    Args:
        main: The command. ``None`` counts as status 0.

    Returns:
        ``main``'s own status, 2 after a ``UserError`` and 3 after a ``NonFiniteError``, whose messages go to standard
        error, 130 after Ctrl-C. Any other exception is a defect and passes through with its traceback.
    """
    try:
        return main() or 0
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return USER_ERROR_STATUS
    except NonFiniteError as error:
        sys.stderr.write(f"error: {error}\n")
        return NON_FINITE_STATUS
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED_STATUS
