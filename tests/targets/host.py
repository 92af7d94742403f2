"""Compiles exported C on this machine and runs it."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from gxnor.program import Program
from gxnor.targets.c import write

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


def compiler(name: str = "gcc") -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs a C compiler on this machine: apt-get install {name}")
    return found


class Compiled:
    """A program as C, compiled to a library and opened."""

    def __init__(self, program: Program, folder, *flags: str, using: str = "gcc", samples=None):
        self.program = program
        write(program, folder, name="net", samples=samples)
        library = folder / "net.so"
        call = [compiler(using), *WARNINGS, *(flags or ("-O1",)), "-shared", "-fPIC", "net.c", "-o", library.name]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        self.library = ctypes.CDLL(str(library))

    def logits(self, x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), len(self.program.classes)), dtype=np.float32)
        for sample, row in zip(np.ascontiguousarray(x), out, strict=True):
            self.library.net_logits(sample.ctypes.data_as(ctypes.c_void_p), row.ctypes.data_as(ctypes.c_void_p))
        return out

    def predict(self, x: np.ndarray) -> list[int]:
        x = np.ascontiguousarray(x)
        return [self.library.net_predict(sample.ctypes.data_as(ctypes.c_void_p)) for sample in x]
