"""The errors that the engine raises on purpose."""


class UserError(ValueError):
    """Something the user can put right: the message names the file, key or value, what is wrong, what would be right.

    Command lines show the message without a traceback and end with exit status 2 (see ``basicsr.engine.cli``).
    """


class NonFiniteError(RuntimeError):
    """A loss or a gradient became NaN or infinite; the message names the iteration, the parts and the batch's files."""
