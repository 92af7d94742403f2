"""Runs a program on the native kernels, bit for bit as `gxnor.program.reference` does.

A program is compiled once into a plan: weights arranged for the kernels, activations kept as bit planes between layers,
thresholds applied while sums are in the cache. The plan is native (native/engine/engine.h says how it is described); this
module describes the program to it and checks what goes in.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from typing import Any

import numpy as np

from gxnor import native
from gxnor.errors import GxnorError
from gxnor.program import Input, Logits, Program
from gxnor.program.ops import (
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Pad,
    Requantize,
    Scale,
    SumPool,
    Threshold,
    Upsample,
)

# In the order of enum gxnor_kind.
_KINDS = (Conv, Dense, Threshold, MaxPool, SumPool, Add, Flatten, Scale, Requantize, Concat, Pad, Upsample, Channels)
# In the order of enum gxnor_kernel.
KERNELS = (None, "direct", "winograd2", "winograd4", "winograd2-fip", "winograd4-fip")
_PIXELS = -1
_OK, _BAD_STATE = 0, 3
_REASONS = {
    1: "this machine does not have the instruction set",
    2: "the engine refuses it as inconsistent",
    4: "it is larger than the engine can address",
    5: "there is not enough memory",
}


class Engine:
    """A program, ready to run.

    Args:
        program: is copied; nothing of it is held.
        threads: how many a run may use. Any number of threads may call `run` at once.
        isa: "amx", "avx512", "avxvnni", "avx2", "dotprod", "neon" or "portable"; None for the fastest that this machine has.
        kernel: "direct", "winograd2", "winograd4" (F(2x2, 3x3) and F(4x4, 3x3), where they suit), "winograd2-fip" or
            "winograd4-fip" (the same by fast inner products, where the instruction set has them) for convolutions that
            can be computed in several ways; None for the one that a short measurement finds faster, layer by layer. The
            results are the same.

    Raises:
        GxnorError: the native library is missing, or the program, instruction set or kernel is beyond it. The reference
            interpreter runs every program.
        ValueError: threads is not a positive integer.
    """

    def __init__(self, program: Program, threads: int = 1, isa: str | None = None, kernel: str | None = None):
        if not isinstance(threads, int | np.integer) or threads < 1:
            raise ValueError(f"threads must be a positive integer, got {threads!r}")
        if isa is not None and isa not in instruction_sets():
            raise GxnorError(f"expected an instruction set among {', '.join(instruction_sets())}, got {isa!r}")
        if kernel not in KERNELS:
            raise GxnorError(f"expected a kernel among {', '.join(KERNELS[1:])}, got {kernel!r}")
        self._library = _library()
        self.threads = int(threads)
        self.isa = isa or instruction_sets()[0]
        self.input: Input = program.input
        self.classes = program.classes
        sizes = [math.prod(output.shape) for output in program.outputs]
        places = [slice(end - size, end) for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)]
        self._outputs = [
            (name, place, output.shape)
            for name, place, output in zip(program.output_names, places, program.outputs, strict=False)
        ]
        program = _joined(program)
        self._scores = program.values[-1].shape
        self._plan = ctypes.c_void_p()
        described, keep = _describe(program)
        at = ctypes.c_int32()
        status = self._library.gxnor_plan_create(
            ctypes.byref(native.Input(_lift(self.input.shape), _space(self.input.space))),
            described,
            len(described),
            self.isa.encode(),
            KERNELS.index(kernel),
            self.threads,
            ctypes.byref(self._plan),
            ctypes.byref(at),
        )
        del keep  # the arrays that `described` points into
        if status != _OK:
            where = f"layer {at.value} ({type(program.layers[at.value - 1]).__name__})" if at.value else "the program"
            raise GxnorError(f"the native engine cannot run {where}: {_REASONS.get(status, f'status {status}')}")

    def run(self, x: np.ndarray) -> Logits:
        """float32 (batch, classes), or (batch, classes, ...) where places have scores: the logits of a batch, as
        `Input.integers` takes it: uint8 pixels or state indices (batch, *shape), or signed integers that are value 0; with
        several outputs a dict of them. Raises GxnorError for any other input, MemoryError for more samples than fit."""
        logits = self._run(x)
        if not self._outputs:
            return logits
        return {name: logits[:, place].reshape(len(logits), *shape) for name, place, shape in self._outputs}

    def profile(self, x: np.ndarray) -> list[tuple[str, float]]:
        """What `run` does with a batch, step by step: (name, seconds), of all threads together."""
        seconds = (ctypes.c_double * len(self.steps))()
        self._run(x, seconds)
        return list(zip(self.steps, seconds, strict=True))

    def _run(self, x: np.ndarray, seconds: ctypes.Array | None = None) -> np.ndarray:
        x = np.asarray(x)
        if x.dtype != np.uint8 or x.shape[1:] != self.input.shape or x.ndim == 0:
            x = _indices(self.input, x)
        x = np.ascontiguousarray(x)
        logits = np.empty((len(x), *self._scores), dtype=np.float32)
        status = self._library.gxnor_plan_run(self._plan, _address(x), len(x), self.threads, _address(logits), seconds)
        if status == _BAD_STATE:
            assert self.input.space is not None  # every uint8 is a pixel
            raise GxnorError(f"expected state indices below {self.input.space.size}, got {x.max()}")
        if status != _OK:
            raise MemoryError(f"not enough memory to run {len(x)} samples")
        return logits

    @property
    def steps(self) -> tuple[str, ...]:
        """What a run does, in order; products by the kernel that was chosen."""
        names: list[str] = []
        while name := self._library.gxnor_plan_step(self._plan, len(names)):
            names.append(name.decode())
        return tuple(names)

    @property
    def nbytes(self) -> int:
        """Bytes that the plan holds: weights, thresholds and the rest; not the scratch memory of runs."""
        return self._library.gxnor_plan_bytes(self._plan)

    def __reduce__(self):
        raise TypeError("an Engine cannot be copied or pickled: make one where it is needed, of its program")

    def __del__(self):
        if getattr(self, "_plan", None):
            self._library.gxnor_plan_destroy(self._plan)


def instruction_sets() -> tuple[str, ...]:
    """Those that this machine can run, fastest first. Raises GxnorError where the native library is missing."""
    library = _library()
    names: list[str] = []
    while name := library.gxnor_isa(len(names)):
        names.append(name.decode())
    return tuple(names)


def _library() -> ctypes.CDLL:
    library = native.library()
    if library is None:
        raise GxnorError(
            "there is no native library (gxnor was installed without a C++ compiler, or GXNOR_PURE is set): "
            "install gxnor again where there is one, or use the reference"
        )
    return library


def _address(array: Any):
    """Where it begins, for a call. `array.ctypes` takes microseconds, as a small network does."""
    try:
        return ctypes.byref(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # not writable, or empty
        return array.ctypes.data


def _joined(program: Program) -> Program:
    """Several outputs as one: their sums flattened, one after the other, and each scaled as it was."""
    if not program.output_names:
        return program
    count = len(program.output_names)
    layers, ends = [*program.layers[:-count]], program.layers[-count:]
    parts: list[int] = []
    scales: dict[str, list[np.ndarray]] = {"scale": [], "bias": []}
    for end in ends:
        assert isinstance(end, Scale)
        (source,) = end.inputs
        shape = program.values[source].shape
        if len(shape) > 1:
            layers.append(Flatten((source,)))
            source = len(layers)
        parts.append(source)
        for name, each in scales.items():
            each.append(getattr(end, name).repeat(math.prod(shape[1:])))
    layers.append(Concat(tuple(parts)))
    layers.append(Scale((len(layers),), **{name: np.concatenate(each) for name, each in scales.items()}))
    return Program(program.input, tuple(layers), tuple(map(str, range(sum(map(len, scales["bias"]))))))


def _describe(program: Program) -> tuple[ctypes.Array, list]:
    """The layers as the native side takes them, and the arrays that they point into."""
    described, keep = (native.Layer * len(program.layers))(), []
    for to, layer in zip(described, program.layers, strict=True):
        to.kind = _KINDS.index(type(layer))
        to.inputs = native.Pair(*layer.inputs[:2])
        arrays: tuple[np.ndarray, ...] = ()
        match layer:
            case Conv() | Dense():
                to.space, to.out, arrays = layer.weight.space.N, layer.weight.shape[0], (layer.weight.packed,)
            case Threshold():
                to.space, arrays = layer.space.N, (layer.thresholds, layer.sign)
            case Scale():
                to.out, arrays = math.prod(program.values[-1].shape), (layer.scale, layer.bias)
            case Add():
                to.factors = native.Pair(*layer.factors)
            case Requantize():
                to.factors, arrays = native.Pair(layer.shift, 0), (layer.multiplier, layer.offset)
            case Concat():
                arrays = (np.array(layer.inputs, dtype=np.int32),)
            case Pad():
                to.padding, to.dilation = _extents(layer.before, 0), _extents(layer.after, 0)
            case Upsample():
                to.factors = _extents(layer.factors, 1)
            case Channels():
                to.out, arrays = layer.order.size, (layer.order,)
        if isinstance(layer, Conv | MaxPool | SumPool):
            to.kernel = _extents(layer.weight.shape[2:] if isinstance(layer, Conv) else layer.kernel, 1)
            to.stride, to.padding = _extents(layer.stride, 1), _extents(layer.padding, 0)
            to.dilation = _extents((1,) if isinstance(layer, SumPool) else layer.dilation, 1)
        to.groups = layer.groups if isinstance(layer, Conv) else 1
        to.ceil_mode = isinstance(layer, MaxPool) and layer.ceil_mode
        for i, array in enumerate(np.ascontiguousarray(array) for array in arrays):
            keep.append(array)
            to.data[i], to.sizes[i] = array.ctypes.data, array.nbytes
    return described, keep


def _extents(values: tuple[int, ...], height: int) -> ctypes.Array:
    """(height, width) of 2-d and 1-d layers."""
    return native.Pair(*values) if len(values) == 2 else native.Pair(height, *values)


def _lift(shape: tuple[int, ...]) -> ctypes.Array:
    """(C, H, W) of (C, H, W), (C, L) and (F,)."""
    channels, *extents = shape
    return (ctypes.c_int32 * 3)(channels, *(1,) * (2 - len(extents)), *extents)


def _space(space) -> int:
    return _PIXELS if space is None else space.N


def _indices(given: Input, x) -> np.ndarray:
    """uint8 pixels or state indices of whatever `Input.integers` takes."""
    integers = given.integers(x)
    if given.space is None:
        return ((integers + 255) // 2).astype(np.uint8)
    return np.searchsorted(given.space.levels, integers).astype(np.uint8)
