"""The layers of an integer program: plain data that knows which inputs it fits and how large its sums can get.

Every layer has `inputs`, the numbers of the values it reads, and `infer`: the `Value` it makes of theirs, or a
GxnorError that says what does not fit. What a layer computes is `gxnor.program.reference.step`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gxnor.errors import GxnorError
from gxnor.program.values import (
    MAX_WINDOW,
    StateTensor,
    Value,
    check_array,
    check_extents,
    check_ints,
    check_weight,
    windows,
)
from gxnor.space import DiscreteSpace

ALWAYS, NEVER = -(2**31), 2**31 - 1  # thresholds that every value reaches, that none does


@dataclass(frozen=True, eq=False)
class Conv:
    """Integer sums of level products over windows, 1-d or 2-d as weight (out, in / groups, *kernel) says; zero padding.

    y[o, p] = sum over i, k of  weight[o, i, k] * x[i, stride p + dilation k - padding]
    """

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    weight: StateTensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def infer(self, x: Value) -> Value:
        dims = len(x.shape) - 1
        check_weight(self.weight, dims + 2)
        if dims < 1:
            raise GxnorError(f"expected an input (C, L) or (C, H, W), got {x.shape}")
        out, fan, *kernel = self.weight.shape
        check_ints("groups", (self.groups,), 1, MAX_WINDOW)
        if fan * self.groups != x.shape[0] or out % self.groups:
            raise GxnorError(f"weight {self.weight.shape} in {self.groups} groups does not fit {x.shape[0]} channels")
        extents = windows(x.shape[1:], tuple(kernel), self.stride, self.padding, self.dilation)
        return Value((out, *extents), self.weight.size // out * self.weight.space.denominator * x.bound)


@dataclass(frozen=True, eq=False)
class Dense:
    """y[o] = sum over i of weight[o, i] * x[i], weight (out, in)."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    weight: StateTensor

    def infer(self, x: Value) -> Value:
        check_weight(self.weight, 2)
        out, fan = self.weight.shape
        if x.shape != (fan,):
            raise GxnorError(f"weight {self.weight.shape} expects an input ({fan},), got {x.shape}")
        return Value((out,), fan * self.weight.space.denominator * x.bound)


@dataclass(frozen=True, eq=False)
class Threshold:
    """Batch norm and activation as integer steps, channel by channel:

        y = levels[ number of k with sign[c] * x >= thresholds[c, k] ]

    thresholds int32 (C, size - 1), ascending in k; ALWAYS and NEVER make steps that no value decides. sign int8 (C,)
    of +1 and -1."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    space: DiscreteSpace
    thresholds: np.ndarray
    sign: np.ndarray

    def infer(self, x: Value) -> Value:
        check_array("thresholds", self.thresholds, np.int32, (x.shape[0], self.space.size - 1))
        check_array("sign", self.sign, np.int8, (x.shape[0],))
        if (self.thresholds[:, 1:] < self.thresholds[:, :-1]).any():
            raise GxnorError("expected thresholds that ascend within a channel")
        if not np.isin(self.sign, (-1, 1)).all():
            raise GxnorError("expected signs of -1 and 1")
        return Value(x.shape, self.space.denominator, self.space)


@dataclass(frozen=True)
class MaxPool:
    """The largest value of every window; padding never wins. `ceil_mode` keeps the last, cut window if it starts inside
    the input or its left padding (as in PyTorch)."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    def infer(self, x: Value) -> Value:
        if not isinstance(self.ceil_mode, bool):
            raise GxnorError(f"expected ceil_mode to be true or false, got {self.ceil_mode!r}")
        extents = windows(x.shape[1:], self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)
        for n, k, p, d in zip(x.shape[1:], self.kernel, self.padding, self.dilation, strict=True):
            if 2 * p > (span := d * (k - 1) + 1):
                raise GxnorError(f"expected padding of at most half the window, got {p} for a window of {span}")
            if p and d > n:  # a window could fall on both sides of the input and see only padding
                raise GxnorError(f"expected a dilation of at most the extent {n} where there is padding, got {d}")
        return Value((x.shape[0], *extents), x.bound, x.space)


@dataclass(frozen=True)
class SumPool:
    """The sum of every window, zero padding included: average pooling whose divisor a later layer absorbs."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def infer(self, x: Value) -> Value:
        extents = windows(x.shape[1:], self.kernel, self.stride, self.padding, (1,) * (len(x.shape) - 1))
        return Value((x.shape[0], *extents), math.prod(self.kernel) * x.bound)


@dataclass(frozen=True)
class Add:
    """factors[0] * a + factors[1] * b, the factors integers."""

    arity: ClassVar[int] = 2
    inputs: tuple[int, ...]
    factors: tuple[int, int]

    def infer(self, a: Value, b: Value) -> Value:
        check_ints("factors", self.factors, -(2**31), 2**31 - 1, 2)
        if a.shape != b.shape:
            raise GxnorError(f"expected two inputs of one shape, got {a.shape} and {b.shape}")
        return Value(a.shape, abs(self.factors[0]) * a.bound + abs(self.factors[1]) * b.bound)


@dataclass(frozen=True)
class Flatten:
    """(batch, C, H, W) to (batch, C H W) in C order."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]

    def infer(self, x: Value) -> Value:
        return Value((math.prod(x.shape),), x.bound, x.space)


@dataclass(frozen=True, eq=False)
class Requantize:
    """Real numbers, a scale and an offset per channel, as integers of one unit:

        y = (multiplier[c] * x + offset[c]) >> shift

    in 64 bits; the shift rounds down, so an offset with 2^(shift - 1) in it rounds to the nearest, halves up. multiplier
    int32 (C,), offset int64 (C,)."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    shift: int
    multiplier: np.ndarray
    offset: np.ndarray

    def infer(self, x: Value) -> Value:
        check_ints("shift", (self.shift,), 0, 62)
        check_array("multiplier", self.multiplier, np.int32, (x.shape[0],))
        check_array("offset", self.offset, np.int64, (x.shape[0],))
        bound = 0
        for factor, offset in zip(self.multiplier.tolist(), self.offset.tolist(), strict=True):
            reach = abs(factor) * x.bound
            if reach + abs(offset) >= 2**62:
                raise GxnorError("multiplier and offset can leave 63 bits")
            bound = max(bound, abs((offset - reach) >> self.shift), abs((offset + reach) >> self.shift))
        return Value(x.shape, bound)


@dataclass(frozen=True)
class Concat:
    """The channels (features) of two or more values, one after the other."""

    arity: ClassVar[None] = None
    inputs: tuple[int, ...]

    def infer(self, *values: Value) -> Value:
        if len(values) < 2:
            raise GxnorError(f"expected two inputs or more, got {len(values)}")
        first = values[0]
        for value in values[1:]:
            if len(value.shape) != len(first.shape) or value.shape[1:] != first.shape[1:]:
                raise GxnorError(f"expected inputs that differ in channels alone, got {first.shape} and {value.shape}")
        space = first.space if all(value.space == first.space for value in values) else None
        channels = sum(value.shape[0] for value in values)
        return Value((channels, *first.shape[1:]), max(value.bound for value in values), space)


@dataclass(frozen=True)
class Pad:
    """Zeros around: `before[i]` in front of axis i of the extents, `after[i]` at its end."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def infer(self, x: Value) -> Value:
        check_extents(x)
        for name in ("before", "after"):
            check_ints(name, getattr(self, name), 0, MAX_WINDOW, len(x.shape) - 1)
        extents = (b + n + a for b, n, a in zip(self.before, x.shape[1:], self.after, strict=True))
        space = x.space if x.space is not None and x.space.N else None  # binary states have no 0
        return Value((x.shape[0], *extents), x.bound, space)


@dataclass(frozen=True)
class Upsample:
    """Every place factors[i] times along axis i of the extents: nearest neighbours."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    factors: tuple[int, ...]

    def infer(self, x: Value) -> Value:
        check_extents(x)
        check_ints("factors", self.factors, 1, MAX_WINDOW, len(x.shape) - 1)
        return Value((x.shape[0], *(n * f for n, f in zip(x.shape[1:], self.factors, strict=True))), x.bound, x.space)


@dataclass(frozen=True, eq=False)
class Channels:
    """Some channels in some order: y[c] = x[order[c]], order int32."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    order: np.ndarray

    def infer(self, x: Value) -> Value:
        if not isinstance(self.order, np.ndarray) or self.order.ndim != 1 or not self.order.size:
            raise GxnorError("expected an order with a channel or more")
        check_array("order", self.order, np.int32, self.order.shape)
        if (self.order < 0).any() or (self.order >= x.shape[0]).any():
            raise GxnorError(f"expected an order of channels below {x.shape[0]}")
        return Value((self.order.size, *x.shape[1:]), x.bound, x.space)


@dataclass(frozen=True, eq=False)
class Scale:
    """logits = float32(x) * scale + bias, float32, one scale and bias per class: the first axis of x, which may have places
    after it. The last layer, one for each output."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    scale: np.ndarray
    bias: np.ndarray

    def infer(self, x: Value) -> Value:
        for name, array in (("scale", self.scale), ("bias", self.bias)):
            check_array(name, array, np.float32, x.shape[:1])
            if not np.isfinite(array).all():
                raise GxnorError(f"expected a finite {name}, got NaN or infinity")
        if float(np.abs(self.scale).max()) * x.bound + float(np.abs(self.bias).max()) >= float(
            np.finfo(np.float32).max
        ):
            raise GxnorError("scale and bias can leave the range of float32")
        return Value(x.shape, x.bound)


Layer = (
    Conv
    | Dense
    | Threshold
    | MaxPool
    | SumPool
    | Add
    | Flatten
    | Scale
    | Requantize
    | Concat
    | Pad
    | Upsample
    | Channels
)
LAYERS: dict[str, type] = {kind.__name__: kind for kind in Layer.__args__}
