"""Windows and places: the largest, sums, and averages, whose divisor goes into the unit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter.builder import Builder, integers
from gxnor.exporter.shapes import flatten, tuple_of
from gxnor.exporter.tensors import UNKNOWN, Tensor, tensor
from gxnor.program.ops import MaxPool, SumPool, Upsample


def max_pool(build: Builder, x, module: nn.MaxPool1d | nn.MaxPool2d) -> Tensor:
    if module.return_indices:
        raise GxnorError("max pooling that returns indices is not an operation of an integer program")
    kernel, stride, padding, dilation = _sizes(x, module, "kernel_size", "stride", "padding", "dilation")
    return build.move(x, MaxPool((0,), kernel, stride, padding, dilation, module.ceil_mode))


def average_pool(build: Builder, x, module: nn.AvgPool1d | nn.AvgPool2d) -> Tensor:
    divisor = getattr(module, "divisor_override", None)
    if divisor is not None and divisor < 1:
        raise GxnorError(f"expected a positive divisor_override, got {divisor}")
    kernel, stride, padding = _sizes(x, module, "kernel_size", "stride", "padding")
    rest = [(n + 2 * p - k) % s for n, k, s, p in zip(x.shape[1:], kernel, stride, padding, strict=True)]
    if (any(padding) and not module.count_include_pad) or (any(rest) and module.ceil_mode):
        raise GxnorError("its divisor differs at the border: expected count_include_pad=True and ceil_mode=False")
    x = integers(build, x, math.prod(kernel))
    y = build.emit(SumPool((x.number,), kernel, stride, padding), x.unit, x)
    return replace(y, unit=x.unit / (divisor or math.prod(kernel)))


def adaptive_average(build: Builder, x, module: nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d) -> Tensor:
    kernel, copies = _adaptive(x, module)
    return _copied(build, _average(build, x, kernel), copies)


def adaptive_max(build: Builder, x, module: nn.AdaptiveMaxPool1d | nn.AdaptiveMaxPool2d) -> Tensor:
    if module.return_indices:
        raise GxnorError("max pooling that returns indices is not an operation of an integer program")
    kernel, copies = _adaptive(x, module)
    return _copied(build, _largest(build, x, kernel), copies)


def _adaptive(x, module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The kernel of an adaptive pooling, and how often what it makes stands along each axis."""
    (sizes,) = _sizes(x, module, "output_size")
    pairs = [(n, n if size is None else size) for n, size in zip(x.shape[1:], sizes, strict=True)]
    if any(n % size and size % n for n, size in pairs):
        raise GxnorError(
            f"expected adaptive pooling to a size that divides {x.shape[1:]}, got {tuple(size for _, size in pairs)}, for "
            "which windows differ in size: take one that does, or a pooling with a kernel"
        )
    return tuple(max(n // size, 1) for n, size in pairs), tuple(max(size // n, 1) for n, size in pairs)


def _copied(build: Builder, x: Tensor, copies: tuple[int, ...]) -> Tensor:
    return x if set(copies) == {1} else build.copy(x, Upsample((0,), copies))


def mean(build: Builder, x, dim=None, keepdim=False) -> Tensor:
    kernel = _places(build, x, dim, keepdim)
    return _without_places(build, _average(build, x, kernel), keepdim)


def total(build: Builder, x, dim=None, keepdim=False) -> Tensor:
    kernel = _places(build, x, dim, keepdim)
    return _without_places(build, _sum(build, x, kernel), keepdim)


def largest(build: Builder, x, dim=None, keepdim=False) -> Tensor:
    kernel = _places(build, x, dim, keepdim)
    return _without_places(build, _largest(build, x, kernel), keepdim)


class Largest(NamedTuple):
    """What `x.max(dim)` gives; nothing may depend on where the largest is."""

    values: Tensor
    indices: object


def largest_of(build: Builder, x, dim=None, keepdim=False) -> Largest:
    return Largest(largest(build, x, dim, keepdim), UNKNOWN)


def _places(build: Builder, x, dim, keepdim: bool) -> tuple[int, ...]:
    """The kernel that covers the axes that `dim` names: all places, or with `keepdim` some of their axes."""
    places = range(2, len(tensor(x).shape) + 1)
    named = {n % (len(x.shape) + 1) for n in tuple_of(dim, 1) if n is not None}
    if not named or not named <= {*places} or not (keepdim or named == {*places}):
        raise GxnorError(
            f"expected all dimensions but batch and channels, or some of them with keepdim=True, got dim={dim}"
        )
    extents = build.values[x.number].shape[1:] if not x.later and named == {*places} else x.shape[1:]
    return tuple(n if named == {*places} or axis in named else 1 for axis, n in enumerate(extents, 2))


def _without_places(build: Builder, x: Tensor, keepdim: bool) -> Tensor:
    return x if keepdim else flatten(build, x, 1)


def _average(build: Builder, x, kernel: tuple[int, ...]) -> Tensor:
    y = _sum(build, x, kernel)
    return replace(y, unit=y.unit / math.prod(kernel))


def _sum(build: Builder, x, kernel: tuple[int, ...]) -> Tensor:
    x = integers(build, x, math.prod(kernel))
    return build.emit(SumPool((x.number,), kernel, kernel, (0,) * len(kernel)), x.unit, x)


def _largest(build: Builder, x, kernel: tuple[int, ...]) -> Tensor:
    return build.move(x, MaxPool((0,), kernel, kernel, (0,) * len(kernel), (1,) * len(kernel), False))


def _sizes(x, module: nn.Module, *names: str) -> list[tuple[int, ...]]:
    """Settings of a pool as tuples. Refuses a 2-d pool of (C, L), where PyTorch would take C as an extent."""
    dims = 1 if type(module).__name__.endswith("1d") else 2
    if len(tensor(x).shape) != dims + 1:
        raise GxnorError(f"{type(module).__name__} does not fit an input (batch, *{x.shape})")
    return [tuple_of(getattr(module, name), dims) for name in names]
