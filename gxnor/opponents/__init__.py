"""What a user would run instead of the engine: the opponents of `gxnor bench`.

One module each, named in `OPPONENTS`, with

    build(program, x, threads) -> (run, about)

where `run()` passes the batch once through a network of the program's shape, in the opponent's fastest honest form, its
input already in the form that it likes best; `about` says in a dict what that is: versions, settings. A package that is
not installed is left to raise ModuleNotFoundError.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from gxnor.errors import GxnorError

OPPONENTS = ("torch",)


def find(name: str) -> ModuleType:
    """The module of an opponent. Raises GxnorError for an unknown name."""
    if name not in OPPONENTS:
        raise GxnorError(f"expected an opponent among {', '.join(OPPONENTS)}, got {name!r}")
    return import_module(f"gxnor.opponents.{name}")
