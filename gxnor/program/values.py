"""What the layers of a program read and hold: packed states, values known before any data, and the checks of both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gxnor.errors import GxnorError
from gxnor.packing import check_bits, pack_bits, storage_bits, unpack_bits
from gxnor.space import DiscreteSpace

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
        """From state indices, uint8 of any shape. Raises ValueError for an index that is not a state."""
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


def check_ints(name: str, value, low: int, high: int, count: int | None = None) -> None:
    if not isinstance(value, tuple) or not all(type(v) is int and low <= v <= high for v in value):
        raise GxnorError(f"expected {name} as a tuple of integers from {low} to {high}, got {value!r:.60}")
    if count is not None and len(value) != count:
        raise GxnorError(f"expected {name} of {count} integers, got {len(value)}")


def check_array(name: str, array, dtype, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise GxnorError(f"expected {name} as {np.dtype(dtype)} {shape}, got {got}")


def check_weight(weight: StateTensor, dims: int) -> None:
    if len(weight.shape) != dims or weight.size < 1:
        raise GxnorError(f"expected a weight of {dims} dimensions, none empty, got shape {weight.shape}")


def check_extents(x: Value) -> None:
    if len(x.shape) < 2:
        raise GxnorError("expected an input (C, L) or (C, H, W), got (F,)")


def windows(extents, kernel, stride, padding, dilation, ceil_mode: bool = False) -> tuple[int, ...]:
    """How many windows fit along every extent."""
    if not extents:
        raise GxnorError("expected an input (C, L) or (C, H, W), got (F,)")
    for name, value in (("kernel", kernel), ("stride", stride), ("padding", padding), ("dilation", dilation)):
        check_ints(name, value, int(name != "padding"), MAX_WINDOW, len(extents))
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
