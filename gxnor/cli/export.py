"""`gxnor export`: writes a run's best network as an integer program."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from gxnor.analysis import sizes
from gxnor.program import file


def add_parser(commands) -> None:
    parser = commands.add_parser("export", help="the best network of a run as an integer program")
    parser.add_argument("path", type=Path, metavar="DIR")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.gxnor", required=True)
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Writes the program and says what it weighs."""
    from gxnor.training.loop import export_run

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        program = export_run(arguments.path)
    for warning in caught:
        print(f"gxnor: {warning.message}", file=sys.stderr)
    output = arguments.output
    file.save(program, output)
    size = sizes.measure(program, output.stat().st_size)
    print(f"{output}: {size.weights:,} weights in {size.disk:,} bytes, {size.disk_bits:.3f} bits a weight")
