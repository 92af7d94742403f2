"""The engine on 64-bit ARM: cross-built, run under qemu-user, compared with the reference bit for bit.

Needs a cross-compiler and an emulator (Debian: g++-aarch64-linux-gnu, qemu-user); skipped without.
"""

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gxnor import engine, reference
from gxnor.program import Program
from tests import programs
from tests.programs import Builder

ROOT = Path(__file__).parent.parent
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason=f"needs {COMPILER} and {EMULATOR}"
)


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """The checker, built."""
    path = tmp_path_factory.mktemp("aarch64") / "check"
    sources = [ROOT / "tests" / "check_dump.cpp", *sorted((ROOT / "native").glob("*.cpp"))]
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-pthread", "-static", "-Wall", "-Werror"]
    subprocess.run([COMPILER, *flags, f"-I{ROOT / 'native'}", *map(str, sources), "-o", str(path)], check=True)
    return path


def dump(program: Program, x: np.ndarray) -> bytes:
    """What tests/check_dump.cpp reads."""
    described, _keep = engine._describe(program)
    given = engine._Input(engine._lift(program.input.shape), engine._space(program.input.space))
    parts = [bytes(given), struct.pack("<4i", len(described), len(x), x.nbytes, len(program.classes))]
    for layer in described:
        parts.append(bytes(layer))
        parts += [ctypes.string_at(layer.data[j], layer.sizes[j]) if layer.sizes[j] else b"" for j in range(2)]
    return b"".join([*parts, x.tobytes(), reference.run(program, x).tobytes()])


def convolution(channels: int, out: int, height: int, width: int, N: int, padding: int) -> Program:
    net = Builder((channels, height, width), N, seed=channels + out)
    net.conv(out, 3, N, padding=padding)
    net.threshold(1)
    net.conv(out, 2, 1)
    net.flatten()
    return net.program()


@pytest.mark.parametrize(("machine", "sets"), [("max", "dotprod neon portable"), ("cortex-a53", "neon portable")])
def test_every_instruction_set_gives_the_logits_of_the_reference(check, machine, sets, tmp_path):
    every = [programs.random_program(seed) for seed in range(60)]
    every += [programs.residual(N1, N2) for N1 in range(3) for N2 in range(3)]
    every += [programs.mnist(), programs.cifar(width=24)]
    every += [
        convolution(channels, out, height, width, N, padding)
        for channels, out in ((1, 1), (7, 17), (64, 16), (70, 33), (130, 8), (896, 3))
        for height, width, padding in ((5, 4, 1), (8, 11, 0), (3, 3, 2))
        for N in (0, 1)
    ]
    path = tmp_path / "dump"
    path.write_bytes(b"".join(dump(p, programs.batch(p, 1 + i % 3, i)) for i, p in enumerate(every)))
    done = subprocess.run([EMULATOR, "-cpu", machine, str(check), str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{sets}: {len(every)} programs, ")
