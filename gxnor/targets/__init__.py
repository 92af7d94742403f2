"""Programs for other machines: every target writes a program in another form, bit for bit the same network."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable

from gxnor.errors import GxnorError

# A module for every target, with `write(program, path, *, ...options) -> str`, which returns what to tell the user.
TARGETS = {
    "c": "gxnor.targets.c",
    "onnx": "gxnor.targets.onnx",
    "qonnx": "gxnor.targets.qonnx",
    "verilog": "gxnor.targets.verilog",
    "web": "gxnor.targets.web",
}


def writer(name: str) -> Callable[..., str]:
    """The function that writes programs for a target; its module is imported only now. Raises GxnorError for a target
    that is not there."""
    if name not in TARGETS:
        raise GxnorError(f"expected a target among {', '.join(TARGETS)}, got {name!r}")
    return importlib.import_module(TARGETS[name]).write


def takes(write: Callable[..., str]) -> set[str]:
    """The options of a target: the keyword-only arguments of its function."""
    parameters = inspect.signature(write).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
