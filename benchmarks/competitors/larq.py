"""Larq Compute Engine: the network of a program's shape with binary weights and activations, in an interpreter of its own.

TensorFlow stays out of this process: `larq_process.py` runs under the Python that GXNOR_LARQ_PYTHON names, and times
itself. The network is what suits Larq best: dense layers as convolutions (its binary kernels know no others), a max-pool
after the threshold, padding of ones, a first layer in float32.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import tempfile
import weakref
from pathlib import Path

import numpy as np

from benchmarks.competitors import COMPETITORS
from gxnor.errors import GxnorError
from gxnor.program import Program
from gxnor.program.ops import Add, Conv, Dense, Flatten, MaxPool, Scale, SumPool, Threshold

INSTALL = (
    "a Python (3.10 to 3.12) with larq-compute-engine, named by GXNOR_LARQ_PYTHON: python3.11 -m venv larq && "
    f"larq/bin/pip install {COMPETITORS['larq']} && export GXNOR_LARQ_PYTHON=larq/bin/python"
)


def build(program: Program, x: np.ndarray, threads: int) -> dict[str, tuple[Larq, dict]]:
    if not os.environ.get("GXNOR_LARQ_PYTHON"):
        raise GxnorError(f"--against larq needs {INSTALL}")
    if len(program.input.shape) != 3:
        raise GxnorError(f"--against larq needs a network for images, got inputs of shape {program.input.shape}")
    layers, arrays = _layers(_pools_last(program))
    arrays["x"] = program.input.integers(x).astype(np.float32).transpose(0, 2, 3, 1)
    run = Larq(layers, arrays, threads)
    return {"larq": (run, run.about | {"threads": threads})}


class Larq:
    """The other process, ready to run. Raises GxnorError with its last words where it ends early."""

    def __init__(self, layers: list[dict], arrays: dict[str, np.ndarray], threads: int):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.npz"
            np.savez(path, layers=json.dumps(layers), **arrays)
            # -I: the modules beside the script are named like the packages it needs
            command = [os.environ["GXNOR_LARQ_PYTHON"], "-I", Path(__file__).with_name("larq_process.py"), path]
            self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
            try:
                self._process = subprocess.Popen(
                    [*map(str, command), str(threads)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
                )  # fmt: skip
            except OSError as error:
                raise GxnorError(f"--against larq needs {INSTALL}; now: {error}") from None
            weakref.finalize(self, self._process.communicate)  # closes its input: it ends
            self.about = self._answer()

    def __call__(self) -> np.ndarray:
        return np.array(self._ask(1)["logits"], np.float32)

    def seconds(self, calls: int) -> float:
        return self._ask(calls)["seconds"]

    def _ask(self, calls: int) -> dict:
        print(calls, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines() or ["nothing"]
        raise GxnorError(f"--against larq needs {INSTALL}; it ended, saying: {words[-1]}")


def _pools_last(program: Program) -> Program:
    """The program with max-pools after the thresholds that alone read them: the same where no sign is negative."""
    layers = list(program.layers)
    read = [i for layer in layers for i in layer.inputs]
    for i, (pool, after) in enumerate(itertools.pairwise(layers)):
        alone = after.inputs == (i + 1,) and read.count(i + 1) == 1
        if isinstance(pool, MaxPool) and isinstance(after, Threshold) and alone:
            layers[i] = dataclasses.replace(after, inputs=pool.inputs)
            layers[i + 1] = dataclasses.replace(pool, inputs=(i + 1,))
    return Program(program.input, tuple(layers), program.classes)


def _layers(program: Program) -> tuple[list[dict], dict[str, np.ndarray]]:
    """The layers as (height, width, channels) sees them; a value that was flattened keeps its shape."""
    shapes, layers, arrays = [program.input.shape], [], {}
    for number, (layer, value) in enumerate(zip(program.layers, program.values[1:], strict=True), start=1):
        read, shape, spec = shapes[layer.inputs[0]], value.shape, {}
        match layer:
            case Conv(groups=1) | Dense():
                levels = layer.weight.levels()
                if isinstance(layer, Dense):
                    levels, shape = levels.reshape(-1, *read), (*shape, 1, 1)
                    spec = {"stride": (1, 1), "dilation": (1, 1), "padded": False}
                else:
                    spec = {"stride": layer.stride, "dilation": layer.dilation, "padded": any(layer.padding)}
                arrays[f"weight{number}"] = np.where(levels < 0, -1, 1).astype(np.float32).transpose(2, 3, 1, 0)
            case Threshold() | Scale():
                step = isinstance(layer, Threshold)
                scale = layer.sign if step else layer.scale
                bias = 0.5 - layer.thresholds[:, 0] if step else layer.bias
                arrays[f"scale{number}"], arrays[f"bias{number}"] = scale.astype(np.float32), bias.astype(np.float32)
                shape = read
            case MaxPool(dilation=(1, 1)) | SumPool():
                spec = {"kernel": layer.kernel, "stride": layer.stride, "padded": any(layer.padding)}
            case Add():
                spec = {"factors": layer.factors}
            case Flatten():
                shape = read
            case _:
                raise GxnorError(f"--against larq cannot have layer {number}: groups, or a dilated pool")
        shapes.append(shape)
        layers.append({"kind": type(layer).__name__, "inputs": layer.inputs, "shape": (*shape[1:], shape[0])} | spec)
    return layers, arrays
