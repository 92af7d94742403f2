"""What a user would run instead of the engine: the competitors of `gxnor bench`.

One module each, named in `COMPETITORS`, with

    build(program, x, threads) -> {name: (run, about)}

with an entry for each form in which the competitor runs. `run()` passes the batch once through a network of the program's
shape, its input already in the form that it likes best, and returns the logits; `about` says in a dict what that is:
versions, settings. A run in another process has `run.seconds(calls)`: seconds per call by the clock there, without the way
there and back. `SEVERAL_OUTPUTS` in a module says that it runs programs with more than one. What the float forms have in
common is here: inputs and weights; their thresholds are ReLUs.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import numpy as np

from gxnor.errors import GxnorError
from gxnor.program import Program
from gxnor.program.ops import Conv, Dense

COMPETITORS = {
    "torch": "torch",
    "onnxruntime": "onnx onnxruntime",
    "openvino": "openvino onnx onnxruntime",
    "larq": "larq larq-compute-engine tensorflow-cpu tf-keras",
}


def find(name: str) -> ModuleType:
    """The module of a competitor. Raises GxnorError for an unknown name, and where its packages are not installed."""
    if name not in COMPETITORS:
        raise GxnorError(f"expected a competitor among {', '.join(COMPETITORS)}, got {name!r}")
    try:
        return import_module(f"benchmarks.competitors.{name}")
    except ModuleNotFoundError as error:
        raise GxnorError(f"--against {name} needs the package {error.name}: pip install {COMPETITORS[name]}") from None


def inputs(program: Program, x: np.ndarray) -> np.ndarray:
    """float32: a batch as the float network takes it."""
    return program.input.integers(x).astype(np.float32) / 255


def weights(layer: Conv | Dense) -> np.ndarray:
    """float32: the program's levels, scaled to keep sums small."""
    levels = layer.weight.levels().astype(np.float32)
    return levels / levels[0].size ** 0.5
