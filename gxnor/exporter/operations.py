"""What each module and function of a model adds to the program.

An operation takes the builder, the tensors that go in, and the module, or the function's arguments. It first checks
what is asked for, so that everything wrong is named even where the input is unknown.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter import folding
from gxnor.exporter.builder import (
    EXACT,
    UNKNOWN,
    Builder,
    Tensor,
    Unknown,
    integers,
    known,
    power_of_two,
    tensor,
    unit_of,
)
from gxnor.nn.activation import Activation, phi
from gxnor.nn.layers import DiscreteLayer
from gxnor.nn.networks import Pixels
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.quantize import Quantize
from gxnor.program import Input
from gxnor.program.ops import (
    NEVER,
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Pad,
    StateTensor,
    SumPool,
    Threshold,
    Upsample,
)
from gxnor.space import DiscreteSpace

WORD = 2**15 - 1  # real numbers that a weighted layer reads


def same(build: Builder, x, *_, **__) -> Tensor:
    return x


def pixels(build: Builder, x, module: Pixels) -> Tensor:
    if not tensor(x).pixels:
        raise GxnorError("expected the network's uint8 input")
    return replace(x, pixels=False)


def quantize(build: Builder, x, module: Quantize) -> Tensor:
    if not tensor(x).pixels or build.layers:
        raise GxnorError("expected the network's real input")
    build.source = Input(x.shape, module.space, module.low.numpy(), module.scale.numpy())
    build.values[0] = build.source.value()
    return replace(x, pixels=False)


def weighted(build: Builder, x, module: DiscreteLayer) -> Tensor:
    weight = _states(module)
    pads: tuple[int, ...] = ()
    if not isinstance(module, nn.Linear):
        if module.padding_mode != "zeros":
            raise GxnorError(f"expected padding_mode='zeros', got {module.padding_mode!r}")
        padding, pads = module.zeros_around()
    terms = weight.size // weight.shape[0] * weight.space.denominator
    bound = build.values[known(x).number].bound
    if (
        x.norms or terms * bound >= NEVER or (x.rounding and bound > WORD)
    ):  # real numbers: integers of 16 bits, if they do
        most = (NEVER - 1) // terms
        x = build.requantize(x, build.fixed_unit(x, min(WORD, most), min(EXACT, most)))
    if any(pads):
        x = build.emit(Pad((x.number,), (0,) * len(pads), pads), x.unit, x)
    if isinstance(module, nn.Linear):
        layer: Conv | Dense = Dense((x.number,), weight)
    else:
        layer = Conv((x.number,), weight, module.stride, padding, module.dilation, module.groups)
    y = build.emit(layer, x.unit * unit_of(module.space), x)
    return y if module.bias is None else replace(y, norms=(folding.Norm.adding(module.bias),))


def _states(module: DiscreteLayer) -> StateTensor:
    """The layer's weight. A packed one is copied as it lies: layers and programs pack states alike."""
    space, weight = DiscreteSpace(module.space.N), module.weight
    if isinstance(weight, DiscreteParameter):
        return StateTensor(space, tuple(weight.shape), weight.packed.numpy().copy())
    return StateTensor.from_indices(space, module.states().numpy())


def norm(build: Builder, x, module) -> Tensor:
    if module.running_mean is None:
        raise GxnorError("batch norm without running statistics depends on the batch")
    x = build.settled(known(x))
    return replace(x, norms=(*x.norms, folding.Norm.of(module)))


def activation(build: Builder, x, module: Activation) -> Tensor:
    if known(x).shape != build.values[x.number].shape and not x.later:
        raise GxnorError(f"expected an activation before axes of {x.shape} are taken away")
    value = build.values[x.number]
    steps, sign = folding.thresholds(x.norms, module, module.space, x.unit, value.shape, value.bound)
    return build.settle(build.emit(Threshold((x.number,), module.space, steps, sign), unit_of(module.space)), x.later)


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
    if not places or {n % (len(x.shape) + 1) for n in _tuple(dim, 1) if n is not None} != set(places):
        raise GxnorError(f"expected all dimensions but batch and channels, got dim={dim}")
    return x.shape[1:]


def flatten(build: Builder, x, start_dim=0, end_dim=-1) -> Tensor:
    if isinstance(start_dim, nn.Flatten):
        start_dim, end_dim = start_dim.start_dim, start_dim.end_dim
    last = len(tensor(x).shape)
    if start_dim % (last + 1) != 1 or end_dim % (last + 1) != last:
        raise GxnorError(f"expected to flatten all dimensions but the batch, got {start_dim} to {end_dim}")
    return x if last == 1 else build.move(x, Flatten((0,)))


def squeeze(build: Builder, x, dim=None) -> Tensor:
    """Takes away extents of 1."""
    axes = range(1, len(tensor(x).shape) + 1) if dim is None else [n % (len(x.shape) + 1) for n in _tuple(dim, 1)]
    if 0 in axes or (1 in axes and x.shape[0] == 1):
        raise GxnorError("expected to squeeze extents, got the batch or the channels")
    shape = tuple(n for i, n in enumerate(x.shape, 1) if i == 1 or i not in axes or n != 1)
    if math.prod(x.shape) != x.shape[0]:
        if shape == x.shape:
            return x
        raise GxnorError(f"expected to squeeze (batch, channels) out, {x.shape[1:]} has places left")
    return replace(flatten(build, x, 1) if len(x.shape) > 1 else x, shape=shape)


def reshape(build: Builder, x, *shape) -> Tensor:
    shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    features = math.prod(tensor(x).shape)
    if len(shape) != 2 or shape[0] != -1 or shape[1] not in (-1, features):
        raise GxnorError(f"expected to reshape to (batch, {features}), got {shape}")
    return flatten(build, x, 1)


def add(build: Builder, a, b, alpha=1) -> Tensor:
    if alpha not in (1, -1):
        raise GxnorError(f"expected alpha=1, got {alpha}")
    if not isinstance(a, Tensor) and a is not UNKNOWN:
        return add(build, b, a) if alpha == 1 else negative(build, subtract(build, b, a))
    if not isinstance(b, Tensor) and b is not UNKNOWN:
        return _step(build, a, torch.add if alpha == 1 else torch.sub, b)
    parts, unit, factors = _common(build, [known(a), known(b)])
    return build.emit(Add((parts[0].number, parts[1].number), (factors[0], alpha * factors[1])), unit, *parts)


def subtract(build: Builder, a, b, alpha=1) -> Tensor:
    return add(build, a, b, -alpha)


def negative(build: Builder, x) -> Tensor:
    if known(x).norms or x.later:
        return _step(build, x, torch.mul, -1)
    return build.emit(Add((x.number, x.number), (-1, 0)), x.unit, x)


def concat(build: Builder, tensors, dim=0) -> Tensor:
    given = [known(x) for x in tensors]
    if dim % (len(given[0].shape) + 1) != 1:
        raise GxnorError(f"expected to concatenate channels, dim=1, got dim={dim}")
    parts, unit, factors = _common(build, given)
    scaled = [
        x if factor == 1 else build.emit(Add((x.number, x.number), (factor, 0)), unit, x)
        for x, factor in zip(parts, factors, strict=True)
    ]
    return build.emit(Concat(tuple(x.number for x in scaled)), unit, *scaled) if len(scaled) > 1 else scaled[0]


def _common(build: Builder, parts: list[Tensor]) -> tuple[list[Tensor], Fraction, list[int]]:
    """The parts as integers, one unit for all, and how many of it a part's own unit is."""
    parts = [build.settled(x) for x in parts]
    if real := [build.fixed_unit(x) for x in parts if x.norms]:
        parts = [build.requantize(x, max(real)) if x.norms else x for x in parts]
    common = math.lcm(*(x.unit.denominator for x in parts))
    unit = Fraction(math.gcd(*(int(x.unit * common) for x in parts)), common)
    if sum(x.unit / unit * build.values[x.number].bound for x in parts) < NEVER:
        return parts, unit, [int(x.unit / unit) for x in parts]
    unit = max(build.fixed_unit(x) for x in parts)
    return [build.requantize(x, unit) for x in parts], unit, [1] * len(parts)


def multiply(build: Builder, a, b) -> Tensor:
    """By a number: pixels to [-1, 1], for one."""
    return _scaled(build, b, a, 1) if not isinstance(a, Tensor) and a is not UNKNOWN else _scaled(build, a, b, 1)


def divide(build: Builder, x, number) -> Tensor:
    return _scaled(build, x, number, -1)


def _scaled(build: Builder, x, number, power: int) -> Tensor:
    plain = isinstance(number, int | float) and 0 < np.float32(number) < math.inf
    if not plain or known(x).norms:
        return _step(build, x, torch.mul if power == 1 else torch.div, number)
    rounding = x.rounding
    if not power_of_two(x.unit):
        build.rounded[build.at] = None  # for a second time
        rounding += 2 / EXACT
    return replace(x, unit=x.unit * Fraction(float(np.float32(number))) ** power, rounding=rounding)


def _step(build: Builder, x, function, constant) -> Tensor:
    """Real arithmetic with a constant, a number or one per channel, kept aside as a batch norm is."""
    x = build.settled(known(x))
    if isinstance(constant, int | float):
        constant = torch.tensor(float(constant))
    if not isinstance(constant, torch.Tensor):
        raise GxnorError("multiplies or divides two values: expected a value and a constant")
    channels, dims = x.shape[0], len(x.shape)
    shape = constant.shape[-dims:]
    if constant.numel() not in (1, channels) or (constant.numel() > 1 and (len(shape) < dims or shape[0] != channels)):
        raise GxnorError(
            f"expected a number or one per channel, (1, {channels}, 1, 1), got a tensor {tuple(constant.shape)}"
        )
    constant = constant.detach().float().reshape(-1).expand(channels).contiguous()
    if not torch.isfinite(constant).all() or (function is torch.div and (constant == 0).any()):
        raise GxnorError("expected a finite constant, and none of 0 to divide by")
    return replace(x, norms=(*x.norms, folding.Arithmetic(function, constant)))


def pad(build: Builder, x, pads, mode="constant", value=None) -> Tensor:
    if isinstance(pads, nn.Module):
        pads, value = pads.padding, getattr(pads, "value", 0)
    if mode != "constant" or value or min(pads) < 0:
        raise GxnorError(f"expected padding with zeros, got mode={mode!r}, value={value}, {tuple(pads)}")
    dims = len(tensor(x).shape) - 1
    pads = tuple(pads) + (0,) * (2 * dims - len(pads))
    if len(pads) != 2 * dims or not dims:
        raise GxnorError(f"expected padding of extents alone, got {pads}")
    x = integers(build, x)
    return build.emit(Pad((x.number,), pads[-2::-2], pads[::-2]), x.unit, x)


def upsample(build: Builder, x, size=None, scale_factor=None, mode="nearest", align_corners=None, **_) -> Tensor:
    if isinstance(size, nn.Upsample):
        size, scale_factor, mode = size.size, size.scale_factor, size.mode
    if mode != "nearest":
        raise GxnorError(f"expected mode='nearest', got {mode!r}")
    extents = tensor(x).shape[1:]
    factors = _tuple(scale_factor, len(extents)) if size is None else [
        to / n for to, n in zip(_tuple(size, len(extents)), extents, strict=True)
    ]  # fmt: skip
    if not extents or any(factor < 1 or factor != int(factor) for factor in factors):
        raise GxnorError(f"expected whole factors of {extents}, got size={size}, scale_factor={scale_factor}")
    return build.copy(x, Upsample((0,), tuple(int(factor) for factor in factors)))


def shuffle(build: Builder, x, groups) -> Tensor:
    groups = groups.groups if isinstance(groups, nn.ChannelShuffle) else groups
    return _pick(build, x, torch.arange(tensor(x).shape[0]).view(groups, -1).t().flatten())


def chunk(build: Builder, x, chunks, dim=0) -> tuple[Tensor, ...]:
    _channel_axis(x, dim)
    return tuple(_pick(build, x, part) for part in torch.arange(x.shape[0]).chunk(chunks))


def split(build: Builder, x, sizes, dim=0) -> tuple[Tensor, ...]:
    _channel_axis(x, dim)
    return tuple(_pick(build, x, part) for part in torch.arange(x.shape[0]).split(sizes))


def item(build: Builder, x, index):
    if not isinstance(x, Tensor):
        if x is UNKNOWN:
            raise Unknown
        return x[index]
    whole = slice(None)
    if not isinstance(index, tuple) or index[:1] != (whole,) or len(index) < 2 or any(i != whole for i in index[2:]):
        raise GxnorError(f"expected channels, x[:, from:to], got x[{index}]")
    picked = torch.arange(x.shape[0])[index[1]]
    if not picked.dim() or not picked.numel():
        raise GxnorError(f"expected channels, x[:, from:to], got x[{index}]")
    return _pick(build, x, picked)


def _channel_axis(x, dim: int) -> None:
    if dim % (len(tensor(x).shape) + 1) != 1:
        raise GxnorError(f"expected to split channels, dim=1, got dim={dim}")


def _pick(build: Builder, x, order: torch.Tensor) -> Tensor:
    return build.copy(known(x), Channels((0,), order.numpy().astype(np.int32)), order)


def left_out(name: str, function):
    """An activation that only the end of a model may have: the program's scores are those before it."""

    def operation(build: Builder, x, *_, **__) -> Tensor:
        if not build.ends:
            raise GxnorError(f"{name} is a real activation")
        return replace(known(x), last=(name, function))

    return operation


def size(build: Builder, x, dim=None):
    """-1 stands for the size of the batch, on which nothing may depend, as it does in `reshape`."""
    shape = (-1, *tensor(x).shape)
    return shape if dim is None else shape[dim]


def attribute(build: Builder, x, name: str):
    if name not in ("shape", "ndim"):
        raise GxnorError(f".{name} is not an operation of an integer program")
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


def dropout(build: Builder, x, p=0.5, training=True, inplace=False) -> Tensor:
    if training and p:
        raise GxnorError("drops values in evaluation too: expected training=self.training")
    return tensor(x)


def _functional(operation, module: type, *names: str):
    """A function with arguments `names` after the tensor, as the module that does the same."""

    @functools.wraps(operation)
    def function(build: Builder, x, *args, **kwargs):
        return operation(build, x, module(**dict(zip(names, args)), **kwargs))  # noqa: B905

    return function


SOFTMAX, LOG_SOFTMAX = (
    left_out("Softmax", lambda y: F.softmax(y, 1)),
    left_out("LogSoftmax", lambda y: F.log_softmax(y, 1)),
)
SIGMOID, RELU = left_out("Sigmoid", torch.sigmoid), left_out("ReLU", torch.relu)
MODULES = {
    DiscreteLayer: weighted,
    Activation: activation,
    Pixels: pixels,
    Quantize: quantize,
    nn.modules.batchnorm._BatchNorm: norm,
    (nn.MaxPool1d, nn.MaxPool2d): max_pool,
    (nn.AvgPool1d, nn.AvgPool2d): average_pool,
    (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d): adaptive_average,
    (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d): adaptive_max,
    (nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d): pad,
    nn.Upsample: upsample,
    nn.ChannelShuffle: shuffle,
    nn.Softmax: SOFTMAX,
    nn.LogSoftmax: LOG_SOFTMAX,
    nn.Sigmoid: SIGMOID,
    nn.ReLU: RELU,
    nn.Flatten: flatten,
    (nn.Identity, nn.modules.dropout._DropoutNd): same,
}
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
FUNCTIONS: dict[Callable, Callable] = {
    phi: _functional(activation, Activation, "N", "r", "a", "H", "window"),
    F.max_pool1d: _functional(max_pool, nn.MaxPool1d, *_MAX),
    F.max_pool2d: _functional(max_pool, nn.MaxPool2d, *_MAX),
    torch.max_pool1d: _functional(max_pool, nn.MaxPool1d, *_MAX),
    torch.max_pool2d: _functional(max_pool, nn.MaxPool2d, *_MAX),
    F.avg_pool1d: _functional(average_pool, nn.AvgPool1d, *_AVERAGE),
    F.avg_pool2d: _functional(average_pool, nn.AvgPool2d, *_AVERAGE),
    F.adaptive_avg_pool1d: _functional(adaptive_average, nn.AdaptiveAvgPool1d, "output_size"),
    F.adaptive_avg_pool2d: _functional(adaptive_average, nn.AdaptiveAvgPool2d, "output_size"),
    F.adaptive_max_pool1d: _functional(adaptive_max, nn.AdaptiveMaxPool1d, "output_size"),
    F.adaptive_max_pool2d: _functional(adaptive_max, nn.AdaptiveMaxPool2d, "output_size"),
    F.pad: pad,
    F.interpolate: upsample,
    torch.mean: mean,
    torch.sum: total,
    torch.amax: largest,
    torch.squeeze: squeeze,
    torch.cat: concat,
    torch.concat: concat,
    torch.chunk: chunk,
    torch.split: split,
    torch.channel_shuffle: shuffle,
    operator.getitem: item,
    operator.sub: subtract,
    torch.sub: subtract,
    operator.neg: negative,
    torch.neg: negative,
    F.softmax: SOFTMAX,
    torch.softmax: SOFTMAX,
    F.log_softmax: LOG_SOFTMAX,
    torch.log_softmax: LOG_SOFTMAX,
    torch.sigmoid: SIGMOID,
    F.relu: RELU,
    torch.relu: RELU,
    torch.flatten: flatten,
    torch.reshape: reshape,
    operator.add: add,
    torch.add: add,
    operator.mul: multiply,
    operator.truediv: divide,
    F.dropout: dropout,
    F.dropout1d: dropout,
    F.dropout2d: dropout,
    torch.dropout: dropout,
    getattr: attribute,
}
METHODS = {
    "mean": mean,
    "sum": total,
    "amax": largest,
    "squeeze": squeeze,
    "chunk": chunk,
    "split": split,
    "sub": subtract,
    "sub_": subtract,
    "neg": negative,
    "neg_": negative,
    "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
    "relu": RELU,
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
