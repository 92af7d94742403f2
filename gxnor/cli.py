"""The command line, command by command. Exit codes: 0 done, 1 the work failed, 2 the call was wrong."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from pathlib import Path

import gxnor
from gxnor import bench, cli_program
from gxnor.errors import GxnorError


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="gxnor", description="Networks with discrete weights and activations.")
    top.add_argument("--version", action="version", version=f"gxnor {gxnor.__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    train = commands.add_parser("train", help="train a network by a recipe")
    train.add_argument("recipe", metavar="RECIPE", help="digits, mnist, cifar10, svhn, ... or a TOML file")
    train.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/RECIPE-seedN)")
    train.add_argument("--seed", type=int, metavar="N")
    train.add_argument("--epochs", type=int, metavar="N")
    train.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the data is (default: $GXNOR_DATA, then cache)"
    )
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key, as optimizer.lr=0.05")
    train.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("eval", help="accuracy of a run or of an exported network on the test set")
    evaluate.add_argument("path", type=Path, metavar="DIR|FILE")
    evaluate.add_argument("--data-dir", type=Path, metavar="DIR")
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(run=_eval)

    export = commands.add_parser("export", help="the best network of a run as an integer program")
    export.add_argument("path", type=Path, metavar="DIR")
    export.add_argument("-o", "--output", type=Path, metavar="FILE.gxnor", required=True)
    export.set_defaults(run=_export)

    study = commands.add_parser("study", help="run a set of recipes: one table, one picture")
    known = "table, nonlinearity, window, sparsity, levels, curves, memory or ingredients"
    study.add_argument("name", metavar="NAME", help=known)
    study.add_argument("--quick", action="store_true", help="the form of minutes, on the digits")
    study.add_argument("--seeds", type=int, metavar="N", help="runs of each point (default: the study's)")
    study.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: one a core; one on a GPU)")
    study.add_argument("--data", metavar="NAME", help="data set of the full form, where the study knows several")
    study.add_argument("--out", type=Path, metavar="DIR", help="folder (default: runs/study-NAME)")
    study.add_argument("--data-dir", type=Path, metavar="DIR")
    study.add_argument("--resume", action="store_true", help="go on with the study in the folder")
    study.set_defaults(run=_study)

    memory = commands.add_parser("memory", help="what a training step holds, predicted and measured")
    memory.add_argument("recipe", metavar="RECIPE", help="as of train; its data need not be there")
    memory.add_argument("--batch", type=int, metavar="N", help="default: the recipe's train.batch")
    memory.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key, as network.width=0.5")
    memory.add_argument("--budget", metavar="SIZE", help="also say what batch and what width fit, as 2GiB")
    memory.add_argument("--json", action="store_true")
    memory.set_defaults(run=_memory)

    cli_program.add_parsers(commands)
    bench.add_parser(commands)
    return top


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to stop
    arguments = parser().parse_args(argv)
    arguments.line = shlex.join(["gxnor", *argv])
    try:
        arguments.run(arguments)
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
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _TRAINING_PACKAGES:
        return f'this command needs {error.name}, which is not installed: pip install "gxnor[train]"', 1
    if isinstance(error, FloatingPointError):
        return str(error), 1
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}", 1
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1
    return f"internal error: {type(error).__name__}: {error} (--debug before the command shows where)", 1


_TRAINING_PACKAGES = {"torch", "pydantic", "tomli_w", "tomli", "pooch", "sklearn", "scipy", "matplotlib", "jinja2"}


def _train(arguments) -> None:
    from gxnor.training import commands

    settings = list(arguments.set)
    settings += [f"train.seed={arguments.seed}"] if arguments.seed is not None else []
    settings += [f"train.epochs={arguments.epochs}"] if arguments.epochs is not None else []
    commands.train(arguments.recipe, settings, arguments.out, arguments.data_dir, arguments.resume, arguments.line)


def _study(arguments) -> None:
    from gxnor.training.study import command

    command.study(arguments.name, arguments.quick, arguments.data, arguments.seeds, arguments.jobs, arguments.out,
                  arguments.data_dir, arguments.resume)  # fmt: skip


def _eval(arguments) -> None:
    if arguments.path.is_file():
        cli_program.evaluate(arguments.path, arguments.data_dir, arguments.json)
        return
    from gxnor.training import commands

    commands.evaluate(arguments.path, arguments.data_dir, arguments.json)


def _export(arguments) -> None:
    from gxnor.training import commands

    commands.export(arguments.path, arguments.output)


def _memory(arguments) -> None:
    from gxnor.training import memory_report

    memory_report.command(arguments.recipe, arguments.set, arguments.batch, arguments.budget, arguments.json)
