"""What a program means: a NumPy interpreter. Whatever else runs a program agrees with it on every bit."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gxnor.program import (
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    Layer,
    Logits,
    MaxPool,
    Pad,
    Program,
    Requantize,
    Scale,
    SumPool,
    Threshold,
    Upsample,
)

LOWEST = -(2**31)  # below every value of a valid program: padding that never wins


def run(program: Program, x) -> Logits:
    """float32 (batch, classes), or (batch, classes, ...) where places have scores: logits of a batch as
    `Input.integers` takes it; with several outputs a dict of them. Raises GxnorError for other input."""
    values = trace(program, x)
    return program.named([values[output.number] for output in program.outputs])


def trace(program: Program, x) -> list[np.ndarray]:
    """Every value of the program: int32 (batch, ...), and last the float32 logits, an array for each output."""
    values = [program.input.integers(x)]
    for layer in program.layers:
        values.append(step(layer, *(values[i] for i in layer.inputs)))
    return values


def step(layer: Layer, x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """One layer on int32 values (batch, ...)."""
    channels = (-1,) + (1,) * (x.ndim - 2)
    match layer:
        case Conv():
            return conv(x, layer.weight.levels(), layer.stride, layer.padding, layer.dilation, layer.groups)
        case Dense():
            return product(x, layer.weight.levels(), axes=1)
        case Threshold():
            signed = x * layer.sign.astype(np.int32).reshape(channels)
            index = sum((signed >= steps.reshape(channels)).astype(np.int32) for steps in layer.thresholds.T)
            return layer.space.levels[index]
        case MaxPool():
            return max_pool(x, layer)
        case SumPool():
            seen = windows(pad(x, layer.padding, 0), layer.kernel, layer.stride, (1,) * len(layer.kernel))
            return seen.sum(axis=spatial(layer.kernel), dtype=np.int32)
        case Add():
            return layer.factors[0] * x + layer.factors[1] * others[0]
        case Flatten():
            return x.reshape(len(x), int(np.prod(x.shape[1:])))
        case Scale():
            return x.astype(np.float32) * layer.scale.reshape(channels) + layer.bias.reshape(channels)
        case Requantize():
            wide = layer.multiplier.astype(np.int64).reshape(channels) * x + layer.offset.reshape(channels)
            return (wide >> layer.shift).astype(np.int32)
        case Concat():
            return np.concatenate((x, *others), axis=1)
        case Pad():
            return np.pad(x, [(0, 0), (0, 0), *zip(layer.before, layer.after, strict=True)])
        case Upsample():
            for axis, factor in enumerate(layer.factors, 2):
                x = x.repeat(factor, axis)
            return x
        case Channels():
            return x[:, layer.order]
    raise TypeError(f"{type(layer).__name__} is not a layer")


def conv(x, weight, stride, padding, dilation, groups) -> np.ndarray:
    """x (batch, in, *extents), weight (out, in / groups, *kernel) -> int32 (batch, out, *windows)."""
    seen = windows(pad(x, padding, 0), weight.shape[2:], stride, dilation)  # (batch, in, *windows, *kernel)
    seen = np.moveaxis(seen, 1, -len(stride) - 1)  # (batch, *windows, in, *kernel)
    parts = zip(np.split(seen, groups, axis=-len(stride) - 1), np.split(weight, groups), strict=True)
    sums = [product(part, w, axes=weight.ndim - 1) for part, w in parts]
    return np.moveaxis(np.concatenate(sums, axis=-1), -1, 1)


def product(x: np.ndarray, weight: np.ndarray, axes: int) -> np.ndarray:
    """int32 (..., out): x (..., in) times weight (out, in), where "in" is `axes` axes. Computed in floats, far faster
    than NumPy's integers: float32 holds every integer up to 2^24, float64 up to 2^53."""
    largest = weight[0].size * int(np.abs(weight.astype(np.int32)).max()) * int(np.abs(x).max(initial=0))
    real = np.float32 if largest <= 2**24 else np.float64
    columns = x.astype(real).reshape(*x.shape[: x.ndim - axes], weight[0].size)
    return (columns @ weight.reshape(len(weight), -1).T.astype(real)).astype(np.int32)


def max_pool(x: np.ndarray, layer: MaxPool) -> np.ndarray:
    limits = [-(-(n + p) // s) for n, p, s in zip(x.shape[2:], layer.padding, layer.stride, strict=True)]
    x = pad(x, layer.padding, LOWEST)
    if layer.ceil_mode:  # room for a last window that is cut; none may start beyond the input
        x = np.pad(x, [(0, 0), (0, 0), *((0, s - 1) for s in layer.stride)], constant_values=LOWEST)
    seen = windows(x, layer.kernel, layer.stride, layer.dilation)
    return seen[(slice(None), slice(None), *map(slice, limits))].max(axis=spatial(layer.kernel))


def pad(x: np.ndarray, padding: tuple[int, ...], value: int) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=value)


def windows(x, kernel, stride, dilation) -> np.ndarray:
    """A view (batch, C, *windows, *kernel) of x (batch, C, *extents)."""
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    every = sliding_window_view(x, spans, axis=tuple(range(2, x.ndim)))
    return every[(slice(None), slice(None), *(slice(None, None, n) for n in (*stride, *dilation)))]


def spatial(kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes, one for each of the kernel's."""
    return tuple(range(-len(kernel), 0))
