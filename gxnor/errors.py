"""Errors whose message is the whole story: the command line prints it, without a traceback, and leaves with its code."""


class GxnorError(Exception):
    """What the user gave cannot be used. The message says in one or two lines what was expected, what came and what
    to do."""

    exit_code = 2


class WorkError(GxnorError):
    """The call was right, but the work cannot be done: a damaged file, data that is not there, a run that was stopped."""

    exit_code = 1
