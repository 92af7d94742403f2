"""Warnings as the commands tell them: a line each on stderr, without the place in the code that they come from."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def warnings_told() -> Iterator[None]:
    """Prints the RuntimeWarnings of the block, each once, as they come."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", RuntimeWarning)
        show = warnings.showwarning

        def tell(message, category, *place, **more):
            if issubclass(category, RuntimeWarning):
                print(f"gxnor: {message}", file=sys.stderr)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = tell
        yield
