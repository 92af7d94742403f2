"""What the commands of this folder take: a program, and a data set to run it on."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gxnor.cli.testset import load
from gxnor.program import Program, file

TYPICAL = 200  # images of the training part, on which events are counted


def parser(text: str, images: int | None = None) -> argparse.ArgumentParser:
    """`text`: a module's; its first line describes the command. `images`: the default of --images; None: all of them."""
    made = argparse.ArgumentParser(description=text.splitlines()[0])
    made.add_argument("file", type=Path, metavar="FILE.gxnor")
    made.add_argument("--data", required=True, metavar="NAME")
    made.add_argument("--data-dir", type=Path, metavar="DIR")
    if images:
        made.add_argument(
            "--images", type=int, default=images, metavar="N", help="of the test set (default: %(default)s)"
        )
    return made


def read(arguments: argparse.Namespace) -> tuple[Program, np.ndarray, np.ndarray, np.ndarray]:
    """The program; images and labels of the test set; typical images."""
    program = file.read(arguments.file)
    test = load(program, arguments.data, arguments.data_dir)
    typical = load(program, arguments.data, arguments.data_dir, part="train").images[:TYPICAL]
    count = getattr(arguments, "images", None)
    return program, test.images[:count], test.labels[:count], typical
