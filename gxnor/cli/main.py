"""The command line, command by command. Exit codes: 0 done, 1 the work failed, 2 the call was wrong."""

from __future__ import annotations

import argparse
import codecs
import io
import os
import shlex
import sys

from gxnor.cli import bench, eval, export, inspect, memory, run, train
from gxnor.errors import GxnorError, install
from gxnor.version import VERSION


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="gxnor", description="Networks with discrete weights and activations.")
    top.add_argument("--version", action="version", version=f"gxnor {VERSION}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    for module in (train, eval, export, memory, run, inspect, bench):
        module.add_parser(commands)
    return top


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    return execute(parser(), argv)


def _as_given(error: UnicodeError) -> tuple[str | bytes, int]:
    """What a stream cannot encode: the bytes of a name that is not UTF-8, as they are; of other characters a question
    mark: a terminal that cannot show a character is not a reason to stop."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    return os.fsencode(character) if "\udc80" <= character <= "\udcff" else "?", error.start + 1


codecs.register_error("as-given", _as_given)


def execute(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> int:
    """Parses the arguments, calls the command's `main` and returns the exit code; what goes wrong goes to stderr."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="as-given")
    arguments = parser.parse_args(argv)
    arguments.line = shlex.join([parser.prog, *argv])
    try:
        arguments.main(arguments)
        return 0
    except Exception as error:
        if arguments.debug:
            raise
        message, code = _explain(error)
        print(f"gxnor: {message}", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print("gxnor: stopped", file=sys.stderr)
        return 1


def _explain(error: Exception) -> tuple[str, int]:
    """What to tell the user, and the exit code."""
    if isinstance(error, GxnorError):
        return str(error), error.exit_code
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get((error.name or "").split(".")[0])):
        return f"this command needs {error.name}, which is not installed: {install(extra)}", 1
    if isinstance(error, FloatingPointError):
        return str(error), 1
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return f"not enough memory: {_first_line(error).rpartition('DefaultCPUAllocator: ')[2]}", 1
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1
    return f"internal error: {type(error).__name__}: {_first_line(error)} (--debug before the command shows where)", 1


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _is_out_of_memory(error: Exception) -> bool:
    """As PyTorch says it: on a GPU by a class of its own, on the CPU in words."""
    words = ("DefaultCPUAllocator", "Storage size calculation overflowed")
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in words)
    )


_TRAINING = ("torch", "pydantic", "tomli_w", "tomli", "pooch", "sklearn", "scipy", "matplotlib", "jinja2")
_EXTRAS = {**dict.fromkeys(_TRAINING, "train"), "onnx": "onnx"}  # which extra of this package installs a package
