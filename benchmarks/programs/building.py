"""Builds programs with random states, layer by layer."""

from __future__ import annotations

import numpy as np

from gxnor.program import (
    ALWAYS,
    NEVER,
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    Input,
    Layer,
    MaxPool,
    Pad,
    Program,
    Requantize,
    Scale,
    StateTensor,
    SumPool,
    Threshold,
    Upsample,
    Value,
)
from gxnor.space import DiscreteSpace


class Builder:
    """Appends layers to the value made last (or to value `at`) and keeps track of how far values spread, so that
    random thresholds meet them."""

    def __init__(self, shape: tuple[int, ...], N: int | None = None, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.input = Input(shape, None if N is None else DiscreteSpace(N))
        self.layers: list[Layer] = []
        self.values: list[Value] = [self.input.value()]
        self.spread = [147.0 if N is None else float(DiscreteSpace(N).levels.std())]

    @property
    def last(self) -> int:
        return len(self.layers)

    def add(self, layer: Layer, spread: float) -> int:
        """Raises GxnorError where the layer does not fit; nothing is added then."""
        self.values.append(layer.infer(*(self.values[i] for i in layer.inputs)))
        self.layers.append(layer)
        self.spread.append(spread)
        return self.last

    def weight(self, N: int, *shape: int) -> StateTensor:
        space = DiscreteSpace(N)
        return StateTensor.from_indices(space, space.random(shape, self.random))

    def conv(self, out, kernel, N=1, stride=1, padding=0, dilation=1, groups=1, at=None) -> int:
        at = self.last if at is None else at
        channels, *extents = self.values[at].shape
        kernel, stride, padding, dilation = (tuple_of(v, len(extents)) for v in (kernel, stride, padding, dilation))
        weight = self.weight(N, out, channels // groups, *kernel)
        spread = self.spread[at] * weight.space.levels.std() * (weight.size // out) ** 0.5
        return self.add(Conv((at,), weight, stride, padding, dilation, groups), spread)

    def dense(self, out, N=1, at=None) -> int:
        at = self.last if at is None else at
        weight = self.weight(N, out, *self.values[at].shape)
        spread = self.spread[at] * weight.space.levels.std() * self.values[at].shape[0] ** 0.5
        return self.add(Dense((at,), weight), spread)

    def threshold(self, N=1, at=None) -> int:
        """Random signs and steps, many of them half of the time evenly spaced; in a channel in eight some are constant."""
        at = self.last if at is None else at
        space, channels = DiscreteSpace(N), self.values[at].shape[0]
        steps = np.rint(self.random.normal(0, self.spread[at], (channels, space.size - 1)))
        if N >= 3 and self.random.random() < 1 / 2:  # as those of a rounding are
            middle, spacing = self.random.normal(0, self.spread[at] / 2, (2, channels, 1))
            steps = np.ceil(middle + np.abs(spacing) * np.linspace(-1, 1, space.size - 1))
        rare = self.random.random(steps.shape) < 1 / 4
        rare &= self.random.random((channels, 1)) < 1 / 8
        steps = np.where(rare, self.random.choice([ALWAYS, NEVER], steps.shape), steps)
        sign = self.random.choice(np.array([-1, 1], dtype=np.int8), channels)
        steps = np.sort(steps, axis=1).clip(ALWAYS, NEVER).astype(np.int32)
        return self.add(Threshold((at,), space, steps, sign), float(space.levels.std()))

    def max_pool(self, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, at=None) -> int:
        at = self.last if at is None else at
        dims = len(self.values[at].shape) - 1
        stride = kernel if stride is None else stride
        sizes = (tuple_of(v, dims) for v in (kernel, stride, padding, dilation))
        return self.add(MaxPool((at,), *sizes, ceil_mode), self.spread[at])

    def sum_pool(self, kernel, stride=None, padding=0, at=None) -> int:
        at = self.last if at is None else at
        dims = len(self.values[at].shape) - 1
        kernel, stride, padding = (tuple_of(v, dims) for v in (kernel, kernel if stride is None else stride, padding))
        return self.add(SumPool((at,), kernel, stride, padding), self.spread[at] * np.prod(kernel) ** 0.5)

    def plus(self, a: int, b: int, factors=(1, 1)) -> int:
        return self.add(Add((a, b), factors), float(np.hypot(factors[0] * self.spread[a], factors[1] * self.spread[b])))

    def requantize(self, to: float = 100.0, at=None) -> int:
        """A scale and an offset of its own for every channel, some negative, for values of about `to`."""
        at = self.last if at is None else at
        channels, shift = self.values[at].shape[0], int(self.random.integers(8, 21))
        factor = self.random.normal(0, to / (self.spread[at] + 1), channels)
        offset = self.random.normal(0, to, channels) * 2.0**shift + 2 ** (shift - 1)
        multiplier = np.rint(factor * 2.0**shift).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
        return self.add(Requantize((at,), shift, multiplier, offset.astype(np.int64)), to)

    def concat(self, *inputs: int) -> int:
        return self.add(Concat(inputs), max(self.spread[i] for i in inputs))

    def pad(self, before, after) -> int:
        dims = len(self.values[-1].shape) - 1
        return self.add(Pad((self.last,), tuple_of(before, dims), tuple_of(after, dims)), self.spread[-1])

    def upsample(self, factors) -> int:
        return self.add(Upsample((self.last,), tuple_of(factors, len(self.values[-1].shape) - 1)), self.spread[-1])

    def channels(self, order) -> int:
        return self.add(Channels((self.last,), np.asarray(order, dtype=np.int32)), self.spread[-1])

    def flatten(self) -> int:
        return self.add(Flatten((self.last,)), self.spread[-1])

    def program(self, *heads: int) -> Program:
        """Ends in a Scale with one class per feature; or in one for each of these values, named "head 1" and so on."""
        names = []
        for value in heads or (self.last,):
            classes, spread = self.values[value].shape[0], self.spread[value]
            scale = self.random.uniform(0.5, 2, classes).astype(np.float32) / np.float32(spread + 1)
            bias = self.random.normal(0, 1, classes).astype(np.float32)
            self.add(Scale((value,), scale, bias), 1.0)
            names += [str(i) for i in range(classes)]
        outputs = tuple(f"head {i}" for i in range(1, len(heads) + 1))
        return Program(self.input, tuple(self.layers), tuple(names), output_names=outputs)


def tuple_of(value, dims: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * dims


def batch(program: Program, size: int, seed: int = 0) -> np.ndarray:
    """uint8 (size, *shape) of random pixels or state indices."""
    top = 256 if program.input.space is None else program.input.space.size
    return np.random.default_rng(seed).integers(top, size=(size, *program.input.shape), dtype=np.uint8)
