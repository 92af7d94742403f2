"""Errors whose message is the whole story: the command line prints it, without a traceback, and leaves with its code."""


def install(extra: str) -> str:
    """What to do where a package of an extra is missing: what works before and after there are releases."""
    return f'run pip install ".[{extra}]" in the folder of gxnor\'s sources'


class GxnorError(Exception):
    """What the user gave cannot be used. The message says in one or two lines what was expected, what came and what
    to do."""

    exit_code = 2


class WorkError(GxnorError):
    """The call was right, but the work cannot be done: a damaged file, data that is not there, a run that was stopped."""

    exit_code = 1
