"""What each module and function of a model adds to the program.

An operation takes the builder, the tensors that go in, and the module, or the function's arguments. It first checks
what is asked for, so that everything wrong is named even where the input is unknown.
"""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter import folding
from gxnor.exporter.builder import EXACT, Builder, Tensor, integers, known, power_of_two, tensor, unit_of
from gxnor.nn.activation import Activation, phi
from gxnor.nn.layers import DiscreteLayer
from gxnor.nn.networks import Pixels
from gxnor.program.ops import Add, Conv, Dense, Flatten, MaxPool, StateTensor, SumPool, Threshold
from gxnor.space import DiscreteSpace


def same(build: Builder, x, *_, **__) -> Tensor:
    return x


def pixels(build: Builder, x, module: Pixels) -> Tensor:
    if not tensor(x).pixels:
        raise GxnorError("expected the network's uint8 input")
    return replace(x, pixels=False)


def weighted(build: Builder, x, module: DiscreteLayer) -> Tensor:
    weight = StateTensor.from_indices(DiscreteSpace(module.space.N), module.states().numpy())
    if isinstance(module, nn.Linear):
        layer = Dense((integers(x).number,), weight)
    else:
        padding = _padding(module)
        layer = Conv((integers(x).number,), weight, module.stride, padding, module.dilation, module.groups)
    y = build.emit(layer, x.unit * unit_of(module.space), x)
    return y if module.bias is None else replace(y, norms=(folding.Norm.adding(module.bias),))


def norm(build: Builder, x, module) -> Tensor:
    if module.running_mean is None:
        raise GxnorError("batch norm without running statistics depends on the batch")
    x = _settled(build, known(x))
    return replace(x, norms=(*x.norms, folding.Norm.of(module)))


def _settled(build: Builder, x: Tensor) -> Tensor:
    """x with no layer left that waits after its norms: those that never fall may come after the pooling as well."""
    if not x.later:
        return x
    if any(isinstance(layer, MaxPool) for layer in x.later) and not all(step.rises() for step in x.norms):
        raise GxnorError(
            "a second batch norm after max pooling, where the first has a negative weight: put both before the pooling or "
            "both after it"
        )
    channels = build.values[x.number].shape[0]
    plain = build.settle(replace(x, norms=(), later=(), shape=build.values[x.number].shape), x.later)
    each = plain.shape[0] // channels  # features of one channel, where they were flattened
    return replace(plain, norms=tuple(step.repeat(each) for step in x.norms))


def activation(build: Builder, x, module: Activation) -> Tensor:
    value = build.values[known(x).number]
    steps, sign = folding.thresholds(x.norms, module, module.space, x.unit, value.shape, value.bound)
    return build.settle(build.emit(Threshold((x.number,), module.space, steps, sign), unit_of(module.space)), x.later)


def max_pool(build: Builder, x, module: nn.MaxPool1d | nn.MaxPool2d) -> Tensor:
    if module.return_indices:
        raise GxnorError("max pooling that returns indices is no operation of an integer program")
    kernel, stride, padding, dilation = _sizes(x, module, "kernel_size", "stride", "padding", "dilation")
    return build.move(x, MaxPool((0,), kernel, stride, padding, dilation, module.ceil_mode))


def average_pool(build: Builder, x, module: nn.AvgPool1d | nn.AvgPool2d) -> Tensor:
    divisor = getattr(module, "divisor_override", None)
    if divisor is not None and divisor < 1:
        raise GxnorError(f"expected a positive divisor_override, got {divisor}")
    kernel, stride, padding = _sizes(integers(x), module, "kernel_size", "stride", "padding")
    rest = [(n + 2 * p - k) % s for n, k, s, p in zip(x.shape[1:], kernel, stride, padding, strict=True)]
    if (any(padding) and not module.count_include_pad) or (any(rest) and module.ceil_mode):
        raise GxnorError("its divisor differs at the border: expected count_include_pad=True and ceil_mode=False")
    y = build.emit(SumPool((x.number,), kernel, stride, padding), x.unit, x)
    return replace(y, unit=x.unit / (divisor or math.prod(kernel)))


def global_pool(build: Builder, x, module: nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d) -> Tensor:
    if set(_tuple(module.output_size, 1)) != {1}:
        raise GxnorError(f"expected adaptive pooling to size 1, got {module.output_size}")
    _sizes(x, module)
    return _average(build, x)


def mean(build: Builder, x, dim=None, keepdim=False) -> Tensor:
    places = range(2, len(tensor(x).shape) + 1)
    if not places or {n % (len(x.shape) + 1) for n in _tuple(dim, 1) if n is not None} != set(places):
        raise GxnorError(f"expected a mean over all dimensions but batch and channels, got dim={dim}")
    y = _average(build, x)
    return y if keepdim else flatten(build, y, 1)


def _average(build: Builder, x) -> Tensor:
    """Over all places, of which one is left."""
    kernel = integers(x).shape[1:]
    y = build.emit(SumPool((x.number,), kernel, kernel, (0,) * len(kernel)), x.unit, x)
    return replace(y, unit=x.unit / math.prod(kernel))


def flatten(build: Builder, x, start_dim=0, end_dim=-1) -> Tensor:
    if isinstance(start_dim, nn.Flatten):
        start_dim, end_dim = start_dim.start_dim, start_dim.end_dim
    last = len(tensor(x).shape)
    if start_dim % (last + 1) != 1 or end_dim % (last + 1) != last:
        raise GxnorError(f"expected to flatten all dimensions but the batch, got {start_dim} to {end_dim}")
    return x if last == 1 else build.move(x, Flatten((0,)))


def reshape(build: Builder, x, *shape) -> Tensor:
    shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    features = math.prod(tensor(x).shape)
    if len(shape) != 2 or shape[0] != -1 or shape[1] not in (-1, features):
        raise GxnorError(f"expected to reshape to (batch, {features}), got {shape}")
    return flatten(build, x, 1)


def add(build: Builder, a, b, alpha=1) -> Tensor:
    if alpha != 1:
        raise GxnorError(f"expected alpha=1, got {alpha}")
    if known(a).norms or known(b).norms:
        raise GxnorError("adds real values: expected states or plain sums, and batch norm only behind the addition")
    units = a.unit, b.unit
    common = math.lcm(*(unit.denominator for unit in units))
    unit = Fraction(math.gcd(*(int(unit * common) for unit in units)), common)
    return build.emit(Add((a.number, b.number), (int(units[0] / unit), int(units[1] / unit))), unit, a, b)


def multiply(build: Builder, a, b) -> Tensor:
    """By a number: pixels to [-1, 1], for one."""
    return _scaled(build, b, a, 1) if isinstance(a, int | float) else _scaled(build, a, b, 1)


def divide(build: Builder, x, number) -> Tensor:
    return _scaled(build, x, number, -1)


def _scaled(build: Builder, x, number, power: int) -> Tensor:
    if not isinstance(number, int | float) or not 0 < np.float32(number) < math.inf:
        raise GxnorError("expected a product or quotient of a value and a positive number")
    rounding = integers(x).rounding
    if not power_of_two(x.unit):
        build.rounded[build.at] = None  # for a second time
        rounding += 2 / EXACT
    return replace(x, unit=x.unit * Fraction(float(np.float32(number))) ** power, rounding=rounding)


def size(build: Builder, x, dim=None):
    """-1 stands for the size of the batch, on which nothing may depend, as it does in `reshape`."""
    shape = (-1, *tensor(x).shape)
    return shape if dim is None else shape[dim]


def attribute(build: Builder, x, name: str):
    if name not in ("shape", "ndim"):
        raise GxnorError(f".{name} is no operation of an integer program")
    shape = size(build, x)
    return shape if name == "shape" else len(shape)


def _tuple(value, dims: int) -> tuple:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * dims


def _sizes(x, module: nn.Module, *names: str) -> list[tuple[int, ...]]:
    """Settings of a pool as tuples. Refuses a 2-d pool of (C, L), where PyTorch would take C as an extent."""
    dims = 1 if type(module).__name__.endswith("1d") else 2
    if len(tensor(x).shape) != dims + 1:
        raise GxnorError(f"{type(module).__name__} does not fit an input (batch, *{x.shape})")
    return [_tuple(getattr(module, name), dims) for name in names]


def _padding(module: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    """Zeros on both sides. Refuses any other padding."""
    if module.padding_mode != "zeros":
        raise GxnorError(f"expected padding_mode='zeros', got {module.padding_mode!r}")
    if module.padding == "valid":
        return (0,) * len(module.kernel_size)
    if module.padding == "same":
        spans = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
        if any(span % 2 for span in spans):
            raise GxnorError("padding='same' of an even window has one more zero on one side; expected as many on both")
        return tuple(span // 2 for span in spans)
    return module.padding


def dropout(build: Builder, x, p=0.5, training=True, inplace=False) -> Tensor:
    if training and p:
        raise GxnorError("drops values in evaluation too: expected training=self.training")
    return tensor(x)


def _functional(operation, module: type, *names: str):
    """A function with arguments `names` behind the tensor, as the module that does the same."""
    return lambda build, x, *args, **kwargs: operation(build, x, module(**dict(zip(names, args)), **kwargs))  # noqa: B905


MODULES = {
    DiscreteLayer: weighted,
    Activation: activation,
    Pixels: pixels,
    nn.modules.batchnorm._BatchNorm: norm,
    (nn.MaxPool1d, nn.MaxPool2d): max_pool,
    (nn.AvgPool1d, nn.AvgPool2d): average_pool,
    (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d): global_pool,
    nn.Flatten: flatten,
    (nn.Identity, nn.modules.dropout._DropoutNd): same,
}
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
FUNCTIONS = {
    phi: _functional(activation, Activation, "N", "r", "a", "H", "window"),
    F.max_pool1d: _functional(max_pool, nn.MaxPool1d, *_MAX),
    F.max_pool2d: _functional(max_pool, nn.MaxPool2d, *_MAX),
    torch.max_pool1d: _functional(max_pool, nn.MaxPool1d, *_MAX),
    torch.max_pool2d: _functional(max_pool, nn.MaxPool2d, *_MAX),
    F.avg_pool1d: _functional(average_pool, nn.AvgPool1d, *_AVERAGE),
    F.avg_pool2d: _functional(average_pool, nn.AvgPool2d, *_AVERAGE),
    F.adaptive_avg_pool1d: _functional(global_pool, nn.AdaptiveAvgPool1d, "output_size"),
    F.adaptive_avg_pool2d: _functional(global_pool, nn.AdaptiveAvgPool2d, "output_size"),
    torch.mean: mean,
    torch.flatten: flatten,
    torch.reshape: reshape,
    operator.add: add,
    torch.add: add,
    operator.mul: multiply,
    operator.truediv: divide,
    F.dropout: dropout,
    F.dropout1d: dropout,
    F.dropout2d: dropout,
    torch.dropout: lambda build, x, p, train: dropout(build, x, p, train),
    getattr: attribute,
}
METHODS = {
    "mean": mean,
    "flatten": flatten,
    "view": reshape,
    "reshape": reshape,
    "add": add,
    "add_": add,
    "mul": multiply,
    "mul_": multiply,
    "div": divide,
    "div_": divide,
    "contiguous": same,
    "size": size,
    "dim": lambda build, x: len(size(build, x)),
}
