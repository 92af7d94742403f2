"""The integer program: a trained network as a short list of layers, plain data, no floats before the logits.

A value is an integer array (batch, C, H, W), (batch, C, L) or (batch, F). Value 0 is the input; value i is the output
of layer i, counted from 1; a layer reads earlier values only. What a program means is fixed by `gxnor.reference`.

Spaces tell how states become integers (`DiscreteSpace.levels`); their range H plays no part, thresholds and the final
scale have absorbed it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gxnor.errors import GxnorError
from gxnor.packing import check_bits, pack_bits, storage_bits, unpack_bits
from gxnor.space import DiscreteSpace

ALWAYS, NEVER = -(2**31), 2**31 - 1  # thresholds that every value reaches, that none does
MAX_ELEMENTS = 2**26  # of one value of one sample
MAX_WINDOW = 2**16 - 1  # of kernel, stride, padding, dilation, groups


@dataclass(frozen=True, eq=False)
class StateTensor:
    """States of `space` in an array of `shape`, packed with `pack_bits`: a ternary state takes 2 bits.

    Raises ValueError where `packed` does not hold exactly that many states of that space."""

    space: DiscreteSpace
    shape: tuple[int, ...]
    packed: np.ndarray

    def __post_init__(self):
        check_bits(self.packed, self.space.size, self.size)

    @classmethod
    def from_indices(cls, space: DiscreteSpace, indices) -> StateTensor:
        """From state indices, uint8 of any shape. Raises ValueError for an index that is no state."""
        indices = np.asarray(indices)
        return cls(space, indices.shape, pack_bits(indices, storage_bits(space.size)))

    @property
    def size(self) -> int:
        """Number of states."""
        return math.prod(self.shape)

    def indices(self) -> np.ndarray:
        """uint8 state indices, of `shape`."""
        return unpack_bits(self.packed, storage_bits(self.space.size), self.size).reshape(self.shape)

    def levels(self) -> np.ndarray:
        """int8 integer levels, of `shape`."""
        return self.space.levels.astype(np.int8)[self.indices()]


@dataclass(frozen=True)
class Value:
    """What is known of a value before any data: its shape without the batch, the largest |integer| it can hold, and
    the space whose levels it holds (None for pixels and for sums)."""

    shape: tuple[int, ...]
    bound: int
    space: DiscreteSpace | None = None


@dataclass(frozen=True)
class Input:
    """The program's input of shape (C, H, W), (C, L) or (F,).

    space None: raw pixels, where uint8 p enters as the integer 2p - 255, that is 255 times its value in [-1, 1].
    Otherwise: state indices (uint8) of that space enter as their levels."""

    shape: tuple[int, ...]
    space: DiscreteSpace | None = None

    def integers(self, x) -> np.ndarray:
        """int32 (batch, *shape): value 0 for a batch of uint8 pixels or state indices. Signed integers are taken to be
        value 0 already. Raises GxnorError for a wrong type, shape or range."""
        x = np.asarray(x)
        if x.ndim != len(self.shape) + 1 or x.shape[1:] != self.shape:
            raise GxnorError(f"expected input of shape (batch, {', '.join(map(str, self.shape))}), got {x.shape}")
        if x.dtype == np.uint8:
            if self.space is None:
                return 2 * x.astype(np.int32) - 255
            if x.size and x.max() >= self.space.size:
                raise GxnorError(f"expected state indices below {self.space.size}, got {x.max()}")
            return self.space.levels[x]
        if x.dtype.kind != "i":
            raise GxnorError(f"expected input as uint8 or signed integers, got {x.dtype}")
        allowed = np.arange(-255, 256, 2) if self.space is None else self.space.levels
        if not np.isin(x, allowed).all():
            raise GxnorError(f"expected integers among {allowed[0]}, {allowed[1]} .. {allowed[-1]}, got others")
        return x.astype(np.int32)

    def value(self) -> Value:
        """Value 0. Raises GxnorError for a shape that is none."""
        _ints("input shape", self.shape, 1, MAX_ELEMENTS)
        if not 1 <= len(self.shape) <= 3:
            raise GxnorError(f"input: expected a shape (C, H, W), (C, L) or (F,), got {self.shape}")
        return Value(self.shape, 255 if self.space is None else self.space.denominator, self.space)


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
        _weight(self.weight, dims + 2)
        if dims < 1:
            raise GxnorError(f"expected an input (C, L) or (C, H, W), got {x.shape}")
        out, fan, *kernel = self.weight.shape
        _ints("groups", (self.groups,), 1, MAX_WINDOW)
        if fan * self.groups != x.shape[0] or out % self.groups:
            raise GxnorError(f"weight {self.weight.shape} in {self.groups} groups does not fit {x.shape[0]} channels")
        extents = _windows(x.shape[1:], tuple(kernel), self.stride, self.padding, self.dilation)
        return Value((out, *extents), self.weight.size // out * self.weight.space.denominator * x.bound)


@dataclass(frozen=True, eq=False)
class Dense:
    """y[o] = sum over i of weight[o, i] * x[i], weight (out, in)."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    weight: StateTensor

    def infer(self, x: Value) -> Value:
        _weight(self.weight, 2)
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
        _array("thresholds", self.thresholds, np.int32, (x.shape[0], self.space.size - 1))
        _array("sign", self.sign, np.int8, (x.shape[0],))
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
        extents = _windows(x.shape[1:], self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)
        for n, k, s, p, d in zip(x.shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True):
            if 2 * p > (span := d * (k - 1) + 1):
                raise GxnorError(f"expected padding of at most half the window, got {p} for a window of {span}")
            # A window that starts left of the input at `at` first meets it, if at all, at position at mod d.
            if any(at % d >= n or at % d > at + d * (k - 1) for at in range(-p, 0, s)):
                raise GxnorError(f"a window sees only padding (extent {n}, kernel {k}, padding {p}, dilation {d})")
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
        extents = _windows(x.shape[1:], self.kernel, self.stride, self.padding, (1,) * (len(x.shape) - 1))
        return Value((x.shape[0], *extents), math.prod(self.kernel) * x.bound)


@dataclass(frozen=True)
class Add:
    """factors[0] * a + factors[1] * b, the factors integers."""

    arity: ClassVar[int] = 2
    inputs: tuple[int, ...]
    factors: tuple[int, int]

    def infer(self, a: Value, b: Value) -> Value:
        _ints("factors", self.factors, -(2**31), 2**31 - 1, 2)
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
class Scale:
    """logits = float32(x) * scale + bias, float32, one scale and bias a class. The last layer, and only the last."""

    arity: ClassVar[int] = 1
    inputs: tuple[int, ...]
    scale: np.ndarray
    bias: np.ndarray

    def infer(self, x: Value) -> Value:
        if len(x.shape) != 1:
            raise GxnorError(f"expected an input (F,), got {x.shape}; a Flatten comes first")
        for name, array in (("scale", self.scale), ("bias", self.bias)):
            _array(name, array, np.float32, x.shape)
            if not np.isfinite(array).all():
                raise GxnorError(f"expected a finite {name}, got NaN or infinity")
        if float(np.abs(self.scale).max()) * x.bound + float(np.abs(self.bias).max()) >= np.finfo(np.float32).max:
            raise GxnorError("scale and bias can leave the range of float32")
        return Value(x.shape, x.bound)


Layer = Conv | Dense | Threshold | MaxPool | SumPool | Add | Flatten | Scale
LAYERS: dict[str, type] = {
    kind.__name__: kind for kind in (Conv, Dense, Threshold, MaxPool, SumPool, Add, Flatten, Scale)
}


@dataclass(frozen=True, eq=False)
class Program:
    """An input, layers in the order they run, and one class name a logit. Checked when it is made.

    Raises GxnorError, naming the layer, where shapes do not fit, a field is wrong, or a sum could leave int32."""

    input: Input
    layers: tuple[Layer, ...]
    classes: tuple[str, ...]

    def __post_init__(self):
        self.validate()

    @functools.cached_property
    def values(self) -> tuple[Value, ...]:
        """Shape, bound and space of every value: 0 is the input, i the output of layer i."""
        values = [self.input.value()]
        _admit(values[0])
        for number, layer in enumerate(self.layers, 1):
            try:
                if len(layer.inputs) != layer.arity:
                    raise GxnorError(f"expected {layer.arity} inputs, got {len(layer.inputs)}")
                _ints("inputs", layer.inputs, 0, number - 1)
                values.append(layer.infer(*(values[i] for i in layer.inputs)))
                _admit(values[-1])
            except GxnorError as error:
                raise GxnorError(f"layer {number} ({type(layer).__name__}): {error}") from None
        return tuple(values)

    @property
    def largest_sum(self) -> int:
        """No integer in the program can be larger in size. Up to 2^24, float32 arithmetic on them is exact."""
        return max(value.bound for value in self.values)

    def validate(self) -> None:
        """Checks everything that can be checked without data; see the class."""
        kinds = [type(layer).__name__ for layer in self.layers]
        if "Scale" not in kinds or kinds.index("Scale") != len(kinds) - 1:
            raise GxnorError("expected a program that ends in its one Scale layer")
        values = self.values
        used = {i for layer in self.layers for i in layer.inputs}
        if unused := [i for i in range(len(values) - 1) if i not in used]:
            raise GxnorError(f"value {unused[0]} is used by no layer")
        if not all(isinstance(name, str) for name in self.classes):
            raise GxnorError("expected class names that are strings")
        if (len(self.classes),) != values[-1].shape:
            raise GxnorError(f"expected a class name for each of {values[-1].shape[0]} logits, got {len(self.classes)}")


def _admit(value: Value) -> None:
    if math.prod(value.shape) > MAX_ELEMENTS:
        raise GxnorError(f"a value of shape {value.shape} has more than {MAX_ELEMENTS} elements")
    if value.bound >= NEVER:
        raise GxnorError(f"a sum could reach {value.bound} and leave int32")


def _ints(name: str, value, low: int, high: int, count: int | None = None) -> None:
    if not isinstance(value, tuple) or not all(type(v) is int and low <= v <= high for v in value):
        raise GxnorError(f"expected {name} as a tuple of integers from {low} to {high}, got {value!r:.60}")
    if count is not None and len(value) != count:
        raise GxnorError(f"expected {name} of {count} integers, got {len(value)}")


def _array(name: str, array, dtype, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise GxnorError(f"expected {name} as {np.dtype(dtype)} {shape}, got {got}")


def _weight(weight: StateTensor, dims: int) -> None:
    if len(weight.shape) != dims or weight.size < 1:
        raise GxnorError(f"expected a weight of {dims} dimensions, none empty, got shape {weight.shape}")


def _windows(extents, kernel, stride, padding, dilation, ceil_mode: bool = False) -> tuple[int, ...]:
    """How many windows fit along every extent."""
    if not extents:
        raise GxnorError("expected an input (C, L) or (C, H, W), got (F,)")
    for name, value in (("kernel", kernel), ("stride", stride), ("padding", padding), ("dilation", dilation)):
        _ints(name, value, int(name != "padding"), MAX_WINDOW, len(extents))
    out = []
    for n, k, s, p, d in zip(extents, kernel, stride, padding, dilation, strict=True):
        free = n + 2 * p - d * (k - 1) - 1
        count = (-(-free // s) if ceil_mode else free // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        if count < 1:
            raise GxnorError(f"a window of {d * (k - 1) + 1} does not fit an extent of {n} with padding {p}")
        out.append(count)
    return tuple(out)
