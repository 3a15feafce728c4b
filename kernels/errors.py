"""The one error that a user can cause."""


class InputError(ValueError):
    """Bad input: the message says what was given, what was expected and what to do.

    The command line prints its message without a traceback and exits with a non-zero status.
    """
