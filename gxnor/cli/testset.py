"""What the commands on a program file share: the network made ready, and the test set that it is tried on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gxnor.cli.telling import warnings_told
from gxnor.errors import GxnorError
from gxnor.program import Program


def ready(program: Program):
    """A program ready to run on all cores; what there is to warn of goes to stderr."""
    from gxnor.runtime.network import Network

    with warnings_told():
        return Network(program, threads=os.cpu_count() or 1)


def load(program: Program, name: str, folder: Path | None):
    """The data set of that name, for the program."""
    from gxnor import data

    options = {"size": program.input.shape[1:]} if name == "folder" else {}
    return data.load(name, folder, **options)


def check_images(program: Program, name: str, images: np.ndarray) -> None:
    if images.shape[1:] != program.input.shape or program.input.space is not None:
        raise GxnorError(
            f"expected data for an input of {program.input.shape}, {name} has images of {images.shape[1:]}"
        )
