"""`gxnor export`: writes a run's best network as an integer program, or a program for another machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from gxnor import pretrained, targets
from gxnor.analysis import sizes
from gxnor.cli.telling import warnings_told
from gxnor.cli.testset import load
from gxnor.errors import GxnorError
from gxnor.program import Program, file

# Of targets; each takes those that its function names.
OPTIONS = ("name", "arena", "onnx_form", "opset", "lanes", "events_per_cycle", "pipelined")

SAMPLES = 200  # typical images: enough to tell which states are frequent


def add_parser(commands) -> None:
    parser = commands.add_parser(
        "export", help="the best network of a run as an integer program, or for other machines"
    )
    parser.add_argument("path", type=Path, metavar="DIR|FILE.gxnor|NAME")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", required=True)
    parser.add_argument("--to", choices=targets.TARGETS, metavar="TARGET", help=f"{', '.join(targets.TARGETS)}")
    parser.add_argument(
        "--name", help="c, verilog: what files and functions are called (default: the last part of PATH)"
    )
    parser.add_argument("--arena", type=int, metavar="BYTES", help="c: refuse a network that needs more RAM than this")
    parser.add_argument(
        "--data",
        metavar="NAME|PATH",
        help="digits, mnist, ... or your own: typical images. c: they make the code faster; verilog: the testbench",
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data is")
    parser.add_argument("--onnx-form", metavar="FORM", help="onnx: float (default) or integer")
    parser.add_argument(
        "--opset", type=int, metavar="N", help="onnx: 13 to 25 (default), for runtimes that lack the newest"
    )
    parser.add_argument(
        "--lanes",
        type=int,
        metavar="N",
        help="verilog: output channels worked on at a time, a power of two (default 64)",
    )
    parser.add_argument(
        "--events-per-cycle",
        type=int,
        metavar="N",
        help="verilog: channels of a place whose events are added at a time, a power of two (default 1)",
    )
    parser.add_argument(
        "--pipelined",
        action="store_true",
        default=None,
        help="verilog: an engine for every layer, each working on an image of its own (default: one engine runs all layers)",
    )
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Writes the program, or what a target makes of it, and says what it weighs."""
    options = {name: value for name in OPTIONS if (value := getattr(arguments, name)) is not None}
    write = targets.writer(arguments.to) if arguments.to else _write
    if arguments.data is not None and "samples" not in targets.takes(write):
        raise GxnorError(f"--data is not an option of an export to {arguments.to or 'a .gxnor file'}")
    if arguments.data_dir is not None and arguments.data is None:
        raise GxnorError("--data-dir says where data is: add --data NAME")
    for name in options.keys() - targets.takes(write):
        raise GxnorError(
            f"--{name.replace('_', '-')} is not an option of an export to {arguments.to or 'a .gxnor file'}"
        )
    path = pretrained.find(arguments.path)
    if path.is_file() and not arguments.to:
        raise GxnorError(f"{path} is a file already: add --to with one of {', '.join(targets.TARGETS)}")
    if not arguments.to and arguments.output.suffix != ".gxnor":
        raise GxnorError(
            f"expected the name of a .gxnor file after -o, got {arguments.output}: for another kind of file, "
            f"add --to with one of {', '.join(targets.TARGETS)}"
        )
    program = _program(path)
    if arguments.data is not None:
        options["samples"] = load(program, arguments.data, arguments.data_dir, part="train").images[:SAMPLES]
    print(write(program, arguments.output, **options))


def _program(path: Path) -> Program:
    """Of a program's file, or of the best network of a run."""
    if path.is_file():
        return file.read(path)
    from gxnor.training.loop import export_run

    with warnings_told():
        return export_run(path)


def _write(program: Program, output: Path) -> str:
    file.save(program, output)
    size = sizes.measure(program, output.stat().st_size)
    return f"{output}: {size.weights:,} weights in {size.disk:,} bytes, {size.disk_bits:.3f} bits per weight"
