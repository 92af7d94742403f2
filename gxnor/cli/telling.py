"""Warnings as the commands tell them: a line each on stderr, without the place in the code that they come from."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def warnings_told() -> Iterator[None]:
    """Prints the RuntimeWarnings of the block when it ends, well or not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            yield
        finally:
            for warning in caught:
                print(f"gxnor: {warning.message}", file=sys.stderr)
