"""Windows and places: the largest, sums, and averages, whose divisor goes into the unit."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter.builder import Builder, Tensor, integers, tensor
from gxnor.exporter.shapes import flatten, tuple_of
from gxnor.program.ops import MaxPool, SumPool


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
    kernel = _dividing(x, module)
    x = integers(build, x, math.prod(kernel))
    y = build.emit(SumPool((x.number,), kernel, kernel, (0,) * len(kernel)), x.unit, x)
    return replace(y, unit=x.unit / math.prod(kernel))


def adaptive_max(build: Builder, x, module: nn.AdaptiveMaxPool1d | nn.AdaptiveMaxPool2d) -> Tensor:
    if module.return_indices:
        raise GxnorError("max pooling that returns indices is not an operation of an integer program")
    kernel = _dividing(x, module)
    return build.move(x, MaxPool((0,), kernel, kernel, (0,) * len(kernel), (1,) * len(kernel), False))


def _dividing(x, module) -> tuple[int, ...]:
    """The kernel of an adaptive pooling."""
    (sizes,) = _sizes(x, module, "output_size")
    sizes = tuple(n if size is None else size for n, size in zip(x.shape[1:], sizes, strict=True))
    if any(n % size for n, size in zip(x.shape[1:], sizes, strict=True)):
        raise GxnorError(f"expected adaptive pooling to a size that divides {x.shape[1:]}, got {sizes}")
    return tuple(n // size for n, size in zip(x.shape[1:], sizes, strict=True))


def mean(build: Builder, x, dim=None, keepdim=False) -> Tensor:
    y = total(build, x, dim, keepdim)
    return replace(y, unit=y.unit / math.prod(tensor(x).shape[1:]))


def total(build: Builder, x, dim=None, keepdim=False) -> Tensor:
    kernel = _places(x, dim)
    x = integers(build, x, math.prod(kernel))
    y = build.emit(SumPool((x.number,), kernel, kernel, (0,) * len(kernel)), x.unit, x)
    return y if keepdim else flatten(build, y, 1)


def largest(build: Builder, x, dim=None, keepdim=False) -> Tensor:
    kernel = _places(x, dim)
    y = build.move(x, MaxPool((0,), kernel, kernel, (0,) * len(kernel), (1,) * len(kernel), False))
    return y if keepdim else flatten(build, y, 1)


def _places(x, dim) -> tuple[int, ...]:
    """The extents of x, all of which `dim` must name."""
    places = range(2, len(tensor(x).shape) + 1)
    if not places or {n % (len(x.shape) + 1) for n in tuple_of(dim, 1) if n is not None} != set(places):
        raise GxnorError(f"expected all dimensions but batch and channels, got dim={dim}")
    return x.shape[1:]


def _sizes(x, module: nn.Module, *names: str) -> list[tuple[int, ...]]:
    """Settings of a pool as tuples. Refuses a 2-d pool of (C, L), where PyTorch would take C as an extent."""
    dims = 1 if type(module).__name__.endswith("1d") else 2
    if len(tensor(x).shape) != dims + 1:
        raise GxnorError(f"{type(module).__name__} does not fit an input (batch, *{x.shape})")
    return [tuple_of(getattr(module, name), dims) for name in names]
