"""Programs and the reference's logits in one file, for tests/check_dump.cpp: the engine built for another machine."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import numpy as np

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor import native
from gxnor.program import Program, reference
from gxnor.runtime import engine

ROOT = Path(__file__).parent.parent
CHECKER = ROOT / "tests" / "check_dump.cpp"


def sources(folder: Path, *more: str) -> list[Path]:
    """The engine's, and those of more rooms, below the folder of the native code."""
    return sorted(path for room in ("common", "kernels", "engine", *more) for path in (folder / room).glob("*.cpp"))


def write(path: Path, every: list[tuple[Program, np.ndarray]]) -> None:
    path.write_bytes(b"".join(dump(program, x) for program, x in every))


def dump(program: Program, x: np.ndarray) -> bytes:
    described, _keep = engine._describe(program)
    given = native.Input(engine._lift(program.input.shape), engine._space(program.input.space))
    parts = [bytes(given), struct.pack("<4i", len(described), len(x), x.nbytes, len(program.classes))]
    for layer in described:
        parts.append(bytes(layer))
        parts += [ctypes.string_at(layer.data[j], layer.sizes[j]) if layer.sizes[j] else b"" for j in range(2)]
    return b"".join([*parts, x.tobytes(), reference.run(program, x).tobytes()])


def every_kind() -> list[tuple[Program, np.ndarray]]:
    """Mixtures of layers, the networks of the paper, convolutions of sizes that fill no register, in batches of one to
    three, and convolutions whose points are largest."""
    every = [programs.random_program(seed) for seed in range(60)]
    every += [programs.residual(N1, N2) for N1 in range(3) for N2 in range(3)]
    every += [programs.mnist(), programs.cifar(width=24)]
    every += [programs.resnet(1, 17, 11, N, N) for N in range(3)]
    every += [programs.resnet18(3, 35), programs.mobilenet_v1(3, 33), programs.mobilenet_v1(3, 33, 2, 3)]
    every += [
        convolution(channels, out, height, width, weights, inputs, padding)
        for channels, out in ((1, 1), (7, 17), (64, 16), (70, 33), (130, 8), (896, 3))
        for height, width, padding in ((5, 4, 1), (8, 11, 0), (3, 3, 2))
        for weights, inputs in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (6, 2), (1, 6))
    ]
    batches = [(program, programs.batch(program, 1 + i % 3, i)) for i, program in enumerate(every)]
    points = [programs.largest_points(200, N1, N2) for N1, N2 in ((1, 1), (2, 1), (1, 5), (4, 5))]
    return [*batches, *(each for every in points for each in every)]


def convolution(channels: int, out: int, height: int, width: int, weights: int, inputs: int, padding: int) -> Program:
    net = Builder((channels, height, width), inputs, seed=channels + out)
    net.conv(out, 3, weights, padding=padding)
    net.threshold(min(inputs, 1))
    net.conv(out, 2, min(weights, 1))
    net.flatten()
    return net.program()
