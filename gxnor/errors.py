"""The error whose message is the whole story: the command line prints it without a traceback."""


class GxnorError(Exception):
    """What the user gave cannot be used. The message says in one or two lines what was expected, what came and what
    to do."""
